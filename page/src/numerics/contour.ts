/** Boundaries of a diagram: level curves whose every point is a root, not a pixel edge. */
import type { Curve } from "./types.ts";

type Field = (x: number, y: number) => number;

const MOST_ITERATIONS = 100;
const TINY = 2 ** -60; // of an edge

/**
 * The curves where `field(x, y) = 0`.
 *
 * The grid gives the topology (marching squares); every vertex lies on a grid edge, along which the
 * root is then found to rounding. Where the field is not finite on the grid, curves have a gap.
 */
export function zeroCurves(
  name: string,
  field: Field,
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  values: ArrayLike<number>,
): readonly Curve[] {
  const grid = { nx: x.length, ny: y.length, values };
  const neighbours = new Map<number, number[]>();
  const link = (from: number, to: number): void => {
    neighbours.set(from, [...(neighbours.get(from) ?? []), to]);
  };
  for (let iy = 0; iy + 1 < grid.ny; iy++) {
    for (let ix = 0; ix + 1 < grid.nx; ix++) {
      for (const [from, to] of segments(grid, ix, iy)) {
        link(from, to);
        link(to, from);
      }
    }
  }
  return chains(neighbours).map((edges) => {
    const points = edges.map((edge) => vertex(field, x, y, values, edge));
    return {
      name,
      x: Float64Array.from(points, (point) => point[0]),
      y: Float64Array.from(points, (point) => point[1]),
    };
  });
}

interface Grid {
  readonly nx: number;
  readonly ny: number;
  readonly values: ArrayLike<number>;
}

/**
 * Which edges of a cell are joined. An edge is the number of its lower or left node, doubled, plus
 * one if it goes up.
 */
function segments({ nx, values }: Grid, ix: number, iy: number): readonly (readonly [number, number])[] {
  const node = iy * nx + ix;
  const corners = [values[node], values[node + 1], values[node + nx + 1], values[node + nx]];
  if (!corners.every(Number.isFinite)) return [];
  const above = corners.map((value) => value > 0);
  const edges = [2 * node, 2 * (node + 1) + 1, 2 * (node + nx), 2 * node + 1]; // from corner i to i + 1
  const crossed = edges.filter((_, i) => above[i] !== above[(i + 1) % 4]);
  if (crossed.length === 2) return [[crossed[0], crossed[1]]];
  if (crossed.length === 0) return [];
  const middle = (corners[0] + corners[1] + corners[2] + corners[3]) / 4 > 0;
  const [bottom, right, top, left] = edges;
  return middle === above[0] // the first corner is joined with its opposite
    ? [[bottom, right], [top, left]]
    : [[bottom, left], [right, top]];
}

/** Edges in the order in which curves pass them; a closed curve ends where it began. */
function chains(neighbours: ReadonlyMap<number, readonly number[]>): readonly number[][] {
  const found: number[][] = [];
  const seen = new Set<number>();
  const follow = (first: number): void => {
    const chain = [first];
    seen.add(first);
    for (let at = first; ; ) {
      const next = neighbours.get(at)?.find((edge) => !seen.has(edge));
      if (next === undefined) break;
      chain.push(next);
      seen.add(next);
      at = next;
    }
    const last = chain[chain.length - 1];
    if (chain.length > 2 && neighbours.get(last)?.includes(first)) chain.push(first);
    found.push(chain);
  };
  for (const [edge, others] of neighbours) if (others.length === 1 && !seen.has(edge)) follow(edge);
  for (const edge of neighbours.keys()) if (!seen.has(edge)) follow(edge);
  return found;
}

function vertex(
  field: Field,
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  values: ArrayLike<number>,
  edge: number,
): readonly [number, number] {
  const node = Math.floor(edge / 2);
  const up = edge % 2;
  const [ix, iy] = [node % x.length, Math.floor(node / x.length)];
  const [x0, y0] = [x[ix], y[iy]];
  const [dx, dy] = up ? [0, y[iy + 1] - y0] : [x[ix + 1] - x0, 0];
  const end = up ? node + x.length : node + 1;
  const share = root((s) => field(x0 + s * dx, y0 + s * dy), values[node], values[end]);
  return [x0 + share * dx, y0 + share * dy];
}

/** Where a function of [0, 1] changes its sign, by Chandrupatla's method (1997). */
export function root(f: (share: number) => number, at0: number, at1: number): number {
  if (at0 === 0) return 0;
  if (at1 === 0) return 1;
  let [a, fa, b, fb, c, fc] = [1, at1, 0, at0, 1, at1];
  let step = 0.5;
  for (let i = 0; i < MOST_ITERATIONS; i++) {
    const x = a + step * (b - a);
    const fx = f(x);
    if (Math.sign(fx) === Math.sign(fa)) [c, fc] = [a, fa];
    else [c, fc, b, fb] = [b, fb, a, fa];
    [a, fa] = [x, fx];
    const [best, value] = Math.abs(fa) < Math.abs(fb) ? [a, fa] : [b, fb];
    const closest = (2 ** -53 * Math.abs(best) + TINY) / Math.abs(b - a);
    if (value === 0 || closest > 0.5) return best;
    const xi = (a - b) / (c - b);
    const phi = (fa - fb) / (fc - fb);
    const inverse = phi ** 2 < xi && (1 - phi) ** 2 < 1 - xi; // inverse quadratic interpolation
    step = inverse
      ? (fa / (fb - fa)) * (fc / (fb - fc)) +
        (((c - a) / (b - a)) * (fa / (fc - fa)) * fb) / (fc - fb)
      : 0.5;
    step = Math.min(Math.max(step, closest), 1 - closest);
  }
  return a;
}
