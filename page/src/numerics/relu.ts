import type { Curve, ExponentLike, ReluPhase, ScalingLaw } from "./types.ts";

/** γ and γ′ of usual initialisations at one learning rate, by name. */
export const RELU_INITIALISATIONS: Readonly<
  Record<string, { readonly gamma: ExponentLike; readonly gamma_prime: ExponentLike }>
> = {};

/** Linear, critical, condensed, or cannot tell; in exact arithmetic. Throws `InputError`. */
export function reluPhase(
  _gamma: ExponentLike,
  _gamma_prime: ExponentLike,
  _zero_output = false,
): ReluPhase {
  throw new Error("not yet");
}

/** The critical line, and γ = 1/2 where something is open, inside a window (γ across, γ′ up). */
export function reluBoundaries(
  _gamma: readonly [number, number],
  _gamma_prime: readonly [number, number],
  _zero_output = false,
): readonly Curve[] {
  throw new Error("not yet");
}

/** γ and γ′ of a scaling law, as texts of exact fractions. */
export function reluOfLaw(_law: ScalingLaw): { readonly gamma: string; readonly gamma_prime: string } {
  throw new Error("not yet");
}
