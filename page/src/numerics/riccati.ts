/**
 * The flow of λ-balanced weights in arrays: `Q̇ = FQ − ½QQᵀQ`, up to a rotation of the neurons, with
 * `F = [[λ/2 I, B], [Bᵀ, −λ/2 I]]` and `Q = [U; Wᵀ]`. See docs/theory/balanced-linear.md.
 *
 * The exponentials differ by hundreds of digits. With the eigenvalues ℓ of F and
 * `g = expm1(2ℓt)/2ℓ`, the orthonormal factor of the rows `√g A` of the start A in eigenvectors,
 * stacked on I, is all that is needed: `Q = diag(e^{ℓt}/√g) q`.
 */
import { identity, multiply, orthonormalFactor, singularValues, svd, transpose, type Rows } from "./matrix.ts";
import type { Matrix } from "./types.ts";

const FURTHEST = 250; // ℓt of one step, of which e^{2ℓt} is a float
const RESOLVED = 1e-12; // 2ℓt below which the integral is t
const UNREACHED = 1e-13; // of a start: the share in a direction that is rounding

/** The singular value decomposition of the best map, with all directions in columns. */
export interface Target {
  readonly outputs: Rows;
  readonly sizes: readonly number[];
  readonly inputs: Rows;
}

export function targetOf(best: Matrix): Target {
  const { left, sizes, right } = svd(best);
  return { outputs: left, sizes, inputs: right };
}

/** A state in the eigenvectors of F, sorted by falling eigenvalue. */
export interface Eigenmodes {
  readonly rates: readonly number[];
  readonly weights: Rows;
  /** Where each eigenvector stood before. */
  readonly order: readonly number[];
  readonly cosine: readonly number[];
  readonly sine: readonly number[];
}

/**
 * F is a 2 × 2 matrix for each singular value σ, ±√(σ² + λ²/4) at half the angle of (λ/2, σ), and
 * λ/2 and −λ/2 in the directions of outputs and inputs that have none.
 */
export function eigenmodes(theta: Matrix, balance: number, target: Target): Eigenmodes {
  const k = target.outputs.length;
  const pairs = target.sizes.length;
  const u = multiply(transpose(target.outputs), theta.slice(0, k));
  const w = multiply(transpose(target.inputs), theta.slice(k));
  const half = target.sizes.map((size) => Math.atan2(size, Math.abs(balance) / 2) / 2);
  const above = balance >= 0; // else π/2 − angle, of which the cosine keeps its digits so
  const cosine = half.map(above ? Math.cos : Math.sin);
  const sine = half.map(above ? Math.sin : Math.cos);
  const rate = target.sizes.map((size) => Math.hypot(size, balance / 2));
  const rates = [
    ...rate,
    ...rate.map((value) => -value),
    ...u.slice(pairs).map(() => balance / 2),
    ...w.slice(pairs).map(() => -balance / 2),
  ];
  const weights = [
    ...rate.map((_, i) => u[i].map((value, n) => cosine[i] * value + sine[i] * w[i][n])),
    ...rate.map((_, i) => w[i].map((value, n) => cosine[i] * value - sine[i] * u[i][n])),
    ...u.slice(pairs),
    ...w.slice(pairs),
  ];
  const order = rates.map((_, i) => i).sort((i, j) => rates[j] - rates[i]);
  return {
    rates: order.map((i) => rates[i]),
    weights: order.map((i) => weights[i]),
    order,
    cosine,
    sine,
  };
}

/** The state again. */
function thetaOf(modes: Eigenmodes, target: Target): Rows {
  const k = target.outputs.length;
  const pairs = target.sizes.length;
  const weights: Rows = [];
  modes.order.forEach((to, from) => (weights[to] = modes.weights[from]));
  const { cosine, sine } = modes;
  const pair = target.sizes.map((_, i) => i);
  const [along, across] = [weights.slice(0, pairs), weights.slice(pairs, 2 * pairs)];
  const alone = weights.slice(2 * pairs);
  const u = [
    ...pair.map((i) => along[i].map((value, n) => cosine[i] * value - sine[i] * across[i][n])),
    ...alone.slice(0, k - pairs),
  ];
  const w = [
    ...pair.map((i) => along[i].map((value, n) => sine[i] * value + cosine[i] * across[i][n])),
    ...alone.slice(k - pairs),
  ];
  return [...multiply(target.outputs, u), ...multiply(target.inputs, w)];
}

/**
 * The growth rate of a direction that ought to be learned and has no weight; 0 if all have.
 * `neurons` is the rank of the state, which can learn as many directions.
 */
export function unreached(modes: Eigenmodes, neurons: number): number {
  const fastest = Math.max(0, ...modes.rates);
  if (neurons === 0) return fastest;
  const growing = modes.rates.filter((rate) => rate > RESOLVED * fastest).length;
  const wanted = Math.min(neurons, growing);
  const top = modes.weights.slice(0, wanted);
  const sizes = top.map((row) => Math.hypot(...row));
  const all = Math.hypot(...modes.weights.flat());
  let missing = sizes.map((size) => size <= UNREACHED * all);
  if (wanted > 0 && !missing.includes(true)) {
    const values = singularValues(top.map((row, i) => row.map((value) => value / sizes[i])));
    const least = values[values.length - 1];
    if (least <= UNREACHED) missing = missing.map((_, i) => i === wanted - 1);
  }
  return Math.max(0, ...modes.rates.filter((_, i) => i < wanted && missing[i]));
}

/** How many steps a time takes whose exponentials are floats. */
export function stepsOf(rate: number, time: number): number {
  return Math.max(Math.ceil((rate * time) / FURTHEST), 1);
}

/** The state at t ≥ 0 under the flow of ½‖UW − B‖², with neurons rotated among each other. */
export function evolve(theta: Matrix, balance: number, time: number, target: Target): Matrix {
  const entries = theta.flat().map((value) => value * value);
  const unit = Math.max(0, ...entries, target.sizes[0] ?? 0, Math.abs(balance));
  if (time === 0 || unit === 0) return theta;
  const scaled = { ...target, sizes: target.sizes.map((size) => size / unit) };
  const root = Math.sqrt(unit);
  const small = theta.map((row) => row.map((value) => value / root));
  const modes = eigenmodes(small, balance / unit, scaled);
  const pieces = stepsOf(Math.max(...modes.rates.map(Math.abs)), time * unit);
  let weights = modes.weights;
  for (let i = 0; i < pieces; i++) weights = step(weights, modes.rates, (time * unit) / pieces);
  const moved = thetaOf({ ...modes, weights }, scaled);
  return moved.map((row) => row.map((value) => root * value));
}

/** `diag(e^{ℓt}/√g) q`, where q are the upper rows of the orthonormal factor. */
function step(weights: Matrix, rates: readonly number[], time: number): Rows {
  const neurons = weights[0].length;
  const integrals = rates.map((rate) => {
    const grown = 2 * rate * time;
    return time * (Math.abs(grown) < RESOLVED ? 1 : Math.expm1(grown) / grown);
  });
  const back = rates.map((rate) => {
    const grown = 2 * rate * time;
    return (Math.abs(grown) < RESOLVED ? 1 : grown / -Math.expm1(-grown)) / time;
  });
  const upper = weights.map((row, i) => row.map((value) => Math.sqrt(integrals[i]) * value));
  const q = orthonormalFactor([...upper, ...identity(neurons)]);
  return rates.map((_, i) => q[i].map((value) => Math.sqrt(back[i]) * value));
}
