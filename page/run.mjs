/** Run one TypeScript file in Node: `node run.mjs test/numerics/snippets.ts`. */
import { basename } from "node:path";
import { pathToFileURL } from "node:url";
import { bundled } from "./bundle.mjs";

const [file] = await bundled([process.argv[2]], `run/${basename(process.argv[2], ".ts")}`);
await import(pathToFileURL(file).href);
