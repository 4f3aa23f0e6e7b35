import type { ExponentLike, LawPhase, Power, ScalingLaw, Setting } from "./types.ts";

/** The six parametrisations of arXiv:2401.07085, muP and the standard one, by name. */
export const PRESETS: Readonly<Record<string, ScalingLaw>> = {};

/** The value of a power law at a width. */
export function at(_power: Power, _width: number): number {
  throw new Error("not yet");
}

/** The phase that exponents imply, in exact arithmetic. Throws `InputError`. */
export function lawPhase(_law: ScalingLaw): LawPhase {
  throw new Error("not yet");
}

/** The same family with rates shifted so that it learns in Θ(1) time. */
export function atUnitRate(_law: ScalingLaw): ScalingLaw {
  throw new Error("not yet");
}

/** The member of a family at a width, on these data. */
export function settingOfLaw(
  _law: ScalingLaw,
  _width: number,
  _data: Pick<Setting, "mean_aa" | "mean_ay" | "mean_yy">,
): Setting {
  throw new Error("not yet");
}

/** An exponent as a number; throws `InputError` with what to do. */
export function exponentValue(_exponent: ExponentLike): number {
  throw new Error("not yet");
}
