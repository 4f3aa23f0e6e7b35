/** The map of networks on a line, with the curve on which they change their kernel by a given size. */

import { geomspace, parameterDiagram } from "../../numerics/index.ts";
import { zeroCurves } from "../../numerics/contour.ts";
import { MAP_CELLS, networkAxes, networkRange, NETWORK_AXIS_TEXTS, surfaceOf } from "../line/networkmap.ts";
import type { MapCurve, MapDrawing } from "../map.ts";
import { settingOf, type State } from "../state.ts";
import { gridded, type Surface } from "../surface.ts";

export class LevelMap {
  private key = "";
  private made: { surface: Surface; curves: readonly MapCurve[] } | null = null;

  drawing(state: State, change: number): MapDrawing {
    const [across, up] = networkAxes(state);
    const [xRange, yRange] = [networkRange(state, across), networkRange(state, up)];
    const key = JSON.stringify([across, up, xRange, yRange, settingOf(state), change]);
    if (key !== this.key || !this.made) {
      const [x, y] = [geomspace(...xRange, MAP_CELLS), geomspace(...yRange, MAP_CELLS)];
      const diagram = parameterDiagram(
        { name: across, values: x },
        { name: up, values: y },
        settingOf(state),
      );
      const height = Float64Array.from(diagram.ntk_change, (one) => Math.log(one / change));
      const at = gridded(height, MAP_CELLS, MAP_CELLS);
      const along = ([low, high]: readonly [number, number], value: number): number =>
        Math.min(Math.max(Math.log(value / low) / Math.log(high / low), 0), 1);
      const level = zeroCurves("level", (a, b) => at(along(xRange, a), along(yRange, b)), x, y, height);
      this.made = {
        surface: surfaceOf(diagram),
        curves: [
          ...diagram.boundaries.map((curve) => ({ ...curve, kind: "boundary" as const })),
          ...level.map((curve) => ({ ...curve, kind: "level" as const })),
        ],
      };
      this.key = key;
    }
    return {
      x: { ...NETWORK_AXIS_TEXTS[across], range: xRange, log: true, step: 1 },
      y: { ...NETWORK_AXIS_TEXTS[up], range: yRange, log: true, step: 1 },
      ...this.made,
      point: null,
    };
  }
}
