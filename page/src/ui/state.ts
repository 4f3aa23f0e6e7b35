/** Everything that a view of the page is a function of, and where it begins. */

import { at, LAW_PARAMETERS, settingOfLaw } from "../numerics/index.ts";
import type { ScalingLaw, Setting, Start } from "../numerics/index.ts";
import { number, oneOf, power, whole } from "./fields.ts";

export const TABS = ["line", "balanced", "luo", "place"] as const;
export type Tab = (typeof TABS)[number];

export const STARTS = ["random", "orthogonal", "aligned", "anti_aligned"] as const;
export const NETWORK_AXES = [
  "output_scale",
  "init_std",
  "init_std_u",
  "init_std_w",
  "lr",
  "lr_u",
  "lr_w",
] as const;
export const EXPONENT_AXES = [
  "output_scale_exponent",
  "init_var_exponent",
  "init_var_u_exponent",
  "init_var_w_exponent",
  "lr_u_exponent",
  "lr_w_exponent",
] as const;

export const LARGEST_WIDTH = 1e12;
export const MOST_NEURONS = 6; // of a λ-balanced network, and its inputs and outputs

/** Each value by the name that it has in the address. */
export const FIELDS = {
  tab: oneOf(TABS, "line"),
  width: whole(1000, 1, LARGEST_WIDTH),
  output_scale: power(1, "0"),
  lr_u: power(0.05, "0"),
  lr_w: power(0.05, "0"),
  init_var_u: power(0.1, "-1"),
  init_var_w: power(0.1, "-1"),
  mean_aa: number(1, 1e-6, 1e6),
  mean_ay: number(1, -1e6, 1e6),
  noise: number(0, 0, 1e6),
  start: oneOf(STARTS, "random"),
  seed: whole(3, 0, 999_999),
  step_size: number(1, 1e-4, 1e6),
  time: oneOf(["linear", "log"] as const, "linear"),
  map: oneOf(["network", "exponents"] as const, "network"),
  map_x: oneOf(NETWORK_AXES, "output_scale"),
  map_y: oneOf(NETWORK_AXES, "init_std"),
  law_x: oneOf(EXPONENT_AXES, "output_scale_exponent"),
  law_y: oneOf(EXPONENT_AXES, "init_var_exponent"),
  lambda: number(0, -100, 100),
  init_size: number(0.05, 1e-6, 10),
  target_scale: number(1, 1e-3, 1e3),
  target_ratio: number(0.5, 0, 1),
  outputs: whole(2, 1, MOST_NEURONS),
  inputs: whole(2, 1, MOST_NEURONS),
  hidden: whole(2, 1, MOST_NEURONS),
  draw: whole(1, 0, 999_999),
  gamma: number(0.5, 0, 2),
  gamma_prime: number(0, -1, 1.5),
  zero_output: oneOf(["no", "yes"] as const, "no"),
} as const;

export type Name = keyof typeof FIELDS;
export type State = { readonly [K in Name]: (typeof FIELDS)[K]["start"] };
export type Change = Partial<State>;

/** The page as it is opened without an address. */
export const INITIAL = Object.fromEntries(
  Object.entries(FIELDS).map(([name, field]) => [name, field.start]),
) as unknown as State;

/** How the network's parameters follow its width. */
export function lawOf(state: State): ScalingLaw {
  return Object.fromEntries(LAW_PARAMETERS.map((name) => [name, state[name]])) as unknown as ScalingLaw;
}

/** The network of the view, and its data. */
export function settingOf(state: State): Setting {
  return settingOfLaw(lawOf(state), state.width, {
    mean_aa: state.mean_aa,
    mean_ay: state.mean_ay,
    mean_yy: meanYy(state),
  });
}

/** E[y²], which is what there is to learn and the noise. */
export function meanYy(state: State): number {
  return state.mean_ay ** 2 / state.mean_aa + state.noise;
}

/** How the network of the view starts. */
export function startOf(state: State): Start {
  if (state.start === "random") return { kind: "random", seed: state.seed };
  if (state.start === "orthogonal") return { kind: "typical", init_alignment: 0 };
  return { kind: state.start };
}

/** ζ of the typical network whose map is shown. */
export function mapAlignment(state: State): number {
  return state.start === "aligned" ? 1 : state.start === "anti_aligned" ? -1 : 0;
}

/** A parameter of the law at the width of the view. */
export function valueOf(state: State, name: keyof ScalingLaw): number {
  return at(state[name], state.width);
}
