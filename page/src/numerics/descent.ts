/**
 * Gradient descent on a line, step by step and exactly: P, Q, R move, in units of the start.
 *
 * `h = slope · X u·w − push`; the modes scale by `1 − h` and `1 + h`. X u·w is carried beside
 * P − Q, which replaces it wherever that difference does not cancel. So is the change of P + Q, of
 * which a difference would leave nothing if it is small.
 */
import { Scaled } from "./exact.ts";
import { meanRate, naturalUnits, type NaturalUnits } from "./natural_units.ts";
import { emptySeries, readout, type Readout } from "./readout.ts";
import {
  InputError,
  LINE_QUANTITIES,
  type DescentOptions,
  type LineProblem,
  type LineQuantity,
  type LineTrajectory,
} from "./types.ts";

const FAR_POWER = 300;
const FAR = 2 ** FAR_POWER;
const LARGEST = 1e307; // of a squared norm and of the loss: from there they overflow
const LOWEST = 10_000; // powers of two that a start may lie below what the data ask for
const MOST_STEPS = 1e9; // seconds of computing
const RELATIVE: readonly LineQuantity[] = ["alignment", "nfa", "balancedness"]; // keep their last

/** One recorded state, in units of the start. */
interface Record {
  readonly uu: number;
  readonly uw: number;
  readonly ww: number;
  readonly balance: number;
  readonly change: number;
  readonly power: number;
}

/** Exact gradient descent, catapults and divergence included. Throws `InputError`. */
export function descent(problem: LineProblem, options: DescentOptions): LineTrajectory {
  const at = recordedSteps(options);
  const oneFrozen = problem.lr_u === 0 || problem.lr_w === 0;
  const run = oneFrozen ? frozenSteps(problem, at) : modeSteps(problem, at);
  const columns = emptySeries(at.length);
  const last = at.findIndex((step) => run.diverged >= 0 && step >= run.diverged);
  const alive = last < 0 ? at.length : last;
  for (let row = 0; row < at.length; row++) {
    const now = run.rows[Math.min(row, alive - 1)];
    for (const name of LINE_QUANTITIES) {
      const kept = row < alive || RELATIVE.includes(name);
      columns[name][row] = kept ? now[name] : infinityLike(now[name]);
    }
  }
  return {
    ...columns,
    dynamics: "gradient descent",
    at,
    status: run.diverged < 0 ? "ok" : `diverged at step ${run.diverged}`,
    diverged_at: run.diverged,
  };
}

function infinityLike(value: number): number {
  return value < 0 || Object.is(value, -0) ? -Infinity : Infinity;
}

function recordedSteps({ steps, every = 1 }: DescentOptions): Float64Array {
  if (!(Number.isInteger(steps) && steps >= 0 && steps <= MOST_STEPS)) {
    throw new InputError(`\`steps\` must be a whole number from 0 to ${MOST_STEPS}, got ${steps}.`);
  }
  if (!(Number.isInteger(every) && every >= 1)) {
    throw new InputError(`\`every\` must be a whole number ≥ 1, got ${every}.`);
  }
  const found: number[] = [];
  for (let step = 0; step <= steps; step += every) found.push(step);
  if (found[found.length - 1] !== steps) found.push(steps);
  return Float64Array.from(found);
}

interface Run {
  /** Until divergence, at least one. */
  readonly rows: readonly Readout[];
  readonly diverged: number;
}

function modeSteps(problem: LineProblem, at: Float64Array): Run {
  const units = naturalUnits(problem);
  const { records, diverged } = steps(units, stepScales(problem, units), at);
  const etaU = Scaled.of(problem.lr_u);
  const etaW = Scaled.of(problem.lr_w);
  const x = meanRate(problem);
  const before = units.p + units.q > 0 ? units.p + units.q : Infinity;
  const rows = records.map((record) => {
    const own = units.own.shifted(record.power);
    const norms = {
      uu: Scaled.of(record.uu).times(own).over(etaW).value(),
      uw: Scaled.of(record.uw).times(own).over(x).value(),
      ww: Scaled.of(record.ww).times(own).over(etaU).value(),
    };
    const change = Scaled.of(Math.abs(record.change) / before).shifted(record.power);
    return readout(problem, norms, {
      ntk_change: change.value(),
      balancedness: Scaled.of(record.balance).times(own).value(),
    });
  });
  return { rows, diverged };
}

interface StepScales {
  readonly slope: number;
  readonly push: number;
  readonly lag: number;
  /** From where η_w‖u‖², η_u‖w‖² and the product of norms have left the range of floats. */
  readonly limits: readonly [number, number, number];
}

function stepScales(problem: LineProblem, units: NaturalUnits): StepScales {
  const gamma = Scaled.of(problem.output_scale);
  const aa = Scaled.of(problem.mean_aa);
  const x = meanRate(problem);
  const { one, own } = units;
  const two = Scaled.of(2);
  const most = Scaled.of(LARGEST);
  const slope = gamma.abs().times(aa.sqrt()).times(one).over(x);
  return {
    slope: two.times(gamma).times(gamma).times(one).times(aa).value(),
    push: two.times(gamma).times(x).times(Scaled.of(problem.mean_ay)).value(),
    lag: Math.max(own.exponent - one.exponent, -LOWEST),
    limits: [
      most.times(Scaled.of(problem.lr_w)).over(one).value(),
      most.times(Scaled.of(problem.lr_u)).over(one).value(),
      slope.isZero ? Infinity : most.sqrt().over(slope).value(),
    ],
  };
}

function steps(
  units: NaturalUnits,
  scales: StepScales,
  at: Float64Array,
): { readonly records: readonly Record[]; readonly diverged: number } {
  const records: Record[] = [];
  let { p, q, r, inner, area } = units;
  let change = 0;
  let power = 0;
  let unit = 2 ** scales.lag;
  for (let step = 0; ; ) {
    if (step === at[records.length]) {
      const [uu, ww] = [r, -r].map((part) => squaredNorm(p + q, part, inner, area));
      records.push({ uu, uw: inner, ww, balance: 4 * r, change, power });
      if (records.length === at.length) return { records, diverged: -1 };
    }
    const h = scales.slope * unit * inner - scales.push;
    const total = p + q;
    change += h * h * total - 2 * (h * inner);
    inner = (1 + h * h) * inner - h * (total + 2 * r + (total - 2 * r));
    p *= (1 - h) * (1 - h);
    q *= (1 + h) * (1 + h);
    r *= (1 - h) * (1 + h);
    area *= Math.abs((1 - h) * (1 + h));
    if (Math.abs(p - q) > 0.5 * (p + q)) inner = p - q;
    step += 1;
    const uu = Math.max(p + q + 2 * r, 0) * unit;
    const ww = Math.max(p + q - 2 * r, 0) * unit;
    const [limitU, limitW, limit] = scales.limits;
    if (!(uu < limitU && ww < limitW && Math.sqrt(uu) * Math.sqrt(ww) < limit)) {
      return { records, diverged: step };
    }
    if (p + q > FAR) {
      power += FAR_POWER; // a start that is tiny beside what the data ask for: a larger unit
      unit = 2 ** (scales.lag + power);
      [p, q, r, inner, area, change] = [p, q, r, inner, area, change].map((x) => x / FAR);
    }
  }
}

/** `P + Q + 2R`; if R < 0 without cancellation, as in `line.ts`. */
function squaredNorm(total: number, r: number, inner: number, area: number): number {
  if (r >= 0) return total + 2 * r;
  const root = Math.hypot(area, r);
  const across = root - r;
  if (across === 0) return total;
  return inner * (inner / (total + 2 * root)) + 2 * area * (area / across);
}

/**
 * One layer stays: X = 0 says nothing about u·w, and the other layer is regression on what stays,
 * `u·w ← u·w − 2γη‖·‖²(E[aa]γ u·w − E[ay])`, with its part across what stays conserved. So is the
 * kernel.
 */
function frozenSteps(problem: LineProblem, at: Float64Array): Run {
  const { output_scale: gamma, lr_u, lr_w, mean_aa, mean_ay, sine_squared } = problem;
  const [fixed, moving] = lr_w > 0 ? [problem.uu, problem.ww] : [problem.ww, problem.uu];
  const rate = 2 * gamma * (lr_u + lr_w) * fixed;
  const rows: Readout[] = [];
  let uw = problem.uw;
  for (let step = 0; ; step++) {
    const moved = step > 0 && rate !== 0;
    const other = moved ? uw * (uw / fixed) + moving * sine_squared : moving;
    if (moved && !(other < LARGEST && gamma * gamma * mean_aa * other * fixed < LARGEST)) {
      return { rows, diverged: step };
    }
    if (step === at[rows.length]) {
      const [uu, ww] = lr_w > 0 ? [fixed, other] : [other, fixed];
      rows.push(readout(problem, { uu, uw, ww }, { ntk_change: 0 }));
      if (rows.length === at.length) return { rows, diverged: -1 };
    }
    uw -= rate * (mean_aa * gamma * uw - mean_ay);
  }
}
