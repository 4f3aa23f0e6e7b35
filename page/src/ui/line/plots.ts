/** The six plots of a network on a line: the exact flow, and descent beside it. */

import type { LineTrajectory } from "../../numerics/index.ts";
import { type Band, Chart, type Drawing } from "../chart.ts";
import { h } from "../dom.ts";
import { compact } from "../numerals.ts";
import type { Colour } from "../palette.ts";
import { linearRange, logRange, type Range } from "../ranges.ts";
import type { State } from "../state.ts";
import { term } from "../tip.ts";
import type { Scene } from "./scene.ts";

export const MECHANISM_COLOURS: Readonly<Record<string, Colour>> = {
  alignment: "blue",
  disalignment: "purple",
  rescaling: "vermilion",
};

const DRAWN_STEPS = 300; // of descent, at most

/** Flow and descent over one axis of times: uPlot wants all lines on the same one. */
interface Merged {
  readonly x: Float64Array;
  /** Where each time of the axis comes from; −1 if not from there. */
  readonly flowAt: Int32Array;
  readonly stepAt: Int32Array;
}

type Quantity = (trajectory: LineTrajectory) => ArrayLike<number>;

export class LinePlots {
  readonly element: HTMLElement;
  private readonly output = twoLines("output", ["output", "target"], "blue");
  private readonly loss = twoLines("loss", ["loss"], "blue", true);
  private readonly zeta = twoLines("alignment", ["zeta"], "blue");
  private readonly kernel = twoLines("kernel change", ["ntk_change"], "blue");
  private readonly norms = new Chart({
    title: ["norms ", term("norm_u"), " ", term("norm_w")],
    lines: [
      { label: "descent", colour: "orange", under: true },
      { label: "descent", colour: "orange", under: true, again: true },
      { label: "‖u‖", colour: "green" },
      { label: "‖w‖", colour: "purple", dash: [5, 4] },
    ],
    xLabel: "time",
    group: "line",
  });
  private readonly parts = new Chart({
    title: ["what changes the output ", term("decomposition")],
    lines: [
      { label: "output", colour: "ink" },
      { label: "alignment", colour: "blue" },
      { label: "rescaling", colour: "vermilion" },
    ],
    xLabel: "time",
    group: "line",
  });

  constructor() {
    const charts = [this.output, this.loss, this.zeta, this.norms, this.kernel, this.parts];
    this.element = h("div", { class: "plots" }, ...charts.map((chart) => chart.element));
  }

  render(state: State, scene: Scene): void {
    const merged = merge(scene, state.step_size);
    const xRange: Range = [state.time === "log" ? scene.begin : 0, scene.end];
    const axis = { x: merged.x, xRange, xLog: state.time === "log" };
    const pair = (pick: Quantity): (number | null)[][] => [
      picked(pick(scene.descent), merged.stepAt),
      picked(pick(scene.flow), merged.flowAt),
    ];
    const { flow, descent } = scene;
    const shown = shownOf(descent);
    const best = scene.problem.mean_ay / scene.problem.mean_aa;
    this.output.draw({
      ...axis,
      lines: pair((run) => run.end_to_end_map),
      yRange: linearRange([flow.end_to_end_map, [best]], [descent.end_to_end_map], true, shown),
      levels: [best],
      spoken: spoken("Output", flow.end_to_end_map),
    });
    this.loss.draw({
      ...axis,
      lines: pair((run) => run.excess_loss),
      yRange: logRange([flow.excess_loss], [descent.excess_loss]),
      spoken: spoken("Loss above the lowest", flow.excess_loss),
    });
    this.zeta.draw({
      ...axis,
      lines: pair((run) => run.alignment),
      yRange: signedUnit([flow.alignment, descent.alignment]),
      spoken: spoken("Alignment", flow.alignment),
    });
    this.kernel.draw({
      ...axis,
      lines: pair((run) => run.ntk_change),
      yRange: linearRange([flow.ntk_change, [0, 0.1]], [descent.ntk_change], true, shown),
      levels: [1],
      spoken: spoken("Relative change of the kernel", flow.ntk_change),
    });
    this.drawNorms(axis, scene, pair);
    this.drawParts(axis, scene, merged);
  }

  private drawNorms(axis: Axis, { descent }: Scene, pair: (pick: Quantity) => (number | null)[][]): void {
    const [uSteps, u] = pair((run) => run.uu).map(roots);
    const [wSteps, w] = pair((run) => run.ww).map(roots);
    this.norms.draw({
      ...axis,
      lines: [uSteps, wSteps, u, w],
      yRange: linearRange([u, w], [uSteps, wSteps], true, shownOf(descent)),
      spoken: `${spoken("Norm of u", u.filter(isNumber))} ${spoken("Norm of w", w.filter(isNumber))}`,
    });
  }

  private drawParts(axis: Axis, { parts }: Scene, { flowAt }: Merged): void {
    const lines = [parts.log_output, parts.log_alignment, parts.log_rescaling];
    const acting = parts.windows.filter((window) => window.acts);
    const bands: Band[] = acting.map(({ mechanism, start, stop }) => ({
      from: start,
      to: stop,
      colour: MECHANISM_COLOURS[mechanism],
    }));
    const words = acting.map(
      ({ mechanism, start, stop }) => `${mechanism} from ${compact(start)} to ${compact(stop)}`,
    );
    this.parts.draw({
      ...axis,
      lines: lines.map((line) => picked(line, flowAt)),
      yRange: aboveBars(linearRange([...lines.map((line) => line.slice(-1)), [-0.1, 0.1]], lines, true)),
      bands,
      spoken: `Parts of the output's change. ${words.length > 0 ? words.join(", ") : "No mechanism acts"}.`,
    });
  }
}

type Axis = Pick<Drawing, "x" | "xRange" | "xLog">;

function twoLines(label: string, terms: Parameters<typeof term>[0][], colour: Colour, log = false): Chart {
  return new Chart({
    title: [label, " ", ...terms.flatMap((name) => [term(name), " "])],
    lines: [
      { label: "descent", colour: "orange", under: true, dots: true },
      { label: "flow", colour },
    ],
    xLabel: "time",
    log,
    group: "line",
  });
}

/** The values of records on the common axis; null where it has none of them. */
function picked(values: ArrayLike<number>, at: Int32Array): (number | null)[] {
  return Array.from(at, (i) => (i < 0 || Number.isNaN(values[i]) ? null : values[i]));
}

function merge({ flow, descent, end, steps }: Scene, stepSize: number): Merged {
  const last = descent.diverged_at < 0 ? steps : Math.min(steps, descent.diverged_at);
  const shown = descent.at.findLastIndex((step) => step <= last);
  const every = Math.ceil((shown + 1) / DRAWN_STEPS);
  const points: [number, number, number][] = [];
  flow.at.forEach((time, i) => {
    if (time <= end) points.push([time, i, -1]);
  });
  if ((flow.at.at(-1) ?? 0) < end) points.push([end, flow.at.length - 1, -1]);
  for (let i = 0; i <= shown; i += every) points.push([descent.at[i] * stepSize, -1, i]);
  points.sort((one, other) => one[0] - other[0]);
  return {
    x: Float64Array.from(points, ([time]) => time),
    flowAt: Int32Array.from(points, ([, i]) => i),
    stepAt: Int32Array.from(points, ([, , n]) => n),
  };
}

function roots(values: readonly (number | null)[]): (number | null)[] {
  return values.map((value) => (value === null ? null : Math.sqrt(value)));
}

function isNumber(value: number | null): value is number {
  return value !== null;
}

/** How much of descent is shown, in sizes of the flow: all of a catapult, little of what diverges. */
function shownOf({ diverged_at }: LineTrajectory): number {
  return diverged_at < 0 ? 12 : 1.5;
}

/** A range with room below for the bars of the windows. */
function aboveBars([low, high]: Range): Range {
  return [low - 0.12 * (high - low), high];
}

/** The range of a cosine: all of its side, so that a small one looks small. */
function signedUnit(all: readonly ArrayLike<number>[]): Range {
  const negative = all.some((values) => Array.from(values).some((value) => value < -0.02));
  return negative ? [-1.08, 1.08] : [-0.04, 1.08];
}

function spoken(what: string, values: ArrayLike<number>): string {
  return `${what}: from ${compact(values[0])} to ${compact(values[values.length - 1])}.`;
}
