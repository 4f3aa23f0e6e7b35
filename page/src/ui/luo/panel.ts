/** The tab of wide two-layer ReLU networks: the diagram of Luo et al. */

import {
  PRESETS,
  RELU_INITIALISATIONS,
  reluBoundaries,
  type ReluPhase,
  reluOfLaw,
  reluPhase,
} from "../../numerics/index.ts";
import { exponentValue } from "../../numerics/index.ts";
import { Chart } from "../chart.ts";
import { Choice } from "../choice.ts";
import { h } from "../dom.ts";
import { drawer } from "../drawer.ts";
import { type MapDrawing, type MapPlace, PhaseMap } from "../map.ts";
import { compact, fraction, inWords } from "../numerals.ts";
import type { Changed, Panel } from "../panel.ts";
import { PRESET_NAMES } from "../presets.ts";
import { PythonBox } from "../python.ts";
import { logRange } from "../ranges.ts";
import { Slider } from "../slider.ts";
import type { State } from "../state.ts";
import { term } from "../tip.ts";
import { chip, sentences, Tiles } from "../tiles.ts";
import { luoSurface } from "./surface.ts";

const GAMMA = [0, 2] as const;
const GAMMA_PRIME = [-1, 1.5] as const;
const GRAIN = 20; // the point stops at twentieths
const WIDTHS = Array.from({ length: 41 }, (_, i) => 10 ** (2 + i / 10));
const PLAIN: Readonly<Record<string, string>> = {
  ntk: "NTK",
  mean_field: "mean field",
  lecun: "LeCun",
  he: "He",
  xavier: "Xavier",
};

export function luoPanel(changed: Changed): Panel {
  const gamma = exponent("decay of the initial scale", "gamma", GAMMA, (value, done) =>
    changed({ gamma: value }, done),
  );
  const prime = exponent("decay of the layers’ ratio", "gamma_prime", GAMMA_PRIME, (value, done) =>
    changed({ gamma_prime: value }, done),
  );
  const zero = new Choice({
    label: "initial output",
    options: [
      { value: "no", text: "random" },
      { value: "yes", text: "zero" },
    ],
    chosen: (zero_output) => changed({ zero_output }, true),
  });
  const places = placesOf();
  const map = new PhaseMap({
    label: "this family on the diagram",
    help: "Arrow keys move the point; with the shift key ten times as far.",
    moved: (x, y, done) => changed({ gamma: rounded(x), gamma_prime: rounded(y) }, done),
    chosen: (label) => {
      const place = places.find((one) => one.label === label);
      if (place) changed({ gamma: place.x, gamma_prime: place.y }, true);
    },
  });
  const movement = new Chart({
    title: ["how far the first layer moves ", term("movement")],
    lines: [{ label: "of its size, next to width 100", colour: "blue" }],
    xLabel: "width",
    log: true,
    group: "luo",
  });
  const [word, words, python] = [chip(), sentences(), new PythonBox(["this family"])];
  const tiles = new Tiles([
    { title: "movement exponent", term: "movement" },
    { title: "beyond critical", term: "excess" },
    { title: "phase", term: "phase" },
  ]);
  const buttons = h("div", { class: "presets" }, ...places.map((place) => presetButton(place, changed)));
  const controls = drawer(
    h("section", { class: "group" }, h("h3", {}, "Initialisation"), buttons, gamma.element, prime.element),
    h(
      "section",
      { class: "group" },
      h("h3", {}, "Start"),
      h("div", { class: "row" }, zero.element, term("zero_output")),
    ),
  );
  const view = h(
    "div",
    { class: "view" },
    h("div", { class: "headline" }, word.element, tiles.element),
    h(
      "div",
      { class: "stage wide-map" },
      h("section", { class: "place-on-map" }, h("h3", {}, "Diagram of Luo et al."), map.element),
      h("div", { class: "column" }, movement.element),
      words.element,
    ),
    python.element,
  );
  return {
    element: h("div", { class: "panel luo" }, controls, view),
    render: (state, dragged = false) => {
      const [g, p] = [fraction(state.gamma), fraction(state.gamma_prime)];
      const zeroOutput = state.zero_output === "yes";
      const phase = reluPhase(g, p, zeroOutput);
      gamma.show(state.gamma);
      prime.show(state.gamma_prime);
      zero.show(state.zero_output);
      word.show(phase.condensation);
      tiles.show([
        [compact(phase.weight_movement_exponent), "movement ∝ width to this power"],
        [compact(phase.condensation_excess), "negative: linear"],
        [phase.phase, "in the words of the library"],
      ]);
      map.draw(diagram(state, places, zeroOutput, phase));
      drawMovement(movement, phase);
      words.show(reading(phase), dragged);
      python.render([
        {
          name: "this family",
          view: () => ({ kind: "relu", gamma: g, gamma_prime: p, zero_output: zeroOutput }),
        },
      ]);
    },
  };
}

function exponent(
  label: string,
  name: "gamma" | "gamma_prime",
  [low, high]: readonly [number, number],
  moved: (value: number, done: boolean) => void,
): Slider {
  const expected = `a number from ${low} to ${high}`.replace("-", "−");
  return new Slider({ label, term: name, low, high, step: 1 / GRAIN, expected, moved });
}

function presetButton({ x, y, label }: MapPlace, changed: Changed): HTMLElement {
  const button = h("button", { type: "button" }, label);
  button.addEventListener("click", () => changed({ gamma: x, gamma_prime: y }, true));
  return button;
}

/** The named initialisations, and those parametrisations that are none of them; one place each. */
function placesOf(): readonly MapPlace[] {
  const named = Object.entries(RELU_INITIALISATIONS).map(
    ([name, { gamma, gamma_prime }]) => [PLAIN[name] ?? name, gamma, gamma_prime] as const,
  );
  const laws = ["kaiming_plus", "mup"].map((name) => {
    const { gamma, gamma_prime } = reluOfLaw(PRESETS[name]);
    return [PRESET_NAMES[name], gamma, gamma_prime] as const;
  });
  const there = new Map<string, MapPlace>();
  for (const [label, gamma, prime] of [...named, ...laws]) {
    const [x, y] = [exponentValue(gamma), exponentValue(prime)];
    const known = there.get(`${x},${y}`);
    there.set(`${x},${y}`, { x, y, label: known ? `${known.label}, ${label}` : label });
  }
  return [...there.values()];
}

function diagram(
  state: State,
  places: readonly MapPlace[],
  zeroOutput: boolean,
  phase: ReluPhase,
): MapDrawing {
  const spoken = `γ = ${compact(state.gamma)}, γ′ = ${compact(state.gamma_prime)}: ${phase.condensation}`;
  return {
    x: { symbol: "γ", label: "γ", range: GAMMA, log: false, step: 1 / GRAIN },
    y: { symbol: "γ′", label: "γ′", range: GAMMA_PRIME, log: false, step: 1 / GRAIN },
    surface: luoSurface(GAMMA, GAMMA_PRIME, zeroOutput),
    curves: reluBoundaries(GAMMA, GAMMA_PRIME, zeroOutput).map((curve) => ({
      x: curve.x,
      y: curve.y,
      kind: curve.name === "γ = 1/2" ? "open" : "boundary",
    })),
    places,
    names: [{ x: 1.7, y: 0.7, text: "critical", toward: { x: 1.9, y: 0.9 } }],
    point: { x: state.gamma, y: state.gamma_prime, spoken },
  };
}

function drawMovement(chart: Chart, { weight_movement_exponent: power }: ReluPhase): void {
  const known = Number.isFinite(power);
  const values = WIDTHS.map((width) => (known ? (width / WIDTHS[0]) ** power : NaN));
  chart.draw({
    x: WIDTHS,
    lines: [values],
    xRange: [WIDTHS[0], WIDTHS[WIDTHS.length - 1]],
    xLog: true,
    yRange: known ? logRange([values, [0.1, 10]]) : [0.1, 10],
    levels: [1],
    spoken: known ? `Grows like the width to the power ${compact(power)}.` : "Not known.",
  });
}

function reading({ condensation, weight_movement_exponent: power, phase }: ReluPhase): string[] {
  if (condensation === "cannot tell") {
    return [
      "Nothing is established here: the output at the start grows with the width, and the network has to undo it " +
        "before it learns. Choose a zero initial output, or γ of at least 1/2.",
    ];
  }
  const factor = inWords(10 ** Math.abs(power));
  const moved = {
    linear: `With ten times the width, the first layer moves ${factor} times less, relative to its size.`,
    critical: "The first layer moves as far as it is large, at every width.",
    condensed: `With ten times the width, the first layer moves ${factor} times further, relative to its size.`,
  }[condensation];
  const meant = {
    linear: "A wide network is linear in its weights: lazy.",
    critical: "This is the border, and where mean-field networks and μP are.",
    condensed: "Its neurons gather in few directions: rich.",
  }[condensation];
  return [`This family is ${condensation}: ${phase} phase in the words of the library.`, moved, meant];
}

function rounded(value: number): number {
  return Math.round(value * GRAIN) / GRAIN;
}
