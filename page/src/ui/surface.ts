/** The coloured ground of a map. */

import { type Colour, rgb } from "./palette.ts";

export interface Region {
  readonly name: string;
  readonly colour: Colour;
}

export interface Surface {
  /** What is painted at a place, across and up from 0 to 1. */
  readonly valueAt: (across: number, up: number) => number;
  /** Which region a value is in. */
  readonly regionOf: (value: number) => number;
  readonly regions: readonly Region[];
  /** Colour of a value, where regions have no colour of their own. */
  readonly shade?: (value: number) => readonly [number, number, number];
}

const SIDE = 220; // pixels that are computed; the browser stretches them
const COARSE_SIDE = 90; // while a frame has to be made of it
const CELLS = 44; // of the grid on which names look for a place
const EDGE = 0.16; // of the map, in which a name would stick out
const SMALLEST = 0.02; // of the map, below which a region gets no name

/** Numbers on a grid, row by row from below, and in between what their neighbours give. */
export function gridded(values: ArrayLike<number>, columns: number, rows: number): Surface["valueAt"] {
  return (across, up) => {
    const [x, y] = [across * (columns - 1), up * (rows - 1)];
    const [i, j] = [Math.min(Math.floor(x), columns - 2), Math.min(Math.floor(y), rows - 2)];
    const [right, top] = [x - i, y - j];
    // a weight of zero keeps what is not a number out of its neighbour
    const mix = (from: number, to: number, part: number): number =>
      part === 0 ? from : from * (1 - part) + to * part;
    const row = (k: number): number => mix(values[k * columns + i], values[k * columns + i + 1], right);
    return top === 0 ? row(j) : mix(row(j), row(j + 1), top);
  };
}

/** Paint a surface, coarsely where it has to be quick. */
export function paint(canvas: HTMLCanvasElement, surface: Surface, coarse: boolean): void {
  const side = coarse ? COARSE_SIDE : SIDE;
  canvas.width = side;
  canvas.height = side;
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = context.createImageData(side, side);
  const colours = surface.regions.map((region) => rgb(region.colour));
  for (let j = 0; j < side; j += 1) {
    for (let i = 0; i < side; i += 1) {
      const value = surface.valueAt(i / (side - 1), 1 - j / (side - 1));
      const [red, green, blue] = surface.shade?.(value) ?? colours[surface.regionOf(value)];
      image.data.set([red, green, blue, 255], 4 * (j * side + i));
    }
  }
  context.putImageData(image, 0, 0);
}

/** For each region the place that is furthest from all others, for its name. */
export function labelPlaces({
  valueAt,
  regionOf,
  regions,
}: Surface): { x: number; y: number; text: string }[] {
  const along = (i: number): number => i / (CELLS - 1);
  const codes = Array.from({ length: CELLS * CELLS }, (_, k) =>
    regionOf(valueAt(along(k % CELLS), along(Math.floor(k / CELLS)))),
  );
  return regions.flatMap(({ name }, code) => {
    const count = codes.filter((one) => one === code).length;
    if (count < SMALLEST * codes.length) return [];
    const depth = depths(codes, code);
    let best = -1;
    for (let k = 0; k < depth.length; k += 1) {
      const x = along(k % CELLS);
      if (x > EDGE && x < 1 - EDGE && depth[k] > (depth[best] ?? 0)) best = k;
    }
    if (best < 0) return [];
    return [{ x: along(best % CELLS), y: along(Math.floor(best / CELLS)), text: name }];
  });
}

/** How far each cell of a region is from its edge; a name is wide, so that steps across count less. */
function depths(codes: readonly number[], code: number): Float64Array {
  const depth = new Float64Array(CELLS * CELLS);
  const [across, along] = [0.45, 1];
  const at = (i: number, j: number): number =>
    i < 0 || j < 0 || i >= CELLS || j >= CELLS ? 0 : depth[j * CELLS + i];
  for (let k = 0; k < depth.length; k += 1) {
    const [i, j] = [k % CELLS, Math.floor(k / CELLS)];
    if (codes[k] === code) depth[k] = Math.min(at(i - 1, j) + across, at(i, j - 1) + along);
  }
  for (let k = depth.length - 1; k >= 0; k -= 1) {
    const [i, j] = [k % CELLS, Math.floor(k / CELLS)];
    if (codes[k] === code) depth[k] = Math.min(depth[k], at(i + 1, j) + across, at(i, j + 1) + along);
  }
  return depth;
}
