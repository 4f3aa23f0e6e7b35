/** What the tab of the line shows, computed: no element of the page is touched here. */

import {
  type Decomposition,
  descent,
  flow,
  geomspace,
  LAW_PARAMETERS,
  type LawPhase,
  lawPhase,
  linspace,
  type LineProblem,
  lineProblem,
  type LineTrajectory,
  logTimes,
  mechanisms,
  type OrderParameters,
  orderParameters,
  type Setting,
  timeToResidual,
} from "../../numerics/index.ts";
import { lawOf, settingOf, startOf, type State } from "../state.ts";
import { type Facts, factsOf } from "./facts.ts";

const EVEN_RECORDS = 240; // of the flow, at equal steps of time
const LOG_RECORDS = 360; // and at equal steps of its logarithm
const WAY_RECORDS = 80; // and at equal steps of the residual
const FIRST_STIR = 1e-10; // of the way to the target: the layers of a wide network may have turned by then
const SLOW_TIMES = 2.5; // learning times that a linear axis shows
const FEWEST_STEPS = 30; // of descent, however large they are
const MOST_STEPS = 20_000;
const JUDGED_STEPS = 1000; // after which descent is judged, if the view shows fewer

export interface Scene {
  readonly setting: Setting;
  readonly problem: LineProblem;
  readonly order: OrderParameters;
  /** What the exponents imply; null if a constant is zero, which no family has. */
  readonly law: LawPhase | null;
  readonly flow: LineTrajectory;
  readonly descent: LineTrajectory;
  readonly parts: Decomposition;
  /** The first time of a logarithmic axis, and the last one of any. */
  readonly begin: number;
  readonly end: number;
  /** Steps of descent up to there; fewer if they would be too many. */
  readonly steps: number;
  readonly facts: Facts;
}

/** Everything that is shown of a state. Throws `InputError` where there is no such network. */
export function sceneOf(state: State): Scene {
  const setting = settingOf(state);
  const start = startOf(state);
  const problem = lineProblem(setting, start);
  const order = orderParameters(problem);
  const family = lawOf(state);
  const law = LAW_PARAMETERS.every((name) => family[name].constant > 0) ? lawPhase(family) : null;
  const times = timesOf(problem, order);
  const solution = flow(problem, times);
  const parts = mechanisms(solution);

  const large = { ...setting, lr_u: state.step_size * setting.lr_u, lr_w: state.step_size * setting.lr_w };
  const slow = endOf(state, order, times);
  const wanted = Math.min(MOST_STEPS, Math.ceil(slow / state.step_size));
  const stepped = descent(lineProblem(large, start), {
    steps: Math.max(wanted, JUDGED_STEPS),
    every: Math.max(1, Math.ceil(wanted / JUDGED_STEPS)), // so many steps are small, and nothing is lost
  });
  const facts = factsOf({ order, law, parts, descent: stepped, problem, stepSize: state.step_size });
  const end = Math.max(slow, fewestSteps(facts) * state.step_size);
  const steps = Math.min(MOST_STEPS, Math.ceil(end / state.step_size));
  const windows = Object.values(facts.windows).map(([from]) => from / 3);
  const begin = Math.min(logTimes(problem, 3)[1], ...windows.filter((time) => time > 0));
  return { setting, problem, order, law, flow: solution, descent: stepped, parts, begin, end, steps, facts };
}

/** How many steps tell the story: a catapult comes down again, and a divergence is over soon. */
function fewestSteps({ outcome, peak, divergedAt }: Facts): number {
  if (outcome === "diverges") return Math.min(divergedAt + 2, FEWEST_STEPS);
  return outcome === "catapult" ? Math.max(2 * peak, FEWEST_STEPS) : FEWEST_STEPS;
}

/** Zero, and times that resolve the start as well as the end. */
function timesOf(problem: LineProblem, order: OrderParameters): Float64Array {
  const slow = logTimes(problem, 3);
  const last = slow[slow.length - 1];
  const stir = timeToResidual(problem, 1 - FIRST_STIR);
  const first = stir > 0 && stir < slow[1] ? stir : slow[1];
  const late = Number.isFinite(order.learning_time) ? SLOW_TIMES * order.learning_time : last;
  const even = linspace(0, Math.min(late, last), EVEN_RECORDS);
  const way = wayOf(problem).map((remaining) => timeToResidual(problem, remaining));
  const all = [...even, ...geomspace(first, last, LOG_RECORDS), ...way.filter((time) => time < last)];
  return Float64Array.from(new Set(all)).sort();
}

/**
 * Shares of the residual along the way, and the one at which the output crosses zero: |ζ| has its
 * minimum there. Not where the layers are parallel: one of them vanishes there, and its logarithm.
 */
function wayOf({ output_scale, uw, mean_ay, mean_aa, sine_squared }: LineProblem): number[] {
  const [start, goal] = [output_scale * uw, mean_ay / mean_aa];
  const crossing = goal / (goal - start);
  const steps = [...linspace(0.99, 0.01, WAY_RECORDS)];
  return crossing > 0 && crossing < 1 && sine_squared > 0 ? [...steps, crossing] : steps;
}

function endOf(state: State, order: OrderParameters, times: Float64Array): number {
  const last = times[times.length - 1] ?? 1;
  const slow = SLOW_TIMES * order.learning_time;
  return state.time === "linear" && Number.isFinite(slow) && slow > 0 ? Math.min(slow, last) : last;
}
