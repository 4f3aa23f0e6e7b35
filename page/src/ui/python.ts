/** “Copy as Python”: the snippet that gives the numbers of the view. */

import { asPython, type View } from "../numerics/index.ts";
import { Choice } from "./choice.ts";
import { h, write } from "./dom.ts";

const SAID = 2000; // ms for which the button says what it did

export interface Snippet {
  readonly name: string;
  readonly view: () => View;
}

export class PythonBox {
  readonly element: HTMLDetailsElement;
  private readonly code = h("code", {});
  private readonly choice: Choice<string>;
  private chosen: string;
  private snippets: readonly Snippet[] = [];

  constructor(names: readonly string[]) {
    this.chosen = names[0];
    this.choice = new Choice({
      label: "Which part of the view",
      quiet: true,
      options: names.map((name) => ({ value: name, text: name })),
      chosen: (name) => {
        this.chosen = name;
        this.fill();
      },
    });
    this.choice.show(this.chosen);
    const copy = h("button", { type: "button", class: "copy" }, "Copy as Python");
    copy.addEventListener("click", () => void this.copy(copy));
    this.element = h(
      "details",
      { class: "python" },
      h("summary", {}, "As Python"),
      h("div", { class: "row" }, names.length > 1 ? this.choice.element : null, copy),
      h("pre", { tabindex: 0, role: "region", "aria-label": "Python" }, this.code),
    );
    this.element.addEventListener("toggle", () => this.fill());
  }

  /** What can be copied; it is written only while someone looks. */
  render(snippets: readonly Snippet[]): void {
    this.snippets = snippets;
    if (this.element.open) this.fill();
  }

  private fill(): void {
    write(this.code, this.text());
  }

  private text(): string {
    const snippet = this.snippets.find(({ name }) => name === this.chosen);
    return snippet ? asPython(snippet.view()) : "";
  }

  private async copy(button: HTMLButtonElement): Promise<void> {
    const copied = await copyText(this.text());
    write(button, copied ? "Copied" : "Select the text and copy it");
    setTimeout(() => write(button, "Copy as Python"), SAID);
  }
}

/** Put a text on the clipboard; a page that was opened from a file may have to ask the old way. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "visually-hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}
