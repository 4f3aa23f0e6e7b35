/**
 * Run the tests in Node: `node test.mjs [FOLDER …]`, default test/numerics.
 *
 * Node 20 reads no TypeScript, so that each test file is bundled first.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const folders = process.argv.length > 2 ? process.argv.slice(2) : ["test/numerics"];
const tests = folders.flatMap((folder) =>
  readdirSync(resolve(here, folder))
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => `${folder}/${name}`),
);
const out = resolve(here, ".build/test");
rmSync(out, { recursive: true, force: true });
await build({
  absWorkingDir: here,
  entryPoints: tests,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
  outdir: out,
  outExtension: { ".js": ".mjs" },
  sourcemap: "inline",
  logLevel: "warning",
});
const files = readdirSync(out, { recursive: true })
  .filter((name) => name.endsWith(".test.mjs"))
  .map((name) => resolve(out, name));
const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], {
  stdio: "inherit",
});
process.exit(status ?? 1);
