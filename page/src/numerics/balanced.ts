/** Gradient flow of a λ-balanced network on whitened data, in closed form. */
import { balanceOf, ofOneRate, requireWidth, type Balance } from "./balanced_start.ts";
import { geomspace } from "./axis.ts";
import { dot, multiply, plus, singularValues, squares, times, trace, transpose, type Rows } from "./matrix.ts";
import { eigenmodes, evolve, stepsOf, targetOf, unreached, type Eigenmodes, type Target } from "./riccati.ts";
import {
  InputError,
  type BalancedProblem,
  type BalancedRegime,
  type BalancedSolution,
  type Matrix,
  type Regime,
  type Series,
} from "./types.ts";

export { balancedStart } from "./balanced_start.ts";

const BALANCED_TOLERANCE = 1e-9; // of the residual: the solution is wrong by as much
const MOST_STEPS = 1e5; // of a solution whose exponentials leave the range of floats
const ROUNDING_GROWS = 37; // ℓt after which a rounding error is of order one
const SADDLE = "stays at a saddle: the layers are zero, or balanced and opposed to the data";
/** Relative changes of the kernel between which training is intermediate. */
export const [LAZY_BELOW, RICH_FROM] = [0.1, 1];
const SETTLED = 5; // ℓt in which a mode that has grown up settles to 1e-8 of its loss
const NO_GAP = 1e-6; // between two rates, relative: modes that never part
const UNREACHED = 1e-26; // of the squared weights: a direction without a weight

/** A problem in the units in which both layers learn at one rate, and the weights as one matrix. */
interface Prepared {
  readonly theta: Rows;
  readonly units: readonly number[];
  readonly balance: Balance;
  readonly target: Target;
  readonly speed: number;
  readonly outputs: number;
  readonly inputs: number;
}

/** The exact flow of a λ-balanced network on whitened data. Throws `InputError`. */
export function balancedFlow(problem: BalancedProblem, at: ArrayLike<number>): BalancedSolution {
  const prepared = prepare(problem);
  const { theta, units, balance, target, speed, outputs, inputs } = prepared;
  const scale = balance.rank > 0 ? balance.scale : 0;
  const rate = Math.hypot(target.sizes[0], balance.scale / 2);
  const start = blocksOf(theta, units, outputs);
  const rows = Array.from(at, (time) => {
    if (!(time >= 0) || stepsOf(rate, speed * time) > MOST_STEPS) {
      throw new InputError(`times must be ≥ 0 and at most ${MOST_STEPS} steps long, got ${time}.`);
    }
    const now = blocksOf(evolve(theta, balance.scale, speed * time, target), units, outputs);
    return read(problem, start, time === 0 ? start : now);
  });
  const column = (name: "loss" | "alignment" | "ntk_trace" | "ntk_change" | "kernel_distance"): Series =>
    Float64Array.from(rows, (row) => row[name]);
  const sizes = rows.map((row) => singularValues(row.map));
  const width = Math.max(balance.rank, 1);
  return {
    at: Float64Array.from(at),
    loss: column("loss"),
    alignment: column("alignment"),
    ntk_trace: column("ntk_trace"),
    ntk_change: column("ntk_change"),
    kernel_distance: column("kernel_distance"),
    singular_values: target.sizes.map((_, i) => Float64Array.from(sizes, (row) => row[i])),
    end_to_end_map: rows.map((row) => row.map),
    relative_scale: balance.scale,
    relative_scale_residual: balance.residual,
    ...judged(scale, target, { width, outputs, inputs }),
    status: statusOf(prepared),
  };
}

function judged(
  scale: number,
  target: Target,
  shape: { readonly width: number; readonly outputs: number; readonly inputs: number },
): Pick<BalancedSolution, "regime" | "delayed"> {
  const { regime, delayed } = balancedRegime(scale, target.sizes[0], shape);
  return { regime, delayed };
}

/** Zero and logarithmic times that show the whole run. Throws `InputError`. */
export function balancedTimes(problem: BalancedProblem, count: number): Series {
  const { theta, balance, target, speed } = prepare(problem);
  const modes = eigenmodes(theta, balance.scale, target);
  const fastest = Math.max(...modes.rates, 0);
  if (fastest === 0) return Float64Array.from({ length: count }, (_, i) => i);
  const end = Math.max(timeToSettle(modes, balance.rank), SETTLED / fastest) / speed;
  const start = Math.min(0.01 / fastest / speed, end / 10);
  return Float64Array.of(0, ...geomspace(start, end, count - 1));
}

/**
 * Until the modes that the neurons can learn have grown above the first that they cannot: a network
 * whose richness is delayed waits for a small difference of two rates.
 */
function timeToSettle({ rates, weights }: Eigenmodes, rank: number): number {
  const [fastest, unlearned] = [rates[0], rates[rank] ?? -rates[0]];
  const size = Math.max(fastest, squares(weights));
  const times = rates.slice(0, rank).map((rate, i) => {
    const square = dot(weights[i], weights[i]);
    const gap = Math.min(rate, rate - unlearned);
    if (gap <= NO_GAP * fastest || square <= UNREACHED * size) return 0;
    return Math.log(size / square) / (2 * gap) + SETTLED / gap;
  });
  return Math.max(0, ...times);
}

/** Lazy, intermediate or rich, and whether delayed, from λ and the shape. Throws `InputError`. */
export function balancedRegime(
  relative_scale: number,
  target_scale: number,
  shape: { readonly width: number; readonly outputs: number; readonly inputs: number },
): BalancedRegime {
  requireWidth(relative_scale, shape);
  const laziness = relative_scale === 0 ? 0 : Math.abs(relative_scale) / target_scale / 2;
  const inverse = target_scale === 0 ? 0 : 1 / laziness; // nothing to learn
  const change =
    inverse < 1
      ? inverse ** 2 / (Math.sqrt(1 + inverse ** 2) + 1)
      : Math.hypot(1, inverse) - 1;
  const own: Regime = change < LAZY_BELOW ? "lazy" : change < RICH_FROM ? "intermediate" : "rich";
  const needed = relative_scale > 0 ? shape.outputs : shape.inputs;
  const waits = relative_scale !== 0 && target_scale > 0 && shape.width < needed;
  const delayed = own === "lazy" && waits;
  return { regime: delayed ? "rich" : own, delayed, laziness, aligned_ntk_change: change };
}

function prepare(problem: BalancedProblem): Prepared {
  const { u, w, target: best, output_scale: gamma, lr_u, lr_w } = problem;
  const [outputs, inputs, width] = [best.length, best[0].length, w.length];
  const fits = u.length === outputs && u.every((row) => row.length === width);
  if (!fits || w.some((row) => row.length !== inputs) || width === 0) {
    throw new InputError(
      `\`u\` must be k × h, \`w\` h × m and \`target\` k × m, got ${u.length} × ${u[0]?.length}, ` +
        `${width} × ${w[0]?.length} and ${outputs} × ${inputs}.`,
    );
  }
  for (const [name, value] of Object.entries({ output_scale: gamma, lr_u, lr_w })) {
    if (Number.isFinite(value) && value !== 0 && (name === "output_scale" || value > 0)) continue;
    throw new InputError(`\`${name}\` must not be 0, and rates be > 0, got ${value}.`);
  }
  const size = Math.sqrt(Math.abs(gamma));
  const tilt = (lr_w / lr_u) ** 0.25;
  const units = [
    ...best.map(() => size * tilt * Math.sign(gamma)),
    ...best[0].map(() => size / tilt),
  ];
  const theta = ofOneRate([...u, ...transpose(w)], units);
  const balance = balanceOf(theta, outputs);
  if (balance.residual > BALANCED_TOLERANCE) {
    throw new InputError(
      `the weights must be λ-balanced, η_w UᵀU − η_u WWᵀ ∝ I: with λ = ${balance.scale} they are ` +
        `off by ${balance.residual.toPrecision(2)} of their squared size. Draw them again.`,
    );
  }
  const speed = 2 * Math.abs(gamma) * Math.sqrt(lr_u * lr_w);
  return { theta, units, balance, target: targetOf(best), speed, outputs, inputs };
}

interface Blocks {
  readonly uu: Rows;
  readonly uw: Rows;
  readonly ww: Rows;
}

/** The Gram matrix of weights, in the user's units. */
function blocksOf(theta: Matrix, units: readonly number[], outputs: number): Blocks {
  const plain = theta.map((row, i) => row.map((value) => value / units[i]));
  const [u, w] = [plain.slice(0, outputs), plain.slice(outputs)];
  return {
    uu: multiply(u, transpose(u)),
    uw: multiply(u, transpose(w)),
    ww: multiply(w, transpose(w)),
  };
}

interface Row {
  readonly map: Rows;
  readonly loss: number;
  readonly alignment: number;
  readonly ntk_trace: number;
  readonly ntk_change: number;
  readonly kernel_distance: number;
}

function read(problem: BalancedProblem, start: Blocks, now: Blocks): Row {
  const { output_scale: gamma, lr_u, lr_w, target } = problem;
  const [k, m] = [target.length, target[0].length];
  const map = times(now.uw, gamma);
  const sizes = Math.sqrt(trace(now.uu)) * Math.sqrt(trace(now.ww));
  const inner = k === 1 && m === 1 ? now.uw[0][0] : Math.sqrt(squares(now.uw));
  const kernel = (blocks: Blocks): Kernel => ({
    a: times(blocks.uu, lr_w),
    b: times(blocks.ww, lr_u),
  });
  const [before, after] = [kernel(start), kernel(now)];
  const [sizeBefore, sizeAfter] = [before, after].map((of) => kernelSize(of, k, m));
  const turned = kernelDifference(unit(after, sizeAfter), unit(before, sizeBefore));
  return {
    map,
    loss: squares(plus(map, target, -1)),
    alignment: sizes === 0 ? 0 : Math.min(Math.max(inner / sizes, -1), 1),
    ntk_trace: gamma ** 2 * (lr_w * trace(now.uu) + (lr_u * k * trace(now.ww)) / m),
    ntk_change:
      sizeBefore === 0 ? 0 : kernelSize(kernelDifference(after, before), k, m) / sizeBefore,
    kernel_distance: sizeBefore === 0 ? 0 : kernelSize(turned, k, m) ** 2 / 2,
  };
}

/** `Θ(x, x') = xᵀx' A + xᵀBx' I` of whitened inputs. */
interface Kernel {
  readonly a: Rows;
  readonly b: Rows;
}

/** `‖Θ‖² = m tr A² + 2 tr A tr B + k tr B²` over pairs of inputs. */
function kernelSize({ a, b }: Kernel, k: number, m: number): number {
  return Math.sqrt(Math.max(m * squares(a) + 2 * trace(a) * trace(b) + k * squares(b), 0));
}

function kernelDifference(first: Kernel, second: Kernel): Kernel {
  return { a: plus(first.a, second.a, -1), b: plus(first.b, second.b, -1) };
}

function unit({ a, b }: Kernel, size: number): Kernel {
  return size > 0 ? { a: times(a, 1 / size), b: times(b, 1 / size) } : { a, b };
}

/** Whether a network learns what it can, in words. */
function statusOf({ theta, balance, target, speed }: Prepared): string {
  const rate = unreached(eigenmodes(theta, balance.scale, target), balance.rank);
  const until = ROUNDING_GROWS / (rate * speed);
  if (!Number.isFinite(until)) return "ok";
  if (balance.rank === 0) return SADDLE;
  return (
    "near a saddle: a direction of the target has no weight at the start; in exact arithmetic it " +
    `stays so, rounding may leave it from t = ${Number(until.toPrecision(3))} on`
  );
}
