/** From three numbers to everything that is measured: output, loss, alignment, kernel. */
import { LINE_QUANTITIES, type LineProblem, type LineQuantity, type Series } from "./types.ts";

export type Readout = Record<LineQuantity, number>;

/** What is known without cancellation; the rest follows from the norms. */
export interface Known {
  readonly remaining?: number;
  readonly ntk_change?: number;
  readonly balancedness?: number;
}

/** All quantities of a network on a line that now has ‖u‖², u·w, ‖w‖² = `norms`. */
export function readout(
  start: LineProblem,
  norms: { readonly uu: number; readonly uw: number; readonly ww: number },
  known: Known = {},
): Readout {
  const { uu, uw, ww } = norms;
  const { output_scale: gamma, lr_u, lr_w } = start;
  const map = product(gamma, uw);
  const best = ratio(start.mean_ay, start.mean_aa);
  const { remaining } = known;
  const left = remaining === undefined || !(remaining > 0) ? 0 : (gamma * start.uw - best) * remaining;
  const residual = remaining === undefined ? map - best : left;
  const excess = product(Math.sqrt(start.mean_aa), residual) ** 2;
  const sizeU = Math.sqrt(uu);
  const sizeW = Math.sqrt(ww);
  const ntk = lineNtk(start, sizeU, sizeW);
  const before = lineNtk(start, Math.sqrt(start.uu), Math.sqrt(start.ww));
  const gone = sizeU * sizeW === 0 && start.sine_squared === 0 && start.uu > 0 && start.ww > 0;
  const cosine = Math.min(Math.max(ratio(uw, sizeU * sizeW), -1), 1);
  return {
    end_to_end_map: map,
    loss: start.noise + excess,
    excess_loss: excess,
    alignment: gone ? Math.sign(start.uw) : cosine, // parallel until they vanish
    uu,
    uw,
    ww,
    balancedness: known.balancedness ?? lr_w * uu - lr_u * ww,
    ntk_trace: ntk,
    ntk_trace_plain: product(gamma, sizeU) ** 2 + product(gamma, sizeW) ** 2,
    ntk_change: known.ntk_change ?? Math.abs(ratio(ntk - before, before)),
    nfm: ww,
    agop: map ** 2,
    nfa: ww > 0 && map !== 0 ? 1 : 0,
  };
}

/** Empty series of every quantity. */
export function emptySeries(length: number): Record<LineQuantity, Series> {
  const columns = LINE_QUANTITIES.map((name) => [name, new Float64Array(length)]);
  return Object.fromEntries(columns) as Record<LineQuantity, Series>;
}

/** `γ²(η_w‖u‖² + η_u‖w‖²)` as squares of roots, which overflow no sooner than the sum. */
function lineNtk(start: LineProblem, sizeU: number, sizeW: number): number {
  const alongW = product(start.output_scale, product(Math.sqrt(start.lr_w), sizeU));
  const alongU = product(start.output_scale, product(Math.sqrt(start.lr_u), sizeW));
  return alongW ** 2 + alongU ** 2;
}

/** Their product, 0 where either is 0, also if the other has left the range of floats. */
function product(factor: number, size: number): number {
  return factor === 0 || size === 0 ? 0 : factor * size;
}

/** Their quotient, 0 where the denominator is 0. */
export function ratio(numerator: number, denominator: number): number {
  return denominator === 0 ? 0 : numerator / denominator;
}
