import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_SETTING, lineProblem, lineState, logTimes, flow, settingProblems } from "../../src/numerics/index.ts";
import { frexp, ldexp } from "../../src/numerics/exact.ts";
import { chiSquare, generator } from "../../src/numerics/random.ts";
import wishart from "../fixtures/wishart.json";
import { near } from "./near.ts";

const DRAWS = 20_000;
const SURE = 2.2 / Math.sqrt(DRAWS); // Kolmogorov's distance, exceeded once in 8000 times

/** Largest distance between the share of draws below each quantile and its level. */
function distance(draws: readonly number[], quantiles: readonly number[]): number {
  return Math.max(
    ...quantiles.map((quantile, i) => {
      const below = draws.filter((value) => value < quantile).length / draws.length;
      return Math.abs(below - wishart.levels[i]);
    }),
  );
}

for (const { freedom, values } of wishart.quantiles) {
  test(`χ² with ${freedom} degrees of freedom`, () => {
    const random = generator(7);
    const draws = Array.from({ length: DRAWS }, () => chiSquare(random, freedom));
    assert.ok(distance(draws, values) < SURE);
  });
}

test("normal numbers", () => {
  const random = generator(11);
  const draws = Array.from({ length: DRAWS }, () => random.normal());
  assert.ok(distance(draws, wishart.normal) < SURE);
});

test("a random start follows the Wishart law, at width 3 and at 10^12", () => {
  for (const width of [3, 1e12]) {
    const setting = { ...DEFAULT_SETTING, width, init_std_u: 0.5, init_std_w: 2 };
    const draws = Array.from({ length: DRAWS }, (_, seed) => lineState(setting, { kind: "random", seed }));
    const given = wishart.quantiles.find(({ freedom }) => freedom === width)!;
    assert.ok(distance(draws.map(({ uu }) => uu / 0.25), given.values) < SURE, "‖u‖²");
    assert.ok(distance(draws.map(({ ww }) => ww / 4), given.values) < SURE, "‖w‖²");
    const along = draws.map(({ uu, uw }) => uw / Math.sqrt(uu) / 2);
    assert.ok(distance(along, wishart.normal) < SURE, "u·w/‖u‖");
    for (const { uu, uw, ww, sine_squared } of draws.slice(0, 100)) {
      near(1 - (uw * uw) / (uu * ww), sine_squared, "1 − ζ²", { absolute: 1e-14 });
    }
  }
});

test("a narrow network of one neuron is aligned or opposed", () => {
  const state = lineState({ ...DEFAULT_SETTING, width: 1 }, { kind: "random", seed: 3 });
  assert.equal(state.sine_squared, 0);
});

test("a draw does not change with the variances, and hardly with the width", () => {
  const at = (width: number, std: number): number => {
    const setting = { ...DEFAULT_SETTING, width, init_std_u: std };
    const { uu, uw, ww } = lineState(setting, { kind: "random", seed: 4 });
    return uw / Math.sqrt(uu) / Math.sqrt(ww);
  };
  near(at(1000, 0.1), at(1000, 3), "ζ");
  near(at(1000, 1), at(1001, 1), "ζ", { relative: 1e-3 });
});

test("what no network or data have is refused in words", () => {
  const setting = DEFAULT_SETTING;
  const random = { kind: "random", seed: 0 } as const;
  assert.deepEqual(settingProblems(setting, random), []);
  assert.match(settingProblems({ ...setting, lr_u: -1 })[0], /`lr_u` must be ≥ 0, got -1/);
  assert.match(settingProblems({ ...setting, width: 0.5 })[0], /`width` must be between 1 and 2\^53/);
  assert.match(settingProblems({ ...setting, width: 1.5 }, random)[0], /whole number, got 1.5/);
  assert.match(settingProblems({ ...setting, mean_ay: 2 })[0], /no data have E\[a²\] = 1, E\[ay\] = 2/);
  assert.match(settingProblems({ ...setting, output_scale: NaN })[0], /must be a number, got NaN/);
  const typical = { kind: "typical", init_alignment: 1.5 } as const;
  assert.match(settingProblems(setting, typical)[0], /between -1 and 1, got 1.5/);
  const given = { kind: "given", uu: 1, uw: 2, ww: 1 } as const;
  assert.throws(() => lineState(setting, given), /no two vectors have/);
  assert.throws(() => lineState(setting, { kind: "random", seed: -1 }), /`seed` must be a whole/);
});

test("logarithmic times show the whole run", () => {
  for (const scale of [1e-6, 1e-3, 1, 30]) {
    for (const start of [{ kind: "random", seed: 1 }, { kind: "aligned" }, { kind: "anti_aligned" }] as const) {
      const setting = { ...DEFAULT_SETTING, output_scale: scale, init_std_u: 0.1, init_std_w: 0.2 };
      const problem = lineProblem(setting, start);
      const times = logTimes(problem, 200);
      const { excess_loss } = flow(problem, times);
      assert.equal(times.length, 200);
      assert.equal(times[0], 0);
      assert.ok(excess_loss[1] > 0.99 * excess_loss[0]);
      assert.ok(excess_loss[199] < 1e-9 * excess_loss[0]);
    }
  }
  const frozen = lineProblem({ ...DEFAULT_SETTING, lr_u: 0, lr_w: 0 }, { kind: "aligned" });
  assert.ok(logTimes(frozen, 10).every(Number.isFinite));
});

test("powers of two are exact", () => {
  for (let power = -1074; power <= 1023; power++) {
    const [mantissa, exponent] = frexp(ldexp(1, power));
    assert.deepEqual([mantissa, exponent], [0.5, power + 1]);
  }
  assert.equal(ldexp(0.75, -1074), 2 ** -1074);
  assert.equal(ldexp(1, -1076), 0);
  assert.equal(ldexp(1, 1024), Infinity);
  assert.equal(ldexp(2 ** -1074, 2000), 2 ** 926);
});
