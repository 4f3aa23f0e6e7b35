/** What the tab of the line shows, computed: no element of the page is touched here. */

import {
  type Decomposition, descent, flow, type LawPhase, lawPhase, type LineProblem, lineProblem,
  type LineTrajectory, logTimes, mechanisms, type OrderParameters, orderParameters, type Setting,
} from "../../numerics/index.ts"; // prettier-ignore
import { lawOf, settingOf, startOf, type State } from "../state.ts";
import { type Facts, factsOf } from "./facts.ts";

const RECORDS = 240; // of the flow
const SLOW_TIMES = 2.5; // learning times that a linear axis shows
const FEWEST_STEPS = 30; // of descent, however large they are
const MOST_STEPS = 20_000;
const JUDGED_STEPS = 2000; // after which descent is judged, if the view shows fewer

export interface Scene {
  readonly setting: Setting;
  readonly problem: LineProblem;
  readonly order: OrderParameters;
  readonly law: LawPhase;
  readonly flow: LineTrajectory;
  readonly descent: LineTrajectory;
  readonly parts: Decomposition;
  /** The last time of the axis. */
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
  const law = lawPhase(lawOf(state));
  const times = timesOf(problem, order);
  const solution = flow(problem, times);
  const parts = mechanisms(solution);

  const large = { ...setting, lr_u: state.step_size * setting.lr_u, lr_w: state.step_size * setting.lr_w };
  const slow = endOf(state, order, times);
  const wanted = Math.min(MOST_STEPS, Math.ceil(slow / state.step_size));
  const stepped = descent(lineProblem(large, start), { steps: Math.max(wanted, JUDGED_STEPS) });
  const facts = factsOf({
    order, law, parts, flow: solution, descent: stepped, problem, stepSize: state.step_size,
  }); // prettier-ignore
  const end = Math.max(slow, fewestSteps(facts) * state.step_size);
  const steps = Math.min(MOST_STEPS, Math.ceil(end / state.step_size));
  return { setting, problem, order, law, flow: solution, descent: stepped, parts, end, steps, facts };
}

/** How many steps tell the story: a catapult comes down again, and a divergence is over soon. */
function fewestSteps({ outcome, peak, divergedAt }: Facts): number {
  if (outcome === "diverges") return Math.min(divergedAt + 2, FEWEST_STEPS);
  return outcome === "catapult" ? Math.max(2 * peak, FEWEST_STEPS) : FEWEST_STEPS;
}

/** Zero, and times that resolve the start as well as the end. */
function timesOf(problem: LineProblem, order: OrderParameters): Float64Array {
  const slow = logTimes(problem, RECORDS);
  const last = slow[slow.length - 1] ?? 1;
  const learned = Number.isFinite(order.learning_time) ? SLOW_TIMES * order.learning_time : last;
  const even = Array.from({ length: RECORDS }, (_, i) => (Math.min(learned, last) * i) / (RECORDS - 1));
  return Float64Array.from(new Set([...slow, ...even])).sort();
}

function endOf(state: State, order: OrderParameters, times: Float64Array): number {
  const last = times[times.length - 1] ?? 1;
  const slow = SLOW_TIMES * order.learning_time;
  return state.time === "linear" && Number.isFinite(slow) && slow > 0 ? Math.min(slow, last) : last;
}
