/** Key numbers of a view, and its regime as a coloured word. */

import { fill, h, set, write } from "./dom.ts";
import type { TermName } from "./glossary.ts";
import { term } from "./tip.ts";

export interface Tile {
  readonly title: string;
  readonly term: TermName;
}

export class Tiles {
  readonly element: HTMLElement;
  private readonly numbers: readonly HTMLElement[];
  private readonly notes: readonly HTMLElement[];

  constructor(tiles: readonly Tile[]) {
    this.numbers = tiles.map(() => h("span", {}));
    this.notes = tiles.map(() => h("small", {}));
    this.element = h(
      "dl",
      { class: "tiles" },
      ...tiles.map((tile, i) =>
        h(
          "div",
          {},
          h("dt", {}, tile.title, " ", term(tile.term)),
          h("dd", {}, this.numbers[i], this.notes[i]),
        ),
      ),
    );
  }

  /** Numbers and notes, in the order of the tiles. */
  show(values: readonly (readonly [string, string])[]): void {
    values.forEach(([number, note], i) => {
      write(this.numbers[i], number);
      write(this.notes[i], note);
    });
  }
}

/** A regime or phase as a coloured word; the word alone says it all. */
export function chip(): { readonly element: HTMLElement; readonly show: (word: string) => void } {
  const element = h("span", { class: "chip" });
  return {
    element,
    show: (word) => {
      write(element, word);
      element.className = `chip ${word.replaceAll(" ", "-")}`;
    },
  };
}

export interface Sentences {
  readonly element: HTMLElement;
  /** While something is dragged they change with every frame, and are not read out. */
  readonly show: (all: readonly string[], dragged?: boolean) => void;
}

/** Sentences that are read out once they stand still. */
export function sentences(): Sentences {
  const element = h("p", { class: "reading", role: "status", "aria-live": "polite" });
  let shown = "";
  return {
    element,
    show: (all, dragged = false) => {
      set(element, { "aria-live": dragged ? "off" : "polite" });
      const text = all.join(" ");
      if (text === shown) return;
      shown = text;
      fill(element, ...all.flatMap((sentence) => [h("span", {}, sentence), " "]));
    },
  };
}
