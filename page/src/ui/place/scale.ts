/** One number, the kernel's change, on a scale from lazy to rich. */

import { LAZY_BELOW, type Placement, RICH_FROM } from "../../numerics/index.ts";
import { h } from "../dom.ts";
import { compact } from "../numerals.ts";
import { term } from "../tip.ts";

const LOW = 1e-3;
const HIGH = 1e2;

export class ChangeScale {
  readonly element: HTMLElement;
  private readonly interval = h("span", { class: "interval" });
  private readonly mark = h("span", { class: "mark" });

  constructor() {
    const part = (word: string, from: number, to: number): HTMLElement =>
      h(
        "span",
        { class: `part ${word}`, style: `left:${along(from)}%;width:${along(to) - along(from)}%` },
        word,
      );
    this.element = h(
      "div",
      { class: "scale" },
      h("h3", {}, "Lazy or rich ", term("ntk_change")),
      h(
        "div",
        { class: "track" },
        part("lazy", LOW, LAZY_BELOW),
        part("intermediate", LAZY_BELOW, RICH_FROM),
        part("rich", RICH_FROM, HIGH),
        this.interval,
        this.mark,
      ),
      h(
        "div",
        { class: "ticks" },
        ...[LOW, LAZY_BELOW, RICH_FROM, 10, HIGH].map((tick) =>
          h("span", { style: `left:${along(tick)}%` }, compact(tick)),
        ),
      ),
    );
  }

  show({ ntk_change, ntk_change_low, ntk_change_high }: Placement): void {
    const known = Number.isFinite(ntk_change);
    this.mark.hidden = !known;
    this.interval.hidden = !Number.isFinite(ntk_change_low) || !Number.isFinite(ntk_change_high);
    this.mark.style.left = `${along(ntk_change)}%`;
    this.interval.style.left = `${along(ntk_change_low)}%`;
    this.interval.style.width = `${along(ntk_change_high) - along(ntk_change_low)}%`;
  }
}

/** How far along the scale a change is, in per cent; its ends hold what is beyond. */
function along(change: number): number {
  const share = Math.log(Math.max(change, LOW) / LOW) / Math.log(HIGH / LOW);
  return 100 * Math.min(Math.max(share, 0), 1);
}
