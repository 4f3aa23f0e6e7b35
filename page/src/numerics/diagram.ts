/** The phases of a typical network of finite width over two of its parameters. */
import { zeroCurves } from "./contour.ts";
import { flow, orderParameters } from "./flow.ts";
import { move, timeToReach } from "./motion.ts";
import { isStill, naturalUnits, type NaturalUnits } from "./natural_units.ts";
import { lineProblem, typical } from "./setting.ts";
import {
  InputError,
  type Axis,
  type LineProblem,
  type Mechanism,
  type ParameterDiagram,
  type ParameterPoint,
  type Region,
  type Setting,
  type SettingName,
} from "./types.ts";
import { windowsOf } from "./windows.ts";

/** All regions, in the order of their codes. */
export const REGIONS: readonly Region[] = [
  "frozen",
  "unstable",
  "kernel",
  "feature_critical",
  "feature_vanishing_init",
];
const FROZEN = 0;
const KERNEL = 2;

/** Changes of the kernel that bound feature learning: those of F = 1 and F = 10 from zero output. */
export const LEVELS: readonly [number, number] = [changeOf(1), changeOf(10)];

const PROGRESS = 33; // states along a trajectory in which mechanisms are looked for
const LEAST_LEFT = 1e-9; // of the residual, at the last of them
const LEARNED_LEFT = 0.1;

/** ‖ΔΘ‖/‖Θ₀‖ of a network from zero output with this order parameter F. */
function changeOf(order: number): number {
  return Math.sqrt(1 + order ** 2 / 4) - 1;
}

type Parameters = Setting & { readonly init_alignment: number };

/**
 * The phases over two parameters, with boundaries whose points are roots. Throws `InputError`.
 *
 * Regions are named by the relative change of the kernel at t = ∞; a network that ends at a saddle,
 * which its neighbours leave, is counted as they are.
 */
export function parameterDiagram(
  x: Axis<SettingName>,
  y: Axis<SettingName>,
  setting: Setting,
  init_alignment = 0,
): ParameterDiagram {
  requireAxes(x, y);
  const fixed = { ...setting, init_alignment };
  requireCorners(fixed, x, y);
  const nx = x.values.length;
  const region = new Uint8Array(nx * y.values.length);
  const ntk_change = new Float64Array(region.length);
  const known = new Float64Array(region.length);
  const scratch = { ...fixed }; // one record for all points: thousands of copies would be the cost
  const [setX, setY] = [setter(scratch, x.name), setter(scratch, y.name)];
  const changeAt = (xValue: number, yValue: number): Change => {
    setX(xValue);
    setY(yValue);
    return limitOfChange(kernelProblem(scratch));
  };
  for (let iy = 0; iy < y.values.length; iy++) {
    for (let ix = 0; ix < nx; ix++) {
      const at = iy * nx + ix;
      const { change, frozen } = changeAt(x.values[ix], y.values[iy]);
      ntk_change[at] = change;
      region[at] = regionCode(change, frozen);
      known[at] = frozen && change !== Infinity ? NaN : change; // F is 0/0, no limit
    }
  }
  const boundaries = LEVELS.flatMap((level) =>
    zeroCurves(
      `ΔΘ/Θ = ${Number(level.toPrecision(3))}`,
      (xValue, yValue) => side(changeAt(xValue, yValue).change, level),
      x.values,
      y.values,
      known.map((change) => side(change, level)),
    ),
  );
  return { x, y, region, ntk_change, boundaries };
}

/** One point of that diagram. Throws `InputError`. */
export function parameterPoint(setting: Setting, init_alignment = 0): ParameterPoint {
  const problem = typicalProblem({ ...setting, init_alignment });
  const { change, frozen } = limitOfChange(problem);
  return {
    ...orderParameters(problem),
    region: REGIONS[regionCode(change, frozen)],
    mechanisms: actingMechanisms(problem),
  };
}

/** The code of a region, from the change of the kernel. */
export function regionCode(change: number, frozen = false): number {
  if (frozen) return FROZEN;
  return KERNEL + LEVELS.filter((level) => change >= level).length;
}

function typicalProblem({ init_alignment, ...setting }: Parameters): LineProblem {
  return lineProblem(setting, { kind: "typical", init_alignment });
}

/**
 * What the kernel needs of the problem, unchecked: what is wrong anywhere in a diagram is wrong in a
 * corner of it, and those are checked.
 */
function kernelProblem(of: Parameters): LineProblem {
  return {
    ...typical(of, of.init_alignment),
    output_scale: of.output_scale,
    lr_u: of.lr_u,
    lr_w: of.lr_w,
    mean_aa: of.mean_aa,
    mean_ay: of.mean_ay,
    noise: 0,
  };
}

function requireCorners(fixed: Parameters, x: Axis<SettingName>, y: Axis<SettingName>): void {
  const corner = { ...fixed };
  const [setX, setY] = [setter(corner, x.name), setter(corner, y.name)];
  for (const right of [x.values[0], x.values[x.values.length - 1]]) {
    for (const up of [y.values[0], y.values[y.values.length - 1]]) {
      setX(right);
      setY(up);
      typicalProblem(corner);
    }
  }
}

type Writable = { -readonly [Name in keyof Parameters]: Parameters[Name] };

/** What puts a value on an axis into parameters. */
function setter(parameters: Writable, name: SettingName): (value: number) => void {
  const names =
    name === "lr" || name === "init_std" ? ([`${name}_u`, `${name}_w`] as const) : ([name] as const);
  return (value) => {
    for (const each of names) parameters[each] = value;
  };
}

interface Change {
  readonly change: number;
  readonly frozen: boolean;
}

/**
 * The kernel's change at t = ∞, continuous in all parameters.
 *
 * At a saddle it is the limit of the neighbours, |½F − 1|, which is infinite where both layers are
 * zero and the data ask for more.
 */
function limitOfChange(problem: LineProblem): Change {
  const units = naturalUnits(problem);
  const frozen = isStill(units);
  const { uu, ww, output_scale, lr_u, lr_w, mean_ay } = problem;
  if (uu === 0 && ww === 0) {
    const asked = output_scale !== 0 && lr_u !== 0 && lr_w !== 0 && mean_ay !== 0;
    return { change: asked ? Infinity : 0, frozen };
  }
  const leaves = frozen || units.growth === 0 || Number.isFinite(timeToReach(units, LEARNED_LEFT));
  return { change: leaves ? finalChange(units) : saddleChange(problem), frozen };
}

function finalChange(units: NaturalUnits): number {
  const end = move(units, Infinity);
  return end.progress.isZero ? 0 : Math.abs(end.kernelChange);
}

function saddleChange(problem: LineProblem): number {
  return Math.abs(0.5 * orderParameters(problem).order_parameter - 1);
}

/** `(change − level)/(change + level)`: zero on the boundary, −1 at 0 and 1 at infinity. */
function side(change: number, level: number): number {
  return 1 - 2 / (1 + change / level);
}

/**
 * Which mechanisms act between t = 0 and t = ∞.
 *
 * The state depends on the output alone, so that equal steps of the residual resolve it; the point
 * where the output crosses zero is added, for there |ζ| has its minimum.
 */
function actingMechanisms(problem: LineProblem): readonly Mechanism[] {
  const { output_scale, uw, mean_aa, mean_ay } = problem;
  const goal = mean_ay / (mean_aa > 0 ? mean_aa : Infinity);
  const way = goal - output_scale * uw;
  const crossing = way === 0 ? 0 : goal / way;
  const left = Array.from({ length: PROGRESS }, (_, i) => 1 - (i * (1 - LEAST_LEFT)) / (PROGRESS - 1));
  left.push(Math.min(Math.max(crossing, LEAST_LEFT), 1));
  left.sort((first, second) => second - first);
  const units = naturalUnits(problem);
  const { at, alignment, uu, ww } = flow(problem, left.map((share) => timeToReach(units, share)));
  const logNorms = uu.map((square, i) => 0.5 * (Math.log(square) + Math.log(ww[i])));
  const windows = windowsOf(at, alignment, logNorms);
  return windows.filter((window) => window.acts).map((window) => window.mechanism);
}

function requireAxes(x: Axis, y: Axis): void {
  for (const { name, values } of [x, y]) {
    const increases = Array.from(values).every((value, i) => i === 0 || value > values[i - 1]);
    if (values.length >= 2 && increases) continue;
    throw new InputError(`the axis \`${name}\` must hold at least two increasing values.`);
  }
  if (x.name === y.name) throw new InputError(`each name may be used once, got ${x.name} twice.`);
}
