import assert from "node:assert/strict";
import { test } from "node:test";
import * as numerics from "../../src/numerics/index.ts";

test("the numerics know nothing of a browser", () => {
  assert.equal(typeof numerics.flow, "function");
  assert.equal(typeof (globalThis as { document?: unknown }).document, "undefined");
});
