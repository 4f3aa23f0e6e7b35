/** Where a λ-balanced network starts: its relative scale, measured, and states that have one. */
import {
  gaussian,
  multiply,
  orthonormalColumns,
  plus,
  identity,
  singularValues,
  squares,
  svd,
  times,
  trace,
  transpose,
  type Rows,
} from "./matrix.ts";
import { generator } from "./random.ts";
import { InputError, type BalancedDraw, type BalancedStart, type Matrix } from "./types.ts";

const NEURON_EXISTS = 1e-12; // of the largest singular value of the weights; rounding is below

export interface Balance {
  /** λ = tr(U₂ᵀU₂ − U₁U₁ᵀ)/h over all neurons that have a weight. */
  readonly scale: number;
  /** What of the layers is not λ-balanced, relative to their squared size. */
  readonly residual: number;
  /** How many neurons have a weight. */
  readonly rank: number;
}

/** λ, and what is left, of weights `Θ = [U; Wᵀ]` of one rate. */
export function balanceOf(theta: Matrix, outputs: number): Balance {
  const { left, sizes } = svd(theta);
  const largest = sizes[0] ?? 0;
  const rank = sizes.filter((size) => size > NEURON_EXISTS * largest).length;
  const neurons = left.map((row) => sizes.slice(0, rank).map((size, n) => row[n] * size));
  const signed = neurons.map((row, i) => (i < outputs ? row : row.map((value) => -value)));
  if (rank === 0) return { scale: 0, residual: 0, rank };
  const difference = multiply(transpose(neurons), signed);
  const scale = trace(difference) / rank;
  const rest = plus(difference, identity(rank), -scale);
  return { scale, residual: Math.sqrt(squares(rest)) / largest ** 2, rank };
}

/**
 * Draw weights with UᵀU − WWᵀ = λI, for γ = 1 and equal rates: the smaller layer is Gaussian, the
 * larger one completes it. Throws `InputError` where no weights have this λ.
 */
export function balancedStart(draw: BalancedDraw): BalancedStart {
  const { outputs, inputs, width, init_relative_scale: scale, init_std } = draw;
  requireDraw(draw);
  const random = generator(draw.seed);
  const neurons = orthonormalColumns(random, width, width);
  const ofU = orthonormalColumns(random, outputs, width);
  const ofW = orthonormalColumns(random, inputs, width);
  const learned = Math.min(width, outputs, inputs);
  const drawn = singularValues(gaussian(random, width, inputs)).slice(0, learned);
  const small = Array.from({ length: width }, (_, i) => init_std * (drawn[i] ?? 0));
  const large = small.map((size) => Math.hypot(size, Math.sqrt(Math.abs(scale))));
  const [u, w] = scale >= 0 ? [large, small] : [small, large];
  const weights = (directions: Rows, sizes: readonly number[]): Rows =>
    multiply(
      directions.map((row) => row.map((value, n) => value * sizes[n])),
      transpose(neurons),
    );
  return { u: weights(ofU, u), w: transpose(weights(ofW, w)) };
}

function requireDraw({ outputs, inputs, width, init_relative_scale, init_std, seed }: BalancedDraw): void {
  for (const [name, value] of Object.entries({ outputs, inputs, width })) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new InputError(`\`${name}\` must be a whole number ≥ 1, got ${value}.`);
  }
  if (!Number.isFinite(init_relative_scale) || !(init_std >= 0) || !(seed >= 0)) {
    throw new InputError(
      `the relative scale must be a number, \`init_std\` and \`seed\` ≥ 0, got ` +
        `${init_relative_scale}, ${init_std} and ${seed}.`,
    );
  }
  requireWidth(init_relative_scale, { width, outputs, inputs });
}

/** Refuse a width at which no weights have this λ: h vectors in fewer dimensions. */
export function requireWidth(
  scale: number,
  { width, outputs, inputs }: { readonly width: number; readonly outputs: number; readonly inputs: number },
): void {
  const needed = scale > 0 ? outputs : scale < 0 ? inputs : Infinity;
  if (width <= needed) return;
  throw new InputError(
    `no weights have λ = ${scale} at width ${width}: the width must be at most the ` +
      `${scale > 0 ? "outputs" : "inputs"}, ${needed}.`,
  );
}

/** Weights in the units in which the layers learn at one rate and the map is U₂U₁. */
export function ofOneRate(theta: Matrix, units: readonly number[]): Rows {
  return theta.map((row, i) => times([row], units[i])[0]);
}
