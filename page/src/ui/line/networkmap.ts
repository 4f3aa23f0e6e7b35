/** The map of finite networks: two parameters, and how much the kernel changes there. */

import {
  exponentValue,
  geomspace,
  type LawParameter,
  LEVELS,
  type ParameterDiagram,
  parameterDiagram,
  REGIONS,
  type SettingName,
} from "../../numerics/index.ts";
import type { MapAxis, MapCurve, MapDrawing } from "../map.ts";
import { compact } from "../numerals.ts";
import type { Range } from "../ranges.ts";
import { type Change, mapAlignment, type NETWORK_AXES, settingOf, type State, valueOf } from "../state.ts";
import { gridded, type Region, type Surface } from "../surface.ts";

export type NetworkAxis = (typeof NETWORK_AXES)[number];

/** The parameters of the law that an axis moves, and whether it shows their square root. */
const MOVES: Readonly<Record<NetworkAxis, readonly LawParameter[]>> = {
  output_scale: ["output_scale"],
  init_std: ["init_var_u", "init_var_w"],
  init_std_u: ["init_var_u"],
  init_std_w: ["init_var_w"],
  lr: ["lr_u", "lr_w"],
  lr_u: ["lr_u"],
  lr_w: ["lr_w"],
};

export const NETWORK_AXIS_TEXTS: Readonly<Record<NetworkAxis, { symbol: string; label: string }>> = {
  output_scale: { symbol: "γ", label: "output scale γ" },
  init_std: { symbol: "σ", label: "initial std σ, both layers" },
  init_std_u: { symbol: "σ_u", label: "initial std of 2nd layer" },
  init_std_w: { symbol: "σ_w", label: "initial std of 1st layer" },
  lr: { symbol: "η", label: "learning rate η, both layers" },
  lr_u: { symbol: "η_u", label: "learning rate of 2nd layer" },
  lr_w: { symbol: "η_w", label: "learning rate of 1st layer" },
};

/** What an axis spans, next to the power of the width that the parameter follows. */
const SPANS: Readonly<Record<string, Range>> = {
  output_scale: [1e-3, 1e3],
  init_std: [1e-3, 1e2],
  lr: [1e-4, 1e3],
};

export const MAP_CELLS = 40; // of the grid, each way
export const DRAGGED_CELLS = 14; // while a frame has to be made of it
const FARTHEST = 12; // decades of the change that are told apart
const EQUAL = 1e-9;

export const NETWORK_REGIONS: readonly Region[] = [
  { name: "kernel phase", colour: "region-lazy" },
  { name: "feature\nlearning", colour: "region-intermediate" },
  { name: "feature learning,\nvanishing start", colour: "region-rich" },
  { name: "frozen", colour: "region-frozen" },
];

/** The axes that are shown: those chosen, or the nearest ones that this network lies on. */
export function networkAxes(state: State): readonly [NetworkAxis, NetworkAxis] {
  const x = ofOneLayer(state, state.map_x);
  const y = ofOneLayer(state, state.map_y);
  const meet = MOVES[x].some((name) => MOVES[y].includes(name));
  return [x, meet ? (x === "output_scale" ? "init_std_w" : "output_scale") : y];
}

/** Layers that differ have no common value; the map is then over that of the first one. */
function ofOneLayer(state: State, axis: NetworkAxis): NetworkAxis {
  const [one, other] = MOVES[axis];
  if (other === undefined) return axis;
  const [u, w] = [valueOf(state, one), valueOf(state, other)];
  return Math.abs(u - w) <= EQUAL * Math.max(u, w) ? axis : (`${axis}_w` as NetworkAxis);
}

/** The value of an axis for the network of the view. */
function valueAlong(state: State, axis: NetworkAxis): number {
  const value = valueOf(state, MOVES[axis][0]);
  return axis.startsWith("init_std") ? Math.sqrt(value) : value;
}

/** What an axis of the map spans at the width of the view. */
export function networkRange(state: State, axis: NetworkAxis): Range {
  const power = exponentValue(state[MOVES[axis][0]].exponent);
  const middle = state.width ** (axis.startsWith("init_std") ? power / 2 : power);
  const [low, high] = SPANS[axis.replace(/_[uw]$/, "")];
  return [low * middle, high * middle];
}

function mapAxis(state: State, axis: NetworkAxis): MapAxis {
  return { ...NETWORK_AXIS_TEXTS[axis], range: networkRange(state, axis), log: true, step: 0.05 };
}

/** The parameters at which the axes have these values. */
export function networkMoved(state: State, x: number, y: number): Change {
  const [across, up] = networkAxes(state);
  return Object.fromEntries(
    (
      [
        [across, x],
        [up, y],
      ] as const
    ).flatMap(([axis, value]) =>
      MOVES[axis].map((name) => {
        const { exponent } = state[name];
        const size = axis.startsWith("init_std") ? value ** 2 : value;
        const constant = Number((size / state.width ** exponentValue(exponent)).toPrecision(4));
        return [name, { constant, exponent }];
      }),
    ),
  );
}

/** What the map is drawn from; it is made anew only if something of it is another. */
export class NetworkMap {
  private key = "";
  private cells = 0;
  private surface: Surface | null = null;
  private curves: readonly MapCurve[] = [];

  drawing(state: State, spoken: string, cells = MAP_CELLS): MapDrawing {
    const [across, up] = networkAxes(state);
    const [x, y] = [mapAxis(state, across), mapAxis(state, up)];
    const key = JSON.stringify([across, up, x.range, y.range, this.fixed(state, across, up)]);
    if (key !== this.key || cells > this.cells || !this.surface) {
      const diagram = parameterDiagram(
        { name: across, values: geomspace(...x.range, cells) },
        { name: up, values: geomspace(...y.range, cells) },
        settingOf(state),
        mapAlignment(state),
      );
      this.surface = surfaceOf(diagram);
      this.curves = diagram.boundaries.map((curve) => ({ x: curve.x, y: curve.y, kind: "boundary" }));
      this.key = key;
      this.cells = cells;
    }
    const point = { x: valueAlong(state, across), y: valueAlong(state, up) };
    const place = `${x.symbol} = ${compact(point.x)}, ${y.symbol} = ${compact(point.y)}: ${spoken}`;
    const coarse = this.cells < MAP_CELLS;
    return { x, y, surface: this.surface, coarse, curves: this.curves, point: { ...point, spoken: place } };
  }

  /** Everything that the map is a function of beside its axes. */
  private fixed(state: State, across: NetworkAxis, up: NetworkAxis): readonly number[] {
    const moved: readonly SettingName[] = [...MOVES[across], ...MOVES[up]] as SettingName[];
    const law = (["output_scale", "lr_u", "lr_w", "init_var_u", "init_var_w"] as const)
      .filter((name) => !moved.includes(name as SettingName))
      .map((name) => valueOf(state, name));
    return [...law, state.width, state.mean_aa, state.mean_ay, mapAlignment(state)];
  }
}

export function surfaceOf({ x, y, region, ntk_change }: ParameterDiagram): Surface {
  const frozen = REGIONS.indexOf("frozen");
  const values = Float64Array.from(ntk_change, (change, k) => {
    if (region[k] === frozen || Number.isNaN(change)) return NaN;
    return Math.min(Math.max(Math.log10(change), -FARTHEST), FARTHEST);
  });
  return {
    valueAt: gridded(values, x.values.length, y.values.length),
    regions: NETWORK_REGIONS,
    regionOf: (power) => {
      if (Number.isNaN(power)) return 3;
      return LEVELS.filter((level) => 10 ** power >= level).length;
    },
  };
}
