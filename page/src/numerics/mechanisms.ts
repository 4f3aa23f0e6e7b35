/** The three mechanisms of feature learning, read off a solution on a line. */
import type { Decomposition, LineTrajectory, Series } from "./types.ts";
import { ACTING_FROM, windowsOf, type ActingFrom } from "./windows.ts";

/**
 * Alignment, disalignment and rescaling along a solution, and when each acts.
 *
 * `f = γ ‖u‖‖w‖ ζ`, so that `Δ ln|f| = Δ ln‖u‖‖w‖ + Δ ln|ζ|` exactly.
 */
export function mechanisms(
  trajectory: LineTrajectory,
  thresholds: ActingFrom = ACTING_FROM,
): Decomposition {
  const { alignment: zeta, at, uu, ww } = trajectory;
  const logNorms = uu.map((square, i) => 0.5 * (Math.log(square) + Math.log(ww[i])));
  const log_alignment = sinceStart(zeta.map((value) => Math.log(Math.abs(value))));
  const log_rescaling = sinceStart(logNorms);
  const log_output = log_alignment.map((part, i) => part + log_rescaling[i]);
  const last = at.length - 1;
  const crossed = crossings(zeta);
  return {
    log_output,
    log_alignment,
    log_rescaling,
    windows: windowsOf(at, zeta, logNorms, thresholds),
    alignment_share: share(log_alignment[last], log_output[last]),
    sign_changes: crossed.length,
    first_sign_change: crossed.length > 0 ? at[crossed[0]] : NaN,
  };
}

function sinceStart(logs: Series): Series {
  return logs.map((value) => value - logs[0]);
}

/** Records after which ζ has for the first time the opposite sign; a zero has that before it. */
function crossings(zeta: Series): readonly number[] {
  const found: number[] = [];
  let sign = Math.sign(zeta[0]);
  for (let i = 1; i < zeta.length; i++) {
    const now = Math.sign(zeta[i]);
    if (now === 0) continue;
    if (now * sign < 0) found.push(i - 1);
    sign = now;
  }
  return found;
}

/** Alignment's share of the final log output; 1 where ζ starts or ends at zero. */
function share(part: number, whole: number): number {
  const infinite = Math.abs(part) === Infinity;
  if (infinite && (Number.isFinite(whole - part) || part === whole)) return 1;
  return whole === 0 ? 0 : part / whole;
}
