import type { Decomposition, LineTrajectory } from "./types.ts";

/** Alignment, disalignment and rescaling along a solution, and when each acts. */
export function mechanisms(
  _trajectory: LineTrajectory,
  _thresholds: { readonly alignment: number; readonly rescaling: number } = {
    alignment: 0.1,
    rescaling: 0.1,
  },
): Decomposition {
  throw new Error("not yet");
}
