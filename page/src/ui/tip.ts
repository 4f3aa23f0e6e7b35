/** The explanation of a symbol, on hover, on focus and on tap: one box for the whole page. */

import { fill, h } from "./dom.ts";
import { GLOSSARY, type TermName } from "./glossary.ts";
import { symbol } from "./symbols.ts";

const ID = "tip";
const LINGER = 120; // ms in which the pointer may cross over to the box

const box = h("div", { id: ID, role: "tooltip", hidden: true });
let shown: HTMLElement | null = null;
let leaving = 0;

/** A symbol, or the words given, that explains itself. */
export function term(name: TermName, label?: string): HTMLElement {
  const { symbol: sign, name: long } = GLOSSARY[name];
  return h(
    "button",
    { type: "button", class: "term", "data-term": name, "aria-label": label ?? long },
    label ?? symbol(sign),
  );
}

/** Let all terms of the page, also those that come later, show their explanation. */
export function installTips(): void {
  document.body.append(box);
  const termAt = (event: Event): HTMLElement | null =>
    event.target instanceof Element ? event.target.closest<HTMLElement>(".term") : null;
  const over = (event: Event): void => {
    const target = termAt(event);
    if (target) show(target);
    else if (event.target instanceof Node && box.contains(event.target)) clearTimeout(leaving);
  };
  const out = (event: Event): void => {
    if (event.type === "focusout") return hide();
    clearTimeout(leaving);
    leaving = window.setTimeout(hide, LINGER);
  };
  document.addEventListener("pointerover", over);
  document.addEventListener("focusin", over);
  document.addEventListener("click", over);
  document.addEventListener("pointerout", out);
  document.addEventListener("focusout", out);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
  document.addEventListener("scroll", hide, { capture: true, passive: true });
}

function show(target: HTMLElement): void {
  clearTimeout(leaving);
  const name = target.dataset["term"];
  if (!name || !(name in GLOSSARY) || shown === target) return;
  hide();
  const { symbol: sign, name: long, text } = GLOSSARY[name as TermName];
  fill(box, h("strong", {}, symbol(sign), ` ${long}`), h("p", {}, text));
  box.hidden = false;
  target.setAttribute("aria-describedby", ID);
  shown = target;
  place(target.getBoundingClientRect());
}

function place(anchor: DOMRect): void {
  const { width, height } = box.getBoundingClientRect();
  const edge = 8;
  const left = Math.min(Math.max(edge, anchor.left), document.documentElement.clientWidth - width - edge);
  const below = anchor.bottom + edge + height < window.innerHeight;
  box.style.left = `${left}px`;
  box.style.top = `${below ? anchor.bottom + 4 : Math.max(edge, anchor.top - height - 4)}px`;
}

function hide(): void {
  clearTimeout(leaving);
  shown?.removeAttribute("aria-describedby");
  shown = null;
  box.hidden = true;
}
