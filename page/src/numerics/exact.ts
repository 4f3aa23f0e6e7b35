/** Floating point without loss: exact products, and numbers split into mantissa and exponent. */

const SPLITTER = 2 ** 27 + 1;
const NO_EXPONENT = -100_000; // of zero: below every real exponent
const HALF_RANGE = 1_020; // exponents whose power of two is a float
const LDEXP_LIMIT = 4_000; // beyond it every float overflows or underflows

// the same eight bytes as a float and as two words, the high one last or first
const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);
float[0] = -1;
const [HIGH, LOW] = words[1] !== 0 ? [1, 0] : [0, 1];

/** `2^exponent` for exponents from −1022 to 1023, from its bits. */
function powerOfTwo(exponent: number): number {
  words[HIGH] = (exponent + 1023) << 20;
  words[LOW] = 0;
  return float[0];
}

/** `value = mantissa · 2^exponent` with ½ ≤ |mantissa| < 1. */
export function frexp(value: number): [number, number] {
  if (value === 0 || !Number.isFinite(value)) return [value, 0];
  float[0] = value;
  let exponent = (words[HIGH] >>> 20) & 0x7ff;
  if (exponent === 0) {
    float[0] = value * 2 ** 54; // subnormal
    exponent = ((words[HIGH] >>> 20) & 0x7ff) - 54;
  }
  words[HIGH] = (words[HIGH] & 0x800fffff) | (1022 << 20);
  return [float[0], exponent - 1022];
}

/** `mantissa · 2^exponent`, rounded once. */
export function ldexp(mantissa: number, exponent: number): number {
  if (-1000 <= exponent && exponent <= 1000) return mantissa * powerOfTwo(exponent);
  let rest = exponent;
  let value = mantissa;
  for (; rest > 1000; rest -= 1000) value *= powerOfTwo(1000);
  if (rest < -1000) {
    const [m, e] = frexp(value); // so that only the last factor may leave the normal range
    rest += e;
    value = m;
    for (; rest < -1000; rest += 1000) value *= powerOfTwo(-1000);
  }
  return value * powerOfTwo(rest);
}

/** The rounding error of `a · b`, exactly (Dekker, 1971); needs |a|, |b| < 1e150. */
export function productError(a: number, b: number): number {
  const aBig = SPLITTER * a;
  const aHigh = aBig - (aBig - a);
  const aLow = a - aHigh;
  const bBig = SPLITTER * b;
  const bHigh = bBig - (bBig - b);
  const bLow = b - bHigh;
  return aLow * bLow - (a * b - aHigh * bHigh - aLow * bHigh - aHigh * bLow);
}

/** `a b − c d` to a few units in the last place, however much cancels. */
export function differenceOfProducts(a: number, b: number, c: number, d: number): number {
  return a * b - c * d + (productError(a, b) - productError(c, d));
}

/** The number `mantissa · 2^exponent`: products neither overflow nor underflow. */
export class Scaled {
  constructor(
    readonly mantissa: number,
    readonly exponent: number,
  ) {}

  static of(value: number): Scaled {
    const [mantissa, exponent] = frexp(value);
    return new Scaled(mantissa, mantissa === 0 ? NO_EXPONENT : exponent);
  }

  get isZero(): boolean {
    return this.mantissa === 0;
  }

  times(other: Scaled): Scaled {
    return new Scaled(this.mantissa * other.mantissa, this.exponent + other.exponent);
  }

  over(other: Scaled): Scaled {
    return new Scaled(this.mantissa / other.mantissa, this.exponent - other.exponent);
  }

  /** The sum; terms that do not reach the last digit of the other are lost, as in floats. */
  plus(other: Scaled): Scaled {
    const top = Math.max(this.exponent, other.exponent);
    return Scaled.of(this.overPower(top) + other.overPower(top)).shifted(top);
  }

  /** `this · 2^power` */
  shifted(power: number): Scaled {
    return new Scaled(this.mantissa, this.isZero ? NO_EXPONENT : this.exponent + power);
  }

  abs(): Scaled {
    return new Scaled(Math.abs(this.mantissa), this.exponent);
  }

  negated(): Scaled {
    return new Scaled(-this.mantissa, this.exponent);
  }

  /** The natural logarithm, −∞ of zero. */
  log(): number {
    return this.mantissa > 0 ? Math.log(this.mantissa) + this.exponent * Math.LN2 : -Infinity;
  }

  /** The square root, exact in the exponent. */
  sqrt(): Scaled {
    const odd = ((this.exponent % 2) + 2) % 2;
    return new Scaled(Math.sqrt(ldexp(this.mantissa, odd)), (this.exponent - odd) / 2);
  }

  /** The float `this / 2^exponent`; saturates at 0 and infinity. */
  overPower(exponent: number): number {
    const shift = Math.min(Math.max(this.exponent - exponent, -LDEXP_LIMIT), LDEXP_LIMIT);
    return ldexp(this.mantissa, shift);
  }

  /** The float `this · value`; in two factors, so that only the product may saturate. */
  timesFloat(value: number): number {
    const within = (power: number) => Math.min(Math.max(power, -HALF_RANGE), HALF_RANGE);
    const first = within(Math.floor(this.exponent / 2));
    const second = within(this.exponent - first);
    return value * ldexp(this.mantissa, first) * ldexp(1, second);
  }

  /** The float itself; saturates at 0 and infinity. */
  value(): number {
    return this.overPower(0);
  }
}

export const ZERO = Scaled.of(0);

/**
 * `1 − c²/(ab)` for a, b ≥ 0, accurate however close c² is to ab; where ab = 0 it is 1, or −∞ if c
 * is not 0.
 */
export function cauchySchwarzGap(a: number, c: number, b: number): number {
  const size = Scaled.of(a).times(Scaled.of(b));
  if (size.isZero) return c === 0 ? 1 : -Infinity;
  const odd = ((size.exponent % 2) + 2) % 2;
  const x = ldexp(frexp(a)[0], odd);
  const y = frexp(b)[0];
  const cosine = Scaled.of(c).overPower((size.exponent - odd) / 2);
  const moderate = Math.min(Math.max(cosine, -4), 4); // beyond it the gap is negative anyway
  return differenceOfProducts(x, y, moderate, moderate) / (x * y);
}
