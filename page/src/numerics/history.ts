import type { History, Placement } from "./types.ts";

/** Read what `probe.save("run.json")` wrote. Throws `InputError`: what came, what to do. */
export function readHistory(_text: string): History {
  throw new Error("not yet");
}

/** Where that network is on the map, at its last finite measurement. */
export function placeHistory(_history: History): Placement {
  throw new Error("not yet");
}
