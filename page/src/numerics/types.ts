/**
 * What the numerics take and give. Data are read-only records, behaviour is pure functions.
 *
 * Parameters and quantities keep the names that they have in Python (`output_scale`,
 * `ntk_change`), so that a view and its Python snippet speak of the same things; functions and
 * local names are TypeScript's.
 */

// --- words, as in lazyrich.vocabulary.regimes ---------------------------------------------

export type Phase = "frozen" | "kernel" | "feature" | "unstable";
export type FeatureKind = "critical" | "vanishing_init";
export type Regime = "frozen" | "lazy" | "intermediate" | "rich" | "unstable" | "cannot tell";
export type Mechanism = "alignment" | "disalignment" | "rescaling";
export type Condensation = "linear" | "critical" | "condensed" | "cannot tell";
/** A region of the diagram of parameters, in the order of the codes of `region`. */
export type Region =
  | "frozen"
  | "unstable"
  | "kernel"
  | "feature_critical"
  | "feature_vanishing_init";

// --- the network on a line ------------------------------------------------------------------

/** A network on one-dimensional data: `lazyrich.phases.Setting`, without its start. */
export interface Setting {
  /** d ≥ 1, up to 2^53. */
  readonly width: number;
  /** γ */
  readonly output_scale: number;
  /** η_u ≥ 0 of the second layer. */
  readonly lr_u: number;
  /** η_w ≥ 0 of the first layer. */
  readonly lr_w: number;
  /** σ_u ≥ 0 */
  readonly init_std_u: number;
  /** σ_w ≥ 0 */
  readonly init_std_w: number;
  /** E[a²] ≥ 0 */
  readonly mean_aa: number;
  /** E[a y] */
  readonly mean_ay: number;
  /** E[y²] ≥ E[ay]²/E[a²] */
  readonly mean_yy: number;
}

/**
 * How the layers begin.
 *
 * - `random`: Gaussian layers, drawn at any width from the Wishart law; the same seed, width and
 *   variances give the same draw.
 * - `typical`: the expected norms d σ², with this alignment ζ in [−1, 1]; `aligned` is 1,
 *   `anti_aligned` is −1.
 * - `given`: ‖u‖², u·w, ‖w‖² as they are; the setting's width and variances are not used.
 */
export type Start =
  | { readonly kind: "random"; readonly seed: number }
  | { readonly kind: "typical"; readonly init_alignment: number }
  | { readonly kind: "aligned" }
  | { readonly kind: "anti_aligned" }
  | { readonly kind: "given"; readonly uu: number; readonly uw: number; readonly ww: number };

/** The state on a line: the Gram matrix of u and w. */
export interface LineState {
  readonly uu: number;
  readonly uw: number;
  readonly ww: number;
  /** 1 − ζ², known better than from the three numbers. */
  readonly sine_squared: number;
}

/** A state, its network and its data: what the closed form is a function of. */
export interface LineProblem extends LineState {
  readonly output_scale: number;
  readonly lr_u: number;
  readonly lr_w: number;
  readonly mean_aa: number;
  readonly mean_ay: number;
  /** Smallest reachable loss, E[y²] − E[ay]²/E[a²]. */
  readonly noise: number;
}

/** Every quantity of a network on a line, by its name in the vocabulary. */
export const LINE_QUANTITIES = [
  "end_to_end_map",
  "loss",
  "excess_loss",
  "alignment",
  "uu",
  "uw",
  "ww",
  "balancedness",
  "ntk_trace",
  "ntk_trace_plain",
  "ntk_change",
  "nfm",
  "agop",
  "nfa",
] as const;
export type LineQuantity = (typeof LINE_QUANTITIES)[number];

/** One number for each time or step. */
export type Series = Float64Array;

/** A solution: every quantity over `at`, which are times of the flow or steps of descent. */
export type LineTrajectory = Readonly<Record<LineQuantity, Series>> & {
  readonly dynamics: "gradient flow" | "gradient descent";
  readonly at: Series;
  /** "ok", "stays at a saddle: …" or "diverged at step …". */
  readonly status: string;
  /** Step at which descent left the range of numbers; −1 if it did not, and in the flow. */
  readonly diverged_at: number;
};

export interface DescentOptions {
  /** Whole number ≥ 0. */
  readonly steps: number;
  /** Record each so many steps, and the last one. */
  readonly every?: number;
}

/** What training will do, in closed form: `lazyrich.order_parameters`. */
export interface OrderParameters {
  /** F = 4|γXf*|/Θ₀ */
  readonly order_parameter: number;
  /** ‖ΔΘ‖/‖Θ₀‖ at t = ∞ */
  readonly ntk_change: number;
  /** ζ at t = ∞ */
  readonly alignment: number;
  /** 1/D */
  readonly time_constant: number;
  /** when a tenth of the residual is gone */
  readonly plateau_time: number;
  /** when nine tenths of it are */
  readonly learning_time: number;
  readonly status: string;
}

export interface MechanismWindow {
  readonly mechanism: Mechanism;
  /** Total rise of |ζ|, fall of |ζ|, or variation of ln‖u‖‖w‖. */
  readonly change: number;
  /** Whether `change` reaches its threshold. */
  readonly acts: boolean;
  /** When a tenth of the change is done; NaN if it does not act. */
  readonly start: number;
  /** When nine tenths are done; NaN if it does not act. */
  readonly stop: number;
}

/** A trajectory decomposed: `lazyrich.mechanisms`. `log_output = log_alignment + log_rescaling`. */
export interface Decomposition {
  readonly log_output: Series;
  readonly log_alignment: Series;
  readonly log_rescaling: Series;
  /** In the order alignment, disalignment, rescaling. */
  readonly windows: readonly MechanismWindow[];
  readonly alignment_share: number;
  readonly sign_changes: number;
  readonly first_sign_change: number;
}

// --- diagrams -------------------------------------------------------------------------------

/** A parameter that an axis of the diagram may be; `lr` and `init_std` are both layers'. */
export type SettingName = keyof Setting | "init_alignment" | "lr" | "init_std";

export interface Axis<Name extends string = string> {
  readonly name: Name;
  /** Increasing, at least two. */
  readonly values: ArrayLike<number>;
}

/** One connected boundary; every point lies on it to rounding. */
export interface Curve {
  readonly name: string;
  readonly x: Series;
  readonly y: Series;
}

/** A diagram of parameters at finite width: `lazyrich.parameter_diagram`. */
export interface ParameterDiagram {
  readonly x: Axis<SettingName>;
  readonly y: Axis<SettingName>;
  /** Codes of `REGIONS`, row by row: `region[iy * nx + ix]`. */
  readonly region: Uint8Array;
  /** ‖ΔΘ‖/‖Θ₀‖ at t = ∞ (the limit of the neighbours at a saddle), in the same layout. */
  readonly ntk_change: Series;
  readonly boundaries: readonly Curve[];
}

/** A point of that diagram. */
export interface ParameterPoint extends OrderParameters {
  readonly region: Region;
  /** Those that act between t = 0 and t = ∞. */
  readonly mechanisms: readonly Mechanism[];
}

export const LAW_PARAMETERS = [
  "output_scale",
  "lr_u",
  "lr_w",
  "init_var_u",
  "init_var_w",
] as const;
export type LawParameter = (typeof LAW_PARAMETERS)[number];

/** A whole number or fraction as text ("-1/2"), or a number: read as in Python, exactly. */
export type ExponentLike = number | string;

/** `constant · d^exponent` */
export interface Power {
  readonly exponent: ExponentLike;
  readonly constant: number;
}

/** How a family scales with its width: `lazyrich.ScalingLaw`. */
export type ScalingLaw = Readonly<Record<LawParameter, Power>>;

/** Everything that the exponents of a law imply, in exact arithmetic. */
export interface LawPhase {
  readonly phase: Phase;
  readonly feature_kind: FeatureKind | null;
  /** b, k, r, o as numbers, and as texts of exact fractions. */
  readonly signal: number;
  readonly kernel: number;
  readonly rate: number;
  readonly output: number;
  readonly texts: Readonly<Record<"signal" | "kernel" | "rate" | "output", string>>;
}

export type ExponentName =
  | `${LawParameter}_exponent`
  | "lr_exponent"
  | "init_var_exponent";

/** A diagram of exponents at infinite width: `lazyrich.exponent_diagram`. */
export interface ExponentDiagram {
  readonly x: Axis<ExponentName>;
  readonly y: Axis<ExponentName>;
  readonly region: Uint8Array;
  /** b − k */
  readonly signal_excess: Series;
  /** r, before the rates are shifted */
  readonly rate_exponent: Series;
  readonly boundaries: readonly Curve[];
}

// --- λ-balanced networks --------------------------------------------------------------------

/** Row by row. */
export type Matrix = readonly (readonly number[])[];

export interface BalancedStart {
  /** k × h */
  readonly u: Matrix;
  /** h × m */
  readonly w: Matrix;
}

export interface BalancedDraw {
  readonly outputs: number;
  readonly inputs: number;
  /** At most k where λ > 0, at most m where λ < 0. */
  readonly width: number;
  /** λ */
  readonly init_relative_scale: number;
  readonly init_std: number;
  readonly seed: number;
}

export interface BalancedProblem extends BalancedStart {
  readonly output_scale: number;
  readonly lr_u: number;
  readonly lr_w: number;
  /** The best map B, k × m; the inputs are whitened, E[x xᵀ] = I, and the data without noise. */
  readonly target: Matrix;
}

export interface BalancedSolution {
  readonly at: Series;
  readonly loss: Series;
  readonly alignment: Series;
  readonly ntk_trace: Series;
  readonly ntk_change: Series;
  readonly kernel_distance: Series;
  /** Singular values of the end-to-end map, falling: `singular_values[i]` over time. */
  readonly singular_values: readonly Series[];
  /** The map itself at each time. */
  readonly end_to_end_map: readonly Matrix[];
  readonly relative_scale: number;
  readonly relative_scale_residual: number;
  readonly regime: Regime;
  /** Lazy at first, then rich. */
  readonly delayed: boolean;
  readonly status: string;
}

/** `lazyrich.theory.balanced_linear.balanced_regime` */
export interface BalancedRegime {
  readonly regime: Regime;
  readonly delayed: boolean;
  /** χ = |λ|/2σ₁ */
  readonly laziness: number;
  readonly aligned_ntk_change: number;
}

// --- wide two-layer ReLU networks -----------------------------------------------------------

/** `lazyrich.theory.two_layer_relu.ReluScaling` */
export interface ReluPhase {
  readonly condensation: Condensation;
  readonly phase: Phase | "cannot tell";
  /** S of RD ∝ m^S; NaN where nothing is established. */
  readonly weight_movement_exponent: number;
  /** γ − 1 − max(γ′, 0) */
  readonly condensation_excess: number;
  readonly status: string;
}

// --- a measured network ---------------------------------------------------------------------

/** A history that `probe.save` wrote, read and checked. NaN where something was not measured. */
export interface History {
  readonly step: Series;
  readonly layers: readonly string[];
  /** Quantities of the network, over steps. */
  readonly network: Readonly<Record<string, Series>>;
  /** Quantities of layers: `layer[name][i]` over steps, i as in `layers`. */
  readonly layer: Readonly<Record<string, readonly Series[]>>;
  /** What the probe wrote about how it measured. */
  readonly setting: Readonly<Record<string, unknown>>;
  readonly title: string;
}

/** The thresholds of `lazyrich.Thresholds` that place a network. */
export interface Thresholds {
  readonly lazy_below: number;
  readonly rich_from: number;
  readonly frozen_below: number;
  readonly unstable_above: number;
  readonly alignment: number;
  readonly rescaling: number;
}

/**
 * Where a measured network is on the map.
 *
 * A network of one width has no exponents, and in general no γ, σ and moments of a line. What it
 * shares with every point of the diagram of parameters is the relative change of its kernel, by
 * which regions are named there. So it is placed by that: on the level curve `ntk_change`, with the
 * interval that was measured; `order_parameter` is the F of a network on a line that starts at
 * output zero and has this change. Its layers are placed by their mechanisms.
 */
export interface Placement {
  readonly step: number;
  readonly ntk_change: number;
  readonly ntk_change_low: number;
  readonly ntk_change_high: number;
  /** F = 2√((1 + ‖ΔΘ‖/‖Θ₀‖)² − 1) */
  readonly order_parameter: number;
  /** The region of the diagram with this change, or null where it was not measured. */
  readonly region: Region | null;
  readonly regime: Regime;
  readonly sentence: string;
  readonly layers: readonly LayerPlacement[];
}

export interface LayerPlacement {
  readonly name: string;
  /** Δ ln A and Δ ln‖W‖, over steps. */
  readonly log_alignment: Series;
  readonly log_rescaling: Series;
  /** |Δ ln A|/(|Δ ln A| + |Δ ln‖W‖|), over steps. */
  readonly alignment_share: Series;
  /** Those that acted. */
  readonly windows: readonly MechanismWindow[];
}

// --- copy as Python -------------------------------------------------------------------------

/** An end of an axis to the other; logarithmic if both are above zero. */
export interface Range<Name extends string = string> {
  readonly name: Name;
  readonly low: number;
  readonly high: number;
  readonly count: number;
}

/** A view of the page, complete: what its curves are a function of. */
export type View =
  | {
      readonly kind: "flow";
      readonly setting: Setting;
      readonly start: Start;
      readonly times: readonly number[];
    }
  | {
      readonly kind: "descent";
      readonly setting: Setting;
      readonly start: Start;
      readonly descent: DescentOptions;
    }
  | {
      readonly kind: "parameter_diagram";
      readonly setting: Setting;
      readonly init_alignment: number;
      readonly x: Range<SettingName>;
      readonly y: Range<SettingName>;
    }
  | { readonly kind: "law"; readonly law: ScalingLaw }
  | {
      readonly kind: "exponent_diagram";
      readonly x: Range<ExponentName>;
      readonly y: Range<ExponentName>;
      readonly fixed: Readonly<Partial<Record<ExponentName, ExponentLike>>>;
      readonly tune_rates: boolean;
    }
  | {
      readonly kind: "balanced";
      readonly problem: BalancedProblem;
      readonly times: readonly number[];
    }
  | {
      readonly kind: "relu";
      readonly gamma: ExponentLike;
      readonly gamma_prime: ExponentLike;
      readonly zero_output: boolean;
    }
  | { readonly kind: "history"; readonly file: string };

/** An input that no network or data have: what was expected, what came, what to do. */
export class InputError extends Error {
  override readonly name = "InputError";
}
