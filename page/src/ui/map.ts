/** A map: regions in colour, boundaries as curves, names on it, and a point that one drags. */

import { h, newId, onWidth, s, set } from "./dom.ts";
import { onTheme } from "./palette.ts";
import { linearLabels, linearTicks, logLabel, logTicks, type Range } from "./ranges.ts";
import { type Box, freeSide } from "./placing.ts";
import { labelPlaces, paint, type Surface } from "./surface.ts";

export interface MapAxis {
  /** Symbol and words, as at an axis. */
  readonly symbol: string;
  readonly label: string;
  readonly range: Range;
  readonly log: boolean;
  /** One press of an arrow key; in decades if `log`. */
  readonly step: number;
}

export interface MapCurve {
  readonly x: ArrayLike<number>;
  readonly y: ArrayLike<number>;
  readonly kind: "boundary" | "open" | "level";
}

export interface MapPlace {
  readonly x: number;
  readonly y: number;
  readonly label: string;
}

/** A name that stands at a place, as regions have names. */
export interface MapName {
  readonly x: number;
  readonly y: number;
  readonly text: string;
  /** A second place, for a name that stands along a line. */
  readonly toward?: { readonly x: number; readonly y: number };
}

export interface MapDrawing {
  readonly x: MapAxis;
  readonly y: MapAxis;
  /** Painted anew when it is another object. */
  readonly surface: Surface;
  /** Whether the map changes with every frame, and has to be quick. */
  readonly coarse?: boolean;
  readonly curves: readonly MapCurve[];
  readonly places?: readonly MapPlace[];
  /** Names of what is no region, such as a line. */
  readonly names?: readonly MapName[];
  readonly point: { readonly x: number; readonly y: number; readonly spoken: string } | null;
}

export interface MapOptions {
  readonly label: string;
  readonly help: string;
  readonly moved: (x: number, y: number, done: boolean) => void;
  readonly chosen?: (label: string) => void;
}

const MARGIN = { left: 50, right: 12, top: 10, bottom: 40 };
const RATIO = 0.86; // height over width
const FAR = 10; // steps with the shift key

export class PhaseMap {
  readonly element: HTMLElement;
  private readonly canvas = h("canvas", { class: "surface", "aria-hidden": "true" });
  private readonly back = s("g", {});
  private readonly curves = s("g", {});
  private readonly front = s("g", {});
  private readonly frame = s("rect", {});
  private readonly handle: SVGGElement;
  private readonly svg: SVGSVGElement;
  private drawing: MapDrawing | null = null;
  private width = 360;
  private painted: Surface | null = null;
  private names: readonly MapName[] = [];

  constructor(private readonly options: MapOptions) {
    const help = newId("help");
    this.handle = s(
      "g",
      {
        class: "handle",
        tabindex: 0,
        role: "slider",
        "aria-label": options.label,
        "aria-roledescription": "point on a map",
        "aria-describedby": help,
        "aria-valuemin": 0,
        "aria-valuemax": 100,
      },
      s("circle", { class: "reach", r: 20 }),
      s("circle", { class: "halo", r: 9.5 }),
      s("circle", { class: "dot", r: 6.5 }),
    );
    const clip = newId("clip");
    const curves = s("g", { "clip-path": `url(#${clip})` }, this.curves);
    const inside = s("clipPath", { id: clip }, this.frame);
    this.svg = s(
      "svg",
      { class: "overlay" },
      s("defs", {}, inside),
      this.back,
      curves,
      this.front,
      this.handle,
    );
    this.element = h(
      "div",
      { class: "map" },
      this.canvas,
      this.svg,
      h("p", { id: help, class: "visually-hidden" }, options.help),
    );
    this.listen();
    onWidth(this.element, (width) => {
      if (width === this.width) return;
      this.width = width;
      this.redraw();
    });
    onTheme(() => {
      this.painted = null;
      this.redraw();
    });
  }

  draw(drawing: MapDrawing): void {
    this.drawing = drawing;
    this.redraw();
  }

  private get inner(): { width: number; height: number } {
    const width = this.width - MARGIN.left - MARGIN.right;
    return { width, height: Math.round(width * RATIO) };
  }

  private redraw(): void {
    const { drawing } = this;
    if (!drawing) return;
    const { width, height } = this.inner;
    const total = height + MARGIN.top + MARGIN.bottom;
    this.element.style.height = `${total}px`;
    set(this.svg, { viewBox: `0 0 ${this.width} ${total}`, width: this.width, height: total });
    Object.assign(this.canvas.style, {
      left: `${MARGIN.left}px`,
      top: `${MARGIN.top}px`,
      width: `${width}px`,
      height: `${height}px`,
    });
    if (this.painted !== drawing.surface) {
      const { surface, coarse = false } = drawing;
      paint(this.canvas, surface, coarse);
      if (!coarse || this.names.length === 0) this.names = labelPlaces(surface);
      this.painted = drawing.surface;
    }
    set(this.frame, { x: MARGIN.left, y: MARGIN.top, width, height });
    this.back.replaceChildren(...this.axes(drawing));
    this.curves.replaceChildren(...drawing.curves.map((curve) => this.curve(curve)));
    this.front.replaceChildren(
      ...this.names.map((name) => this.name(name)),
      ...this.named(drawing),
      ...this.places(drawing),
    );
    this.putHandle(drawing);
  }

  private putHandle({ point }: MapDrawing): void {
    set(this.handle, { visibility: point ? "visible" : "hidden" });
    if (!point) return;
    const [x, y] = this.position(point.x, point.y);
    const { width, height } = this.inner;
    const outside = x < 0 || x > width || y < 0 || y > height;
    const left = MARGIN.left + Math.min(Math.max(x, 0), width);
    const top = MARGIN.top + Math.min(Math.max(y, 0), height);
    set(this.handle, {
      transform: `translate(${left.toFixed(1)} ${top.toFixed(1)})`,
      class: outside ? "handle outside" : "handle",
      "aria-valuenow": Math.round((100 * Math.min(Math.max(x, 0), width)) / width),
      "aria-valuetext": point.spoken,
    });
  }

  /** Where a point is, in pixels from the upper left of the surface. */
  private position(x: number, y: number): [number, number] {
    const { drawing } = this;
    if (!drawing) return [0, 0];
    const { width, height } = this.inner;
    return [width * share(drawing.x, x), height * (1 - share(drawing.y, y))];
  }

  private axes({ x, y }: MapDrawing): SVGElement[] {
    const { width, height } = this.inner;
    const bottom = MARGIN.top + height;
    const [xTicks, xLabels] = ticks(x, Math.max(3, Math.floor(width / 52)));
    const [yTicks, yLabels] = ticks(y, 6);
    const label = (axis: MapAxis, attributes: Record<string, string | number>): SVGElement =>
      s("text", { class: "axis-label", ...attributes }, axis.label);
    return [
      ...xTicks.map((tick, i) =>
        s(
          "text",
          { x: MARGIN.left + this.position(tick, 1)[0], y: bottom + 15, "text-anchor": "middle" },
          xLabels[i],
        ),
      ),
      ...yTicks.map((tick, i) =>
        s(
          "text",
          { x: MARGIN.left - 6, y: MARGIN.top + this.position(1, tick)[1] + 4, "text-anchor": "end" },
          yLabels[i],
        ),
      ),
      label(x, { x: MARGIN.left + width / 2, y: bottom + 33, "text-anchor": "middle" }),
      label(y, {
        transform: `translate(12 ${MARGIN.top + height / 2}) rotate(-90)`,
        "text-anchor": "middle",
      }),
    ];
  }

  private curve({ x, y, kind }: MapCurve): SVGElement {
    let path = "";
    let pen = "M";
    for (let i = 0; i < x.length; i += 1) {
      const [left, top] = this.position(x[i], y[i]);
      const known = Number.isFinite(left) && Number.isFinite(top);
      if (known) path += `${pen}${(MARGIN.left + left).toFixed(1)} ${(MARGIN.top + top).toFixed(1)}`;
      pen = known ? "L" : "M";
    }
    return s("path", { class: `curve ${kind}`, d: path });
  }

  private name({ x, y, text }: MapName): SVGElement {
    const { width, height } = this.inner;
    const lines = text.split("\n");
    const left = MARGIN.left + x * width;
    const top = MARGIN.top + (1 - y) * height - (lines.length - 1) * 8;
    return s(
      "text",
      { class: "region-name", x: left, y: top, "text-anchor": "middle" },
      ...lines.map((line, i) => s("tspan", { x: left, dy: i === 0 ? 4 : 16 }, line)),
    );
  }

  /** Names along lines, a little above them. */
  private named({ names = [] }: MapDrawing): SVGElement[] {
    return names.map(({ x, y, text, toward }) => {
      const [left, top] = this.position(x, y);
      const [right, bottom] = toward ? this.position(toward.x, toward.y) : [left + 1, top];
      const angle = (180 / Math.PI) * Math.atan2(bottom - top, right - left);
      const place = `translate(${MARGIN.left + left} ${MARGIN.top + top}) rotate(${angle.toFixed(1)})`;
      return s("text", { class: "region-name", transform: place, dy: -5 }, text);
    });
  }

  private places({ places = [] }: MapDrawing): SVGElement[] {
    const { width, height } = this.inner;
    const taken: Box[] = [];
    return places.flatMap(({ x, y, label }) => {
      const [left, top] = this.position(x, y);
      if (left < -1 || left > width + 1 || top < -1 || top > height + 1) return [];
      const { dx, dy, anchor } = freeSide(left, top, label, width, taken);
      return [
        s(
          "g",
          {
            class: "place",
            transform: `translate(${MARGIN.left + left} ${MARGIN.top + top})`,
            "data-place": label,
          },
          s("circle", { r: 3.5 }),
          s("text", { x: dx, y: dy, "text-anchor": anchor }, label),
        ),
      ];
    });
  }

  private listen(): void {
    let dragged = false;
    const move = (event: PointerEvent, done: boolean): void => {
      const { drawing } = this;
      if (!drawing) return;
      const box = this.svg.getBoundingClientRect();
      const { width, height } = this.inner;
      const across = (event.clientX - box.left - MARGIN.left) / width;
      const up = 1 - (event.clientY - box.top - MARGIN.top) / height;
      this.options.moved(valueAt(drawing.x, across), valueAt(drawing.y, up), done);
    };
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !(event.target instanceof Element)) return;
      const place = event.target.closest<SVGElement>("[data-place]")?.dataset["place"];
      if (place !== undefined && this.options.chosen) return this.options.chosen(place);
      const onHandle = event.target.closest(".handle") !== null;
      if (event.pointerType === "touch" && !onHandle) return; // a finger scrolls, and taps
      dragged = true;
      this.svg.setPointerCapture(event.pointerId);
      this.handle.focus({ preventScroll: true });
      event.preventDefault();
      if (!onHandle) move(event, false);
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (dragged) move(event, false);
    });
    const stop = (event: PointerEvent): void => {
      if (dragged) move(event, true);
      dragged = false;
    };
    this.svg.addEventListener("pointerup", stop);
    this.svg.addEventListener("pointercancel", () => (dragged = false));
    this.svg.addEventListener("click", (event) => {
      if ((event as PointerEvent).pointerType === "touch") move(event as PointerEvent, true);
    });
    this.handle.addEventListener("keydown", (event) => this.pressed(event));
  }

  private pressed(event: KeyboardEvent): void {
    const point = this.drawing?.point;
    const direction = ARROWS[event.key];
    if (!point || !this.drawing || !direction) return;
    event.preventDefault();
    const times = event.shiftKey ? FAR : 1;
    const [right, up] = direction;
    const { x, y } = this.drawing;
    this.options.moved(stepped(x, point.x, times * right), stepped(y, point.y, times * up), true);
  }
}

const ARROWS: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

/** How far along an axis a value is, from 0 to 1. */
function share({ range: [low, high], log }: MapAxis, value: number): number {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

function valueAt({ range: [low, high], log }: MapAxis, along: number): number {
  const within = Math.min(Math.max(along, 0), 1);
  return log ? low * (high / low) ** within : low + (high - low) * within;
}

function stepped(axis: MapAxis, value: number, steps: number): number {
  const [low, high] = axis.range;
  const next = axis.log ? value * 10 ** (axis.step * steps) : value + axis.step * steps;
  return steps === 0 ? value : Math.min(Math.max(next, low), high);
}

function ticks({ range, log }: MapAxis, most: number): [number[], string[]] {
  if (log) {
    const found = logTicks(range, most);
    return [found, found.map(logLabel)];
  }
  const found = linearTicks(range, most);
  return [found, linearLabels(found)];
}
