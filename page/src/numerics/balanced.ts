import type {
  BalancedDraw,
  BalancedProblem,
  BalancedRegime,
  BalancedSolution,
  BalancedStart,
  Series,
} from "./types.ts";

/** The exact flow of a λ-balanced network on whitened data. Throws `InputError`. */
export function balancedFlow(_problem: BalancedProblem, _times: ArrayLike<number>): BalancedSolution {
  throw new Error("not yet");
}

/** Draw weights with UᵀU − WWᵀ = λI. Throws `InputError` where no weights have this λ. */
export function balancedStart(_draw: BalancedDraw): BalancedStart {
  throw new Error("not yet");
}

/** Zero and logarithmic times that show the whole run. */
export function balancedTimes(_problem: BalancedProblem, _count: number): Series {
  throw new Error("not yet");
}

/** Lazy, intermediate or rich, and whether delayed, from λ and the shape. */
export function balancedRegime(
  _relative_scale: number,
  _target_scale: number,
  _shape: { readonly width: number; readonly outputs: number; readonly inputs: number },
): BalancedRegime {
  throw new Error("not yet");
}
