/** Gradient flow on a line, in closed form at any width and any time. */
import { Scaled } from "./exact.ts";
import { solve } from "./line.ts";
import { timeToReach } from "./motion.ts";
import { inOne, isStill, naturalUnits, staysAtSaddle, type NaturalUnits } from "./natural_units.ts";
import { emptySeries, readout, type Readout } from "./readout.ts";
import {
  LINE_QUANTITIES,
  type LineProblem,
  type LineTrajectory,
  type OrderParameters,
  type Series,
} from "./types.ts";

const SADDLE = "stays at a saddle: the layers are zero, or balanced and opposed to the data";
const FROZEN = "frozen: nothing can move, for the layers, the rates, γ or the inputs are zero";
const PLATEAU_LEFT = 0.9; // shares of the residual that name the two times
const LEARNED_LEFT = 0.1;
const FIRST_LEFT = 1 - 1e-4; // of the residual at the first of the logarithmic times
const LAST_LEFT = 1e-6;

/** The exact gradient flow at these times (≥ 0, infinity included). */
export function flow(problem: LineProblem, times: ArrayLike<number>): LineTrajectory {
  const units = naturalUnits(problem);
  const columns = emptySeries(times.length);
  for (let i = 0; i < times.length; i++) {
    const now = flowAt(problem, units, times[i]);
    for (const name of LINE_QUANTITIES) columns[name][i] = now[name];
  }
  return {
    ...columns,
    dynamics: "gradient flow",
    at: Float64Array.from(times),
    status: staysAtSaddle(units) ? SADDLE : "ok",
    diverged_at: -1,
  };
}

/** Every quantity at one time. */
export function flowAt(problem: LineProblem, units: NaturalUnits, time: number): Readout {
  const now = solve(problem, units, time);
  const balancedness = Scaled.of(4 * units.r).times(units.own).value(); // conserved
  const { remaining, ntk_change } = now;
  const found = readout(problem, now, { remaining, ntk_change, balancedness });
  const gone = staysAtSaddle(units) && found.alignment === 0; // both layers, opposed
  if (gone) found.alignment = Math.sign(problem.uw);
  if (Math.abs(now.uw) === Infinity) found.alignment = Math.sign(now.uw); // across is conserved
  return found;
}

/**
 * Zero and `count − 1` logarithmic times that show the whole run: from the first ten-thousandth of
 * the way until the residual is 1e-6 of its start, or as far as it ever gets.
 */
export function logTimes(problem: LineProblem, count: number): Series {
  const units = naturalUnits(problem);
  const first = timeToReach(units, FIRST_LEFT);
  const last = timeToReach(units, LAST_LEFT);
  const constant = 1 / units.growth / units.rate.value();
  const known = (time: number) => Number.isFinite(time) && time > 0;
  const end = known(last) ? last : known(constant) ? 30 * constant : 1;
  const start = known(first) && first < end ? first : end * 1e-4;
  const times = new Float64Array(count);
  const step = Math.log(end / start) / Math.max(count - 2, 1);
  for (let i = 1; i < count; i++) times[i] = start * Math.exp(step * (i - 1));
  return times;
}

/** When f − f* has shrunk to this share of its start; infinite if never. */
export function timeToResidual(problem: LineProblem, remaining: number): number {
  return timeToReach(naturalUnits(problem), remaining);
}

/** F, the final change of the kernel and ζ, and the times of learning. */
export function orderParameters(problem: LineProblem): OrderParameters {
  const units = naturalUnits(problem);
  const kernel = inOne(units, units.p + units.q);
  const goes = units.drive !== 0 && kernel.mantissa > 0;
  const still = isStill(units) || kernel.isZero;
  const moves = !still && units.growth > 0;
  const end = flowAt(problem, units, Infinity);
  return {
    order_parameter: goes ? Scaled.of(2 * Math.abs(units.drive)).over(kernel).value() : 0,
    ntk_change: end.ntk_change,
    alignment: end.alignment,
    time_constant: moves ? Scaled.of(1 / units.growth).over(units.rate).value() : Infinity,
    plateau_time: timeToReach(units, PLATEAU_LEFT),
    learning_time: timeToReach(units, LEARNED_LEFT),
    status: still ? FROZEN : staysAtSaddle(units) ? SADDLE : "ok",
  };
}
