/** The word for a change of the kernel, as in `lazyrich.vocabulary.regimes`. */

import { LAZY_BELOW, type Regime, RICH_FROM } from "../numerics/index.ts";

/** The regime of a relative change of the kernel. */
export function regimeOf(change: number): Regime {
  if (Number.isNaN(change)) return "cannot tell";
  if (change < LAZY_BELOW) return "lazy";
  return change < RICH_FROM ? "intermediate" : "rich";
}
