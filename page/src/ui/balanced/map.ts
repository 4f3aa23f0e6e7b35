/** The map of λ-balanced networks: regimes over the layers' relative scale and the target. */

import { balancedRegime, InputError, LAZY_BELOW, RICH_FROM } from "../../numerics/index.ts";
import type { MapCurve, MapDrawing } from "../map.ts";
import { compact } from "../numerals.ts";
import type { State } from "../state.ts";
import type { Region, Surface } from "../surface.ts";

export const LAMBDA = [-8, 8] as const;
export const TARGET = [0.02, 3] as const;

const REGIONS: readonly Region[] = [
  { name: "lazy", colour: "region-lazy" },
  { name: "intermediate", colour: "region-intermediate" },
  { name: "rich", colour: "region-rich" },
  { name: "rich after\na delay", colour: "region-delayed" },
  { name: "no such\nweights", colour: "region-none" },
];
const CODES: Readonly<Record<string, number>> = { lazy: 0, intermediate: 1, rich: 2 };
const [DELAYED, NONE] = [3, 4];

interface Shape {
  readonly width: number;
  readonly outputs: number;
  readonly inputs: number;
}

const made = new Map<string, Surface>();

export function balancedMap(state: State, spoken: string): MapDrawing {
  const shape = { width: state.hidden, outputs: state.outputs, inputs: state.inputs };
  const point = { x: state.lambda, y: state.target_scale };
  return {
    x: { symbol: "λ", label: "relative scale λ", range: LAMBDA, log: false, step: 0.1 },
    y: { symbol: "σ_1", label: "target scale σ₁", range: TARGET, log: false, step: 0.05 },
    surface: surfaceOf(shape),
    curves: boundaries(shape),
    point: { ...point, spoken: `λ = ${compact(point.x)}, σ₁ = ${compact(point.y)}: ${spoken}` },
  };
}

/** The regimes of a shape; few shapes are looked at, so that each is made once. */
function surfaceOf(shape: Shape): Surface {
  const key = Object.values(shape).join();
  const known = made.get(key);
  if (known) return known;
  const surface: Surface = {
    valueAt: (across, up) =>
      code(shape, LAMBDA[0] + (LAMBDA[1] - LAMBDA[0]) * across, TARGET[0] + (TARGET[1] - TARGET[0]) * up),
    regionOf: (value) => value,
    regions: REGIONS,
  };
  made.set(key, surface);
  return surface;
}

function code(shape: Shape, lambda: number, target: number): number {
  try {
    const { regime, delayed } = balancedRegime(lambda, target, shape);
    return delayed ? DELAYED : CODES[regime];
  } catch (error) {
    if (error instanceof InputError) return NONE;
    throw error;
  }
}

/** The lines |λ| = 2χσ₁ at which √(1 + 1/χ²) − 1 is where lazy ends and rich begins. */
function boundaries({ width, outputs, inputs }: Shape): MapCurve[] {
  const sides = [
    { sign: 1, exists: width <= outputs },
    { sign: -1, exists: width <= inputs },
  ].filter(({ exists }) => exists);
  return sides.flatMap(({ sign }) =>
    [LAZY_BELOW, RICH_FROM].map((change) => {
      const laziness = 1 / Math.sqrt((1 + change) ** 2 - 1);
      return { x: [0, sign * 2 * laziness * TARGET[1]], y: [0, TARGET[1]], kind: "boundary" as const };
    }),
  );
}
