/** The tab of the exact network on a line. */

import { InputError, linspace, type View } from "../../numerics/index.ts";
import { Choice } from "../choice.ts";
import { h, write } from "../dom.ts";
import { compact } from "../numerals.ts";
import type { Changed, Panel } from "../panel.ts";
import { PythonBox } from "../python.ts";
import { lawOf, settingOf, startOf, type State } from "../state.ts";
import { chip, sentences, Tiles } from "../tiles.ts";
import { lineControls } from "./controls.ts";
import { lineMap, mapView } from "./maps.ts";
import { LinePlots } from "./plots.ts";
import { reading } from "./reading.ts";
import { type Scene, sceneOf } from "./scene.ts";

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
