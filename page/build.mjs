/**
 * Make the page: one HTML file without a network.
 *
 *     node build.mjs [FILE]     default: ../src/lazyrich/explore/page.html
 *
 * `index.html` has the marks <!-- style --> and <!-- script -->; in their places stand what
 * `src/ui/main.ts` imports, bundled. The same sources give the same bytes on every machine.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const LARGEST = 1.5e6; // bytes
const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.argv[2] ?? resolve(here, "../src/lazyrich/explore/page.html"));

const { outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: ["src/ui/main.ts"],
  bundle: true,
  write: false,
  outdir: "out",
  format: "iife",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "inline",
  loader: { ".svg": "dataurl", ".png": "dataurl", ".woff2": "dataurl" },
  logLevel: "warning",
});

const text = (suffix) => outputFiles.find((file) => file.path.endsWith(suffix))?.text.trim() ?? "";
const parts = {
  "<!-- style -->": `<style>${text(".css")}</style>`,
  "<!-- script -->": `<script>${text(".js")}</script>`,
};
let page = readFileSync(resolve(here, "index.html"), "utf8");
for (const [mark, part] of Object.entries(parts)) {
  if (page.split(mark).length !== 2) {
    throw new Error(`index.html must hold the mark ${mark} once`);
  }
  page = page.replace(mark, () => part);
}
const size = Buffer.byteLength(page);
if (size > LARGEST) {
  throw new Error(`the page must be smaller than ${LARGEST} bytes, got ${size}`);
}
mkdirSync(dirname(target), { recursive: true });
writeFileSync(target, page);
console.log(`wrote ${target} (${Math.ceil(size / 1000)} kB)`);
