/** "Copy as Python": a snippet that reproduces a view. It runs as it is and ends with `result`. */
import { isLogarithmic } from "./axis.ts";
import { PRESETS } from "./scaling.ts";
import { lineState } from "./setting.ts";
import {
  LAW_PARAMETERS,
  type ExponentLike,
  type Matrix,
  type Power,
  type Range,
  type ScalingLaw,
  type Setting,
  type Start,
  type View,
} from "./types.ts";

const SPACED = 1e-9; // relative: how far times may be from a spacing that they are said to have
const LINE = "from lazyrich.theory.two_layer_linear import LineData, LineState, LinearNetwork";

/** A snippet that reproduces a view. Throws `InputError` where the view is of nothing. */
export function asPython(view: View): string {
  return `${lines(view).join("\n")}\n`;
}

type Of<Kind extends View["kind"]> = Extract<View, { readonly kind: Kind }>;

function lines(view: View): readonly string[] {
  switch (view.kind) {
    case "flow":
      return flowLines(view);
    case "descent":
      return descentLines(view);
    case "parameter_diagram":
      return parameterDiagramLines(view);
    case "law":
      return lawLines(view.law);
    case "exponent_diagram":
      return exponentDiagramLines(view);
    case "balanced":
      return balancedLines(view);
    case "relu":
      return reluLines(view);
    case "history":
      return [
        "from lazyrich.probe import judge, load_history",
        "",
        `history = load_history(${text(view.file)})`,
        "result = judge(history)",
        "print(result)",
      ];
  }
}

function flowLines({ setting, start, times }: Of<"flow">): readonly string[] {
  const isPath = times.length > 1; // a single time shows no mechanism
  return [
    "import numpy as np",
    ...(isPath ? ["from lazyrich import mechanisms"] : []),
    `${LINE}, flow`,
    "",
    ...problemLines(setting, start),
    `times = ${timesAsPython(times)}`,
    "result = flow(state, network, data, times)",
    isPath ? "print(mechanisms(result))" : "print(result)",
  ];
}

function descentLines({ setting, start, descent }: Of<"descent">): readonly string[] {
  const { steps, every = 1 } = descent;
  return [
    `${LINE}, descent`,
    "",
    ...problemLines(setting, start),
    `result = descent(state, network, data, steps=${steps}, every=${every})`,
    "print(result)",
  ];
}

/** `state`, `network` and `data`. */
function problemLines(setting: Setting, start: Start): readonly string[] {
  const state = lineState(setting, start);
  const { uu, uw, ww, sine_squared } = state;
  const known = start.kind === "given" ? {} : { sine_squared };
  return [
    ...startComment(setting, start),
    call("state", "LineState", { uu, uw, ww, ...known }),
    call("network", "LinearNetwork", pick(setting, ["output_scale", "lr_u", "lr_w"])),
    call("data", "LineData", pick(setting, ["mean_aa", "mean_ay", "mean_yy"])),
  ];
}

function startComment(setting: Setting, start: Start): readonly string[] {
  const { width, init_std_u, init_std_w } = pick(setting, ["width", "init_std_u", "init_std_w"]);
  const layers = `width ${width}, init_std_u = ${init_std_u}, init_std_w = ${init_std_w}`;
  switch (start.kind) {
    case "random":
      return [
        `# One draw of Gaussian layers: ${layers}.`,
        "# LineState.sample(width, init_std_u=…, init_std_w=…, seed=…) draws others.",
      ];
    case "typical":
      return [`# Layers of the expected norms, alignment ${start.init_alignment}: ${layers}.`];
    case "aligned":
    case "anti_aligned":
      return [`# Layers of the expected norms, ${start.kind.replace("_", "-")}: ${layers}.`];
    case "given":
      return [];
  }
}

function parameterDiagramLines(view: Of<"parameter_diagram">): readonly string[] {
  const { x, y, setting, init_alignment } = view;
  const axes = [x.name, y.name].flatMap((name) =>
    name === "lr" || name === "init_std" ? [`${name}_u`, `${name}_w`] : [name],
  );
  const all = { ...setting, init_alignment };
  const fixed = Object.entries(all).filter(([name]) => !axes.includes(name));
  return [
    "import numpy as np",
    "from lazyrich import parameter_diagram",
    "",
    "diagram = parameter_diagram(",
    `    (${text(x.name)}, ${spaced(x)}),`,
    `    (${text(y.name)}, ${spaced(y)}),`,
    ...fixed.map(([name, value]) => `    ${name}=${number(value)},`),
    ")",
    "result = diagram.values",
    "print(result)",
  ];
}

function lawLines(law: ScalingLaw): readonly string[] {
  const preset = Object.entries(PRESETS).find(([, known]) => isSame(known, law));
  const made = preset
    ? ["from lazyrich import PRESETS", "", `law = PRESETS[${text(preset[0])}]`]
    : [
        "from lazyrich import Power, ScalingLaw",
        "",
        "law = ScalingLaw(",
        ...LAW_PARAMETERS.map((name) => `    ${name}=${powerAsPython(law[name])},`),
        ")",
      ];
  return [...made, "result = law.phase", "print(result, law.feature_kind, law.exponents)"];
}

function isSame(known: ScalingLaw, law: ScalingLaw): boolean {
  return LAW_PARAMETERS.every(
    (name) =>
      String(known[name].exponent) === String(law[name].exponent) &&
      known[name].constant === law[name].constant,
  );
}

function powerAsPython({ exponent, constant }: Power): string {
  const factor = constant === 1 ? "" : `, ${number(constant)}`;
  return `Power(${exponentAsPython(exponent)}${factor})`;
}

function exponentDiagramLines({ x, y, fixed, tune_rates }: Of<"exponent_diagram">): readonly string[] {
  return [
    "import numpy as np",
    "from lazyrich import exponent_diagram",
    "",
    "diagram = exponent_diagram(",
    `    (${text(x.name)}, ${spaced(x)}),`,
    `    (${text(y.name)}, ${spaced(y)}),`,
    ...Object.entries(fixed).map(([name, value]) => `    ${name}=${exponentAsPython(value)},`),
    `    tune_rates=${tune_rates ? "True" : "False"},`,
    ")",
    "result = diagram.values",
    "print(result)",
  ];
}

function balancedLines({ problem, times }: Of<"balanced">): readonly string[] {
  const { output_scale, lr_u, lr_w } = problem;
  return [
    "import numpy as np",
    "from lazyrich.theory.balanced_linear import balanced_flow",
    "from lazyrich.theory.two_layer_linear import GramState, LinearNetwork, MomentData",
    "",
    `u = np.array(${matrix(problem.u)})`,
    `w = np.array(${matrix(problem.w)})`,
    `target = np.array(${matrix(problem.target)})`,
    "state = GramState.from_weights(u, w)",
    call("network", "LinearNetwork", { output_scale, lr_u, lr_w }),
    "data = MomentData(",
    "    sigma_xx=np.eye(target.shape[1]), sigma_yx=target, mean_yy=float((target**2).sum())",
    ")",
    `times = ${timesAsPython(times)}`,
    "result = balanced_flow(state, network, data, times)",
    "print(result)",
  ];
}

function reluLines({ gamma, gamma_prime, zero_output }: Of<"relu">): readonly string[] {
  const zero = zero_output ? ", zero_output=True" : "";
  const given = `${exponentAsPython(gamma)}, ${exponentAsPython(gamma_prime)}${zero}`;
  return [
    "from lazyrich.theory.two_layer_relu import relu_phases",
    "",
    `result = relu_phases(${given})`,
    "print(result)",
  ];
}

function pick<T, K extends keyof T>(from: T, names: readonly K[]): Pick<T, K> {
  return Object.fromEntries(names.map((name) => [name, from[name]])) as Pick<T, K>;
}

function call(name: string, of: string, given: Readonly<Record<string, number>>): string {
  const parts = Object.entries(given).map(([key, value]) => `${key}=${number(value)}`);
  const line = `${name} = ${of}(${parts.join(", ")})`;
  return line.length <= 100 ? line : `${name} = ${of}(\n    ${parts.join(",\n    ")},\n)`;
}

/** A float as Python writes it. */
function number(value: number): string {
  if (Number.isNaN(value)) return 'float("nan")';
  if (!Number.isFinite(value)) return `float("${value < 0 ? "-inf" : "inf"}")`;
  return Object.is(value, -0) ? "-0.0" : String(value);
}

function text(value: string): string {
  return JSON.stringify(value);
}

function exponentAsPython(value: ExponentLike): string {
  return typeof value === "number" ? number(value) : text(value);
}

function matrix(rows: Matrix): string {
  const written = rows.map((row) => `[${row.map(number).join(", ")}]`);
  return `[${written.join(", ")}]`;
}

function spaced(range: Range): string {
  const by = isLogarithmic(range) ? "geomspace" : "linspace";
  return `np.${by}(${number(range.low)}, ${number(range.high)}, ${range.count})`;
}

/** Times by their spacing, if they have one. */
function timesAsPython(times: readonly number[]): string {
  const inner = times[0] === 0 && times.length > 3 ? times.slice(1) : times;
  const [low, high, count] = [inner[0], inner[inner.length - 1], inner.length];
  const follows = (value: (share: number) => number): boolean =>
    inner.length > 2 &&
    inner.every((time, i) => Math.abs(time - value(i / (count - 1))) <= SPACED * Math.abs(time));
  const ends = `${number(low)}, ${number(high)}, ${count}`;
  const begun = (rest: string): string =>
    inner === times ? rest : `np.append(0.0, ${rest})`;
  if (low > 0 && follows((share) => low * (high / low) ** share)) return begun(`np.geomspace(${ends})`);
  if (follows((share) => low + share * (high - low))) return begun(`np.linspace(${ends})`);
  return `[${times.map(number).join(", ")}]`;
}
