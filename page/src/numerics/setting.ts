/** From what one sets to the state, network and data that the closed form is a function of. */
import { cauchySchwarzGap } from "./exact.ts";
import { chiSquare, generator } from "./random.ts";
import { InputError, type LineProblem, type LineState, type Setting, type Start } from "./types.ts";

const LARGEST_WIDTH = 2 ** 53; // above it floats skip whole numbers
const TOLERANCE = 1e-12; // relative: rounding of the numbers that a user types

/** As in `lazyrich.phases.Setting`. */
export const DEFAULT_SETTING: Setting = {
  width: 1000,
  output_scale: 1,
  lr_u: 1,
  lr_w: 1,
  init_std_u: 1,
  init_std_w: 1,
  mean_aa: 1,
  mean_ay: 1,
  mean_yy: 1,
};

const NOT_NEGATIVE = ["lr_u", "lr_w", "init_std_u", "init_std_w", "mean_aa", "mean_yy"] as const;

/** What is wrong with a setting, a sentence each; empty if it is one that networks have. */
export function settingProblems(setting: Setting, start?: Start): readonly string[] {
  const { width, mean_aa, mean_ay, mean_yy } = setting;
  const found: string[] = [];
  for (const [name, value] of Object.entries(setting)) {
    if (!Number.isFinite(value)) found.push(`\`${name}\` must be a number, got ${value}`);
  }
  for (const name of NOT_NEGATIVE) {
    if (setting[name] < 0) found.push(`\`${name}\` must be ≥ 0, got ${setting[name]}`);
  }
  if (width < 1 || width > LARGEST_WIDTH) {
    found.push(`\`width\` must be between 1 and 2^53, got ${width}`);
  }
  if (start?.kind === "random" && !Number.isInteger(width)) {
    found.push(`\`width\` must be a whole number, got ${width}`);
  }
  if (cauchySchwarzGap(mean_aa, mean_ay, mean_yy) < -TOLERANCE) {
    found.push(
      `no data have E[a²] = ${mean_aa}, E[ay] = ${mean_ay}, E[y²] = ${mean_yy}: ` +
        `E[ay]² must be ≤ E[a²]E[y²]`,
    );
  }
  return start === undefined ? found : [...found, ...startProblems(start)];
}

function startProblems(start: Start): readonly string[] {
  if (start.kind === "random" && !(Number.isSafeInteger(start.seed) && start.seed >= 0)) {
    return [`\`seed\` must be a whole number ≥ 0, got ${start.seed}`];
  }
  if (start.kind === "typical" && !(Math.abs(start.init_alignment) <= 1)) {
    return [`\`init_alignment\` must be between -1 and 1, got ${start.init_alignment}`];
  }
  if (start.kind !== "given") return [];
  const { uu, uw, ww } = start;
  if (![uu, uw, ww].every(Number.isFinite) || uu < 0 || ww < 0) {
    return [`‖u‖², u·w and ‖w‖² must be numbers, the squares ≥ 0, got ${uu}, ${uw}, ${ww}`];
  }
  if (cauchySchwarzGap(uu, uw, ww) >= -TOLERANCE) return [];
  return [
    `no two vectors have ‖u‖² = ${uu}, u·w = ${uw}, ‖w‖² = ${ww}: (u·w)² must be ≤ ‖u‖²‖w‖²`,
  ];
}

/** The three numbers that a network begins with. Throws `InputError`. */
export function lineState(setting: Setting, start: Start): LineState {
  const problems = settingProblems(setting, start);
  if (problems.length > 0) throw new InputError(`${problems[0]}.`);
  switch (start.kind) {
    case "random":
      return drawn(setting, start.seed);
    case "typical":
      return typical(setting, start.init_alignment);
    case "aligned":
      return typical(setting, 1);
    case "anti_aligned":
      return typical(setting, -1);
    case "given": {
      const { uu, uw, ww } = start;
      const sine = Math.min(Math.max(cauchySchwarzGap(uu, uw, ww), 0), 1);
      return { uu, uw, ww, sine_squared: sine };
    }
  }
}

/** State, network and data in one. Throws `InputError`. */
export function lineProblem(setting: Setting, start: Start): LineProblem {
  const state = lineState(setting, start);
  const { output_scale, lr_u, lr_w, mean_aa, mean_ay, mean_yy } = setting;
  const gap = cauchySchwarzGap(mean_aa, mean_ay, mean_yy);
  const noise = mean_yy * Math.min(Math.max(gap, 0), 1);
  return { ...state, output_scale, lr_u, lr_w, mean_aa, mean_ay, noise };
}

/** The expected norms d σ², and an alignment. */
export function typical(setting: Setting, alignment: number): LineState {
  const uu = setting.width * setting.init_std_u ** 2;
  const ww = setting.width * setting.init_std_w ** 2;
  const uw = alignment * Math.sqrt(uu) * Math.sqrt(ww);
  return { uu, uw, ww, sine_squared: 1 - alignment ** 2 };
}

/**
 * Gaussian layers at any width, by Bartlett's decomposition of their 2 × 2 Wishart matrix.
 *
 * Each of its three numbers has a stream of its own, so that a draw hardly changes with the width.
 */
function drawn(setting: Setting, seed: number): LineState {
  const { width, init_std_u: su, init_std_w: sw } = setting;
  const first = chiSquare(generator(seed, 0), width);
  const along = generator(seed, 1).normal();
  const across = width > 1 ? chiSquare(generator(seed, 2), width - 1) : 0;
  const unit = along ** 2 + across;
  return {
    uu: su ** 2 * first,
    uw: su * sw * Math.sqrt(first) * along,
    ww: sw ** 2 * unit,
    sine_squared: across / unit,
  };
}
