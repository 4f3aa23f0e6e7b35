/** The tab of the exact network on a line. */

import { InputError, linspace, type View } from "../../numerics/index.ts";
import { Choice, Select } from "../choice.ts";
import { h, write } from "../dom.ts";
import { PhaseMap } from "../map.ts";
import { compact } from "../numerals.ts";
import type { Changed, Panel } from "../panel.ts";
import { PythonBox } from "../python.ts";
import type { Range } from "../ranges.ts";
import {
  EXPONENT_AXES,
  lawOf,
  mapAlignment,
  NETWORK_AXES,
  settingOf,
  startOf,
  type State,
} from "../state.ts";
import { term } from "../tip.ts";
import { chip, sentences, Tiles } from "../tiles.ts";
import { lineControls } from "./controls.ts";
import { CELLS, ExponentMap, exponentAxes, EXPONENT_AXIS_TEXTS, exponentsMoved } from "./exponentmap.ts";
import {
  DRAGGED_CELLS,
  MAP_CELLS,
  NETWORK_AXIS_TEXTS,
  networkAxes,
  NetworkMap,
  networkMoved,
} from "./networkmap.ts";
import { LinePlots } from "./plots.ts";
import { reading } from "./reading.ts";
import { type Scene, sceneOf } from "./scene.ts";

const NOTES = {
  network:
    "The typical network of this width and data, over two of its parameters. Drag the point, or press the arrow keys.",
  exponents:
    "Infinitely wide networks, learning rates tuned. Moving the point leaves this network as it is and changes what " +
    "becomes of it as you move the width.",
};
const PYTHON_TIMES = 101;

export function linePanel(changed: Changed): Panel {
  const controls = lineControls(changed);
  const plots = new LinePlots();
  const regime = chip();
  const tiles = new Tiles([
    { title: "kernel change", term: "ntk_change" },
    { title: "order parameter", term: "order_parameter" },
    { title: "final alignment", term: "zeta" },
    { title: "learned at", term: "time" },
    { title: "sharpness", term: "sharpness" },
  ]);
  const words = sentences();
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const time = new Choice({
    label: "time axis",
    options: [
      { value: "linear", text: "linear" },
      { value: "log", text: "logarithmic" },
    ],
    chosen: (value) => changed({ time: value }, true),
  });
  const map = lineMap(changed);
  const python = new PythonBox(["flow", "descent", "map", "family"]);
  const element = h(
    "div",
    { class: "panel line" },
    controls.element,
    h(
      "div",
      { class: "view" },
      h("div", { class: "headline" }, regime.element, tiles.element),
      problem,
      h(
        "div",
        { class: "stage" },
        h("div", { class: "column" }, h("div", { class: "row end" }, time.element), plots.element),
        map.element,
        words.element,
      ),
      python.element,
    ),
  );
  return {
    element,
    render: (state, dragged = false) => {
      controls.render(state);
      time.show(state.time);
      try {
        const scene = sceneOf(state);
        problem.hidden = true;
        element.classList.remove("stale");
        regime.show(scene.facts.regime);
        tiles.show(numbers(scene));
        words.show(reading(scene.facts, scene.law), dragged);
        plots.render(state, scene);
        map.render(state, scene, dragged);
        python.render(snippets(state, scene));
        element.dataset["facts"] = JSON.stringify(scene.facts);
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        problem.hidden = false;
        element.classList.add("stale");
        write(problem, error.message);
      }
    },
  };
}

function numbers({ order, facts }: Scene): [string, string][] {
  return [
    [compact(order.ntk_change), "lazy < 0.1, rich ≥ 1"],
    [compact(order.order_parameter), "small lazy, large rich"],
    [compact(order.alignment), "from −1 to 1"],
    [compact(order.learning_time), "90 % of the way"],
    [`${compact(facts.sharpness, 2)} → ${compact(facts.finalSharpness, 2)}`, "too sharp above 2"],
  ];
}

function snippets(state: State, scene: Scene): { name: string; view: () => View }[] {
  const [setting, start] = [settingOf(state), startOf(state)];
  const times = (): number[] => [...linspace(0, scene.end, PYTHON_TIMES)];
  const rates = { lr_u: state.step_size * setting.lr_u, lr_w: state.step_size * setting.lr_w };
  const descent = { steps: scene.steps };
  const family = scene.law
    ? [{ name: "family", view: (): View => ({ kind: "law", law: lawOf(state) }) }]
    : [];
  return [
    { name: "flow", view: () => ({ kind: "flow", setting, start, times: times() }) },
    { name: "descent", view: () => ({ kind: "descent", setting: { ...setting, ...rates }, start, descent }) },
    { name: "map", view: () => mapView(state) },
    ...family,
  ];
}

function mapView(state: State): View {
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

/** Both maps of the tab: of networks, and of families of them. */
function lineMap(changed: Changed): {
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
