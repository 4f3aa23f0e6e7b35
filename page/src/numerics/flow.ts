import type { LineProblem, LineTrajectory, OrderParameters, Series } from "./types.ts";

/** The exact gradient flow at these times (≥ 0, infinity included). */
export function flow(_problem: LineProblem, _times: ArrayLike<number>): LineTrajectory {
  throw new Error("not yet");
}

/**
 * Zero and `count − 1` logarithmic times that show the whole run: from long before the plateau ends
 * until the residual is below 1e-6 of its start (or as far as it ever gets).
 */
export function logTimes(_problem: LineProblem, _count: number): Series {
  throw new Error("not yet");
}

/** When f − f* has shrunk to this share of its start; infinite if never. */
export function timeToResidual(_problem: LineProblem, _remaining: number): number {
  throw new Error("not yet");
}

/** F, the final change of the kernel and ζ, and the times of learning. */
export function orderParameters(_problem: LineProblem): OrderParameters {
  throw new Error("not yet");
}
