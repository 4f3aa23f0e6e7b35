/** A slider with a field for its number: both move the same value. */

import { h, newId, write } from "./dom.ts";
import type { TermName } from "./glossary.ts";
import { compact, parseNumber, typed } from "./numerals.ts";
import { term } from "./tip.ts";

/** Tells a value; `done` is false while it is dragged. */
export type Moved<T> = (value: T, done: boolean) => void;

export interface SliderOptions {
  readonly label: string;
  readonly term: TermName;
  readonly low: number;
  readonly high: number;
  /** A slider over powers of ten; `high/low` is many of them. */
  readonly log?: boolean;
  /** Of the handle: in decades if `log`. */
  readonly step: number;
  readonly whole?: boolean;
  /** Whether zero is a value, too; a logarithmic slider has it at its left end. */
  readonly zero?: boolean;
  /** What a typed number may be, beyond what the slider reaches. */
  readonly allowed?: (value: number) => boolean;
  readonly expected: string;
  readonly moved: Moved<number>;
}

export class Slider {
  readonly element: HTMLElement;
  private readonly range: HTMLInputElement;
  private readonly field: HTMLInputElement;
  private readonly problem: HTMLElement;
  private factor = 1;

  constructor(
    private readonly options: SliderOptions,
    ...beside: HTMLElement[]
  ) {
    const { log = false, low, high, step } = options;
    const [from, to] = log ? [Math.log10(low), Math.log10(high)] : [low, high];
    const id = newId("slider");
    const lowest = log && options.zero ? from - step : from;
    this.range = h("input", { type: "range", id, min: lowest, max: to, step });
    this.field = h("input", {
      type: "text",
      inputmode: "decimal",
      autocomplete: "off",
      spellcheck: false,
      class: "number",
      "aria-label": `${options.label}, number`,
    });
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.element = h(
      "div",
      { class: "slider" },
      h(
        "div",
        { class: "row" },
        h("label", { for: id }, options.label),
        term(options.term),
        this.field,
        ...beside,
      ),
      this.range,
      this.problem,
    );
    this.listen();
  }

  /** Show a value; `factor` is the middle of a slider that moves along with something else. */
  show(value: number, factor = 1): void {
    this.factor = factor;
    const { log = false } = this.options;
    const size = value / factor;
    const position = log ? (size > 0 ? Math.log10(size) : Number(this.range.min)) : size;
    if (document.activeElement !== this.range || Math.abs(this.read() - value) > 1e-9 * Math.abs(value)) {
      this.range.value = String(position);
    }
    this.range.setAttribute("aria-valuetext", compact(value));
    this.range.style.setProperty("--filled", `${100 * this.share()}%`);
    if (document.activeElement !== this.field) {
      this.field.value = typed(value);
      this.complain(false);
    }
  }

  /** A slider that has no effect now says so to everyone. */
  disable(disabled: boolean): void {
    this.range.disabled = disabled;
    this.field.disabled = disabled;
  }

  /** What is wrong with what was typed; nothing if it is empty. */
  say(sentence: string): void {
    this.problem.hidden = sentence === "";
    write(this.problem, sentence);
  }

  private share(): number {
    const [low, high] = [Number(this.range.min), Number(this.range.max)];
    return (Number(this.range.value) - low) / (high - low);
  }

  private read(): number {
    const { log = false, whole = false, zero = false, low } = this.options;
    const position = Number(this.range.value);
    if (log && zero && position < Math.log10(low)) return 0;
    const value = (log ? 10 ** position : position) * this.factor;
    return whole ? Math.round(value) : Number(value.toPrecision(whole ? 12 : 4));
  }

  private listen(): void {
    const { moved } = this.options;
    this.range.addEventListener("input", () => moved(this.read(), false));
    this.range.addEventListener("change", () => moved(this.read(), true));
    this.field.addEventListener("change", () => {
      const value = this.entered();
      this.complain(value === null);
      if (value !== null) moved(value, true);
    });
    this.field.addEventListener("blur", () => {
      if (this.entered() !== null) this.complain(false);
    });
  }

  private entered(): number | null {
    const value = parseNumber(this.field.value);
    if (value === null) return null;
    const { low, high, whole = false, allowed } = this.options;
    const fits = allowed ? allowed(value) : value >= low && value <= high;
    return fits && (!whole || Number.isInteger(value)) ? value : null;
  }

  private complain(wrong: boolean): void {
    this.field.setAttribute("aria-invalid", String(wrong));
    const { expected, low } = this.options;
    this.say(wrong ? `Must be ${expected}, for instance ${typed(low)}.` : "");
  }
}
