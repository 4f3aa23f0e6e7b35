/** The map of families: two exponents of the width, and the phase of infinitely wide networks. */

import {
  exponentDiagram,
  type ExponentLike,
  type ExponentName,
  exponentValue,
  type LawParameter,
  LAW_PARAMETERS,
  linspace,
  PRESETS,
  type ScalingLaw,
} from "../../numerics/index.ts";
import type { MapAxis, MapCurve, MapDrawing, MapName, MapPlace } from "../map.ts";
import { fraction } from "../numerals.ts";
import { PRESET_NAMES } from "../presets.ts";
import type { Range } from "../ranges.ts";
import { type Change, type EXPONENT_AXES, lawOf, type State, valueOf } from "../state.ts";
import { gridded, type Region, type Surface } from "../surface.ts";

export type ExponentAxis = (typeof EXPONENT_AXES)[number];

const MOVES: Readonly<Record<ExponentAxis, readonly LawParameter[]>> = {
  output_scale_exponent: ["output_scale"],
  init_var_exponent: ["init_var_u", "init_var_w"],
  init_var_u_exponent: ["init_var_u"],
  init_var_w_exponent: ["init_var_w"],
  lr_u_exponent: ["lr_u"],
  lr_w_exponent: ["lr_w"],
};

export const EXPONENT_AXIS_TEXTS: Readonly<Record<ExponentAxis, { symbol: string; label: string }>> = {
  output_scale_exponent: { symbol: "a", label: "exponent of the output scale" },
  init_var_exponent: { symbol: "s", label: "exponent of both variances" },
  init_var_u_exponent: { symbol: "s_u", label: "exponent of the 2nd variance" },
  init_var_w_exponent: { symbol: "s_w", label: "exponent of the 1st variance" },
  lr_u_exponent: { symbol: "e_u", label: "exponent of the 2nd rate" },
  lr_w_exponent: { symbol: "e_w", label: "exponent of the 1st rate" },
};

type Fixed = Readonly<Partial<Record<ExponentName, ExponentLike>>>;

const SPAN: Range = [-2.5, 1.5];
export const CELLS = 41;
const GRAIN = 8; // the point stops at eighths
const ON_MAP = 1e-9;

const REGIONS: readonly Region[] = [
  { name: "kernel phase", colour: "region-lazy" },
  { name: "feature learning,\nvanishing start", colour: "region-rich" },
];

/** The axes that are shown: layers with different exponents have no common one. */
export function exponentAxes(state: State): readonly [ExponentAxis, ExponentAxis] {
  const same = exponentValue(state.init_var_u.exponent) === exponentValue(state.init_var_w.exponent);
  const own = (axis: ExponentAxis): ExponentAxis =>
    axis === "init_var_exponent" && !same ? "init_var_u_exponent" : axis;
  const [x, y] = [own(state.law_x), own(state.law_y)];
  const meet = MOVES[x].some((name) => MOVES[y].includes(name));
  return [x, meet ? (x === "output_scale_exponent" ? "init_var_u_exponent" : "output_scale_exponent") : y];
}

/** Other exponents: the network stays as it is, its family is another. */
export function exponentsMoved(state: State, x: number, y: number): Change {
  const [across, up] = exponentAxes(state);
  return Object.fromEntries(
    (
      [
        [across, x],
        [up, y],
      ] as const
    ).flatMap(([axis, power]) =>
      MOVES[axis].map((name) => {
        const exponent = fraction(Math.round(GRAIN * power) / GRAIN);
        const constant = Number(
          (valueOf(state, name) / state.width ** exponentValue(exponent)).toPrecision(6),
        );
        return [name, { constant, exponent }];
      }),
    ),
  );
}

export class ExponentMap {
  private key = "";
  private surface: Surface | null = null;
  private curves: readonly MapCurve[] = [];

  drawing(state: State, spoken: string): MapDrawing & { readonly fixed: Fixed } {
    const [across, up] = exponentAxes(state);
    const law = lawOf(state);
    const moved = [...MOVES[across], ...MOVES[up]];
    const fixed = Object.fromEntries(
      LAW_PARAMETERS.filter((name) => !moved.includes(name)).map((name) => [
        `${name}_exponent`,
        law[name].exponent,
      ]),
    ) as Fixed;
    const key = JSON.stringify([across, up, fixed]);
    if (key !== this.key || !this.surface) {
      const values = linspace(...SPAN, CELLS);
      const diagram = exponentDiagram({ name: across, values }, { name: up, values }, fixed);
      this.surface = {
        valueAt: gridded(diagram.signal_excess, CELLS, CELLS),
        regions: REGIONS,
        regionOf: (excess) => (excess < 0 ? 0 : 1),
      };
      this.curves = diagram.boundaries.map((curve) => ({ x: curve.x, y: curve.y, kind: "boundary" }));
      this.key = key;
    }
    const point = { x: valueAlong(law, across), y: valueAlong(law, up) };
    const place = `exponents ${fraction(point.x)} and ${fraction(point.y)}: ${spoken}`;
    return {
      fixed,
      x: mapAxis(across),
      y: mapAxis(up),
      surface: this.surface,
      curves: this.curves,
      names: nameOfBoundary(this.curves),
      places: placesOn(law, across, up),
      point: { ...point, spoken: place },
    };
  }
}

/** What families on the boundary do: a name along it, from left to right. */
function nameOfBoundary(curves: readonly MapCurve[]): MapName[] {
  const [curve] = curves;
  if (!curve) return [];
  const place = (share: number): { x: number; y: number } => {
    const at = share * (curve.x.length - 1);
    const [before, after, part] = [Math.floor(at), Math.ceil(at), at % 1];
    const between = (values: ArrayLike<number>): number => values[before] * (1 - part) + values[after] * part;
    return { x: between(curve.x), y: between(curve.y) };
  };
  const [one, other] = [place(0.04), place(0.3)];
  const [from, toward] = one.x <= other.x ? [one, other] : [place(0.96), place(0.7)];
  return [{ ...from, text: "feature learning", toward }];
}

function mapAxis(axis: ExponentAxis): MapAxis {
  return { ...EXPONENT_AXIS_TEXTS[axis], range: SPAN, log: false, step: 1 / GRAIN };
}

function valueAlong(law: ScalingLaw, axis: ExponentAxis): number {
  return exponentValue(law[MOVES[axis][0]].exponent);
}

/** The presets that differ from the law in the axes alone; of the rates only their ratio matters. */
function placesOn(law: ScalingLaw, across: ExponentAxis, up: ExponentAxis): MapPlace[] {
  const moved = [...MOVES[across], ...MOVES[up]];
  const of = (one: ScalingLaw, name: LawParameter): number => exponentValue(one[name].exponent);
  const rates = (one: ScalingLaw): number => of(one, "lr_u") - of(one, "lr_w");
  const there = new Map<string, MapPlace>();
  for (const [name, preset] of Object.entries(PRESETS)) {
    const agrees = (parameter: LawParameter): boolean =>
      moved.includes(parameter) || Math.abs(of(law, parameter) - of(preset, parameter)) < ON_MAP;
    const rest = (["output_scale", "init_var_u", "init_var_w"] as const).every(agrees);
    const sameRates =
      moved.some((one) => one.startsWith("lr")) || Math.abs(rates(law) - rates(preset)) < ON_MAP;
    const both = [across, up].every((axis) => {
      const [one, other] = MOVES[axis];
      return other === undefined || of(preset, one) === of(preset, other);
    });
    if (!rest || !sameRates || !both) continue;
    const [x, y] = [valueAlong(preset, across), valueAlong(preset, up)];
    const known = there.get(`${x},${y}`);
    const label = known ? `${known.label}, ${PRESET_NAMES[name]}` : PRESET_NAMES[name];
    there.set(`${x},${y}`, { x, y, label });
  }
  return [...there.values()];
}
