/** How a family of networks scales with its width, and the phase that it is therefore in. */
import { Fraction, exactExponent, larger } from "./fraction.ts";
import {
  InputError,
  LAW_PARAMETERS,
  type ExponentLike,
  type LawPhase,
  type Power,
  type ScalingLaw,
  type Setting,
} from "./types.ts";

type Given = readonly [ExponentLike, number?];

function law(
  output_scale: Given,
  lr_u: Given,
  lr_w: Given,
  init_var_u: Given,
  init_var_w: Given,
): ScalingLaw {
  const [scale, ofU, ofW, varU, varW] = [output_scale, lr_u, lr_w, init_var_u, init_var_w].map(
    ([exponent, constant = 1]) => ({ exponent, constant }),
  );
  return { output_scale: scale, lr_u: ofU, lr_w: ofW, init_var_u: varU, init_var_w: varW };
}

/** The six parametrisations of arXiv:2401.07085, muP and the standard one, by name. */
export const PRESETS: Readonly<Record<string, ScalingLaw>> = {
  ntk: law(["-1/2"], [0, 0.05], [0, 0.05], [0], [0]),
  mean_field: law([-1, 10], [1, 0.0005], [1, 0.0005], [0], [0]),
  kaiming: law([0], [-1, 5], [-1, 5], [-1], [0]),
  kaiming_plus: law([-1, 100], [1, 0.0005], [1, 0.0005], [-1], [0]),
  xavier: law([1, 0.01], [-2, 500], [-2, 500], [-1], [-1]),
  xavier_plus: law([0], [0, 0.05], [0, 0.05], [-1], [-1]),
  mup: law([0], [-1, 5], [1, 0.0005], [-2, 100], [0]),
  standard: law([0], [0, 0.05], [0, 0.05], [-1], [0]),
};

/** The value of a power law at a width. */
export function at(power: Power, width: number): number {
  return power.constant * width ** exponentValue(power.exponent);
}

/** An exponent as a number. Throws `InputError`. */
export function exponentValue(exponent: ExponentLike): number {
  return exactExponent(exponent).value();
}

/** The five exponents of a law, exactly. Throws `InputError`. */
export function lawExponents(law: ScalingLaw): readonly Fraction[] {
  for (const name of LAW_PARAMETERS) {
    const { constant } = law[name];
    const right = name === "output_scale" ? constant !== 0 : constant > 0;
    if (Number.isFinite(constant) && right) continue;
    const wanted = name === "output_scale" ? "not be 0" : "be > 0";
    throw new InputError(`the constant of \`${name}\` must ${wanted}, got ${constant}.`);
  }
  return LAW_PARAMETERS.map((name) => exactExponent(law[name].exponent));
}

interface Exponents {
  readonly signal: Fraction;
  readonly kernel: Fraction;
  readonly rate: Fraction;
  readonly output: Fraction;
}

/** b = a + (e_u + e_w)/2, k = 2a + 1 + max(e_w + s_u, e_u + s_w), r = max(b, k), and the output. */
function implied([a, eU, eW, sU, sW]: readonly Fraction[]): Exponents {
  const one = Fraction.of(1);
  const signal = a.plus(eU.plus(eW).half());
  const kernel = a.times(2).plus(one).plus(larger(eW.plus(sU), eU.plus(sW)));
  const output = a.plus(one.plus(sU).plus(sW).half());
  return { signal, kernel, rate: larger(signal, kernel), output };
}

/** The phase that exponents imply, in exact arithmetic. Throws `InputError`. */
export function lawPhase(law: ScalingLaw): LawPhase {
  const { signal, kernel, rate, output } = implied(lawExponents(law));
  const excess = signal.minus(kernel).sign;
  const feature = rate.sign === 0 && excess >= 0;
  return {
    phase: rate.sign < 0 ? "frozen" : rate.sign > 0 ? "unstable" : feature ? "feature" : "kernel",
    feature_kind: !feature ? null : excess === 0 ? "critical" : "vanishing_init",
    signal: signal.value(),
    kernel: kernel.value(),
    rate: rate.value(),
    output: output.value(),
    texts: {
      signal: signal.toString(),
      kernel: kernel.toString(),
      rate: rate.toString(),
      output: output.toString(),
    },
  };
}

/** The same family with rates shifted so that it learns in Θ(1) time. */
export function atUnitRate(law: ScalingLaw): ScalingLaw {
  const exponents = lawExponents(law);
  const { rate } = implied(exponents);
  const shifted = (power: Power, exponent: Fraction): Power => ({
    exponent: exponent.minus(rate).toString(),
    constant: power.constant,
  });
  return { ...law, lr_u: shifted(law.lr_u, exponents[1]), lr_w: shifted(law.lr_w, exponents[2]) };
}

/** The member of a family at a width, on these data. */
export function settingOfLaw(
  law: ScalingLaw,
  width: number,
  data: Pick<Setting, "mean_aa" | "mean_ay" | "mean_yy">,
): Setting {
  return {
    width,
    output_scale: at(law.output_scale, width),
    lr_u: at(law.lr_u, width),
    lr_w: at(law.lr_w, width),
    init_std_u: Math.sqrt(at(law.init_var_u, width)),
    init_std_w: Math.sqrt(at(law.init_var_w, width)),
    mean_aa: data.mean_aa,
    mean_ay: data.mean_ay,
    mean_yy: data.mean_yy,
  };
}
