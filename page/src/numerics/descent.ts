import type { DescentOptions, LineProblem, LineTrajectory } from "./types.ts";

/** Exact gradient descent, catapults and divergence included. */
export function descent(_problem: LineProblem, _options: DescentOptions): LineTrajectory {
  throw new Error("not yet");
}
