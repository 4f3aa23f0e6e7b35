/** Which part of an axis holds the curves, and where its ticks are. */

import { compact, raised } from "./numerals.ts";

export type Range = readonly [number, number];
export type Values = ArrayLike<number | null>;

/** Smallest and largest finite number of what passes; null if there is none. */
export function extent(
  all: readonly Values[],
  passes: (value: number) => boolean = () => true,
): Range | null {
  let [low, high] = [Infinity, -Infinity];
  for (const values of all) {
    for (let i = 0; i < values.length; i += 1) {
      const value = values[i] ?? NaN; // a curve without a record there
      if (!Number.isFinite(value) || !passes(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : null;
}

/**
 * A range with some air around what must be seen. Of `more`, which may run away, only as much
 * is shown as keeps the rest legible: so many times its size.
 */
export function linearRange(
  must: readonly Values[],
  more: readonly Values[] = [],
  zero = false,
  most = 1.5,
): Range {
  let [low, high] = extent(must) ?? [0, 1];
  if (zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
  const room = Math.max(high - low, 1e-9 * Math.max(Math.abs(low), Math.abs(high)), Number.MIN_VALUE);
  const beyond = extent(more) ?? [low, high];
  low = Math.max(Math.min(low, beyond[0]), low - most * room);
  high = Math.min(Math.max(high, beyond[1]), high + most * room);
  const size = Math.max(high - low, 0.02 * Math.max(Math.abs(low), Math.abs(high)), 1e-300);
  return [low === 0 && zero ? 0 : low - 0.08 * size, high === 0 && zero ? 0 : high + 0.08 * size];
}

const SHOWN_DECADES = 8;
const AIR = 1.6;

/** The same on a logarithmic axis; at most `decades` of it below the top. */
export function logRange(
  must: readonly Values[],
  more: readonly Values[] = [],
  decades = SHOWN_DECADES,
): Range {
  const positive = (value: number): boolean => value > 0;
  const [, high] = extent(must, positive) ?? [1, 1];
  const top = Math.min(extent(more, positive)?.[1] ?? high, high * 1e6);
  const low = extent(must, (value) => value > high * 10 ** -decades)?.[0] ?? high;
  return [Math.min(low / AIR, high / 10), Math.max(high, top) * AIR];
}

/** Ticks of a logarithmic axis: powers of ten, or 1, 2 and 5 times them where there are few. */
export function logTicks([low, high]: Range, most: number): number[] {
  const from = Math.ceil(Math.log10(low) - 1e-9);
  const to = Math.floor(Math.log10(high) + 1e-9);
  const count = to - from + 1;
  if (count >= 2) {
    const step = Math.max(1, Math.ceil(count / most));
    const first = Math.ceil(from / step) * step;
    const ticks: number[] = [];
    for (let power = first; power <= to; power += step) ticks.push(10 ** power);
    return ticks;
  }
  return [from - 1, from, from + 1]
    .flatMap((power) => [1, 2, 5].map((factor) => factor * 10 ** power))
    .filter((tick) => tick >= low && tick <= high);
}

/** A tick of a logarithmic axis in few signs. */
export function logLabel(tick: number): string {
  const power = Math.log10(tick);
  const whole = Math.round(power);
  if (Math.abs(power - whole) > 1e-9) return compact(Number(tick.toPrecision(2)), 2);
  if (whole >= -2 && whole <= 3) return String(Number(tick.toPrecision(1)));
  return `10${raised(whole)}`;
}

/** A few round numbers inside a range. */
export function linearTicks([low, high]: Range, most: number): number[] {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999) ?? rough;
  const ticks: number[] = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k += 1) ticks.push(k * step);
  return ticks;
}

/** A tick of an ordinary axis, with as many decimals as its neighbours need. */
export function linearLabels(ticks: readonly number[]): string[] {
  const [first = 0, second = first + 1] = ticks;
  const largest = Math.max(...ticks.map(Math.abs), 0);
  const step = Math.abs(second - first);
  if (largest >= 1e5 || largest < 1e-3) {
    return ticks.map((tick) =>
      Math.abs(tick) < 1e-9 * step ? "0" : compact(Number(tick.toPrecision(6)), 3),
    );
  }
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return ticks.map((tick) => (Math.abs(tick) < 1e-9 * step ? "0" : tick.toFixed(decimals).replace("-", "−")));
}
