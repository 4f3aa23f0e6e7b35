/** What the tab of λ-balanced networks shows, computed. */

import {
  balancedFlow,
  type BalancedProblem,
  balancedRegime,
  type BalancedRegime,
  type BalancedSolution,
  balancedStart,
  balancedTimes,
  type Matrix,
} from "../../numerics/index.ts";
import type { State } from "../state.ts";

const RECORDS = 160;
const RATE = 0.5; // of both layers: with it time is the one of most papers

export interface BalancedScene {
  readonly problem: BalancedProblem;
  readonly solution: BalancedSolution;
  readonly judged: BalancedRegime;
  /** Singular values of the best map, as many as it has. */
  readonly target: readonly number[];
}

/** Everything that is shown of a state. Throws `InputError` where no weights have this λ. */
export function balancedScene(state: State): BalancedScene {
  const { outputs, inputs, hidden, lambda } = state;
  const target = targetValues(state);
  const start = balancedStart({
    outputs,
    inputs,
    width: hidden,
    init_relative_scale: lambda,
    init_std: state.init_size,
    seed: state.draw,
  });
  const problem: BalancedProblem = {
    ...start,
    output_scale: 1,
    lr_u: RATE,
    lr_w: RATE,
    target: diagonal(outputs, inputs, target),
  };
  const solution = balancedFlow(problem, balancedTimes(problem, RECORDS));
  const judged = balancedRegime(lambda, target[0], { width: hidden, outputs, inputs });
  return { problem, solution, judged, target };
}

/** σ₁, and as many more as the shape has, each the same share of the one before. */
export function targetValues({ target_scale, target_ratio, outputs, inputs }: State): readonly number[] {
  return Array.from({ length: Math.min(outputs, inputs) }, (_, i) => target_scale * target_ratio ** i);
}

function diagonal(rows: number, columns: number, values: readonly number[]): Matrix {
  return Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (_, j) => (i === j ? (values[i] ?? 0) : 0)),
  );
}
