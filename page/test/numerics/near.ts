/** Comparing with Python's numbers. */
import assert from "node:assert/strict";

export const TOLERANCE = 1e-12; // relative
const SMALLEST = 1e-290; // smaller numbers have fewer digits

/** A number as the fixtures write it. */
export function numeric(value: unknown): number {
  if (value === null) return NaN;
  return typeof value === "string" ? Number(value) : (value as number);
}

export interface Within {
  readonly relative?: number;
  readonly absolute?: number;
}

/** Fails with both numbers where they differ by more than rounding. */
export function near(found: number, given: unknown, what: string, within: Within = {}): void {
  const { relative = TOLERANCE, absolute = 0 } = within;
  const expected = numeric(given);
  if (Object.is(found, expected) || found === expected) return;
  if (Math.abs(expected) < SMALLEST && Math.abs(found) <= 1.01 * SMALLEST) return;
  const error = Math.abs(found - expected);
  const right = error <= Math.max(relative * Math.abs(expected), absolute);
  assert.ok(right, `${what}: got ${found}, Python has ${expected}, off by ${error / Math.abs(expected)}`);
}

export function allNear(
  found: ArrayLike<number>,
  given: readonly unknown[],
  what: string,
  within: Within = {},
): void {
  assert.equal(found.length, given.length, what);
  given.forEach((expected, i) => near(found[i], expected, `${what}[${i}]`, within));
}
