import type { View } from "./types.ts";

/** A snippet that runs as it is and ends with `result`, which holds what the view shows. */
export function asPython(_view: View): string {
  throw new Error("not yet");
}
