/** Exponents as exact fractions, so that what lies on a boundary is known to lie on it. */
import { InputError, type ExponentLike } from "./types.ts";

const LARGEST_EXPONENT = 1000;
const MEANT = 10_000n; // largest denominator of a fraction that somebody means who gives a number
const ROUNDING = 1e-9; // how far a number may be from the fraction that is meant
const WRITTEN = /^\s*([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?(?:\/(\d+))?\s*$/;

export class Fraction {
  readonly over: bigint;
  readonly under: bigint;

  constructor(over: bigint, under: bigint) {
    const divisor = gcd(over < 0n ? -over : over, under) * (under < 0n ? -1n : 1n);
    this.over = over / divisor;
    this.under = under / divisor;
  }

  static of(value: number): Fraction {
    return new Fraction(BigInt(value), 1n);
  }

  plus(other: Fraction): Fraction {
    return new Fraction(this.over * other.under + other.over * this.under, this.under * other.under);
  }

  minus(other: Fraction): Fraction {
    return this.plus(other.times(-1));
  }

  times(whole: number): Fraction {
    return new Fraction(this.over * BigInt(whole), this.under);
  }

  half(): Fraction {
    return new Fraction(this.over, 2n * this.under);
  }

  /** −1, 0 or 1 */
  get sign(): number {
    return this.over > 0n ? 1 : this.over < 0n ? -1 : 0;
  }

  value(): number {
    return Number(this.over) / Number(this.under);
  }

  toString(): string {
    return this.under === 1n ? `${this.over}` : `${this.over}/${this.under}`;
  }
}

export function larger(first: Fraction, second: Fraction): Fraction {
  return first.minus(second).sign >= 0 ? first : second;
}

/**
 * The fraction that an exponent is; texts are kept as they are. A number is the fraction with a
 * denominator of at most 10 000 within 1e-9 of it, if there is one, for 1/3 is not a third.
 */
export function exactExponent(value: ExponentLike): Fraction {
  const fraction = typeof value === "number" ? parsed(String(value)) : parsed(value);
  if (fraction === null || Math.abs(fraction.value()) > LARGEST_EXPONENT) {
    throw new InputError(
      `an exponent must be a number or a fraction such as -1/2, at most ${LARGEST_EXPONENT} in ` +
        `size, got ${JSON.stringify(value)}`,
    );
  }
  if (typeof value === "string") return fraction;
  const meant = limited(fraction);
  return Math.abs(fraction.minus(meant).value()) <= ROUNDING ? meant : fraction;
}

function parsed(text: string): Fraction | null {
  const match = WRITTEN.exec(text);
  if (match === null) return null;
  const [, sign, whole, decimals = "", power = "0", under] = match;
  const plain = decimals === "" && match[4] === undefined && !text.includes(".");
  if (whole === "" && decimals === "") return null;
  if (under !== undefined && (!plain || BigInt(under) === 0n)) return null;
  const digits = BigInt(`${sign === "-" ? "-" : ""}${whole}${decimals}`);
  const shift = Number(power) - decimals.length;
  const scale = 10n ** BigInt(Math.abs(shift));
  const number = shift >= 0 ? new Fraction(digits * scale, 1n) : new Fraction(digits, scale);
  return new Fraction(number.over, number.under * BigInt(under ?? 1));
}

/** The closest fraction with a denominator of at most `MEANT`, by continued fractions. */
function limited(exact: Fraction): Fraction {
  if (exact.under <= MEANT) return exact;
  let [p0, q0, p1, q1] = [0n, 1n, 1n, 0n];
  let [n, d] = [exact.over, exact.under];
  for (;;) {
    const a = n >= 0n || n % d === 0n ? n / d : n / d - 1n; // the floor
    const q2 = q0 + a * q1;
    if (q2 > MEANT) break;
    [p0, q0, p1, q1] = [p1, q1, p0 + a * p1, q2];
    [n, d] = [d, n - a * d];
  }
  const k = (MEANT - q0) / q1;
  const below = new Fraction(p0 + k * p1, q0 + k * q1);
  const above = new Fraction(p1, q1);
  const distance = (found: Fraction): Fraction => {
    const gap = found.minus(exact);
    return gap.sign < 0 ? gap.times(-1) : gap;
  };
  return distance(above).minus(distance(below)).sign <= 0 ? above : below;
}

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b < 0n ? -b : b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x === 0n ? 1n : x;
}
