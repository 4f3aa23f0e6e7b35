import type { Axis, ParameterDiagram, ParameterPoint, Region, Setting, SettingName } from "./types.ts";

/** All regions, in the order of their codes. */
export const REGIONS: readonly Region[] = [
  "frozen",
  "unstable",
  "kernel",
  "feature_critical",
  "feature_vanishing_init",
];

/**
 * The phases of typical networks over two parameters, with boundaries whose points are roots.
 * A grid of 48 × 48 takes a few milliseconds.
 */
export function parameterDiagram(
  _x: Axis<SettingName>,
  _y: Axis<SettingName>,
  _setting: Setting,
  _init_alignment = 0,
): ParameterDiagram {
  throw new Error("not yet");
}

/** One point of that diagram: what the draggable point says. */
export function parameterPoint(_setting: Setting, _init_alignment = 0): ParameterPoint {
  throw new Error("not yet");
}
