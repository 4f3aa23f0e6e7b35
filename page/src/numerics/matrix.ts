/** Linear algebra of small matrices, row by row: products, singular values, orthonormal factors. */
import type { Generator } from "./random.ts";
import type { Matrix } from "./types.ts";

const MOST_SWEEPS = 60;
const ORTHOGONAL = 1e-16; // cosine of two columns that need no further rotation
const NO_SIZE = 1e-300;

export type Rows = number[][];

export function zeros(rows: number, columns: number): Rows {
  return Array.from({ length: rows }, () => new Array<number>(columns).fill(0));
}

export function identity(size: number): Rows {
  return zeros(size, size).map((row, i) => row.map((_, j) => Number(i === j)));
}

export function transpose(a: Matrix): Rows {
  return (a[0] ?? []).map((_, j) => a.map((row) => row[j]));
}

/** A B */
export function multiply(a: Matrix, b: Matrix): Rows {
  const columns = transpose(b);
  return a.map((row) => columns.map((column) => dot(row, column)));
}

export function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Its entries are of order one here, or the largest of a matrix: squares are floats. */
export function norm(a: readonly number[]): number {
  return Math.sqrt(dot(a, a));
}

export function trace(a: Matrix): number {
  return a.reduce((sum, row, i) => sum + row[i], 0);
}

/** Sum of the squares of all entries. */
export function squares(a: Matrix): number {
  return a.reduce((sum, row) => sum + dot(row, row), 0);
}

/** A + factor · B */
export function plus(a: Matrix, b: Matrix, factor = 1): Rows {
  return a.map((row, i) => row.map((value, j) => value + factor * b[i][j]));
}

export function times(a: Matrix, factor: number): Rows {
  return a.map((row) => row.map((value) => value * factor));
}

export interface Svd {
  /** All left directions in columns, square. */
  readonly left: Rows;
  /** Falling, as many as the smaller side. */
  readonly sizes: number[];
  /** All right directions in columns, square. */
  readonly right: Rows;
}

/** `A = left diag(sizes) rightᵀ`, by one-sided Jacobi rotations: small values keep their digits. */
export function svd(a: Matrix): Svd {
  if (a.length < a[0].length) {
    const { left, sizes, right } = svd(transpose(a));
    return { left: right, sizes, right: left };
  }
  const columns = transpose(a);
  const right = identity(columns.length);
  for (let sweep = 0; sweep < MOST_SWEEPS && rotateAll(columns, right); sweep++);
  const lengths = columns.map((column) => norm(column));
  const order = lengths.map((_, i) => i).sort((i, j) => lengths[j] - lengths[i]);
  const sizes = order.map((i) => lengths[i]);
  const largest = sizes[0] ?? 0;
  const known = order
    .filter((i) => lengths[i] > 1e-15 * largest)
    .map((i) => columns[i].map((value) => value / lengths[i]));
  return {
    left: transpose(completed(known, a.length)),
    sizes,
    right: transpose(order.map((i) => right[i])),
  };
}

/** One sweep over all pairs of columns; whether anything was rotated. `right` has V's columns as rows. */
function rotateAll(columns: Rows, right: Rows): boolean {
  let rotated = false;
  for (let i = 0; i < columns.length; i++) {
    for (let j = i + 1; j < columns.length; j++) {
      const [a, b, c] = [
        dot(columns[i], columns[i]),
        dot(columns[j], columns[j]),
        dot(columns[i], columns[j]),
      ];
      if (c === 0 || Math.abs(c) <= ORTHOGONAL * Math.sqrt(a) * Math.sqrt(b)) continue;
      rotated = true;
      const zeta = (b - a) / (2 * c);
      const tangent = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.hypot(1, zeta));
      const cosine = 1 / Math.hypot(1, tangent);
      rotate(columns, i, j, cosine, cosine * tangent);
      rotate(right, i, j, cosine, cosine * tangent);
    }
  }
  return rotated;
}

function rotate(rows: Rows, i: number, j: number, cosine: number, sine: number): void {
  const [first, second] = [rows[i], rows[j]];
  rows[i] = first.map((value, n) => cosine * value - sine * second[n]);
  rows[j] = first.map((value, n) => sine * value + cosine * second[n]);
}

/** Orthonormal vectors and as many more as there are dimensions; vectors are rows. */
function completed(vectors: Rows, dimensions: number): Rows {
  const found = [...vectors];
  for (let axis = 0; found.length < dimensions && axis < dimensions; axis++) {
    let left: number[] = identity(dimensions)[axis];
    for (let twice = 0; twice < 2; twice++) {
      for (const vector of found) {
        const along = dot(left, vector);
        left = left.map((value, i) => value - along * vector[i]);
      }
    }
    const size = norm(left);
    if (size > 1e-8 / dimensions) found.push(left.map((value) => value / size));
  }
  return found;
}

export function singularValues(a: Matrix): number[] {
  return svd(a).sizes;
}

/**
 * The orthonormal factor Q of `A P = Q R`, economic, by Householder reflections with pivoting of
 * columns: each row of Q keeps the digits of its own size, if the rows of A are sorted by size.
 */
export function orthonormalFactor(a: Matrix): Rows {
  const rows = a.length;
  const columns = a[0].length;
  const work = a.map((row) => [...row]);
  const reflections: number[][] = [];
  for (let step = 0; step < columns; step++) {
    pivot(work, step);
    const below = work.map((row, i) => (i < step ? 0 : row[step]));
    const size = norm(below);
    if (size < NO_SIZE) {
      reflections.push(new Array<number>(rows).fill(0));
      continue;
    }
    const head = below[step] >= 0 ? size : -size;
    below[step] += head;
    const length = norm(below);
    const normal = below.map((value) => (value / length) * Math.SQRT2);
    reflections.push(normal);
    reflect(work, normal, step);
  }
  const q = zeros(rows, columns).map((row, i) => row.map((_, j) => Number(i === j)));
  for (let step = columns - 1; step >= 0; step--) reflect(q, reflections[step], 0);
  return q;
}

/** `A ← (I − n nᵀ) A` on the columns from `first` on, for |n|² = 2. */
function reflect(a: Rows, normal: readonly number[], first: number): void {
  for (let j = first; j < a[0].length; j++) {
    let along = 0;
    for (let i = 0; i < a.length; i++) along += normal[i] * a[i][j];
    for (let i = 0; i < a.length; i++) a[i][j] -= along * normal[i];
  }
}

/** Exchange columns so that the largest of those that are left comes first. */
function pivot(a: Rows, step: number): void {
  let [largest, most] = [step, -1];
  for (let j = step; j < a[0].length; j++) {
    let square = 0;
    for (let i = step; i < a.length; i++) square += a[i][j] * a[i][j];
    if (square > most) [largest, most] = [j, square];
  }
  if (largest === step) return;
  for (const row of a) [row[step], row[largest]] = [row[largest], row[step]];
}

/** As many random orthonormal columns as there are dimensions, and zeros. */
export function orthonormalColumns(random: Generator, rows: number, columns: number): Rows {
  const count = Math.min(rows, columns);
  const q = orthonormalFactor(gaussian(random, rows, count));
  return q.map((row) => [...row, ...new Array<number>(columns - count).fill(0)]);
}

/** Independent N(0, 1) entries. */
export function gaussian(random: Generator, rows: number, columns: number): Rows {
  return zeros(rows, columns).map((row) => row.map(() => random.normal()));
}
