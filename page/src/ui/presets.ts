/** The named parametrisations as people write them. */

import { exponentValue, LAW_PARAMETERS, PRESETS, type ScalingLaw } from "../numerics/index.ts";

export const PRESET_NAMES: Readonly<Record<string, string>> = {
  ntk: "NTK",
  mean_field: "Mean field",
  kaiming: "Kaiming",
  kaiming_plus: "Kaiming+",
  xavier: "Xavier",
  xavier_plus: "Xavier+",
  mup: "μP",
  standard: "Standard",
};

/** The name of a law, if it is one of those that have one. */
export function presetOf(law: ScalingLaw): string | null {
  const same = (other: ScalingLaw): boolean =>
    LAW_PARAMETERS.every((name) => {
      const [one, two] = [law[name], other[name]];
      return one.constant === two.constant && exponentValue(one.exponent) === exponentValue(two.exponent);
    });
  return Object.keys(PRESETS).find((name) => same(PRESETS[name])) ?? null;
}
