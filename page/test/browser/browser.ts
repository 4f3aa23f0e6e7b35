/** The built page in a real browser; skipped, with the reason, where there is none. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = process.env["CHROMIUM"] ?? PLACES.find((path) => existsSync(path));

/** Why there is nothing to test with; false if there is. */
export const NO_BROWSER: string | false = executablePath ? false : "no chromium on this machine";

const folder = mkdtempSync(join(tmpdir(), "lazyrich-page-"));
const file = join(folder, "page.html");
let browser: Browser;

before(async () => {
  if (!executablePath) return;
  execFileSync(process.execPath, [join(home(), "build.mjs"), file]);
  browser = await chromium.launch({ executablePath, headless: true, args: FLAGS });
});
after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The folder of the page's sources, from wherever the bundled test lies. */
function home(): string {
  let here = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(here, "build.mjs"))) here = resolve(here, "..");
  return here;
}

export interface Seen {
  readonly page: Page;
  /** What the page complained of, and what it asked the network for: both must stay empty. */
  readonly complaints: string[];
  readonly requests: string[];
}

/** Open the page with what stands behind the `#`, look, and see that it was quiet meanwhile. */
export async function open(
  address: string,
  look: (seen: Seen) => Promise<void>,
  options: BrowserContextOptions = {},
): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  try {
    const page = await context.newPage();
    const seen: Seen = { page, complaints: [], requests: [] };
    page.on("console", (message) => seen.complaints.push(message.text()));
    page.on("pageerror", (error) => seen.complaints.push(error.message));
    page.on("request", (request) => seen.requests.push(request.url()));
    const url = pathToFileURL(file).href;
    await page.goto(`${url}#${address}`);
    await drawn(page);
    await look(seen);
    const asked = seen.requests.filter((one) => !one.startsWith(url) && !one.startsWith("data:"));
    if (seen.complaints.length > 0) throw new Error(`the page complained: ${seen.complaints.join("; ")}`);
    if (asked.length > 0) throw new Error(`the page asked for ${asked.join(", ")}`);
  } finally {
    await context.close();
  }
}

/** Wait until what was asked for is on the screen. */
export async function drawn(page: Page): Promise<void> {
  await page.evaluate(
    () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))),
  );
}

/** Another address in the page that is open, as if someone had typed it. */
export async function go(page: Page, address: string): Promise<void> {
  await page.evaluate((hash) => (location.hash = hash), `#${address}`);
  await drawn(page);
}

/** What a chart of the open tab shows, by its place among them. */
export async function drawing(
  page: Page,
  index: number,
): Promise<{ x: number[]; lines: (number | null)[][] }> {
  return page.evaluate((at) => {
    const charts = document.querySelectorAll('[role="tabpanel"]:not([hidden]) .chart');
    const { x, lines } = (
      charts[at] as unknown as { drawing: { x: ArrayLike<number>; lines: ArrayLike<number | null>[] } }
    ).drawing;
    return { x: Array.from(x), lines: lines.map((line) => Array.from(line)) };
  }, index);
}

/** The facts that the sentences of the tab of the line are made of. */
export async function facts(page: Page): Promise<Record<string, unknown>> {
  return JSON.parse((await page.locator(".panel.line").getAttribute("data-facts")) ?? "{}");
}
