/** “Place my network”: a history that `probe.save` wrote, on the map and mechanism by mechanism. */

import {
  type History,
  InputError,
  type LayerPlacement,
  placeHistory,
  type Placement,
  readHistory,
} from "../../numerics/index.ts";
import { Chart } from "../chart.ts";
import { fill, h, newId, write } from "../dom.ts";
import { MECHANISM_COLOURS } from "../line/plots.ts";
import { PhaseMap } from "../map.ts";
import { compact, inWords } from "../numerals.ts";
import type { Panel } from "../panel.ts";
import { PythonBox } from "../python.ts";
import { linearRange, type Range } from "../ranges.ts";
import type { State } from "../state.ts";
import { term } from "../tip.ts";
import { chip, sentences, Tiles } from "../tiles.ts";
import { LevelMap } from "./levelmap.ts";
import { ChangeScale } from "./scale.ts";

const LARGEST_FILE = 50e6; // bytes
const DRAWN_LAYERS = 24;
const SAVE = 'probe.save("run.json")';

interface Placed {
  readonly history: History;
  readonly placement: Placement;
  readonly file: string;
}

/**
 * @param given - text of a history to begin with
 */
export function placePanel(given: string | null): Panel {
  let placed: Placed | null = null;
  let state: State | null = null;
  const result = new Result();
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const show = (): void => {
    result.element.hidden = placed === null;
    if (placed && state) result.render(placed, state);
  };
  const take = (text: string, file: string): void => {
    try {
      const history = readHistory(text);
      placed = { history, placement: placeHistory(history), file };
      problem.hidden = true;
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      placed = null;
      problem.hidden = false;
      write(problem, error.message);
    }
    show();
  };
  if (given !== null) take(given, "run.json");
  const refuse = (sentence: string): void => {
    placed = null;
    problem.hidden = false;
    write(problem, sentence);
    show();
  };
  const element = h(
    "div",
    { class: "panel place" },
    h(
      "div",
      { class: "view" },
      h(
        "p",
        { class: "lead" },
        "Where is your own network? Save what a probe measured, ",
        h("code", {}, SAVE),
        ", and give the file to this page. It does not leave your computer.",
      ),
      entry(take, refuse),
      problem,
      result.element,
    ),
  );
  return {
    element,
    render: (next) => {
      state = next;
      show();
    },
  };
}

/** A file that is chosen or dropped, or a text that is pasted. */
function entry(take: (text: string, file: string) => void, refuse: (sentence: string) => void): HTMLElement {
  const [chooser, text] = [newId("file"), newId("pasted")];
  const file = h("input", { type: "file", id: chooser, accept: ".json,application/json" });
  const pasted = h("textarea", {
    id: text,
    rows: 3,
    spellcheck: false,
    placeholder: "or paste its text here",
  });
  const read = async (given: File | undefined): Promise<void> => {
    if (!given) return;
    if (given.size > LARGEST_FILE) {
      return refuse(
        `A history is smaller than 50 MB, ${given.name} has ${inWords(given.size / 1e6)} MB. Give the file of ${SAVE}.`,
      );
    }
    take(await given.text(), given.name);
  };
  file.addEventListener("change", () => void read(file.files?.[0]));
  pasted.addEventListener("input", () => {
    if (pasted.value.trim() !== "") take(pasted.value, "run.json");
  });
  const drop = h(
    "div",
    { class: "drop" },
    h("label", { for: chooser }, "Load a history"),
    file,
    h("label", { for: text, class: "visually-hidden" }, "Text of a history"),
    pasted,
  );
  drop.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    void read(event.dataTransfer?.files[0]);
  });
  return drop;
}

/** All that is said of a history. */
class Result {
  readonly element: HTMLElement;
  private readonly title = h("h3", {});
  private readonly word = chip();
  private readonly words = sentences();
  private readonly scale = new ChangeScale();
  private readonly levels = new LevelMap();
  private readonly map = new PhaseMap({ label: "this network on the map", help: "", moved: () => undefined });
  private readonly layers = h("div", { class: "plots" });
  private readonly python = new PythonBox(["history"]);
  private readonly tiles = new Tiles([
    { title: "kernel change", term: "ntk_change" },
    { title: "as an order parameter", term: "order_parameter" },
    { title: "measured at step", term: "step" },
  ]);
  private drawn: Placement | null = null;

  constructor() {
    this.element = h(
      "div",
      { class: "result", hidden: true },
      this.title,
      h("div", { class: "headline" }, this.word.element, this.tiles.element),
      this.words.element,
      this.scale.element,
      h(
        "div",
        { class: "stage" },
        h(
          "div",
          { class: "column" },
          h("h3", {}, "Mechanisms, layer by layer ", term("window")),
          this.layers,
        ),
        h(
          "section",
          { class: "place-on-map" },
          h("h3", {}, "On the map of the tab “Line”"),
          this.map.element,
          h(
            "p",
            { class: "note" },
            "The thick curve is where networks on a line change their kernel as much as yours. One width has no " +
              "exponents, so that a curve is all that one run can say.",
          ),
        ),
      ),
      this.python.element,
    );
  }

  render({ placement, history, file }: Placed, state: State): void {
    this.map.draw(this.levels.drawing(state, placement.ntk_change));
    if (this.drawn === placement) return;
    this.drawn = placement;
    write(this.title, history.title);
    this.word.show(placement.regime);
    this.words.show([placement.sentence]);
    this.tiles.show([
      [
        compact(placement.ntk_change),
        `${compact(placement.ntk_change_low)} to ${compact(placement.ntk_change_high)}`,
      ],
      [compact(placement.order_parameter), "of a network on a line from zero output"],
      [compact(placement.step), "the last that was finite"],
    ]);
    this.scale.show(placement);
    const shown = placement.layers.slice(0, DRAWN_LAYERS);
    const left = placement.layers.length - shown.length;
    fill(
      this.layers,
      ...shown.map((layer) => layerChart(layer, history)),
      left > 0 ? h("p", { class: "note" }, `${left} more layers are not drawn.`) : null,
      shown.length === 0 ? h("p", { class: "note" }, "This history has no layers with a weight.") : null,
    );
    this.python.render([{ name: "history", view: () => ({ kind: "history", file }) }]);
  }
}

function layerChart(
  { name, log_alignment, log_rescaling, windows }: LayerPlacement,
  { step }: History,
): HTMLElement {
  const chart = new Chart({
    title: [h("code", {}, name)],
    lines: [
      { label: "alignment", colour: "blue", dots: true },
      { label: "rescaling", colour: "vermilion", dots: true },
    ],
    xLabel: "step",
    group: "place",
  });
  const acting = windows.filter(({ acts }) => acts);
  const xRange: Range = [step[0], Math.max(step[step.length - 1], step[0] + 1)];
  const words = acting.map(
    ({ mechanism, start, stop }) => `${mechanism} from step ${compact(start)} to ${compact(stop)}`,
  );
  chart.draw({
    x: step,
    lines: [log_alignment, log_rescaling],
    xRange,
    yRange: linearRange([log_alignment, log_rescaling, [-0.1, 0.1]], [], true),
    bands: acting.map(({ mechanism, start, stop }) => ({
      from: start,
      to: stop,
      colour: MECHANISM_COLOURS[mechanism],
    })),
    spoken: `${name}: ${words.join(", ") || "no mechanism acts"}.`,
  });
  chart.element.append(h("p", { class: "note" }, words.join("; ") || "no mechanism acts"));
  return chart.element;
}
