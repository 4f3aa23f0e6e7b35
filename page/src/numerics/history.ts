/** A history that `probe.save("run.json")` wrote: read, checked, and placed on the map. */
import { REGIONS, regionCode } from "./diagram.ts";
import {
  InputError,
  type History,
  type LayerPlacement,
  type Placement,
  type Regime,
  type Series,
  type Thresholds,
} from "./types.ts";
import { windowsOf } from "./windows.ts";

const NOTHING = 1e-6; // a relative change below that is the rounding of single precision
const DEFAULT_THRESHOLDS: Thresholds = {
  lazy_below: 0.1,
  rich_from: 1,
  frozen_below: 0.05,
  unstable_above: 2,
  alignment: 0.1,
  rescaling: 0.1,
};
const ADVICE = 'Load what `probe.save("run.json")` wrote.';

/** Read what `probe.save("run.json")` wrote. Throws `InputError`: what came, what to do. */
export function readHistory(text: string): History {
  const whole = record(parsed(text), "the file");
  const coords = record(whole["coords"], "`coords`");
  const variables = record(whole["data_vars"], "`data_vars`");
  const attrs = record(whole["attrs"] ?? {}, "`attrs`");
  if (!("step" in coords && "layer" in coords)) {
    const have = Object.keys(coords).join(", ") || "none";
    throw new InputError(`a history has the coordinates step and layer, got ${have}. ${ADVICE}`);
  }
  const step = series(record(coords["step"], "`step`")["data"], "step");
  const layers = strings(record(coords["layer"], "`layer`")["data"], "layer");
  const network: Record<string, Series> = {};
  const layer: Record<string, readonly Series[]> = {};
  for (const [name, value] of Object.entries(variables)) {
    const { dims, data } = record(value, `\`${name}\``);
    const shape = Array.isArray(dims) ? dims.join(" × ") : String(dims);
    if (shape === "step") network[name] = sized(series(data, name), step.length, name);
    else if (shape === "step × layer") layer[name] = byLayer(data, step.length, layers.length, name);
  }
  if (!("loss" in network || "ntk_change" in network)) {
    throw new InputError(`a history has \`loss\` or \`ntk_change\` over steps, got neither. ${ADVICE}`);
  }
  const setting = settingOf(attrs["setting"]);
  return { step, layers, network, layer, setting, title: String(setting["model"] ?? "network") };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const start = text.trim().slice(0, 20);
    throw new InputError(`a history is JSON, got text that begins with "${start}". ${ADVICE}`);
  }
}

function record(value: unknown, name: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  const got = value === undefined ? "nothing" : Array.isArray(value) ? "a list" : typeof value;
  throw new InputError(`${name} of a history must be an object, got ${got}. ${ADVICE}`);
}

/** Numbers; "NaN", "Infinity" and "-Infinity" stand for what JSON has no number for. */
function series(data: unknown, name: string): Series {
  if (!Array.isArray(data)) throw new InputError(`\`${name}\` must be a list of numbers. ${ADVICE}`);
  return Float64Array.from(data, (value: unknown) => {
    if (typeof value === "number") return value;
    if (typeof value === "boolean") return Number(value);
    if (value === null || value === "NaN") return NaN;
    if (value === "Infinity") return Infinity;
    if (value === "-Infinity") return -Infinity;
    throw new InputError(`\`${name}\` must hold numbers, got ${JSON.stringify(value)}. ${ADVICE}`);
  });
}

function strings(data: unknown, name: string): readonly string[] {
  if (Array.isArray(data) && data.every((value) => typeof value === "string")) return data;
  throw new InputError(`\`${name}\` must be a list of names. ${ADVICE}`);
}

function sized(values: Series, length: number, name: string): Series {
  if (values.length === length) return values;
  throw new InputError(
    `\`${name}\` must have a number for each of the ${length} steps, got ${values.length}. ${ADVICE}`,
  );
}

function byLayer(data: unknown, steps: number, layers: number, name: string): readonly Series[] {
  if (!Array.isArray(data) || data.length !== steps) {
    throw new InputError(`\`${name}\` must have a row for each of the ${steps} steps. ${ADVICE}`);
  }
  const rows = data.map((row) => sized(series(row, name), layers, name));
  return Array.from({ length: layers }, (_, i) => Float64Array.from(rows, (row) => row[i]));
}

function settingOf(text: unknown): Record<string, unknown> {
  if (typeof text !== "string") return {};
  try {
    return record(JSON.parse(text), "`setting`");
  } catch {
    throw new InputError(`\`setting\` of a history must be as the probe wrote it. ${ADVICE}`);
  }
}

/** Where that network is on the map, at its last finite measurement. */
export function placeHistory(history: History): Placement {
  const limits = thresholdsOf(history);
  const row = lastFinite(history);
  const value = (name: string): number => finite(history.network[name]?.[row]);
  const ntk_change = value("ntk_change");
  const { regime, sentence } = judged(history, row, limits);
  return {
    step: history.step[row] ?? NaN,
    ntk_change,
    ntk_change_low: value("ntk_change_low"),
    ntk_change_high: value("ntk_change_high"),
    order_parameter: 2 * Math.sqrt(ntk_change * (ntk_change + 2)),
    region: Number.isNaN(ntk_change) ? null : REGIONS[regionCode(ntk_change, regime === "frozen")],
    regime,
    sentence,
    layers: history.layers.map((_, i) => placeLayer(history, i, limits)),
  };
}

/** Those that the history was made with. */
function thresholdsOf(history: History): Thresholds {
  const recorded = (history.setting["thresholds"] ?? {}) as Partial<Thresholds>;
  const once = "rich_from" in recorded && !("lazy_below" in recorded); // as in version 0.2
  const { lazy_below, rich_from } = DEFAULT_THRESHOLDS;
  const both = once
    ? { lazy_below: recorded.rich_from, rich_from: recorded.rich_from! * (rich_from / lazy_below) }
    : {};
  return { ...DEFAULT_THRESHOLDS, ...recorded, ...both } as Thresholds;
}

function lastFinite(history: History): number {
  const { loss } = history.network;
  const last = history.step.length - 1;
  if (loss === undefined) return last;
  const found = loss.findLastIndex((value) => Number.isFinite(value));
  return found >= 0 ? found : last;
}

function finite(value: number | undefined): number {
  return value !== undefined && Number.isFinite(value) ? value : NaN;
}

/** The regime by the kernel, by the rules of `lazyrich.probe.judge`. */
function judged(
  history: History,
  row: number,
  limits: Thresholds,
): { readonly regime: Regime; readonly sentence: string } {
  const { loss } = history.network;
  const value = (name: string): number => finite(history.network[name]?.[row]);
  const [first, last] = loss === undefined ? [NaN, NaN] : [loss[0], loss[loss.length - 1]];
  const ratio = first > 0 && first < Infinity ? last / first : NaN;
  if (loss !== undefined && !loss.every(Number.isFinite)) {
    return { regime: "unstable", sentence: "The loss became infinite." };
  }
  if (ratio > limits.unstable_above) {
    return { regime: "unstable", sentence: `The loss grew ${short(ratio)} times.` };
  }
  if (history.step.length < 2) {
    return { regime: "cannot tell", sentence: "There is one measurement: nothing has moved yet." };
  }
  const [change, low, high] = ["", "_low", "_high"].map((end) => value(`ntk_change${end}`));
  const moved = value("output_change");
  const seen = [high, change, moved, Math.abs(ratio - 1), ...weightMovement(history)];
  const known = seen.filter(Number.isFinite);
  if (known.length > 0 && Math.max(...known) < NOTHING) {
    return { regime: "frozen", sentence: "Nothing moved." };
  }
  if (![change, low, high].every(Number.isFinite)) {
    return { regime: "cannot tell", sentence: "The kernel and its interval were not measured." };
  }
  const said = `The tangent kernel changed by ${short(change)} of itself (${short(low)} to ${short(high)})`;
  const learned = Number.isNaN(moved) ? Math.abs(ratio - 1) / 2 : moved;
  if (learned < limits.frozen_below && high < limits.lazy_below) {
    return { regime: "frozen", sentence: "The output hardly moved and the kernel stayed." };
  }
  const regimes: readonly (readonly [Regime, boolean])[] = [
    ["lazy", low < limits.lazy_below],
    ["intermediate", high >= limits.lazy_below && low < limits.rich_from],
    ["rich", high >= limits.rich_from],
  ];
  const may = regimes.filter(([, is]) => is).map(([word]) => word);
  if (may.length === 1) return { regime: may[0], sentence: `${said}.` };
  return { regime: "cannot tell", sentence: `${said}, which may be ${may.join(" or ")}.` };
}

/** Of every layer, at the last measurement. */
function weightMovement(history: History): readonly number[] {
  const last = history.step.length - 1;
  return (history.layer["weight_movement"] ?? []).map((values) => values[last]);
}

function placeLayer(history: History, index: number, limits: Thresholds): LayerPlacement {
  const nothing = history.step.map(() => NaN);
  const of = (name: string): Series => history.layer[name]?.[index] ?? nothing;
  const log_alignment = of("layer_log_alignment");
  const log_rescaling = of("layer_log_rescaling");
  const alignment = of("parameter_data_alignment");
  const known = Array.from(history.step.keys()).filter(
    (row) => Number.isFinite(alignment[row]) && Number.isFinite(log_rescaling[row]),
  );
  const at = (values: Series): Float64Array => Float64Array.from(known, (row) => values[row]);
  return {
    name: history.layers[index],
    log_alignment,
    log_rescaling,
    alignment_share: log_alignment.map((value, i) => {
      const all = Math.abs(value) + Math.abs(log_rescaling[i]);
      return all === 0 ? NaN : Math.abs(value) / all;
    }),
    windows:
      known.length < 2
        ? []
        : windowsOf(at(history.step), at(alignment), at(log_rescaling), limits).filter(
            (window) => window.acts,
          ),
  };
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}
