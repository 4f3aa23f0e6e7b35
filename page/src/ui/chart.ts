/** Curves over time on a canvas, with a legend that reads off their values. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { h, write } from "./dom.ts";
import { compact } from "./numerals.ts";
import { type Colour, colour, onTheme } from "./palette.ts";
import { linearLabels, linearTicks, logLabel, logTicks, type Range } from "./ranges.ts";

export interface Line {
  readonly label: string;
  readonly colour: Colour;
  readonly dash?: readonly [number, number];
  /** Mark single records while there are few of them. */
  readonly dots?: boolean;
  /** One more of the line before, without a place of its own in the legend. */
  readonly again?: boolean;
}

/** A stretch of the horizontal axis in which something happens. */
export interface Band {
  readonly from: number;
  readonly to: number;
  readonly colour: Colour;
}

export interface Drawing {
  readonly x: ArrayLike<number>;
  /** One for each line; null where it has no record. */
  readonly lines: readonly ArrayLike<number | null>[];
  readonly xRange: Range;
  readonly yRange: Range;
  readonly xLog?: boolean;
  readonly bands?: readonly Band[];
  /** Levels to compare with. */
  readonly levels?: readonly number[];
  /** What the picture shows, for who does not see it. */
  readonly spoken: string;
}

export interface ChartOptions {
  readonly title: readonly (Node | string)[];
  readonly lines: readonly Line[];
  readonly xLabel: string;
  readonly log?: boolean;
  /** Charts of one group have one cursor. */
  readonly group: string;
}

const FONT = "11px system-ui, sans-serif";
const MANY = 70; // records from which dots are a line
const BAR = 5; // pixels of a band's bar at the bottom
const HEIGHT = 168;

export class Chart {
  readonly element: HTMLElement;
  private readonly plot: uPlot;
  private readonly values: readonly HTMLElement[];
  private readonly clock: HTMLElement;
  private drawing: Drawing | null = null;
  private logX = false;

  constructor(private readonly options: ChartOptions) {
    const host = h("div", { class: "plot", role: "img" });
    this.values = options.lines.map(() => h("output", {}));
    const entry = (line: Line, i: number): HTMLElement => {
      const swatch = h("i", { class: line.dash ? "dashed" : "", style: `--c: var(--${line.colour})` });
      return h("span", { hidden: line.again ?? false }, swatch, line.label, " ", this.values[i]);
    };
    this.clock = h("output", { class: "clock" });
    const legend = h("div", { class: "legend" }, ...options.lines.map(entry), this.clock);
    this.element = h("figure", { class: "chart" }, h("figcaption", {}, ...options.title), legend, host);
    this.plot = new uPlot(this.uplotOptions(), [[0, 1], ...options.lines.map(() => [null, null])], host);
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry?.contentRect.width ?? 0);
      if (width > 0) this.plot.setSize({ width, height: HEIGHT });
    }).observe(host);
    onTheme(() => this.plot.redraw(true, true));
  }

  draw(drawing: Drawing): void {
    this.drawing = drawing;
    if ((drawing.xLog ?? false) !== this.logX) {
      this.logX = drawing.xLog ?? false;
      (this.plot.scales["x"] as uPlot.Scale).distr = this.logX ? 3 : 1;
    }
    this.plot.setData([drawing.x, ...drawing.lines.map(clipped(drawing, this.options.log ?? false))] as uPlot.AlignedData);
    this.plot.root.parentElement?.setAttribute("aria-label", drawing.spoken);
    this.readOff();
  }

  private uplotOptions(): uPlot.Options {
    const { lines, group, log = false, xLabel } = this.options;
    const range = (key: "xRange" | "yRange") => (): uPlot.Range.MinMax => {
      const [low, high] = this.drawing?.[key] ?? [0, 1];
      return [low, high];
    };
    return {
      width: 260,
      height: HEIGHT,
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: group }, points: { size: 6 } },
      scales: {
        x: { time: false, distr: 1, range: range("xRange") },
        y: { distr: log ? 3 : 1, range: range("yRange") },
      },
      axes: [this.axis("x", xLabel), this.axis("y", "")],
      series: [{}, ...lines.map((line) => this.series(line))],
      hooks: {
        drawClear: [(plot) => this.underlay(plot)],
        setCursor: [() => this.readOff()],
      },
    };
  }

  private series(line: Line): uPlot.Series {
    return {
      label: line.label,
      stroke: () => colour(line.colour),
      width: line.dash ? 1.75 : 2,
      ...(line.dash ? { dash: [...line.dash] } : {}),
      spanGaps: true,
      points: {
        show: (plot, index) => (line.dots ?? false) && shownRecords(plot.data[index] ?? []) <= MANY,
        size: 4.5,
        fill: () => colour(line.colour),
        stroke: () => colour(line.colour),
      },
    };
  }

  private axis(scale: "x" | "y", label: string): uPlot.Axis {
    const isLog = (): boolean => (scale === "x" ? this.logX : (this.options.log ?? false));
    const most = (plot: uPlot): number =>
      scale === "x" ? Math.max(2, Math.floor(plot.bbox.width / devicePixelRatio / 62)) : 4;
    return {
      scale,
      font: FONT,
      labelFont: FONT,
      stroke: () => colour("quiet"),
      ...(label ? { label, labelSize: 16, labelGap: -2 } : {}),
      size: scale === "x" ? 26 : 46,
      gap: 3,
      grid: { stroke: () => colour("line"), width: 1 },
      ticks: { show: false },
      splits: (plot, _axis, low, high) =>
        isLog() ? logTicks([low, high], most(plot)) : linearTicks([low, high], most(plot)),
      values: (_plot, ticks) => (isLog() ? ticks.map(logLabel) : linearLabels(ticks)),
      filter: (_plot, ticks) => ticks,
    };
  }

  private underlay(plot: uPlot): void {
    const { drawing } = this;
    if (!drawing) return;
    const { ctx, bbox } = plot;
    const unit = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    (drawing.bands ?? []).forEach((band, i) => {
      const [low, high] = drawing.xRange;
      const left = plot.valToPos(Math.max(band.from, low), "x", true);
      const right = plot.valToPos(Math.min(Math.max(band.to, low), high), "x", true);
      ctx.fillStyle = colour(band.colour);
      ctx.globalAlpha = 0.12;
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
      ctx.globalAlpha = 0.9;
      ctx.fillRect(left, bbox.top + bbox.height - (i + 1) * (BAR + 1) * unit, Math.max(right - left, unit), BAR * unit);
    });
    ctx.globalAlpha = 1;
    ctx.strokeStyle = colour("quiet");
    ctx.lineWidth = unit;
    ctx.setLineDash([2 * unit, 3 * unit]);
    for (const level of drawing.levels ?? []) {
      const y = plot.valToPos(level, "y", true);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
    ctx.restore();
  }

  /** Values under the cursor, or at the end. */
  private readOff(): void {
    const { drawing } = this;
    if (!drawing) return;
    const left = this.plot.cursor.left ?? -1;
    const inside = left >= 0;
    const last = drawing.x.length - 1;
    const at = inside ? this.plot.posToIdx(left) : last;
    drawing.lines.forEach((line, i) => {
      const output = this.values[i];
      const value = nearest(line, at);
      if (output) write(output, value === null ? "" : compact(value));
    });
    write(this.clock, inside ? `at ${compact(drawing.x[at] ?? NaN)}` : "");
  }
}

/** The last record up to a place, or the first one after it. */
function nearest(line: ArrayLike<number | null>, at: number): number | null {
  for (let i = at; i >= 0; i -= 1) if (line[i] !== null && line[i] !== undefined) return line[i] ?? null;
  for (let i = at; i < line.length; i += 1) if (line[i] !== null && line[i] !== undefined) return line[i] ?? null;
  return null;
}

function shownRecords(values: ArrayLike<number | null | undefined>): number {
  let count = 0;
  for (let i = 0; i < values.length; i += 1) if (values[i] !== null && values[i] !== undefined) count += 1;
  return count;
}

/** Values that leave the picture go on a little beyond its edge, so that the line is seen to leave. */
function clipped(drawing: Drawing, log: boolean): (line: ArrayLike<number | null>) => (number | null)[] {
  const [low, high] = drawing.yRange;
  const [floor, ceiling] = log ? [low / 1e3, high * 1e3] : [low - 2 * (high - low), high + 2 * (high - low)];
  return (line) =>
    Array.from(line, (value) =>
      value === null || Number.isNaN(value) ? null : Math.min(Math.max(value, floor), ceiling),
    );
}
