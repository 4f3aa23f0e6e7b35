/** The phases of infinitely wide networks over two of their scaling exponents. */
import { exponentValue } from "./scaling.ts";
import {
  InputError,
  LAW_PARAMETERS,
  type Axis,
  type Curve,
  type ExponentDiagram,
  type ExponentLike,
  type ExponentName,
} from "./types.ts";

const ZERO = 1e-12; // of an exponent in floating point
const [FROZEN, UNSTABLE, KERNEL] = [0, 1, 2];

/** `constant + x · alongX + y · alongY` */
interface Linear {
  readonly constant: number;
  readonly alongX: number;
  readonly alongY: number;
}

/**
 * The phases over two exponents. Throws `InputError`.
 *
 * Without `tune_rates` nearly every point is frozen or unstable; with them both rates are shifted so
 * that the network learns in Θ(1) time.
 */
export function exponentDiagram(
  x: Axis<ExponentName>,
  y: Axis<ExponentName>,
  fixed: Readonly<Partial<Record<ExponentName, ExponentLike>>> = {},
  tune_rates = true,
): ExponentDiagram {
  const { signal, kernels } = rates(x.name, y.name, fixed);
  const nx = x.values.length;
  const region = new Uint8Array(nx * y.values.length);
  const signal_excess = new Float64Array(region.length);
  const rate_exponent = new Float64Array(region.length);
  for (let at = 0; at < region.length; at++) {
    const [px, py] = [x.values[at % nx], y.values[Math.floor(at / nx)]];
    const b = valueOf(signal, px, py);
    const k = Math.max(...kernels.map((kernel) => valueOf(kernel, px, py)));
    signal_excess[at] = b - k;
    rate_exponent[at] = Math.max(b, k);
    region[at] = regionOf(b - k, Math.max(b, k), tune_rates);
  }
  const branches = tune_rates
    ? kernels.map((kernel) => difference(signal, kernel))
    : [signal, ...kernels];
  const window = { x: ends(x.values), y: ends(y.values) };
  const name = tune_rates ? "b = k" : "r = 0";
  const boundaries = zeroLines(name, branches, tune_rates ? 1 : -1, window);
  return { x, y, region, signal_excess, rate_exponent, boundaries };
}

function regionOf(excess: number, rate: number, tuned: boolean): number {
  const feature = KERNEL + Number(excess >= -ZERO) + Number(excess > ZERO);
  if (tuned) return feature;
  return rate < -ZERO ? FROZEN : rate > ZERO ? UNSTABLE : feature;
}

/** The three rates of which the largest decides, as functions of the point. */
function rates(
  xName: ExponentName,
  yName: ExponentName,
  fixed: Readonly<Partial<Record<ExponentName, ExponentLike>>>,
): { readonly signal: Linear; readonly kernels: readonly Linear[] } {
  const given = new Map<string, Linear>();
  const put = (name: string, linear: Linear): void => {
    const both = /^(lr|init_var)_exponent$/.exec(name);
    const targets = both ? [`${both[1]}_u_exponent`, `${both[1]}_w_exponent`] : [name];
    for (const target of targets) {
      if (given.has(target)) throw new InputError(`${name} sets ${target}, which is given already.`);
      given.set(target, linear);
    }
  };
  for (const [name, value] of Object.entries(fixed)) {
    put(name, { constant: exponentValue(value), alongX: 0, alongY: 0 });
  }
  put(xName, { constant: 0, alongX: 1, alongY: 0 });
  put(yName, { constant: 0, alongX: 0, alongY: 1 });
  const nothing = { constant: 0, alongX: 0, alongY: 0 };
  const [a, eU, eW, sU, sW] = LAW_PARAMETERS.map((name) => given.get(`${name}_exponent`) ?? nothing);
  const one = { constant: 1, alongX: 0, alongY: 0 };
  return {
    signal: sum([a, 1], [eU, 0.5], [eW, 0.5]),
    kernels: [sum([a, 2], [one, 1], [eW, 1], [sU, 1]), sum([a, 2], [one, 1], [eU, 1], [sW, 1])],
  };
}

function sum(...parts: readonly (readonly [Linear, number])[]): Linear {
  const total = (of: (part: Linear) => number): number =>
    parts.reduce((all, [part, factor]) => all + factor * of(part), 0);
  return {
    constant: total((part) => part.constant),
    alongX: total((part) => part.alongX),
    alongY: total((part) => part.alongY),
  };
}

function difference(first: Linear, second: Linear): Linear {
  return sum([first, 1], [second, -1]);
}

function valueOf(linear: Linear, x: number, y: number): number {
  return linear.constant + linear.alongX * x + linear.alongY * y;
}

interface Window {
  readonly x: readonly [number, number];
  readonly y: readonly [number, number];
}

function ends(values: ArrayLike<number>): [number, number] {
  return [values[0], values[values.length - 1]];
}

type Point = readonly [number, number];

/**
 * The edges of the set where the least (`sense` 1) or largest (−1) of linear functions is zero:
 * where one of them is zero and no other is on the wrong side.
 */
function zeroLines(
  name: string,
  branches: readonly Linear[],
  sense: 1 | -1,
  window: Window,
): readonly Curve[] {
  const segments: Point[][] = [];
  branches.forEach((branch, i) => {
    const others = branches.filter((_, j) => j !== i).map((other) => sum([other, sense]));
    const segment = lineInside(branch, others, window);
    const known = segments.some((old) => old.every((point, at) => isSame(point, segment?.[at])));
    if (segment !== null && !known) segments.push(segment);
  });
  return joined(segments).map((points) => ({
    name,
    x: Float64Array.from(points, ([x]) => x),
    y: Float64Array.from(points, ([, y]) => y),
  }));
}

/** The part of the line `zero = 0` in the window where all `others` are ≥ 0. */
function lineInside(zero: Linear, others: readonly Linear[], window: Window): Point[] | null {
  const { constant: c, alongX: a, alongY: b } = zero;
  const square = a * a + b * b;
  if (square <= ZERO * ZERO) return null; // a constant has no line
  const foot: Point = [(-c * a) / square, (-c * b) / square];
  const along: Point = [-b, a];
  const limits: readonly Linear[] = [
    { constant: -window.x[0], alongX: 1, alongY: 0 },
    { constant: window.x[1], alongX: -1, alongY: 0 },
    { constant: -window.y[0], alongX: 0, alongY: 1 },
    { constant: window.y[1], alongX: 0, alongY: -1 },
    ...others,
  ];
  let [from, to] = [-Infinity, Infinity];
  for (const limit of limits) {
    const at = valueOf(limit, ...foot);
    const slope = limit.alongX * along[0] + limit.alongY * along[1];
    if (Math.abs(slope) <= ZERO) {
      if (at < -ZERO) return null;
    } else if (slope > 0) from = Math.max(from, -at / slope);
    else to = Math.min(to, -at / slope);
  }
  if (!(to - from > ZERO)) return null;
  const point = (t: number): Point => [foot[0] + t * along[0], foot[1] + t * along[1]];
  const found = [point(from), point(to)];
  return found[0][0] < found[1][0] || (found[0][0] === found[1][0] && found[0][1] < found[1][1])
    ? found
    : found.reverse();
}

function isSame(first: Point, second: Point | undefined): boolean {
  return second !== undefined && Math.hypot(first[0] - second[0], first[1] - second[1]) < 1e-9;
}

/** Segments that share an end, as one curve. */
function joined(segments: readonly Point[][]): readonly Point[][] {
  const curves: Point[][] = [];
  for (const segment of segments) {
    const [first, last] = segment;
    const before = curves.find((curve) => isSame(curve[curve.length - 1], first));
    const after = curves.find((curve) => isSame(curve[0], last));
    const opposite = curves.find((curve) => isSame(curve[curve.length - 1], last));
    const shared = curves.find((curve) => isSame(curve[0], first));
    if (before) before.push(last);
    else if (after) after.unshift(first);
    else if (opposite) opposite.push(first);
    else if (shared) shared.unshift(last);
    else curves.push([...segment]);
  }
  return curves;
}
