import assert from "node:assert/strict";
import { test } from "node:test";
import {
  balancedFlow,
  balancedRegime,
  balancedStart,
  balancedTimes,
  type BalancedProblem,
  type Matrix,
} from "../../src/numerics/index.ts";
import { multiply, orthonormalFactor, svd, transpose } from "../../src/numerics/matrix.ts";
import balanced from "../fixtures/balanced.json";
import { allNear, near } from "./near.ts";

const ROUNDING = 1e-12; // of quantities of order one: the target's entries are

balanced.cases.forEach((given, i) => {
  const problem = given.problem as BalancedProblem;
  test(`balanced flow ${i}: λ = ${given.relative_scale}`, () => {
    const found = balancedFlow(problem, given.times);
    const within = { absolute: ROUNDING };
    allNear(found.loss, given.found.loss, "loss", within);
    allNear(found.alignment, given.found.alignment, "alignment", within);
    allNear(found.ntk_trace, given.found.ntk_trace, "ntk_trace", within);
    allNear(found.ntk_change, given.found.ntk_change, "ntk_change", within);
    allNear(found.kernel_distance, given.found.kernel_distance, "kernel_distance", within);
    given.singular_values.forEach((row, at) => {
      allNear(found.singular_values.map((size) => size[at]), row, "singular values", within);
    });
    given.end_to_end_map.forEach((map, at) => {
      allNear(found.end_to_end_map[at].flat(), map.flat(), "map", within);
    });
    near(found.relative_scale, given.relative_scale, "λ", within);
    assert.equal(found.regime, given.regime);
    assert.equal(found.delayed, given.delayed);
    assert.equal(found.status, given.status);
  });

  test(`times of balanced flow ${i} show the whole run`, () => {
    const times = balancedTimes(problem, 200);
    const { loss } = balancedFlow(problem, times);
    const { loss: end } = balancedFlow(problem, [1.5 * times[199]]);
    assert.equal(times[0], 0);
    assert.ok(Math.abs(loss[199] - end[0]) < 1e-3 * loss[0], "the run is over at the last time");
    assert.ok(Math.abs(loss[1] - loss[0]) < 0.05 * loss[0], "and has hardly begun at the first");
    const moves = loss.slice(1).map((value, at) => Math.abs(value - loss[at]));
    assert.ok(Math.max(...moves) < 0.1 * loss[0], "without jumps");
  });
});

test("the rule of regimes is Python's", () => {
  for (const { scale, sigma, shape, found } of balanced.rule) {
    const own = balancedRegime(scale, sigma, shape);
    assert.equal(own.regime, found.regime);
    assert.equal(own.delayed, found.delayed);
    near(own.laziness, found.laziness, "χ");
    near(own.aligned_ntk_change, found.aligned_ntk_change, "change");
  }
  const shape = { width: 3, outputs: 2, inputs: 4 };
  assert.throws(() => balancedRegime(1, 1, shape), /no weights have λ = 1 at width 3/);
});

for (const init_relative_scale of [-3, 0, 3]) {
  test(`a drawn start has λ = ${init_relative_scale}`, () => {
    const shape = { outputs: 3, inputs: 2, width: 2 };
    const { u, w } = balancedStart({ ...shape, init_relative_scale, init_std: 0.1, seed: 5 });
    const left = multiply(transpose(u), u);
    const right = multiply(w, transpose(w));
    for (const i of [0, 1]) {
      for (const j of [0, 1]) {
        const expected = i === j ? init_relative_scale : 0;
        near(left[i][j] - right[i][j], expected, "UᵀU − WWᵀ", { absolute: 1e-14 });
      }
    }
    const again = balancedStart({ ...shape, init_relative_scale, init_std: 0.1, seed: 5 });
    assert.deepEqual(again.u, u);
  });
}

test("unbalanced weights are refused, and shapes that do not fit", () => {
  const problem = balanced.cases[0].problem as BalancedProblem;
  assert.throws(() => balancedFlow({ ...problem, lr_u: 2 }, [0]), /must be λ-balanced.*off by/);
  assert.throws(() => balancedFlow({ ...problem, u: [[1]] }, [0]), /must be k × h/);
  assert.throws(() => balancedFlow({ ...problem, output_scale: 0 }, [0]), /`output_scale` must not/);
  assert.throws(() => balancedFlow(problem, [-1]), /times must be ≥ 0/);
  const shape = { outputs: 2, inputs: 2, width: 3, init_std: 1, seed: 0 };
  assert.throws(() => balancedStart({ ...shape, init_relative_scale: 1 }), /at most the outputs, 2/);
});

const MATRICES: Record<string, Matrix> = {
  tall: [[1, 2], [3, 4], [5, 6.5]],
  wide: [[1, 2, 0.5], [3, -4, 1]],
  singular: [[1, 2], [2, 4]],
  zero: [[0, 0], [0, 0]],
  graded: [[1, 1e-9], [0, 1e-9]],
}; // prettier-ignore
for (const [name, a] of Object.entries(MATRICES)) {
  test(`singular values: ${name}`, () => {
    const { left, sizes, right } = svd(a);
    const middle = left.map((_, i) => right.map((_, j) => (i === j ? (sizes[i] ?? 0) : 0)));
    const again = multiply(multiply(left, middle), transpose(right));
    allNear(again.flat(), a.flat(), "product", { absolute: 1e-14 });
    for (const side of [left, right]) {
      const gram = multiply(transpose(side), side).flat();
      const size = side.length;
      allNear(gram, gram.map((_, i) => Number(i % (size + 1) === 0)), "orthonormal", { absolute: 1e-14 });
    }
  });
}

test("the orthonormal factor is one", () => {
  const q = orthonormalFactor([[1e8, 2], [1, 3], [1e-8, 1]]);
  allNear(multiply(transpose(q), q).flat(), [1, 0, 0, 1], "QᵀQ", { absolute: 1e-14 });
});
