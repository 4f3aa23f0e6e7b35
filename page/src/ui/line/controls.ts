/** The sliders of a network on a line. */

import { type LawParameter, LAW_PARAMETERS, PRESETS } from "../../numerics/index.ts";
import { exponentValue } from "../../numerics/index.ts";
import { Choice } from "../choice.ts";
import { h, set } from "../dom.ts";
import { drawer } from "../drawer.ts";
import { isScale, parseExponent } from "../fields.ts";
import type { Changed, Panel } from "../panel.ts";
import { PRESET_NAMES, presetOf } from "../presets.ts";
import { Slider } from "../slider.ts";
import { type Change, LARGEST_WIDTH, lawOf, meanYy, type State, STARTS, valueOf } from "../state.ts";
import { term } from "../tip.ts";

const LARGEST_SEED = 999_999;

const START_TEXTS: Readonly<Record<(typeof STARTS)[number], string>> = {
  random: "random",
  orthogonal: "orthogonal",
  aligned: "aligned",
  anti_aligned: "anti-aligned",
};

/** Ranges of the constants in front of the powers of the width. */
const LAW_SLIDERS: Readonly<Record<LawParameter, { label: string; low: number; high: number }>> = {
  output_scale: { label: "output scale", low: 1e-3, high: 1e3 },
  lr_u: { label: "rate, layer 2", low: 1e-4, high: 1e3 },
  lr_w: { label: "rate, layer 1", low: 1e-4, high: 1e3 },
  init_var_u: { label: "variance, layer 2", low: 1e-6, high: 1e4 },
  init_var_w: { label: "variance, layer 1", low: 1e-6, high: 1e4 },
};

export function lineControls(changed: Changed): Panel {
  const parts = [law(changed), start(changed), data(changed), steps(changed)];
  return {
    element: drawer(...parts.map((part) => part.element)),
    render: (state) => parts.forEach((part) => part.render(state)),
  };
}

function law(changed: Changed): Panel {
  const presets = Object.keys(PRESETS).map((name) => {
    const button = h("button", { type: "button" }, PRESET_NAMES[name]);
    button.addEventListener("click", () => changed({ ...PRESETS[name] }, true));
    return { name, button };
  });
  const width = new Slider({
    label: "width",
    term: "width",
    low: 1,
    high: LARGEST_WIDTH,
    log: true,
    step: 0.05,
    whole: true,
    expected: "a whole number from 1 to 10^12",
    moved: (value, done) => changed({ width: value }, done),
  });
  const rows = LAW_PARAMETERS.map((name) => new PowerRow(name, changed));
  return {
    element: group(
      "Network",
      h(
        "div",
        { class: "presets", role: "group", "aria-label": "Parametrisation" },
        ...presets.map(({ button }) => button),
      ),
      width.element,
      ...rows.map((row) => row.element),
    ),
    render: (state) => {
      const chosen = presetOf(lawOf(state));
      for (const { name, button } of presets) set(button, { "aria-pressed": String(name === chosen) });
      width.show(state.width);
      rows.forEach((row) => row.render(state));
    },
  };
}

/** A slider for a parameter at this width, with the exponent by which it follows the width. */
class PowerRow {
  readonly element: HTMLElement;
  private readonly slider: Slider;
  private readonly exponent: HTMLInputElement;
  private state: State | null = null;

  constructor(
    private readonly name: LawParameter,
    private readonly changed: Changed,
  ) {
    const { label, low, high } = LAW_SLIDERS[name];
    this.exponent = h("input", {
      type: "text",
      class: "exponent",
      autocomplete: "off",
      spellcheck: false,
      "aria-label": `exponent of the width in the ${label}`,
    });
    const power = h("span", { class: "power" }, term("exponent", "d"), this.exponent);
    this.slider = new Slider(
      {
        label,
        term: name,
        low,
        high,
        log: true,
        step: 0.02,
        zero: name !== "output_scale",
        allowed: (value) => isScale(value) && (value > 0 || name !== "output_scale"),
        expected: "a number ≥ 0",
        moved: (value, done) => this.moved(value, done),
      },
      power,
    );
    this.element = this.slider.element;
    this.exponent.addEventListener("change", () => this.typed());
  }

  render(state: State): void {
    this.state = state;
    const { exponent } = state[this.name];
    this.slider.show(valueOf(state, this.name), state.width ** exponentValue(exponent));
    if (document.activeElement !== this.exponent) {
      this.exponent.value = String(exponent).replace("-", "−");
      set(this.exponent, { "aria-invalid": null });
    }
  }

  private moved(value: number, done: boolean): void {
    if (!this.state) return;
    const { exponent } = this.state[this.name];
    const constant = Number((value / this.state.width ** exponentValue(exponent)).toPrecision(6));
    this.changed({ [this.name]: { constant, exponent } } as Change, done);
  }

  /** Another exponent keeps the network as it is, and changes its family. */
  private typed(): void {
    const found = parseExponent(this.exponent.value);
    set(this.exponent, { "aria-invalid": String(found === null) });
    this.slider.say(found === null ? "An exponent is a number or a fraction from −4 to 4, as in −1/2." : "");
    if (found === null || !this.state) return;
    const value = valueOf(this.state, this.name);
    const constant = Number((value / this.state.width ** exponentValue(found)).toPrecision(6));
    this.changed({ [this.name]: { constant, exponent: found } } as Change, true);
  }
}

function start(changed: Changed): Panel {
  const choice = new Choice({
    label: "How the layers begin",
    quiet: true,
    options: STARTS.map((value) => ({ value, text: START_TEXTS[value] })),
    chosen: (value) => changed({ start: value }, true),
  });
  const again = h("button", { type: "button", class: "again" }, "Draw again");
  again.addEventListener("click", () => changed({ start: "random", seed: newSeed() }, true));
  const seed = new Slider(
    {
      label: "draw",
      term: "seed",
      low: 0,
      high: 100,
      step: 1,
      whole: true,
      allowed: (value) => value >= 0 && value <= LARGEST_SEED,
      expected: `a whole number from 0 to ${LARGEST_SEED}`,
      moved: (value, done) => changed({ start: "random", seed: value }, done),
    },
    again,
  );
  return {
    element: group("Start", choice.element, seed.element),
    render: (state) => {
      choice.show(state.start);
      seed.show(state.seed);
      again.disabled = seedless(state);
      seed.disable(seedless(state));
    },
  };
}

function seedless(state: State): boolean {
  return state.start !== "random";
}

function newSeed(): number {
  return Math.floor(Math.random() * 1000);
}

function data(changed: Changed): Panel {
  let shown: State | null = null;
  const aa = new Slider({
    label: "mean square input",
    term: "mean_aa",
    low: 0.01,
    high: 100,
    log: true,
    step: 0.02,
    allowed: (value) => value >= 1e-6 && value <= 1e6,
    expected: "a number from 10^-6 to 10^6",
    moved: (value, done) => changed({ mean_aa: value }, done),
  });
  const ay = new Slider({
    label: "input times target",
    term: "mean_ay",
    low: -5,
    high: 5,
    step: 0.05,
    allowed: (value) => Math.abs(value) <= 1e6,
    expected: "a number of at most 10^6",
    moved: (value, done) => changed({ mean_ay: value }, done),
  });
  const yy = new Slider({
    label: "mean square target",
    term: "mean_yy",
    low: 0,
    high: 30,
    step: 0.05,
    allowed: (value) => value >= 0 && value <= 1e6,
    expected: "a number from 0 to 10^6",
    moved: (value, done) => {
      if (!shown) return;
      const least = shown.mean_ay ** 2 / shown.mean_aa;
      changed({ noise: Number(Math.max(0, value - least).toPrecision(6)) }, done);
    },
  });
  return {
    element: group("Data", aa.element, ay.element, yy.element),
    render: (state) => {
      shown = state;
      aa.show(state.mean_aa);
      ay.show(state.mean_ay);
      yy.show(meanYy(state));
    },
  };
}

function steps(changed: Changed): Panel {
  const size = new Slider({
    label: "step size",
    term: "step_size",
    low: 1e-2,
    high: 1e3,
    log: true,
    step: 0.02,
    allowed: (value) => value >= 1e-4 && value <= 1e6,
    expected: "a number from 10^-4 to 10^6",
    moved: (value, done) => changed({ step_size: value }, done),
  });
  return { element: group("Gradient descent", size.element), render: (state) => size.show(state.step_size) };
}

function group(title: string, ...children: HTMLElement[]): HTMLElement {
  return h("section", { class: "group" }, h("h3", {}, title), ...children);
}
