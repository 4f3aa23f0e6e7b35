/** Where lazy ends and rich begins, as in `lazyrich.vocabulary.regimes`. */

import type { Regime } from "../numerics/index.ts";

export const LAZY_BELOW = 0.1;
export const RICH_FROM = 1;

/** The regime of a relative change of the kernel. */
export function regimeOf(change: number): Regime {
  if (Number.isNaN(change)) return "cannot tell";
  if (change < LAZY_BELOW) return "lazy";
  return change < RICH_FROM ? "intermediate" : "rich";
}
