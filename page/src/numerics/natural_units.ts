/**
 * Gradient flow on a line: the problem without dimensions. See docs/theory/line.md.
 *
 * The state, P, Q, R, is in units of `own`, in which the larger of η_w‖u‖² and η_u‖w‖² is of order
 * one. What the data ask for is in units of `one`, in which the largest of these and of X|u·w| at
 * the optimum is. Times are in units of 1/(A one). Powers of two make the change of units exact.
 */
import { Scaled, ZERO, differenceOfProducts } from "./exact.ts";
import type { LineProblem } from "./types.ts";

export interface NaturalUnits {
  readonly p: number;
  readonly q: number;
  readonly r: number;
  /** √(PQ) */
  readonly root: number;
  /** √(PQ − R²) = ½X‖u‖‖w‖ sin */
  readonly area: number;
  /** P − Q = X u·w */
  readonly inner: number;
  /** B/A, from here on in units of `one` */
  readonly drive: number;
  /** D/A = √((B/A)² + 4PQ) */
  readonly growth: number;
  /** A · one */
  readonly rate: Scaled;
  readonly one: Scaled;
  readonly own: Scaled;
}

/** X = √(η_u η_w) */
export function meanRate(problem: LineProblem): Scaled {
  return Scaled.of(problem.lr_u).times(Scaled.of(problem.lr_w)).sqrt();
}

/** Units in which nothing overflows, and P, Q, R without cancellation. */
export function naturalUnits(problem: LineProblem): NaturalUnits {
  const u2 = Scaled.of(problem.uu);
  const w2 = Scaled.of(problem.ww);
  const etaU = Scaled.of(problem.lr_u);
  const etaW = Scaled.of(problem.lr_w);
  const gamma = Scaled.of(problem.output_scale);
  const power = Scaled.of(problem.mean_aa);
  const x = meanRate(problem);
  const alpha = u2.times(etaW);
  const beta = w2.times(etaU);
  const moves = !gamma.isZero && !power.isZero;
  const drive = moves ? x.times(Scaled.of(problem.mean_ay)).over(gamma.times(power)) : ZERO;
  const own = Math.max(alpha.exponent, beta.exponent);
  const unit = Math.max(own, drive.isZero ? own : drive.exponent);

  const a = alpha.overPower(own);
  const b = beta.overPower(own);
  const inner = x.times(Scaled.of(problem.uw)).overPower(own);
  const halfU = new Scaled(u2.mantissa, alpha.exponent).overPower(own);
  const halfW = new Scaled(w2.mantissa, beta.exponent).overPower(own);
  const r = 0.25 * differenceOfProducts(halfU, etaW.mantissa, halfW, etaU.mantissa);
  const area = 0.5 * Math.sqrt(a) * Math.sqrt(b) * Math.sqrt(problem.sine_squared);
  const root = Math.hypot(r, area);
  const larger = 0.25 * (a + b) + 0.5 * Math.abs(inner);
  const smaller = root * (root / (larger > 0 ? larger : 1));
  const forward = drive.overPower(unit);
  return {
    p: inner >= 0 ? larger : smaller,
    q: inner >= 0 ? smaller : larger,
    r,
    root,
    area,
    inner,
    drive: forward,
    growth: Math.hypot(forward, new Scaled(2 * root, own).overPower(unit)),
    rate: Scaled.of(4).times(gamma).times(gamma).times(power).times(new Scaled(1, unit)),
    one: new Scaled(1, unit),
    own: new Scaled(1, own),
  };
}

/** A number of the state, in units of `one`. */
export function inOne(units: NaturalUnits, value: number): Scaled {
  return Scaled.of(value).shifted(units.own.exponent - units.one.exponent);
}

/** Whether the flow ends at u = w = 0 although the data ask for more. */
export function staysAtSaddle(units: NaturalUnits): boolean {
  const growing = units.drive > 0 ? units.p : units.q;
  return units.drive !== 0 && growing === 0 && !units.rate.isZero;
}

/** Whether nothing can ever move. */
export function isStill(units: NaturalUnits): boolean {
  return units.rate.isZero || units.p + units.q === 0;
}

/** The mode that the data make grow, and the other one: P and Q if B ≥ 0, else Q and P. */
export interface Modes {
  readonly forward: boolean;
  readonly growing: Scaled;
  readonly fading: Scaled;
  /** Y = D + B + 2Q of the growing mode */
  readonly wide: number;
  /** Z = D − B + 2P of the other, over the growing mode itself: 2 + 4Q/(D + B) */
  readonly narrow: number;
}

/** With D − |B| = 4PQ/(D + |B|) both are sums, and Z is a multiple of P. */
export function modesOf(units: NaturalUnits): Modes {
  const forward = units.drive >= 0;
  const growing = inOne(units, forward ? units.p : units.q);
  const fading = inOne(units, forward ? units.q : units.p);
  const wide = units.growth + Math.abs(units.drive);
  const other = fading.value();
  const narrow = 2 + (wide > 0 ? (4 * other) / wide : 0);
  return { forward, growing, fading, wide: wide + 2 * other, narrow };
}
