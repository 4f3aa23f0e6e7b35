/** Run the tests in Node: `node test.mjs [FOLDER …]`, by default those of the numerics. */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { bundled, here } from "./bundle.mjs";

const folders = process.argv.length > 2 ? process.argv.slice(2) : ["test/numerics"];
const tests = folders.flatMap((folder) =>
  readdirSync(resolve(here, folder))
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => `${folder}/${name}`),
);
const files = await bundled(tests, "test");
const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-reporter=tap", ...files], {
  stdio: "inherit",
});
process.exit(status ?? 1);
