/** Curves over time on a canvas, with a legend that reads off their values. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { h, onWidth, write } from "./dom.ts";
import { compact } from "./numerals.ts";
import { type Colour, colour, onTheme } from "./palette.ts";
import { linearLabels, linearTicks, logLabel, logTicks, type Range } from "./ranges.ts";

export interface Line {
  readonly label: string;
  readonly colour: Colour;
  readonly dash?: readonly [number, number];
  /** A broad line, for one that others are drawn upon. */
  readonly under?: boolean;
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
const ROUNDING = 1e-14; // of the axis
const MANY = 70; // records from which dots are a line
const BAR = 5; // pixels of a band's bar at the bottom
const HEIGHT = 156;

export class Chart {
  readonly element: HTMLElement;
  private readonly plot: uPlot;
  private readonly values: readonly HTMLElement[];
  private readonly clock: HTMLElement;
  private drawing: Drawing | null = null;

  constructor(private readonly options: ChartOptions) {
    const host = h("div", { class: "plot", role: "img" });
    this.values = options.lines.map(() => h("output", {}));
    const entry = (line: Line, i: number): HTMLElement => {
      const swatch = h("i", {
        class: line.under ? "broad" : line.dash ? "dashed" : "",
        style: `--c: var(--${line.colour})`,
      });
      return h("span", { hidden: line.again ?? false }, swatch, line.label, " ", this.values[i]);
    };
    this.clock = h("output", { class: "clock" });
    const legend = h("div", { class: "legend" }, ...options.lines.map(entry), this.clock);
    this.element = h("figure", { class: "chart" }, h("figcaption", {}, ...options.title), legend, host);
    this.plot = new uPlot(this.uplotOptions(), [[0, 1], ...options.lines.map(() => [null, null])], host);
    onWidth(host, (width) => this.plot.setSize({ width, height: HEIGHT }));
    onTheme(() => this.plot.redraw(true, true));
  }

  draw(drawing: Drawing): void {
    this.drawing = drawing;
    Object.assign(this.element, { drawing }); // what tests in the browser read
    const x = drawing.xLog ? Float64Array.from(drawing.x, Math.log10) : drawing.x;
    this.plot.setData([
      x,
      ...drawing.lines.map(clipped(drawing, this.options.log ?? false)),
    ] as uPlot.AlignedData);
    this.plot.root.parentElement?.setAttribute("aria-label", drawing.spoken);
    this.readOff();
  }

  /** uPlot cannot change the kind of an axis: a logarithmic one holds logarithms, and its ticks powers. */
  private get xRange(): Range {
    const { xRange: [low, high] = [0, 1], xLog = false } = this.drawing ?? {};
    return xLog ? [Math.log10(low), Math.log10(high)] : [low, high];
  }

  private along(x: number): number {
    return this.drawing?.xLog ? Math.log10(x) : x;
  }

  private uplotOptions(): uPlot.Options {
    const { lines, group, log = false, xLabel } = this.options;
    return {
      width: 260,
      height: HEIGHT,
      pxAlign: false,
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: group }, points: { size: 6 } },
      scales: {
        x: { time: false, distr: 1, range: () => [...this.xRange] },
        y: { distr: log ? 3 : 1, range: () => [...(this.drawing?.yRange ?? [0, 1])] },
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
      width: line.under ? 3.5 : 1.75,
      ...(line.dash ? { dash: [...line.dash] } : {}),
      spanGaps: true,
      points: {
        show: (plot, index) => (line.dots ?? false) && shownRecords(plot.data[index] ?? []) <= MANY,
        size: 6,
        fill: () => colour(line.colour),
        stroke: () => colour(line.colour),
      },
    };
  }

  private axis(scale: "x" | "y", label: string): uPlot.Axis {
    const most = (plot: uPlot): number =>
      scale === "x" ? Math.max(2, Math.floor(plot.bbox.width / devicePixelRatio / 44)) : 4;
    const powers = (): boolean => scale === "x" && (this.drawing?.xLog ?? false);
    const isLog = scale === "y" && (this.options.log ?? false);
    return {
      scale,
      font: FONT,
      labelFont: FONT,
      stroke: () => colour("quiet"),
      ...(label ? { label, labelSize: 14, labelGap: -1 } : {}),
      size: scale === "x" ? 18 : 42,
      gap: 3,
      grid: { stroke: () => colour("line"), width: 1 },
      ticks: { show: false },
      splits: (plot, _axis, low, high) => {
        if (powers()) return logTicks([10 ** low, 10 ** high], most(plot)).map(Math.log10);
        return isLog ? logTicks([low, high], most(plot)) : linearTicks([low, high], most(plot));
      },
      values: (_plot, ticks) => {
        if (powers()) return ticks.map((power) => logLabel(10 ** power));
        return isLog ? ticks.map(logLabel) : linearLabels(ticks);
      },
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
      const at = (x: number): number =>
        plot.valToPos(this.along(Math.min(Math.max(x, low), high)), "x", true);
      const [left, right] = [at(band.from), at(band.to)];
      ctx.fillStyle = colour(band.colour);
      ctx.globalAlpha = 0.12;
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
      ctx.globalAlpha = 0.9;
      ctx.fillRect(
        left,
        bbox.top + bbox.height - (i + 1) * (BAR + 1) * unit,
        Math.max(right - left, unit),
        BAR * unit,
      );
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

  /** A value without what rounding left of zero. */
  private rounded(value: number): number {
    const [low, high] = this.drawing?.yRange ?? [0, 1];
    return !this.options.log && Math.abs(value) < ROUNDING * (high - low) ? 0 : value;
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
      write(output, value === null ? "" : compact(this.rounded(value), 2));
    });
    write(this.clock, inside ? `at ${compact(drawing.x[at] ?? NaN)}` : "");
  }
}

/** The last record up to a place, or the first one after it. */
function nearest(line: ArrayLike<number | null>, at: number): number | null {
  for (let i = at; i >= 0; i -= 1) if (line[i] !== null && line[i] !== undefined) return line[i] ?? null;
  for (let i = at; i < line.length; i += 1)
    if (line[i] !== null && line[i] !== undefined) return line[i] ?? null;
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
