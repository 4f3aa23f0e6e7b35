/** Random numbers with a seed, and chi-squares of any degree: what Wishart matrices are made of. */

export interface Generator {
  /** Uniform in (0, 1), 53 bits. */
  uniform(): number;
  /** N(0, 1) */
  normal(): number;
}

/** xoshiro128++ (Blackman & Vigna, 2021), seeded by splitmix32; streams of one seed differ. */
export function generator(seed: number, stream = 0): Generator {
  let mixed = (Math.imul(seed >>> 0, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca77)) >>> 0;
  mixed ^= Math.floor(seed / 2 ** 32);
  const splitmix = (): number => {
    mixed = (mixed + 0x9e3779b9) | 0;
    let z = mixed ^ (mixed >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  const s = Uint32Array.from({ length: 4 }, splitmix);
  const rotate = (x: number, k: number): number => ((x << k) | (x >>> (32 - k))) >>> 0;
  const next = (): number => {
    const result = (rotate((s[0] + s[3]) >>> 0, 7) + s[0]) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 11);
    return result;
  };
  const uniform = (): number => ((next() >>> 5) * 2 ** 26 + (next() >>> 6) + 0.5) / 2 ** 53;
  const normal = (): number =>
    Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()); // Box & Muller
  return { uniform, normal };
}

/** χ² with `freedom` degrees, from 1 to 2^53 at the same cost. */
export function chiSquare(random: Generator, freedom: number): number {
  return 2 * gamma(random, freedom / 2);
}

/**
 * Γ(shape, 1), by Marsaglia & Tsang (2000).
 *
 * `ln v − (v − 1)` is taken from `v − 1` itself: at shape 1e15 nothing else would be left of it.
 */
function gamma(random: Generator, shape: number): number {
  if (shape < 1) return gamma(random, shape + 1) * random.uniform() ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = random.normal();
    const step = c * x;
    if (step <= -1) continue;
    const above = step * (3 + step * (3 + step)); // v − 1 of v = (1 + c x)³
    const u = random.uniform();
    if (Math.log(u) < 0.5 * x * x + d * (Math.log1p(above) - above)) return d * (1 + above);
  }
}
