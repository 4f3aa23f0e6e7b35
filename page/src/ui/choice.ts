/** A few words of which one is chosen: radio buttons that look like one bar. */

import { h, newId } from "./dom.ts";

export interface ChoiceOptions<T extends string> {
  readonly label: string;
  /** Whether the label is only read out. */
  readonly quiet?: boolean;
  readonly options: readonly { readonly value: T; readonly text: string }[];
  readonly chosen: (value: T) => void;
}

export class Choice<T extends string> {
  readonly element: HTMLElement;
  private readonly inputs: readonly HTMLInputElement[];

  constructor({ label, quiet = false, options, chosen }: ChoiceOptions<T>) {
    const name = newId("choice");
    this.inputs = options.map(({ value }) => h("input", { type: "radio", name, value }));
    this.element = h(
      "fieldset",
      { class: "choice" },
      h("legend", { class: quiet ? "visually-hidden" : "" }, label),
      h(
        "div",
        { class: "bar" },
        ...options.map(({ text }, i) => h("label", {}, this.inputs[i], h("span", {}, text))),
      ),
    );
    this.element.addEventListener("change", (event) => {
      if (event.target instanceof HTMLInputElement) chosen(event.target.value as T);
    });
  }

  show(value: T): void {
    for (const input of this.inputs) input.checked = input.value === value;
  }
}

/** A list to choose from, where there are too many words for a bar. */
export class Select<T extends string> {
  readonly element: HTMLElement;
  private readonly select: HTMLSelectElement;

  constructor({ label, quiet = false, options, chosen }: ChoiceOptions<T>) {
    const id = newId("select");
    this.select = h("select", { id }, ...options.map(({ value, text }) => h("option", { value }, text)));
    this.element = h(
      "div",
      { class: "select" },
      h("label", { for: id, class: quiet ? "visually-hidden" : "" }, label),
      this.select,
    );
    this.select.addEventListener("change", () => chosen(this.select.value as T));
  }

  show(value: T): void {
    this.select.value = value;
  }
}
