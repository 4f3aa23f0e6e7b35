/** The sliders of a tab: beside the pictures, or in a narrow window in a drawer below them. */

import { h, newId, set } from "./dom.ts";

export function drawer(...groups: HTMLElement[]): HTMLElement {
  const id = newId("controls");
  const handle = h(
    "button",
    { type: "button", class: "pull", "aria-expanded": "false", "aria-controls": id },
    "Sliders",
  );
  const element = h("div", { class: "drawer" }, handle, h("div", { class: "controls", id }, ...groups));
  handle.addEventListener("click", () => {
    const open = element.classList.toggle("open");
    set(handle, { "aria-expanded": String(open) });
  });
  return element;
}
