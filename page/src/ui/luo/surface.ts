/** The ground of the diagram: how the first layer's movement grows with the width. */

import { reluPhase } from "../../numerics/index.ts";
import { rgb } from "../palette.ts";
import type { Range } from "../ranges.ts";
import { gridded, type Region, type Surface } from "../surface.ts";

const CELLS = 61; // so that γ = 1/2, γ = 1 and γ′ = 0 are on the grid
const STRONGEST = 2; // exponent of the full colour

const REGIONS: readonly Region[] = [
  { name: "linear", colour: "shrink" },
  { name: "condensed", colour: "grow" },
  { name: "cannot tell", colour: "region-none" },
];

const made = new Map<boolean, Surface>();

/** The exponent S over γ and γ′; made once, for it depends on nothing else. */
export function luoSurface(gamma: Range, prime: Range, zeroOutput: boolean): Surface {
  const known = made.get(zeroOutput);
  if (known) return known;
  const values = new Float64Array(CELLS * CELLS);
  const along = ([low, high]: Range, i: number): number => low + ((high - low) * i) / (CELLS - 1);
  for (let j = 0; j < CELLS; j += 1) {
    for (let i = 0; i < CELLS; i += 1) {
      values[j * CELLS + i] = reluPhase(
        along(gamma, i),
        along(prime, j),
        zeroOutput,
      ).weight_movement_exponent;
    }
  }
  const surface: Surface = {
    valueAt: gridded(values, CELLS, CELLS),
    regions: REGIONS,
    regionOf: (power) => (Number.isNaN(power) ? 2 : power <= 0 ? 0 : 1),
    shade,
  };
  made.set(zeroOutput, surface);
  return surface;
}

/** From blue, where the movement vanishes, over nothing to vermilion, where it grows. */
function shade(power: number): readonly [number, number, number] {
  if (Number.isNaN(power)) return rgb("region-none");
  const share = Math.min(Math.abs(power) / STRONGEST, 1);
  const [from, middle, to] =
    power < 0 ? [rgb("stay"), rgb("shrink"), rgb("shrink-far")] : [rgb("stay"), rgb("grow"), rgb("grow-far")];
  const mix = (one: number, other: number, part: number): number => one + (other - one) * part;
  return [0, 1, 2].map((channel) =>
    share < 0.5
      ? mix(from[channel], middle[channel], 2 * share)
      : mix(middle[channel], to[channel], 2 * share - 1),
  ) as [number, number, number];
}
