/** How the page behaves: address, keys, narrow and dark windows, time of a frame. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Page } from "playwright-core";
import histories from "../fixtures/histories.json";
import { drawing, drawn, facts, go, NO_BROWSER, open } from "./browser.ts";

const SKIP = { skip: NO_BROWSER };
const TABS = ["line", "balanced", "luo", "place"] as const;
const FRAME = 1000 / 60; // ms
const FRAMES = 30;

const hash = (page: Page): Promise<string> => page.evaluate(() => location.hash);

test("an address and the state are the same thing", SKIP, () =>
  open("", async ({ page }) => {
    await page.getByRole("button", { name: "μP", exact: true }).click();
    await page.getByLabel("width, number").fill("1e9");
    await page.getByLabel("width, number").press("Enter");
    await page.getByRole("radio", { name: "anti-aligned" }).check();
    await page.getByRole("radio", { name: "logarithmic" }).check();
    await page.getByRole("radio", { name: "families" }).check();
    await drawn(page);
    const address = await hash(page);
    const before = await facts(page);
    const curve = await drawing(page, 1);
    assert.match(address, /width=1e9/);
    assert.match(address, /lr_w=5e-4d1/);
    assert.doesNotMatch(address, /output_scale|noise|gamma/); // these are as at the beginning
    assert.match(address, /start=anti_aligned/);
    await page.goto("about:blank");
    await page.goBack();
    await drawn(page);
    assert.equal(await hash(page), address);
    assert.deepEqual(await facts(page), before);
    assert.deepEqual(await drawing(page, 1), curve);
  }),
);

test("every value of the address is read as it was written", SKIP, () => {
  const address =
    "width=77&output_scale=0.3d-1/2&lr_u=0.01d1/3&lr_w=2d-1&init_var_u=0.5d-1&init_var_w=3d-3/2&mean_aa=2&mean_ay=-0.7" +
    "&noise=0.25&start=aligned&seed=12&step_size=0.5&time=log&map=exponents&map_x=lr_u&map_y=init_std_w" +
    "&law_x=lr_u_exponent&law_y=init_var_w_exponent&lambda=-1.5&init_size=0.2&target_scale=2&target_ratio=0.7" +
    "&outputs=3&inputs=4&hidden=3&draw=9&gamma=1.25&gamma_prime=0.4&zero_output=yes";
  return open(`tab=luo&${address}`, async ({ page }) => {
    await page.getByRole("tab", { name: "Line" }).click();
    assert.equal(await hash(page), `#${address}`);
    assert.equal(await page.locator(".notice").isVisible(), false);
  });
});

test("going back returns to the view before", SKIP, () =>
  open("start=orthogonal", async ({ page }) => {
    const first = await facts(page);
    await page.getByRole("button", { name: "NTK", exact: true }).click();
    await drawn(page);
    assert.notDeepEqual(await facts(page), first);
    await page.goBack();
    await drawn(page);
    assert.equal(await hash(page), "#start=orthogonal");
    assert.deepEqual(await facts(page), first);
    await page.goForward();
    await drawn(page);
    assert.equal((await facts(page))["regime"], "lazy");
  }),
);

const JUNK = [
  "width=many",
  "width=-3",
  "output_scale=1d1d1",
  "nonsense",
  "%E0%A4%A",
  "seed=1.5",
  "width",
  "=&=",
  "start=<b>",
  "lr_u=1d99",
  "width=1e400",
  "__proto__=1",
  "toString=1",
  "constructor",
  "tab=nowhere",
  "map_x=__proto__",
];

test("junk in an address gives the page as it is opened, and a sentence", SKIP, () =>
  open("nonsense=<img>&width=4%", async ({ page }) => {
    const notice = page.locator(".notice");
    assert.match((await notice.textContent()) ?? "", /address.*\..*address.*\.$/);
    for (const junk of JUNK) {
      await go(page, "width=5"); // a view that is all right
      assert.equal(await notice.isVisible(), false, junk);
      await go(page, junk);
      assert.match((await notice.textContent()) ?? "", /address.*\.$/, junk);
      assert.equal((await facts(page))["regime"], "rich", junk);
    }
    await page.getByRole("button", { name: "NTK", exact: true }).click();
    await drawn(page);
    assert.equal(await notice.isVisible(), false);
    assert.equal((await facts(page))["regime"], "lazy");
  }),
);

const EXTREMES = [
  "width=1",
  "width=1e12",
  "output_scale=0",
  "output_scale=1e60",
  "output_scale=1e-60",
  "lr_u=0&lr_w=0",
  "init_var_u=0&init_var_w=0",
  "start=anti_aligned",
  "mean_ay=0",
  "mean_ay=1e6&mean_aa=1e-6",
  "init_var_u=1e60&init_var_w=1e60",
  "step_size=1e6",
  "step_size=1e-4",
  "time=log&lr_u=1e-60&lr_w=1e-60",
  "lr_u=1e60",
  "lr_u=0&map=exponents",
  "mean_aa=1e6&start=aligned",
  "tab=balanced&outputs=1&inputs=6&hidden=6&lambda=-100",
  "tab=balanced&target_scale=1000&lambda=0&init_size=10",
  "tab=balanced&target_ratio=0&init_size=1e-6&hidden=6",
  "tab=balanced&lambda=1&hidden=3",
  "tab=luo&gamma=0&gamma_prime=1.5",
];

test("extreme views are shown, or refused in a sentence", SKIP, () =>
  open("", async ({ page }) => {
    for (const address of EXTREMES) {
      await go(page, address);
      const panel = page.locator('[role="tabpanel"]:not([hidden])');
      const refused = await panel.locator(".view > .problem").isVisible();
      const said = panel.locator(refused ? ".view > .problem" : ".reading");
      assert.ok(((await said.textContent()) ?? "").length > 20, address);
      assert.doesNotMatch((await panel.textContent()) ?? "", /NaN|undefined|null|Infinity/, address);
    }
  }),
);

test("sliders move with keys and say their value", SKIP, () =>
  open("", async ({ page }) => {
    const width = page.getByRole("slider", { name: "width" });
    await width.focus();
    await page.keyboard.press("End");
    await drawn(page);
    assert.equal(await width.getAttribute("aria-valuetext"), "10¹²");
    assert.match(await hash(page), /width=1e12/);
    await page.keyboard.press("Home");
    await drawn(page);
    assert.match(await hash(page), /width=1(&|$)/);
    await page.keyboard.press("PageUp");
    await drawn(page);
    assert.notEqual(await width.getAttribute("aria-valuetext"), "1");
  }),
);

test("the whole page can be walked with the tab key, and all of it has a name", SKIP, () =>
  open("", async ({ page }) => {
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("button, input, select, textarea, [tabindex]")]
        .filter((one) => one.offsetParent !== null)
        .filter((one) => {
          const labelled =
            one instanceof HTMLInputElement || one instanceof HTMLSelectElement
              ? (one.labels?.length ?? 0) > 0
              : false;
          return !labelled && !one.getAttribute("aria-label") && !one.textContent?.trim();
        })
        .map((one) => one.outerHTML),
    );
    assert.deepEqual(unnamed, []);
    await page.evaluate(() => {
      const names: string[] = [];
      Object.assign(window, { names });
      document.addEventListener("focusin", ({ target }) => {
        if (target instanceof Element)
          names.push(target.getAttribute("aria-label") ?? target.textContent ?? "");
      });
    });
    for (let i = 0; i < 90; i += 1) await page.keyboard.press("Tab");
    const seen = new Set(await page.evaluate(() => (window as unknown as { names: string[] }).names));
    for (const name of ["Line", "alignment", "this network on the map", "As Python", "Copy link"]) {
      assert.ok(seen.has(name), `${name} is reached; got ${[...seen].join(", ")}`);
    }
  }),
);

test("tabs turn with arrows, and only one of them is in the way of the tab key", SKIP, () =>
  open("", async ({ page }) => {
    await page.getByRole("tab", { name: "Line" }).focus();
    await page.keyboard.press("ArrowRight");
    await drawn(page);
    assert.equal(await page.getByRole("tab", { selected: true }).textContent(), "λ-balanced");
    assert.match(await hash(page), /tab=balanced/);
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("ArrowLeft");
    await drawn(page);
    assert.equal(await page.getByRole("tab", { selected: true }).textContent(), "Place my network");
  }),
);

test("every symbol explains itself on hover, on focus, and until Escape", SKIP, () =>
  open("", async ({ page }) => {
    for (const tab of TABS) {
      await go(page, `tab=${tab}`);
      const explained = await page.evaluate(() =>
        [...document.querySelectorAll<HTMLElement>('[role="tabpanel"]:not([hidden]) .term')]
          .filter((term) => term.offsetParent !== null)
          .map((term) => {
            term.focus();
            const tip = document.getElementById(term.getAttribute("aria-describedby") ?? "");
            return [term.textContent, tip?.textContent ?? "", tip?.hidden] as const;
          }),
      );
      assert.ok(tab === "place" || explained.length > 5, tab);
      for (const [sign, text, hidden] of explained) {
        assert.ok(text.length > 25 && hidden === false, `${sign} is explained by “${text}”`);
      }
    }
    await go(page, "tab=line");
    const tip = page.getByRole("tooltip");
    await page.locator(".term:visible").first().hover();
    assert.equal(await tip.isVisible(), true);
    await page.keyboard.press("Escape");
    assert.equal(await tip.isVisible(), false);
    await page.locator(".chart .term:visible").first().hover();
    await page.mouse.move(1, 1);
    await tip.waitFor({ state: "hidden" });
  }),
);

test("the point of the map is dragged, and moved with keys", SKIP, () =>
  open("start=orthogonal", async ({ page }) => {
    const point = page.getByRole("slider", { name: "this network on the map" });
    const box = (await point.boundingBox())!;
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    const before = (await facts(page))["change"] as number;
    await page.mouse.move(x, y);
    await page.mouse.down();
    await page.mouse.move(x + 60, y - 80, { steps: 5 });
    await page.mouse.up();
    await drawn(page);
    const after = (await facts(page))["change"] as number;
    assert.ok(after < before / 2, `further up is lazier: ${before} to ${after}`);
    const address = await hash(page);
    assert.match(address, /output_scale=/);
    assert.match(address, /init_var_u=/);
    await point.focus();
    await page.keyboard.press("ArrowDown");
    await drawn(page);
    assert.notEqual(await hash(page), address);
    assert.ok(((await facts(page))["change"] as number) > after);
    assert.match((await point.getAttribute("aria-valuetext")) ?? "", /γ = .*, σ = .*: /);
  }),
);

test("a wrong number is refused in a sentence, and changes nothing", SKIP, () =>
  open("", async ({ page }) => {
    const width = page.getByLabel("width, number");
    await width.fill("plenty");
    await width.press("Enter");
    assert.equal(await width.getAttribute("aria-invalid"), "true");
    assert.match(
      (await page.locator(".slider .problem:visible").textContent()) ?? "",
      /Must be a whole number/,
    );
    assert.equal(await hash(page), "");
    await width.fill("10^4");
    await width.press("Enter");
    await drawn(page);
    assert.match(await hash(page), /width=10000/);
    assert.equal(await page.locator(".slider .problem:visible").count(), 0);
  }),
);

test("an exponent changes the family, and not the network", SKIP, () =>
  open("start=orthogonal", async ({ page }) => {
    const before = await facts(page);
    const exponent = page.getByLabel("exponent of the width in the output scale");
    await exponent.fill("steep");
    await exponent.press("Enter");
    assert.equal(await exponent.getAttribute("aria-invalid"), "true");
    assert.match((await page.locator(".slider .problem:visible").textContent()) ?? "", /An exponent is/);
    await exponent.fill("−1/2");
    await exponent.press("Enter");
    await drawn(page);
    assert.equal(await page.locator(".slider .problem:visible").count(), 0);
    const after = await facts(page);
    assert.deepEqual([before["phase"], before["kind"]], ["feature", "critical"]);
    assert.deepEqual([after["phase"], after["kind"]], ["frozen", null]); // its rates are not tuned
    assert.ok(Math.abs((after["change"] as number) / (before["change"] as number) - 1) < 1e-4);
    await page.getByLabel("width, number").fill("1e6");
    await page.getByLabel("width, number").press("Enter");
    await drawn(page);
    assert.ok(
      ((await facts(page))["change"] as number) > 10 * (before["change"] as number),
      "the wider, the richer",
    );
  }),
);

test("a drawn start is drawn again, and named by its seed", SKIP, () =>
  open("", async ({ page }) => {
    const first = await facts(page);
    await page.getByRole("button", { name: "Draw again" }).first().click();
    await drawn(page);
    assert.notEqual((await facts(page))["change"], first["change"]);
    assert.match(await hash(page), /seed=\d+/);
  }),
);

test("the view is copied as Python", SKIP, () =>
  open("start=orthogonal", async ({ page }) => {
    await page.getByText("As Python").first().click();
    const code = page.locator(".panel.line .python code"); // filled when the box has opened
    await code.filter({ hasText: /import[\s\S]*flow/ }).waitFor();
    for (const part of ["descent", "map", "family"]) {
      await page.locator(".panel.line .python").getByRole("radio", { name: part }).check();
      await code.filter({ hasText: /import[\s\S]*result/ }).waitFor();
    }
  }),
);

test("a history is placed on the map, and what is none is refused in a sentence", SKIP, () =>
  open("tab=place", async ({ page }) => {
    const rich = histories.find(({ name }) => name === "rich")!;
    await page.setInputFiles("input[type=file]", {
      name: "run.json",
      mimeType: "application/json",
      buffer: Buffer.from(JSON.stringify(rich.history)),
    });
    await page.locator(".result").waitFor({ state: "visible" });
    assert.equal(await page.locator(".place .chip").textContent(), "rich");
    assert.equal(await page.locator(".place .chart").count(), 2);
    assert.ok((await page.locator(".place .curve.level").count()) >= 1);
    await page.getByPlaceholder("or paste its text here").fill('{"loss": 1}');
    assert.equal(await page.locator(".result").isVisible(), false);
    assert.match((await page.locator(".place .problem").textContent()) ?? "", /probe\.save/);
    await page.getByPlaceholder("or paste its text here").fill(JSON.stringify(rich.history));
    await page.locator(".result").waitFor({ state: "visible" });
    assert.equal(await page.locator(".place .problem").isVisible(), false);
  }),
);

for (const width of [320, 400, 768, 1280]) {
  test(`nothing sticks out of a window of ${width} pixels`, SKIP, () =>
    open(
      "",
      async ({ page }) => {
        for (const tab of TABS) {
          await go(page, `tab=${tab}&map=exponents&time=log`);
          const [needed, given] = await page.evaluate(() => [
            document.documentElement.scrollWidth,
            document.documentElement.clientWidth,
          ]);
          assert.ok(needed <= given, `${tab} needs ${needed} pixels`);
        }
      },
      { viewport: { width, height: 800 } },
    ),
  );
}

test("in a narrow window the sliders come out of a drawer", SKIP, () =>
  open(
    "",
    async ({ page }) => {
      const width = page.getByRole("slider", { name: "width" });
      assert.equal(await width.isVisible(), false);
      await page.getByRole("button", { name: "Sliders" }).first().click();
      assert.equal(await width.isVisible(), true);
    },
    { viewport: { width: 400, height: 800 } },
  ),
);

for (const colorScheme of ["light", "dark"] as const) {
  test(`words are legible in ${colorScheme}`, SKIP, () =>
    open(
      "",
      async ({ page }) => {
        for (const tab of TABS) {
          await go(page, `tab=${tab}`);
          assert.deepEqual(await page.evaluate(illegible), [], tab);
        }
      },
      { colorScheme },
    ),
  );
}

/** Texts whose contrast is below 4.5 (WCAG AA), with what it is. */
function illegible(): string[] {
  const numbers = (colour: string): number[] => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = ([r, g, b]: number[]): number => {
    const [x, y, z] = [r, g, b].map((one) =>
      one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element: Element | null): number[] => {
    for (let one = element; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || (colour[3] ?? 0) > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll<HTMLElement>("#page *")]
    .filter(
      (one) =>
        one.offsetParent !== null &&
        [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent?.trim()),
    )
    .filter((one) => !one.closest(":disabled, .visually-hidden"))
    .flatMap((one) => {
      const [text, back] = [luminance(numbers(getComputedStyle(one).color)), luminance(ground(one))];
      const contrast = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
      return contrast < 4.5 ? [`${one.textContent?.trim().slice(0, 40)}: ${contrast.toFixed(2)}`] : [];
    });
}

/**
 * The work of a frame while a slider is dragged: the processor's time, since a machine that does other
 * things at the same time says nothing about a laptop. Printed, and held to a budget that a busy machine keeps.
 */
test("time of a frame while a slider is dragged", SKIP, (t) =>
  open("", async ({ page }) => {
    const session = await page.context().newCDPSession(page);
    await session.send("Performance.enable", { timeDomain: "threadTicks" });
    const busy = async (): Promise<number> => {
      const { metrics } = await session.send("Performance.getMetrics");
      return 1000 * (metrics.find((one) => one.name === "TaskDuration")?.value ?? NaN);
    };
    const drag = (label: string): Promise<void> =>
      page.evaluate(
        async ([slider, frames]) => {
          const labels = [...document.querySelectorAll<HTMLLabelElement>(".panel.line label")];
          const input = labels.find((one) => one.textContent === slider)!.control as HTMLInputElement;
          const [low, high] = [Number(input.min), Number(input.max)];
          for (let i = 0; i < frames; i += 1) {
            input.value = String(low + ((high - low) * (10 + i)) / (frames + 20));
            input.dispatchEvent(new Event("input", { bubbles: true }));
            await new Promise((done) => requestAnimationFrame(done));
          }
        },
        [label, FRAMES] as const,
      );
    await drag("width"); // so that the code is compiled
    for (const label of ["width", "output scale", "step size"]) {
      const before = await busy();
      await drag(label);
      const frame = ((await busy()) - before) / FRAMES;
      t.diagnostic(`${label}: ${frame.toFixed(1)} ms of work a frame`);
      assert.ok(frame < 3 * FRAME, `a frame of ${label} took ${frame.toFixed(1)} ms of work`);
    }
  }),
);
