import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DEFAULT_SETTING,
  PRESETS,
  REGIONS,
  at,
  atUnitRate,
  exponentDiagram,
  lawPhase,
  lineState,
  parameterDiagram,
  parameterPoint,
  reluBoundaries,
  reluOfLaw,
  reluPhase,
  type Curve,
  type ExponentLike,
  type ExponentName,
  type LawParameter,
  type OrderParameters,
  type ScalingLaw,
  type SettingName,
} from "../../src/numerics/index.ts";
import { exactExponent } from "../../src/numerics/fraction.ts";
import exponents from "../fixtures/exponents.json";
import parameters from "../fixtures/parameters.json";
import { allNear, near } from "./near.ts";

interface GivenCurve {
  readonly name: string;
  readonly x: readonly number[];
  readonly y: readonly number[];
}

/** Points of all curves of a name, sorted. */
function points(curves: readonly (Curve | GivenCurve)[], name: string): [number, number][] {
  const found = curves
    .filter((curve) => curve.name === name)
    .flatMap((curve) => Array.from(curve.x, (x, i): [number, number] => [x, curve.y[i]]));
  const key = ([x, y]: [number, number]): string => `${x.toPrecision(9)} ${y.toPrecision(9)}`;
  const known = new Map(found.map((point) => [key(point), point])); // closed curves end as they begin
  return [...known.values()].sort((a, b) => (Math.abs(a[0] - b[0]) > 1e-9 * Math.abs(a[0]) ? a[0] - b[0] : a[1] - b[1]));
}

parameters.diagrams.forEach((given, i) => {
  test(`diagram of parameters ${i}: ${given.x.name}, ${given.y.name}`, () => {
    const { init_alignment = 0, ...fixed } = given.fixed as { init_alignment?: number };
    const axes = [given.x, given.y].map(({ name, values }) => ({ name: name as SettingName, values }));
    const found = parameterDiagram(axes[0], axes[1], { ...DEFAULT_SETTING, ...fixed }, init_alignment);
    assert.deepEqual(Array.from(found.region), given.region);
    const names = new Set([...found.boundaries, ...given.boundaries].map((curve) => curve.name));
    for (const name of names) {
      const [mine, theirs] = [points(found.boundaries, name), points(given.boundaries, name)];
      assert.equal(mine.length, theirs.length, name);
      mine.forEach((point, at) => {
        near(point[0], theirs[at][0], `${name}: x`);
        near(point[1], theirs[at][1], `${name}: y`);
      });
    }
  });
});

parameters.points.forEach((given, i) => {
  test(`point of the diagram ${i}: ${JSON.stringify(given.setting)}`, () => {
    const setting = { ...DEFAULT_SETTING, ...given.setting };
    const { region, mechanisms, status, ...order } = parameterPoint(setting, given.init_alignment);
    assert.equal(region, given.region);
    assert.deepEqual(mechanisms, given.mechanisms);
    assert.equal(status, given.order.status);
    for (const [name, value] of Object.entries(order)) {
      near(value, given.order[name as keyof OrderParameters], name);
    }
    const { uu, uw, ww } = lineState(setting, { kind: "typical", init_alignment: given.init_alignment });
    allNear([uu, uw, ww], [given.state.uu, given.state.uw, given.state.ww], "state");
  });
});

exponents.diagrams.forEach((given, i) => {
  test(`diagram of exponents ${i}`, () => {
    const [x, y] = given.axes.map(({ name, values }) => ({ name: name as ExponentName, values }));
    const fixed = given.fixed as Partial<Record<ExponentName, ExponentLike>>;
    const found = exponentDiagram(x, y, fixed, given.tune_rates);
    assert.deepEqual(Array.from(found.region), given.region);
    allNear(found.signal_excess, given.signal_excess, "b − k", { absolute: 1e-14 });
    allNear(found.rate_exponent, given.rate_exponent, "r", { absolute: 1e-14 });
    assert.equal(found.boundaries.length > 0, given.boundaries.length > 0);
    for (const curve of given.boundaries) {
      curve.x.forEach((px, at) => {
        const off = distance(found.boundaries, px, curve.y[at]);
        assert.ok(off < 1e-12, `Python's point (${px}, ${curve.y[at]}) is ${off} away`);
      });
    }
    for (const curve of found.boundaries) {
      assert.ok(given.boundaries.some(({ name }) => name === curve.name));
      curve.x.forEach((px, at) => {
        const off = distance(given.boundaries, px, curve.y[at]);
        assert.ok(off < 0.4, `(${px}, ${curve.y[at]}) is ${off} away from Python's`); // of a grid cell
      });
    }
  });
});

/** From a point to the nearest segment of any curve. */
function distance(curves: readonly (Curve | GivenCurve)[], px: number, py: number): number {
  let least = Infinity;
  for (const { x, y } of curves) {
    for (let i = 0; i + 1 < x.length; i++) {
      const [dx, dy] = [x[i + 1] - x[i], y[i + 1] - y[i]];
      const square = dx * dx + dy * dy;
      const share = square > 0 ? ((px - x[i]) * dx + (py - y[i]) * dy) / square : 0;
      const t = Math.min(Math.max(share, 0), 1);
      least = Math.min(least, Math.hypot(px - x[i] - t * dx, py - y[i] - t * dy));
    }
  }
  return least;
}

test("the presets are Python's", () => {
  assert.deepEqual(Object.keys(PRESETS), exponents.presets);
  for (const given of exponents.laws.slice(0, exponents.presets.length)) {
    for (const [name, power] of Object.entries(given.law)) {
      const own = PRESETS[given.name][name as LawParameter];
      assert.equal(String(own.exponent), power.exponent);
      assert.equal(own.constant, power.constant);
    }
  }
});

for (const given of exponents.laws) {
  test(`law: ${given.name}`, () => {
    const law = given.law as ScalingLaw;
    const found = lawPhase(law);
    assert.equal(found.phase, given.phase);
    assert.equal(found.feature_kind, given.feature_kind);
    assert.deepEqual(found.texts, given.texts);
    assert.deepEqual(reluOfLaw(law), given.relu);
    for (const [name, value] of Object.entries(given.at_1e6)) {
      near(at(law[name as LawParameter], 1e6), value, name);
    }
    const tuned = exponents.laws.find(({ name }) => name === `${given.name} at unit rate`);
    if (tuned) {
      const shifted = atUnitRate(law);
      assert.equal(shifted.lr_u.exponent, tuned.law.lr_u.exponent);
      assert.equal(shifted.lr_w.exponent, tuned.law.lr_w.exponent);
    }
  });
}

for (const { gamma, gamma_prime, zero_output, found } of exponents.relu) {
  test(`ReLU: γ = ${gamma}, γ′ = ${gamma_prime}${zero_output ? ", zero output" : ""}`, () => {
    const { weight_movement_exponent, condensation_excess, ...words } = reluPhase(gamma, gamma_prime, zero_output);
    near(weight_movement_exponent, found.weight_movement_exponent, "S");
    near(condensation_excess, found.condensation_excess, "excess");
    const { condensation, phase, status } = found;
    assert.deepEqual(words, { condensation, phase, status });
  });
}

test("the boundaries of the ReLU diagram part its words", () => {
  const [critical, open] = reluBoundaries([0, 2], [-1, 1]);
  critical.x.forEach((gamma, i) => {
    assert.equal(reluPhase(gamma, critical.y[i]).condensation, "critical");
  });
  assert.equal(reluPhase(0.5 - 1e-3, open.y[0]).condensation, "cannot tell");
  assert.equal(reluPhase(0.5, open.y[0]).condensation, "linear");
  assert.equal(reluBoundaries([0, 2], [-1, 1], true).length, 1);
  assert.equal(reluBoundaries([2.5, 3], [-1, 1]).length, 0);
  assert.deepEqual(Array.from(reluBoundaries([0.5, 3], [-1, 1])[0].y), [-1, 0, 1]);
});

test("exponents are read as Python reads them", () => {
  for (const { given, text } of exponents.exponents) {
    assert.equal(exactExponent(given).toString(), text, String(given));
  }
  for (const wrong of ["", "1/0", "a", "1/2/3", "2000", ".", "1.5/2"]) {
    assert.throws(() => exactExponent(wrong), /a number or a fraction such as -1\/2/, wrong);
  }
});

test("regions have their codes", () => {
  assert.deepEqual(REGIONS, ["frozen", "unstable", "kernel", "feature_critical", "feature_vanishing_init"]);
});
