import type { LineProblem, LineState, Setting, Start } from "./types.ts";

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

/** What is wrong with a setting, a sentence each; empty if it is one that networks have. */
export function settingProblems(_setting: Setting, _start?: Start): readonly string[] {
  throw new Error("not yet");
}

/** The three numbers that a network begins with. Throws `InputError`. */
export function lineState(_setting: Setting, _start: Start): LineState {
  throw new Error("not yet");
}

/** State, network and data in one. Throws `InputError`. */
export function lineProblem(_setting: Setting, _start: Start): LineProblem {
  throw new Error("not yet");
}
