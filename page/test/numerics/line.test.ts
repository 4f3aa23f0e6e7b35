import assert from "node:assert/strict";
import { test } from "node:test";
import {
  LINE_QUANTITIES,
  descent,
  flow,
  lineProblem,
  mechanisms,
  orderParameters,
  timeToResidual,
  DEFAULT_SETTING,
  type Decomposition,
  type LineProblem,
  type LineQuantity,
  type OrderParameters,
} from "../../src/numerics/index.ts";
import descents from "../fixtures/descent.json";
import cases from "../fixtures/line.json";
import { allNear, near, numeric } from "./near.ts";

const SHARES = [0.9, 0.5, 0.1, 1e-6];

for (const one of cases) {
  const problem = one.problem as LineProblem;
  const times = one.times.map(numeric);
  const found = flow(problem, times);

  test(`flow: ${one.name}`, () => {
    assert.equal(found.status, one.status);
    for (const name of LINE_QUANTITIES) {
      allNear(found[name], one.found[name], name);
    }
  });

  test(`flow against mpmath: ${one.name}`, () => {
    for (const [name, exact] of Object.entries(one.exact)) {
      exact.forEach((value, i) => {
        const gone = Math.max(...["uu", "ww"].map((size) => numeric(one.exact[size as "uu"][i])));
        if (name === "alignment" && gone < 2.3e-308) return; // no direction is left
        near(found[name as LineQuantity][i], value, `${name}[${i}]`);
      });
    }
  });

  test(`order parameters: ${one.name}`, () => {
    const { status, ...order } = orderParameters(problem);
    assert.equal(status, one.order.status);
    for (const [name, value] of Object.entries(order)) {
      near(value, one.order[name as keyof OrderParameters], name);
    }
    SHARES.forEach((share, i) => near(timeToResidual(problem, share), one.time_to_residual[i], `${share}`));
  });

  test(`mechanisms: ${one.name}`, () => sameMechanisms(mechanisms(found), one.mechanisms));

  test(`state and data: ${one.name}`, () => {
    const { uu, uw, ww, output_scale, lr_u, lr_w, mean_aa, mean_ay } = problem;
    const setting = {
      ...DEFAULT_SETTING,
      ...{ output_scale, lr_u, lr_w, mean_aa, mean_ay, mean_yy: one.mean_yy },
    };
    const made = lineProblem(setting, { kind: "given", uu, uw, ww });
    near(made.sine_squared, problem.sine_squared, "1 - ζ²");
    near(made.noise, problem.noise, "noise");
  });
}

function sameMechanisms(found: Decomposition, expected: (typeof cases)[number]["mechanisms"]): void {
  // logarithms of what is nearly nothing cancel
  const within = { absolute: 1e-11 };
  allNear(found.log_output, expected.log_output, "log_output", within);
  allNear(found.log_alignment, expected.log_alignment, "log_alignment", within);
  allNear(found.log_rescaling, expected.log_rescaling, "log_rescaling", within);
  assert.equal(found.sign_changes, expected.sign_changes);
  near(found.first_sign_change, expected.first_sign_change, "first sign change");
  found.windows.forEach((window, i) => {
    const given = expected.windows[i];
    assert.equal(window.mechanism, given.mechanism);
    assert.equal(window.acts, given.acts, window.mechanism);
    near(window.change, given.change, `${window.mechanism}: change`, within);
    near(window.start, given.start, `${window.mechanism}: start`, { relative: 1e-11 });
    near(window.stop, given.stop, `${window.mechanism}: stop`, { relative: 1e-11 });
  });
}

for (const one of descents) {
  test(`descent: ${one.name}`, () => {
    const { steps, every } = one;
    const found = descent(one.problem as LineProblem, { steps, every });
    assert.equal(found.status, one.status);
    assert.equal(found.diverged_at, one.diverged_at);
    assert.deepEqual(Array.from(found.at), one.at);
    for (const name of LINE_QUANTITIES) allNear(found[name], one.found[name], name);
  });
}
