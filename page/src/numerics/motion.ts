/** Where the solution on a line is at one time: the Riccati equation, solved. */
import { Scaled, ZERO } from "./exact.ts";
import { inOne, isStill, modesOf, type Modes, type NaturalUnits } from "./natural_units.ts";

export interface Motion {
  /** Pχ, in units of `one` as all that follows */
  readonly along: Scaled;
  /** Q/χ */
  readonly across: Scaled;
  /** E = (f − f*)/(f₀ − f*) */
  readonly remaining: number;
  /** 1 − E */
  readonly progress: Scaled;
  /** ((P + Q)(t) − (P + Q)(0))/(P + Q)(0), accurate when small */
  readonly kernelChange: number;
}

/**
 * `χ = ỹ/z̃`, `E = e/(ỹ z̃)` with `e = exp(−D t)`, `ỹ = e + g Y`, `z̃ = e + g Z` and
 * `g = (1 − e)/(2D)`: sums of non-negative terms. Z is a multiple of the growing mode, which may be
 * smaller than any float: what is needed is z̃ over it.
 */
export function move(units: NaturalUnits, time: number): Motion {
  const modes = modesOf(units);
  const { growing, fading } = modes;
  const d = units.growth;
  const t = isStill(units) ? 0 : units.rate.timesFloat(time);
  const exponent = d > 0 ? d * t : 0;
  const quarter = Math.exp(-0.25 * exponent); // its fourth power may underflow
  const e = quarter ** 4;
  const g = exponent > 1e-300 ? -Math.expm1(-exponent) / (2 * d) : 0.5 * t;
  const gone = growing.isZero;
  const rise = gone ? ZERO : riseOf(growing, quarter);

  const passed = modes.wide === 0 ? 0 : g * modes.wide;
  const first = e + passed; // ỹ
  const lag = gone ? Infinity : Scaled.of(1).over(rise).value(); // e over the growing mode
  const swing = g * modes.narrow;
  const second = lag + swing; // z̃ over the growing mode
  const ahead = gone ? 1 : lag > 1 ? 1 / (1 + swing / lag) : lag / second; // e/z̃
  const share = gone ? 0 : swing === Infinity ? 1 : swing / second;
  const remaining = ahead / first;
  const late = lag > 1 ? e / ahead : growing.value() * second; // z̃
  const slow = !gone && lag > 1e200; // the growing mode is still far below all others
  const grown = slow ? rise.times(Scaled.of(first)) : Scaled.of(gone ? 0 : first / second);
  const faded = fading.times(Scaled.of(fading.isZero ? 0 : late / first));
  const along = modes.forward ? grown : faded;
  const across = modes.forward ? faded : grown;

  const linear = inOne(units, units.p + units.q).times(Scaled.of(2 * g * remaining));
  const swept = slow
    ? rise.times(Scaled.of((passed / first) * swing))
    : Scaled.of((passed / first) * share);
  return {
    along,
    across,
    remaining,
    progress: remaining > 0.5 ? linear.plus(swept) : Scaled.of(1 - remaining),
    kernelChange: kernelChange(units, { g, e, first, late }, along, across),
  };
}

/** The growing mode times e^{Dt}. */
function riseOf(growing: Scaled, quarter: number): Scaled {
  const root = growing.sqrt().sqrt().over(Scaled.of(quarter));
  const fourth = root.times(root).times(root).times(root);
  return quarter === 0 ? new Scaled(Infinity, fourth.exponent) : fourth;
}

/** `Δ = 2s (B − A(P − Q)) ((P − Q)c + B(P + Q)s)/(y z)` over P + Q. */
function kernelChange(
  units: NaturalUnits,
  at: { readonly g: number; readonly e: number; readonly first: number; readonly late: number },
  along: Scaled,
  across: Scaled,
): number {
  const kernel = units.p + units.q;
  if (!(kernel > 0)) return 0;
  const force = 2 * at.g * (units.drive - inOne(units, units.inner).value());
  const turned = units.inner * (0.5 * (1 + at.e)) + units.drive * at.g * kernel;
  const change = (force / at.first) * (turned / kernel / at.late);
  if (Number.isFinite(change)) return change;
  const total = along.plus(across).over(units.own).times(units.one).value();
  return (total - kernel) / kernel;
}

/**
 * The time at which the residual has shrunk to `remaining` of its start; infinite if never.
 *
 * With `s = (1 − e)/(2De)` the equation `ỹ z̃ = e/E` is quadratic:
 * `YZ ε s² + 2((P + Q)ε − D)s − 1 = 0` where `ε = E/(1 − E)`, and `e^{Dt} = 1 + 2Ds`.
 */
export function timeToReach(units: NaturalUnits, remaining: number): number {
  if (remaining === 1) return 0;
  const modes: Modes = modesOf(units);
  const d = units.growth;
  const odds = remaining / (1 - remaining);
  const half = inOne(units, units.p + units.q).value() * odds - d;
  const product = modes.growing
    .times(Scaled.of(modes.wide))
    .times(Scaled.of(modes.narrow))
    .times(Scaled.of(odds)); // YZ ε
  const root = Math.hypot(half, product.sqrt().value());
  const direct = half > 0;
  const logS = direct ? -Math.log(half + root) : Math.log(root - half) - product.log();
  if (isStill(units) || !Number.isFinite(logS)) return Infinity;
  const s = direct ? 1 / (half + root) : Scaled.of(root - half).over(product).value();
  const x = 2 * d * s;
  const far = d > 0 && x > 1e100;
  const t = far ? (Math.log(2 * d) + logS) / d : x > 1e-300 ? Math.log1p(x) / d : 2 * s;
  return Scaled.of(t).over(units.rate).value();
}
