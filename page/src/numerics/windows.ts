/** When each mechanism of feature learning acted: how far it moved, and between which times. */
import type { Mechanism, MechanismWindow } from "./types.ts";

export const MECHANISMS: readonly Mechanism[] = ["alignment", "disalignment", "rescaling"];
const UNBOUNDED = 1e300; // a change from or to zero; some of them still have a sum
const WINDOW_SHARE = 0.1; // a window holds the change between its first and last tenth

export interface ActingFrom {
  /** Total rise or fall of |A| from which (dis)alignment acts. */
  readonly alignment: number;
  /** Total variation of the logarithm of norms from which rescaling acts. */
  readonly rescaling: number;
}
export const ACTING_FROM: ActingFrom = { alignment: 0.1, rescaling: 0.1 };

/**
 * How much each mechanism moves between two records: rise of |A|, fall of |A|, size of the step of
 * the logarithm. Where A changes its sign, |A| has fallen to zero and risen again.
 */
export function movements(
  alignment: ArrayLike<number>,
  logNorm: ArrayLike<number>,
): readonly [Float64Array, Float64Array, Float64Array] {
  const count = Math.max(alignment.length - 1, 0);
  const rise = new Float64Array(count);
  const fall = new Float64Array(count);
  const rescale = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const before = Math.abs(alignment[i]);
    const after = Math.abs(alignment[i + 1]);
    const turns = Math.sign(alignment[i]) * Math.sign(alignment[i + 1]) < 0;
    rise[i] = turns ? after : Math.max(after - before, 0);
    fall[i] = turns ? before : Math.max(before - after, 0);
    const step = Math.abs(logNorm[i + 1] - logNorm[i]);
    rescale[i] = Number.isNaN(step) ? 0 : Math.min(step, UNBOUNDED); // from zero: ∞, −∞ less −∞
  }
  return [rise, fall, rescale];
}

/** The window of each mechanism along one trajectory, in the order of `MECHANISMS`. */
export function windowsOf(
  times: ArrayLike<number>,
  alignment: ArrayLike<number>,
  logNorm: ArrayLike<number>,
  actingFrom: ActingFrom = ACTING_FROM,
): readonly MechanismWindow[] {
  return movements(alignment, logNorm).map((parts, i) => {
    const mechanism = MECHANISMS[i];
    const change = parts.reduce((sum, part) => sum + part, 0);
    const acts = change > 0 && change >= thresholdOf(mechanism, actingFrom);
    return {
      mechanism,
      change: change < UNBOUNDED ? change : Infinity,
      acts,
      start: acts ? timeOfShare(parts, times, WINDOW_SHARE) : NaN,
      stop: acts ? timeOfShare(parts, times, 1 - WINDOW_SHARE) : NaN,
    };
  });
}

function thresholdOf(mechanism: Mechanism, from: ActingFrom): number {
  return mechanism === "rescaling" ? from.rescaling : from.alignment;
}

/** When a share of all movement was done, linear between records. */
function timeOfShare(parts: Float64Array, times: ArrayLike<number>, share: number): number {
  const total = parts.reduce((sum, part) => sum + part, 0);
  const goal = Math.max(share * total, 2.2250738585072014e-308);
  let done = 0;
  for (let i = 0; i < parts.length; i++) {
    done += parts[i];
    if (done < goal) continue;
    const fraction = (goal - (done - parts[i])) / parts[i];
    return fraction <= 0 ? times[i] : times[i] + fraction * (times[i + 1] - times[i]);
  }
  return NaN;
}
