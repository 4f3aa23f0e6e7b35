/** Make TypeScript that Node can run: Node 20 reads none. */
import { rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

export const here = dirname(fileURLToPath(import.meta.url));

/**
 * Bundle files of this folder.
 *
 * @param {readonly string[]} files their paths from here
 * @param {string} name of the folder in .build that they are put in
 * @returns {Promise<string[]>} the paths of what was made, in the same order
 */
export async function bundled(files, name) {
  const out = resolve(here, ".build", name);
  rmSync(out, { recursive: true, force: true });
  await build({
    absWorkingDir: here,
    entryPoints: files,
    outbase: here,
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
  return files.map((file) => resolve(out, file.replace(/\.ts$/, ".mjs")));
}
