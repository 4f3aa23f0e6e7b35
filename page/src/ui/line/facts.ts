/** What is said of a network on a line, as facts: each is compared with Python's in a test. */

import { flow } from "../../numerics/index.ts";
import type {
  Decomposition,
  FeatureKind,
  LawPhase,
  LineProblem,
  LineTrajectory,
  Mechanism,
  OrderParameters,
  Phase,
  Regime,
} from "../../numerics/index.ts";
import { regimeOf } from "../regimes.ts";

/** What steps of finite size do. */
export type Outcome = "settles" | "catapult" | "diverges" | "cannot tell";

export interface Facts {
  readonly regime: Regime;
  readonly change: number;
  /** Of the family; a layer that does not learn is of none. */
  readonly phase: Phase | "cannot tell";
  readonly kind: FeatureKind | null;
  /** Mechanisms that act in the flow. */
  readonly acting: readonly Mechanism[];
  /** From when to when each of them acts. */
  readonly windows: Readonly<Partial<Record<Mechanism, readonly [number, number]>>>;
  /** The one that does most of the output's change; null if none acts. */
  readonly dominant: Mechanism | null;
  readonly outcome: Outcome;
  /** Step of the largest loss, of a catapult. */
  readonly peak: number;
  /** That loss over the one at the start. */
  readonly growth: number;
  readonly divergedAt: number;
  /** Relative change of the kernel by descent. */
  readonly stepChange: number;
  /** Sharpness times step size, at the start and where the flow ends: above 2 small errors grow. */
  readonly sharpness: number;
  readonly finalSharpness: number;
  readonly status: string;
}

interface Given {
  readonly order: OrderParameters;
  readonly law: LawPhase | null;
  readonly parts: Decomposition;
  readonly descent: LineTrajectory;
  readonly problem: LineProblem;
  readonly stepSize: number;
}

const GROWN = 1e-9; // of the first loss: what rounding may add
const SETTLED = 0.01; // share of the first loss at which a run has come down

export function factsOf({ order, law, parts, descent, problem, stepSize }: Given): Facts {
  const active = parts.windows.filter((window) => window.acts);
  const acting = active.map((window) => window.mechanism);
  const ends = flow(problem, [0, Infinity]).ntk_trace;
  const unit = 2 * stepSize * problem.mean_aa;
  const frozen = order.status.startsWith("frozen");
  return {
    regime: frozen ? "frozen" : regimeOf(order.ntk_change),
    change: order.ntk_change,
    phase: law?.phase ?? "cannot tell",
    kind: law?.feature_kind ?? null,
    acting,
    windows: Object.fromEntries(active.map(({ mechanism, start, stop }) => [mechanism, [start, stop]])),
    dominant: dominantOf(parts, acting),
    ...outcomeOf(descent),
    sharpness: unit * ends[0],
    finalSharpness: unit * ends[1],
    status: order.status,
  };
}

/**
 * The mechanism behind most of Δln|f|: rescaling if its part is the larger one, else alignment
 * or disalignment, whichever moved |ζ| further.
 */
function dominantOf(parts: Decomposition, acting: readonly Mechanism[]): Mechanism | null {
  if (acting.length <= 1) return acting[0] ?? null;
  const change = (name: Mechanism): number =>
    acting.includes(name) ? (parts.windows.find((window) => window.mechanism === name)?.change ?? 0) : 0;
  const turning = change("alignment") >= change("disalignment") ? "alignment" : "disalignment";
  if (!acting.includes("rescaling")) return turning;
  const last = parts.log_alignment.length - 1;
  const aligned = Math.abs(parts.log_alignment[last]);
  const rescaled = Math.abs(parts.log_rescaling[last]);
  return change(turning) > 0 && aligned >= rescaled ? turning : "rescaling";
}

function outcomeOf(
  run: LineTrajectory,
): Pick<Facts, "outcome" | "peak" | "growth" | "divergedAt" | "stepChange"> {
  const losses = run.excess_loss;
  const first = losses[0];
  let highest = 0;
  losses.forEach((loss, i) => {
    if (loss > losses[highest] && Number.isFinite(loss)) highest = i;
  });
  const peak = run.at[highest];
  const growth = first > 0 ? losses[highest] / first : 1;
  const stepChange = run.ntk_change[run.ntk_change.length - 1];
  const found = { peak, growth, divergedAt: run.diverged_at, stepChange };
  if (run.diverged_at >= 0) return { ...found, outcome: "diverges" };
  const down = losses[losses.length - 1] <= SETTLED * first;
  if (!down) return { ...found, outcome: "cannot tell" };
  return { ...found, outcome: growth > 1 + GROWN ? "catapult" : "settles" };
}
