/** Symbols as they are set in print: an index below the line, a square or a power above it. */

import { h } from "./dom.ts";

const PARTS = /_(\w)|\^([−\-–\d/.…]+)/g;

/** A symbol as an element: `η_u` has a low u, `d^-1/2` a high exponent. */
export function symbol(text: string): HTMLElement {
  const made = h("span", { class: "symbol" });
  let from = 0;
  for (const part of text.matchAll(PARTS)) {
    made.append(text.slice(from, part.index));
    const [whole, low, high] = part;
    made.append(low !== undefined ? h("sub", {}, low) : h("sup", {}, (high ?? "").replace("-", "−")));
    from = part.index + whole.length;
  }
  made.append(text.slice(from));
  return made;
}
