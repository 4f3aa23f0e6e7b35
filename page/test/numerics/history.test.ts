import assert from "node:assert/strict";
import { test } from "node:test";
import { placeHistory, readHistory } from "../../src/numerics/index.ts";
import histories from "../fixtures/histories.json";
import { near, numeric } from "./near.ts";

for (const given of histories) {
  test(`history: ${given.name}`, () => {
    const history = readHistory(JSON.stringify(given.history));
    const place = placeHistory(history);
    assert.equal(place.regime, given.regime);
    assert.ok(place.sentence.length > 0);
    assert.deepEqual(history.layers, ["0", "2"]);
    given.windows.forEach((windows, i) => {
      const found = place.layers[i].windows;
      assert.equal(found.length, windows.length);
      windows.forEach((window, at) => {
        assert.equal(found[at].mechanism, window.mechanism);
        near(found[at].change, window.change, "change");
        near(found[at].start, window.start, "start");
        near(found[at].stop, window.stop, "stop");
      });
    });
  });
}

test("a network is placed by the change of its kernel", () => {
  const rich = histories.find(({ name }) => name === "rich")!;
  const place = placeHistory(readHistory(JSON.stringify(rich.history)));
  assert.equal(place.step, 20);
  assert.equal(place.ntk_change, 3);
  near(Math.sqrt(1 + place.order_parameter ** 2 / 4) - 1, 3, "F");
  assert.equal(place.region, "feature_critical");
  const [layer] = place.layers;
  near(layer.alignment_share[2], Math.log1p(4) / (Math.log1p(4) + 0.2), "share");
  assert.ok(Number.isNaN(layer.alignment_share[0]));
});

test("a diverged network is placed where it was last finite", () => {
  const given = histories.find(({ name }) => name === "diverged")!;
  const place = placeHistory(readHistory(JSON.stringify(given.history)));
  assert.equal(place.step, 10);
  assert.equal(place.ntk_change, 0.2);
});

test("what JSON has no number for is read", () => {
  const given = histories.find(({ name }) => name === "diverged")!;
  const { network } = readHistory(JSON.stringify(given.history));
  assert.equal(network["loss"][2], Infinity);
  assert.equal(numeric("-Infinity"), -Infinity);
});

const [first] = histories;
const broken = (change: (history: any) => void): string => {
  const copy = structuredClone(first.history);
  change(copy);
  return JSON.stringify(copy);
};
const REFUSED: readonly (readonly [string, string, RegExp])[] = [
  ["no JSON", "CDF\x01", /a history is JSON, got text that begins with "CDF/],
  ["a list", "[]", /the file of a history must be an object, got a list/],
  ["nothing in it", "{}", /`coords` of a history must be an object, got nothing/],
  ["no layers", broken((x) => delete x.coords.layer), /coordinates step and layer, got step\. Load/],
  ["no loss", broken((x) => (x.data_vars = {})), /has `loss` or `ntk_change` over steps/],
  ["words", broken((x) => (x.data_vars.loss.data[0] = "a")), /`loss` must hold numbers, got "a"/],
  ["too short", broken((x) => x.data_vars.loss.data.pop()), /for each of the 3 steps, got 2/],
  ["no rows", broken((x) => x.data_vars.weight_movement.data.pop()), /a row for each of the 3 steps/],
  ["no names", broken((x) => (x.coords.layer.data = [1])), /`layer` must be a list of names/],
  ["setting", broken((x) => (x.attrs.setting = "{")), /`setting` of a history must be as the probe/],
];
for (const [name, text, message] of REFUSED) {
  test(`refused: ${name}`, () => {
    assert.throws(() => readHistory(text), message);
    assert.throws(() => readHistory(text), /probe\.save/);
  });
}
