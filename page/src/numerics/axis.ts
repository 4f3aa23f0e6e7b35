/** Evenly and logarithmically spaced values, as NumPy spaces them. */
import type { Axis, Range } from "./types.ts";

/** The values of an axis: logarithmic if both ends are above zero and it is no exponent. */
export function axisOf<Name extends string>({ name, low, high, count }: Range<Name>): Axis<Name> {
  return { name, values: isLogarithmic({ name, low, high }) ? geomspace(low, high, count) : linspace(low, high, count) };
}

export function isLogarithmic({ name, low, high }: Omit<Range, "count">): boolean {
  return low > 0 && high > 0 && !name.endsWith("_exponent");
}

export function linspace(low: number, high: number, count: number): Float64Array {
  const step = (high - low) / Math.max(count - 1, 1);
  const values = Float64Array.from({ length: count }, (_, i) => low + i * step);
  if (count > 1) values[count - 1] = high;
  return values;
}

export function geomspace(low: number, high: number, count: number): Float64Array {
  const values = linspace(Math.log10(low), Math.log10(high), count).map((power) => 10 ** power);
  values[0] = low;
  if (count > 1) values[count - 1] = high;
  return values;
}
