/** Both maps of the tab: of networks, and of families of them. */

import type { View } from "../../numerics/index.ts";
import { Choice, Select } from "../choice.ts";
import { h, write } from "../dom.ts";
import { PhaseMap } from "../map.ts";
import type { Changed } from "../panel.ts";
import type { Range } from "../ranges.ts";
import { EXPONENT_AXES, mapAlignment, NETWORK_AXES, settingOf, type State } from "../state.ts";
import { term } from "../tip.ts";
import { CELLS, ExponentMap, exponentAxes, EXPONENT_AXIS_TEXTS, exponentsMoved } from "./exponentmap.ts";
import {
  DRAGGED_CELLS,
  MAP_CELLS,
  NETWORK_AXIS_TEXTS,
  networkAxes,
  NetworkMap,
  networkMoved,
} from "./networkmap.ts";
import type { Scene } from "./scene.ts";

const NOTES = {
  network:
    "The typical network of this width and data, over two of its parameters. Drag the point, or press the arrow keys.",
  exponents:
    "Infinitely wide networks, learning rates tuned. Moving the point leaves this network as it is and changes what " +
    "becomes of it as you move the width.",
};
/** What of Python draws the map that is shown. */
export function mapView(state: State): View {
  const span = ([low, high]: Range, count: number) => ({ low, high, count });
  if (state.map === "exponents") {
    const [x, y] = exponentAxes(state);
    const drawing = new ExponentMap().drawing(state, "");
    return {
      kind: "exponent_diagram",
      x: { name: x, ...span(drawing.x.range, CELLS) },
      y: { name: y, ...span(drawing.y.range, CELLS) },
      fixed: drawing.fixed,
      tune_rates: true,
    };
  }
  const [x, y] = networkAxes(state);
  const drawing = new NetworkMap().drawing(state, "");
  return {
    kind: "parameter_diagram",
    setting: settingOf(state),
    init_alignment: mapAlignment(state),
    x: { name: x, ...span(drawing.x.range, MAP_CELLS) },
    y: { name: y, ...span(drawing.y.range, MAP_CELLS) },
  };
}

export function lineMap(changed: Changed): {
  element: HTMLElement;
  render: (state: State, scene: Scene, dragged: boolean) => void;
} {
  let shown: State | null = null;
  const moved = (x: number, y: number, done: boolean): void => {
    if (shown)
      changed(shown.map === "network" ? networkMoved(shown, x, y) : exponentsMoved(shown, x, y), done);
  };
  const map = new PhaseMap({
    label: "this network on the map",
    help: "Arrow keys move the point; with the shift key ten times as far.",
    moved,
  });
  const [networks, families] = [new NetworkMap(), new ExponentMap()];
  const which = new Choice({
    label: "Map",
    quiet: true,
    options: [
      { value: "network", text: "networks" },
      { value: "exponents", text: "families" },
    ],
    chosen: (value) => changed({ map: value }, true),
  });
  const listed = <T extends string>(
    label: string,
    texts: Readonly<Record<T, { label: string }>>,
    names: readonly T[],
    chosen: (name: T) => void,
  ) => new Select({ label, options: names.map((value) => ({ value, text: texts[value].label })), chosen });
  const axes = {
    network: [
      listed("across", NETWORK_AXIS_TEXTS, NETWORK_AXES, (map_x) => changed({ map_x }, true)),
      listed("up", NETWORK_AXIS_TEXTS, NETWORK_AXES, (map_y) => changed({ map_y }, true)),
    ],
    exponents: [
      listed("across", EXPONENT_AXIS_TEXTS, EXPONENT_AXES, (law_x) => changed({ law_x }, true)),
      listed("up", EXPONENT_AXIS_TEXTS, EXPONENT_AXES, (law_y) => changed({ law_y }, true)),
    ],
  } as const;
  const note = h("p", { class: "note" });
  const rows = Object.fromEntries(
    Object.entries(axes).map(([name, pair]) => [
      name,
      h("div", { class: "axes" }, ...pair.map((one) => one.element)),
    ]),
  );
  const element = h(
    "section",
    { class: "place-on-map" },
    h("div", { class: "head" }, h("h3", {}, "Phase diagram ", term("phase")), which.element),
    map.element,
    ...Object.values(rows),
    note,
  );
  return {
    element,
    render: (state, scene, dragged) => {
      shown = state;
      which.show(state.map);
      for (const [name, row] of Object.entries(rows)) row.hidden = name !== state.map;
      const [x, y] = state.map === "network" ? networkAxes(state) : exponentAxes(state);
      axes[state.map][0].show(x as never);
      axes[state.map][1].show(y as never);
      write(note, NOTES[state.map]);
      map.draw(
        state.map === "network"
          ? networks.drawing(state, scene.facts.regime, dragged ? DRAGGED_CELLS : MAP_CELLS)
          : families.drawing(state, `${scene.facts.phase} phase`),
      );
    },
  };
}
