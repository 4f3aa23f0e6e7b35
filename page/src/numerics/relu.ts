/** Wide two-layer ReLU networks: linear, critical or condensed, by how initialisation scales. */
import { Fraction, exactExponent, larger } from "./fraction.ts";
import { lawExponents } from "./scaling.ts";
import type { Condensation, Curve, ExponentLike, ReluPhase, ScalingLaw } from "./types.ts";

const OPEN =
  "cannot tell: the initial output grows with the width for γ < 1/2, for which nothing is " +
  "established; with zero output at the start it is linear";
const WORDS: readonly Condensation[] = ["linear", "critical", "condensed"];
const NOTHING = Fraction.of(0);
const ONE = Fraction.of(1);

/** γ and γ′ of usual initialisations at one learning rate, by name. */
export const RELU_INITIALISATIONS: Readonly<
  Record<string, { readonly gamma: ExponentLike; readonly gamma_prime: ExponentLike }>
> = {
  ntk: { gamma: "1/2", gamma_prime: 0 },
  mean_field: { gamma: 1, gamma_prime: 0 },
  lecun: { gamma: "1/2", gamma_prime: "1/2" },
  he: { gamma: "1/2", gamma_prime: "1/2" },
  xavier: { gamma: 1, gamma_prime: 0 },
};

/** Linear, critical, condensed, or cannot tell; in exact arithmetic. Throws `InputError`. */
export function reluPhase(
  gamma: ExponentLike,
  gamma_prime: ExponentLike,
  zero_output = false,
): ReluPhase {
  const g = exactExponent(gamma);
  const p = exactExponent(gamma_prime);
  const excess = g.minus(ONE).minus(larger(p, NOTHING));
  const known = zero_output || g.times(2).minus(ONE).sign >= 0;
  return {
    condensation: known ? WORDS[1 + excess.sign] : "cannot tell",
    phase: !known ? "cannot tell" : excess.sign < 0 ? "kernel" : "feature",
    weight_movement_exponent: known ? movement(g, p).value() : NaN,
    condensation_excess: excess.value(),
    status: known ? "ok" : OPEN,
  };
}

/** S(γ, γ′), from `κ m a w ~ 1` at the end of training. */
function movement(g: Fraction, p: Fraction): Fraction {
  const e = g.minus(ONE);
  const above = e.minus(p);
  if (e.sign > 0 && above.sign > 0) {
    return p.plus(e).sign <= 0 ? e : above.half(); // only the first layer grows, or both do
  }
  if (e.sign <= 0) return e.minus(larger(p, NOTHING).times(2)); // neither layer grows
  return above.times(2); // only the second one grows
}

/** The critical line, and γ = 1/2 where something is open, inside a window (γ across, γ′ up). */
export function reluBoundaries(
  gamma: readonly [number, number],
  gamma_prime: readonly [number, number],
  zero_output = false,
): readonly Curve[] {
  const [left, right] = gamma;
  const [low, high] = gamma_prime;
  const critical: [number, number][] = [];
  if (left <= 1 && 1 <= right && low < 0) {
    critical.push([1, low], [1, Math.min(high, 0)]);
  }
  const from = Math.max(low, 0, left - 1); // γ′ where γ = 1 + γ′ enters the window, and leaves it
  const to = Math.min(high, right - 1);
  if (from <= to) {
    if (critical.length === 0 || from > 0) critical.push([1 + from, from]);
    critical.push([1 + to, to]);
  }
  const curves: Curve[] = [];
  if (critical.length > 1) curves.push(curve("γ = 1 + max(γ′, 0)", critical));
  if (!zero_output && left <= 0.5 && 0.5 <= right) {
    curves.push(
      curve("γ = 1/2", [
        [0.5, low],
        [0.5, high],
      ]),
    );
  }
  return curves;
}

function curve(name: string, points: readonly (readonly [number, number])[]): Curve {
  return {
    name,
    x: Float64Array.from(points, ([x]) => x),
    y: Float64Array.from(points, ([, y]) => y),
  };
}

/** γ and γ′ of a scaling law, as texts of exact fractions. Throws `InputError`. */
export function reluOfLaw(law: ScalingLaw): {
  readonly gamma: string;
  readonly gamma_prime: string;
} {
  const [a, eU, eW, sU, sW] = lawExponents(law);
  const gamma = a.times(-1).minus(sU.plus(sW).half());
  const gamma_prime = sW.minus(sU).plus(eU).minus(eW).half();
  return { gamma: gamma.toString(), gamma_prime: gamma_prime.toString() };
}
