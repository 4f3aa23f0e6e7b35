/** The tab of λ-balanced networks. */

import { InputError, linspace } from "../../numerics/index.ts";
import { Chart, type Drawing } from "../chart.ts";
import { h, write } from "../dom.ts";
import { drawer } from "../drawer.ts";
import { PhaseMap } from "../map.ts";
import { compact, inWords } from "../numerals.ts";
import type { Colour } from "../palette.ts";
import type { Changed, Panel } from "../panel.ts";
import { PythonBox } from "../python.ts";
import { linearRange, logRange, type Range } from "../ranges.ts";
import { type Change, MOST_NEURONS, type Name, type State } from "../state.ts";
import { Slider, type SliderOptions } from "../slider.ts";
import type { TermName } from "../glossary.ts";
import { term } from "../tip.ts";
import { chip, sentences, Tiles } from "../tiles.ts";
import { balancedMap } from "./map.ts";
import { balancedScene, type BalancedScene } from "./scene.ts";

const MODE_COLOURS: readonly Colour[] = ["blue", "vermilion", "green", "purple", "orange", "sky"];
const PYTHON_TIMES = 61;

type Numbered = Extract<
  Name,
  "lambda" | "init_size" | "target_scale" | "target_ratio" | "outputs" | "inputs" | "hidden" | "draw"
>;

export function balancedPanel(changed: Changed): Panel {
  const sliders = slidersOf(changed);
  const again = h("button", { type: "button", class: "again" }, "Draw again");
  again.addEventListener("click", () => changed({ draw: Math.floor(Math.random() * 1000) }, true));
  const group = (title: string, names: readonly Numbered[], ...more: HTMLElement[]): HTMLElement =>
    h(
      "section",
      { class: "group" },
      h("h3", {}, title),
      ...names.map((name) => sliders[name].element),
      ...more,
    );
  const controls = drawer(
    group("Start", ["lambda", "init_size", "draw"], again),
    group("Shape", ["outputs", "hidden", "inputs"]),
    group("Best map", ["target_scale", "target_ratio"]),
  );
  const charts = new BalancedCharts();
  const map = new PhaseMap({
    label: "this network on the map",
    help: "Arrow keys move the point; with the shift key ten times as far.",
    moved: (x, y, done) =>
      changed({ lambda: Math.round(20 * x) / 20, target_scale: Number(y.toPrecision(3)) }, done),
  });
  const [word, words, python] = [chip(), sentences(), new PythonBox(["flow"])];
  const tiles = new Tiles([
    { title: "laziness", term: "laziness" },
    { title: "kernel change", term: "ntk_change" },
    { title: "kernel rotation", term: "kernel_distance" },
  ]);
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const view = h(
    "div",
    { class: "view" },
    h("div", { class: "headline" }, word.element, tiles.element),
    problem,
    h(
      "div",
      { class: "stage" },
      h("div", { class: "column" }, charts.element),
      h(
        "section",
        { class: "place-on-map" },
        h("h3", {}, "Regimes of this shape"),
        map.element,
        h(
          "p",
          { class: "note" },
          "For a map that is small at the start. The shape decides which sign of λ can stay lazy.",
        ),
      ),
      words.element,
    ),
    python.element,
  );
  const element = h("div", { class: "panel balanced" }, controls, view);
  return {
    element,
    render: (state, dragged = false) => {
      for (const name of Object.keys(sliders) as Numbered[]) sliders[name].show(state[name]);
      map.draw(balancedMap(state, word.element.textContent));
      try {
        const scene = balancedScene(state);
        problem.hidden = true;
        element.classList.remove("stale");
        word.show(scene.judged.regime);
        tiles.show(numbers(scene));
        charts.render(scene);
        words.show(reading(state, scene), dragged);
        const last = scene.solution.at[scene.solution.at.length - 1];
        const times = [...linspace(0, last, PYTHON_TIMES)];
        python.render([{ name: "flow", view: () => ({ kind: "balanced", problem: scene.problem, times }) }]);
        map.draw(balancedMap(state, scene.judged.delayed ? "rich after a delay" : scene.judged.regime));
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        problem.hidden = false;
        element.classList.add("stale");
        write(problem, error.message);
      }
    },
  };
}

function slidersOf(changed: Changed): Readonly<Record<Numbered, Slider>> {
  const slider = (
    name: Numbered,
    label: string,
    sign: TermName,
    more: Omit<SliderOptions, "label" | "term" | "moved">,
  ): Slider =>
    new Slider({
      label,
      term: sign,
      moved: (value, done) => changed({ [name]: value } as Change, done),
      ...more,
    });
  const count = {
    low: 1,
    high: MOST_NEURONS,
    step: 1,
    whole: true,
    expected: `a whole number from 1 to ${MOST_NEURONS}`,
  };
  return {
    lambda: slider("lambda", "relative scale", "lambda", {
      low: -8,
      high: 8,
      step: 0.05,
      allowed: (value) => Math.abs(value) <= 100,
      expected: "a number from −100 to 100",
    }),
    init_size: slider("init_size", "size of the draw", "init_map", {
      low: 1e-4,
      high: 3,
      log: true,
      step: 0.02,
      expected: "a number from 10^-4 to 3",
    }),
    draw: slider("draw", "draw", "seed", {
      low: 0,
      high: 100,
      step: 1,
      whole: true,
      allowed: (value) => value >= 0 && value < 1e6,
      expected: "a whole number from 0 to 999999",
    }),
    outputs: slider("outputs", "outputs", "outputs", count),
    hidden: slider("hidden", "hidden neurons", "hidden", count),
    inputs: slider("inputs", "inputs", "inputs", count),
    target_scale: slider("target_scale", "largest singular value", "sigma", {
      low: 0.02,
      high: 3,
      step: 0.02,
      allowed: (value) => value >= 1e-3 && value <= 1e3,
      expected: "a number from 10^-3 to 10^3",
    }),
    target_ratio: slider("target_ratio", "each next one, as a share", "sigma", {
      low: 0,
      high: 1,
      step: 0.05,
      expected: "a number from 0 to 1",
    }),
  };
}

class BalancedCharts {
  readonly element: HTMLElement;
  private readonly loss = chart(["loss ", term("loss")], ["blue"], ["loss"], true);
  private readonly values = chart(
    ["singular values ", term("sigma")],
    MODE_COLOURS,
    MODE_COLOURS.map((_, i) => (i === 0 ? "of the map" : "")),
  );
  private readonly change = chart(["kernel change ", term("ntk_change")], ["blue"], ["size"]);
  private readonly turn = chart(["kernel rotation ", term("kernel_distance")], ["purple"], ["1 − cos"]);

  constructor() {
    const charts = [this.loss, this.values, this.change, this.turn];
    this.element = h("div", { class: "plots" }, ...charts.map((one) => one.element));
  }

  render({ solution, target }: BalancedScene): void {
    const { at } = solution;
    const xRange: Range = [at[1], at[at.length - 1]];
    const axis = { x: at, xRange, xLog: true };
    const one = (values: ArrayLike<number>, more: Pick<Drawing, "yRange" | "spoken">): Drawing => ({
      ...axis,
      lines: [values],
      ...more,
    });
    this.loss.draw(
      one(solution.loss, { yRange: logRange([solution.loss]), spoken: `Loss: ${ends(solution.loss)}.` }),
    );
    const modes = MODE_COLOURS.map((_, i) => solution.singular_values[i] ?? Array.from(at, () => NaN));
    this.values.draw({
      ...axis,
      lines: modes,
      yRange: linearRange([...solution.singular_values, target], [], true),
      levels: target,
      spoken: `Singular values: ${solution.singular_values.map(ends).join("; ")}.`,
    });
    const changed = {
      yRange: linearRange([solution.ntk_change, [0, 0.1]], [], true),
      spoken: `Change of the kernel: ${ends(solution.ntk_change)}.`,
    };
    this.change.draw({ ...one(solution.ntk_change, changed), levels: [1] });
    const turned = {
      yRange: linearRange([solution.kernel_distance, [0, 0.1]], [], true),
      spoken: `Rotation: ${ends(solution.kernel_distance)}.`,
    };
    this.turn.draw(one(solution.kernel_distance, turned));
  }
}

function chart(
  title: readonly (Node | string)[],
  colours: readonly Colour[],
  labels: readonly string[],
  log = false,
): Chart {
  return new Chart({
    title,
    lines: colours.map((colour, i) => ({ label: labels[i], colour, again: labels[i] === "" })),
    xLabel: "time",
    log,
    group: "balanced",
  });
}

function ends(values: ArrayLike<number>): string {
  return `from ${compact(values[0])} to ${compact(values[values.length - 1])}`;
}

function numbers({ judged, solution }: BalancedScene): [string, string][] {
  const last = solution.at.length - 1;
  return [
    [compact(judged.laziness), "lazy above 2.18, rich below 0.58"],
    [compact(solution.ntk_change[last]), "at the end"],
    [compact(solution.kernel_distance[last]), "0: none, it only grew"],
  ];
}

function reading(state: State, { judged, solution }: BalancedScene): string[] {
  const last = solution.at.length - 1;
  const larger =
    state.lambda === 0
      ? "Both layers are alike"
      : `The ${state.lambda > 0 ? "second" : "first"} layer is larger`;
  const why = judged.delayed
    ? `it is large and would stay as it is, but with ${state.hidden} neurons it cannot reach all ` +
      `${state.lambda > 0 ? `${state.outputs} outputs` : `${state.inputs} inputs`}, so that the kernel turns after a delay`
    : {
        lazy: "next to it the target is small, and the kernel stays",
        intermediate: "the target is about as large, and the kernel changes by a part of its size",
        rich: "the target is large next to λ, and the kernel changes by more than its size",
      }[judged.regime as "lazy" | "intermediate" | "rich"];
  return [
    `This network is ${judged.regime}${judged.delayed ? ", after a delay" : ""}.`,
    `${larger}: ${why}.`,
    `From this very start, the kernel changes by ${inWords(solution.ntk_change[last])} of its size` +
      ` and turns by ${inWords(solution.kernel_distance[last])}.`,
    solution.status === "ok" ? "" : `${solution.status[0].toUpperCase()}${solution.status.slice(1)}.`,
  ].filter(Boolean);
}
