/** The three numbers of a network on a line at any time: every returned number keeps its digits. */
import { Scaled, ZERO } from "./exact.ts";
import { move, type Motion } from "./motion.ts";
import { inOne, meanRate, type NaturalUnits } from "./natural_units.ts";
import type { LineProblem } from "./types.ts";

export interface LineSolution {
  readonly uu: number;
  readonly uw: number;
  readonly ww: number;
  readonly remaining: number;
  readonly ntk_change: number;
}

/** The exact state at `time` (0 to infinity). */
export function solve(problem: LineProblem, units: NaturalUnits, time: number): LineSolution {
  const motion = move(units, time);
  if (motion.progress.isZero) {
    const { uu, uw, ww } = problem;
    return { uu, uw, ww, remaining: motion.remaining, ntk_change: 0 };
  }
  const { uu, ww, lr_u, lr_w } = problem;
  const uw = innerProduct(problem, units, motion);
  const { sine_squared: sine } = problem;
  return {
    uu: squaredNorm({ start: uu, lr: lr_u, otherLr: lr_w, r: units.r, sine }, uw, units, motion),
    uw: uw.value(),
    ww: squaredNorm({ start: ww, lr: lr_w, otherLr: lr_u, r: -units.r, sine }, uw, units, motion),
    remaining: motion.remaining,
    ntk_change: Math.abs(motion.kernelChange),
  };
}

/**
 * u·w, as the difference `Pχ − Q/χ` or as a mean of start and optimum, whichever is sharper.
 *
 * The mean `(1 − E) u·w* + E u·w₀` cancels only where the output crosses zero; the difference only
 * where the layers are nearly orthogonal.
 */
function innerProduct(problem: LineProblem, units: NaturalUnits, motion: Motion): Scaled {
  const scale = Scaled.of(problem.output_scale).times(Scaled.of(problem.mean_aa));
  const gain = Scaled.of(problem.mean_ay).over(scale).times(motion.progress);
  const rest =
    motion.remaining === 0 ? ZERO : Scaled.of(problem.uw).times(Scaled.of(motion.remaining));
  const unit = units.one.over(meanRate(problem));
  const size = gain.abs().plus(rest.abs());
  const sharper = motion.along.plus(motion.across).times(unit).over(size).value() < 1;
  return sharper
    ? motion.along.plus(motion.across.negated()).times(unit)
    : gain.plus(rest);
}

/**
 * A layer's squared norm. `η_w‖u‖² = Pχ + Q/χ + 2R`; if R < 0 this cancels, and becomes
 * `(√(Pχ) − √(Q/χ))² + 2(√(PQ) − |R|)`, each part rewritten as a quotient of positive terms: what
 * lies along the other layer, and what is left of the part of the start across it.
 */
function squaredNorm(
  layer: {
    readonly start: number;
    readonly lr: number;
    readonly otherLr: number;
    readonly r: number;
    readonly sine: number;
  },
  uw: Scaled,
  units: NaturalUnits,
  motion: Motion,
): number {
  const total = motion.along.plus(motion.across);
  if (layer.r >= 0) {
    const twice = inOne(units, 2 * layer.r);
    return total.plus(twice).times(units.one).over(Scaled.of(layer.otherLr)).value();
  }
  const parallel = Scaled.of(layer.lr).over(units.one).times(uw).times(uw);
  const size = Math.abs(layer.r);
  const share = (0.5 * (units.p + units.q + 2 * size)) / (units.root + size);
  const along = parallel.over(total.plus(inOne(units, 2 * units.root))).value();
  return along + layer.start * layer.sine * share;
}
