/** What stands in the address, one kind of value after the other: how it is written and read. */

import type { Power } from "../numerics/index.ts";
import { fraction, parseNumber, typed } from "./numerals.ts";

export interface Field<T> {
  /** What a fresh page has. */
  readonly start: T;
  /** The value of a text, or null if it is none. */
  readonly parse: (text: string) => T | null;
  readonly format: (value: T) => string;
  /** Completes "must be …". */
  readonly expected: string;
}

/** A number of a range. */
export function number(start: number, low: number, high: number): Field<number> {
  return {
    start,
    parse: (text) => {
      const value = parseNumber(text);
      return value !== null && value >= low && value <= high ? value : null;
    },
    format: (value) => typed(value, 6),
    expected: `a number from ${typed(low)} to ${typed(high)}`,
  };
}

/** A whole number of a range. */
export function whole(start: number, low: number, high: number): Field<number> {
  const any = number(start, low, high);
  return {
    start,
    parse: (text) => {
      const value = any.parse(text);
      return value !== null && Number.isInteger(value) ? value : null;
    },
    format: (value) => typed(value, 16),
    expected: `a whole number from ${typed(low)} to ${typed(high)}`,
  };
}

/** A word of a list. */
export function oneOf<T extends string>(words: readonly T[], start: T): Field<T> {
  return {
    start,
    parse: (text) => words.find((word) => word === text) ?? null,
    format: (word) => word,
    expected: `one of ${words.join(", ")}`,
  };
}

/** The power law `constant · d^exponent`, written `0.05d-1/2`; `0.05` has the exponent zero. */
export function power(constant: number, exponent: string): Field<Power> {
  return {
    start: { constant, exponent },
    parse: (text) => {
      const [factor = "", raised = "0", ...more] = text.split("d");
      const value = parseNumber(factor);
      const found = parseExponent(raised);
      if (more.length > 0 || value === null || found === null || !isScale(value)) return null;
      return { constant: value, exponent: found };
    },
    format: (law) => typed(law.constant, 6) + (String(law.exponent) === "0" ? "" : `d${law.exponent}`),
    expected: "a number ≥ 0, or such a number, the letter d and an exponent, as in 0.05d-1/2",
  };
}

/** Whether a number can be a scale: not negative, and of a size whose square is a number, too. */
export function isScale(value: number): boolean {
  return value === 0 || (value >= 1e-60 && value <= 1e60);
}

const LARGEST_EXPONENT = 4;

/** The exponent that someone typed as the text of a fraction, or null. */
export function parseExponent(text: string): string | null {
  const value = parseNumber(text);
  return value !== null && Math.abs(value) <= LARGEST_EXPONENT ? fraction(value) : null;
}
