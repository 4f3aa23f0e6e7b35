import type { Axis, ExponentDiagram, ExponentLike, ExponentName } from "./types.ts";

/** The phases of infinitely wide networks over two scaling exponents. */
export function exponentDiagram(
  _x: Axis<ExponentName>,
  _y: Axis<ExponentName>,
  _fixed: Readonly<Partial<Record<ExponentName, ExponentLike>>> = {},
  _tune_rates = true,
): ExponentDiagram {
  throw new Error("not yet");
}
