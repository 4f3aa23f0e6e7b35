/** Curves and sentences of the page are what Python computes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import views from "../fixtures/views.json";
import { near, numeric } from "../numerics/near.ts";
import { drawing, drawn, facts, NO_BROWSER, open } from "./browser.ts";

/** Quantity, the chart that shows it, and which of its lines are descent and flow. */
const CURVES = [
  ["end_to_end_map", 0, 0, 1],
  ["excess_loss", 1, 0, 1],
  ["alignment", 2, 0, 1],
  ["uu", 3, 0, 2],
  ["ww", 3, 1, 3],
  ["ntk_change", 4, 0, 1],
] as const;
const RIGHT = { relative: 1e-9, absolute: 1e-15 };
const WINDOW = { relative: 0.02 }; // both sides find 10 % and 90 % on a grid of their own

type View = (typeof views)[number];
type Curves = Record<string, readonly unknown[]>;

/** The value of a line at a time; null where the line has no record. */
function at(
  { x, lines }: { x: number[]; lines: (number | null)[][] },
  line: number,
  time: number,
): number | null {
  const found = x.findIndex((one, i) => Math.abs(one - time) <= 1e-12 * time && lines[line][i] !== null);
  return found < 0 ? null : lines[line][found];
}

async function compareCurves(page: Page, view: View): Promise<void> {
  const size = Number(/step_size=([^&]+)/.exec(view.address)?.[1]);
  for (const [name, chart, descent, flow] of CURVES) {
    const shown = await drawing(page, chart);
    const root = chart === 3 ? Math.sqrt : (value: number): number => value;
    view.times.forEach((time, i) => {
      const found = at(shown, flow, time);
      assert.notEqual(found, null, `${name} at ${time}`);
      near(
        found as number,
        root(numeric((view.flow as Curves)[name][i])),
        `${name} of the flow at ${time}`,
        RIGHT,
      );
    });
    let compared = 0;
    view.steps.forEach((step, i) => {
      const found = at(shown, descent, step * size);
      if (found === null || ("diverged_at" in view && step >= (view.diverged_at as number))) return;
      near(found, root(numeric((view.descent as Curves)[name][i])), `${name} at step ${step}`, RIGHT);
      compared += 1;
    });
    assert.ok(compared >= 2, `${name} of descent was compared ${compared} times`);
  }
}

async function compareWords(page: Page, view: View): Promise<void> {
  const said = await facts(page);
  for (const name of ["regime", "phase", "kind", "acting", "dominant", "outcome"] as const) {
    assert.deepEqual(said[name], view[name], name);
  }
  near(said["change"] as number, view.change, "change", RIGHT);
  near(said["sharpness"] as number, view.sharpness[0], "sharpness", RIGHT);
  near(said["finalSharpness"] as number, view.sharpness[1], "final sharpness", RIGHT);
  if ("diverged_at" in view) assert.equal(said["divergedAt"], view.diverged_at);
  if ("peak" in view) assert.equal(said["peak"], view.peak);
  if ("growth" in view) near(said["growth"] as number, view.growth, "growth", RIGHT);
  const windows = said["windows"] as Record<string, [number, number]>;
  for (const [name, [from, to]] of Object.entries(view.windows as Record<string, number[]>)) {
    near(windows[name][0], from, `start of ${name}`, WINDOW);
    near(windows[name][1], to, `end of ${name}`, WINDOW);
  }
  const text = (await page.locator(".panel.line .reading").textContent()) ?? "";
  assert.match(text, new RegExp(`this network is ${view.regime}`));
  assert.match(text, view.dominant ? new RegExp(`(Mostly|Only) ${view.dominant}`) : /No mechanism acts/);
  assert.equal(await page.locator(".panel.line .chip").textContent(), view.regime);
}

for (const view of views) {
  test(`curves and sentences: ${view.name}`, { skip: NO_BROWSER }, () =>
    open(view.address, async ({ page }) => {
      await compareCurves(page, view);
      await compareWords(page, view);
    }),
  );
}

test("buttons and fields lead to the same curves as an address", { skip: NO_BROWSER }, () =>
  open("start=orthogonal", async ({ page }) => {
    const view = views.find(({ name }) => name === "a catapult")!;
    await page.getByRole("button", { name: "NTK", exact: true }).click();
    await page.getByLabel("step size, number").fill("12");
    await page.getByLabel("step size, number").press("Enter");
    await page.getByLabel("mean square target, number").fill("1.1");
    await page.getByLabel("mean square target, number").press("Enter");
    await drawn(page);
    await compareCurves(page, view);
    await compareWords(page, view);
  }),
);
