/** High-precision numbers that lie beside the repository, where it is developed. */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { DEFAULT_SETTING, flow, lineProblem } from "../../src/numerics/index.ts";
import { near } from "./near.ts";

const VECTORS = resolve(process.cwd(), "../../shared/vectors/two_layer_linear_1d.json");
const NAMES = { uu: "uu", uw: "uw", ww: "ww", zeta: "alignment", ntk: "ntk_trace", loss: "loss" } as const;

type Case = Record<"uu" | "uw" | "ww" | "g" | "eu" | "ew" | "Eaa" | "Eay" | "Eyy", number> & {
  readonly name: string;
  readonly ts: readonly number[];
  readonly expect: readonly Record<keyof typeof NAMES, string>[];
};

const skip = existsSync(VECTORS) ? false : "the vectors are not beside the repository";
test("the closed form against the given vectors", { skip }, () => {
  for (const one of JSON.parse(readFileSync(VECTORS, "utf8")) as Case[]) {
    const data = { mean_aa: one.Eaa, mean_ay: one.Eay, mean_yy: one.Eyy };
    const setting = { ...DEFAULT_SETTING, ...data, output_scale: one.g, lr_u: one.eu, lr_w: one.ew };
    const { uu, uw, ww } = one;
    const found = flow(lineProblem(setting, { kind: "given", uu, uw, ww }), one.ts);
    one.expect.forEach((row, i) => {
      for (const [name, own] of Object.entries(NAMES)) {
        near(found[own][i], row[name as keyof typeof NAMES], `${one.name}: ${name}`);
      }
    });
  }
});
