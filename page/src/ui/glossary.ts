/** What every symbol on the page means. The page shows it on hover and on focus. */

export interface Term {
  readonly symbol: string;
  readonly name: string;
  readonly text: string;
}

export const GLOSSARY = {
  width: {
    symbol: "d",
    name: "width",
    text: "Number of neurons in the hidden layer. Only three numbers of the start are needed, so that a trillion neurons cost what ten do.",
  },
  output_scale: {
    symbol: "γ",
    name: "output scale",
    text: "The factor on the network’s output, f(x) = γ u·Wx. A large one makes training lazy: the output can change while the weights hardly move.",
  },
  lr_u: {
    symbol: "η_u",
    name: "learning rate of the second layer",
    text: "How fast u moves along its gradient. At zero the layer is frozen.",
  },
  lr_w: {
    symbol: "η_w",
    name: "learning rate of the first layer",
    text: "How fast W moves along its gradient. At zero the layer is frozen.",
  },
  init_var_u: {
    symbol: "σ_u²",
    name: "initial variance of the second layer",
    text: "Variance of the entries of u at the start. The squared norm ‖u‖² is about d σ_u².",
  },
  init_var_w: {
    symbol: "σ_w²",
    name: "initial variance of the first layer",
    text: "Variance of the entries of w at the start. The squared norm ‖w‖² is about d σ_w².",
  },
  exponent: {
    symbol: "d^…",
    name: "exponent of the width",
    text: "The power of the width that this parameter follows when you move the width. The five exponents decide the phase of wide networks.",
  },
  mean_aa: {
    symbol: "E[a²]",
    name: "mean square of the inputs",
    text: "Inputs lie on a line, x = a n. A larger E[a²] makes every rate larger and the best output smaller.",
  },
  mean_ay: {
    symbol: "E[ay]",
    name: "mean product of inputs and targets",
    text: "What there is to learn. The best output is f* = E[ay]/E[a²].",
  },
  mean_yy: {
    symbol: "E[y²]",
    name: "mean square of the targets",
    text: "Sets the loss that no linear network can get below: E[y²] − E[ay]²/E[a²].",
  },
  start: {
    symbol: "u₀, w₀",
    name: "start",
    text: "Random: both layers Gaussian. Orthogonal: lengths as expected, at right angles. Aligned: w points along u. Anti-aligned: w points against u.",
  },
  seed: {
    symbol: "seed",
    name: "seed of the draw",
    text: "Names the random draw, so that a shared address shows the same network.",
  },
  step_size: {
    symbol: "s",
    name: "step size of gradient descent",
    text: "Descent makes steps s η_u and s η_w, so that step n stands at time n s. Small steps follow the flow; large ones catapult, or diverge.",
  },
  output: {
    symbol: "f",
    name: "output",
    text: "The number that multiplies the input, f = γ u·w. It ends at f* = E[ay]/E[a²], unless the network is stuck.",
  },
  target: {
    symbol: "f*",
    name: "best output",
    text: "The least-squares solution, f* = E[ay]/E[a²].",
  },
  loss: {
    symbol: "L",
    name: "loss",
    text: "The mean squared error E(f a − y)². The curve is what is above the lowest possible loss.",
  },
  zeta: {
    symbol: "ζ",
    name: "alignment",
    text: "The cosine between the layers, u·w/(‖u‖‖w‖): 0 at right angles, ±1 when parallel.",
  },
  norm_u: {
    symbol: "‖u‖",
    name: "norm of the second layer",
    text: "Length of the vector u.",
  },
  norm_w: {
    symbol: "‖w‖",
    name: "norm of the first layer",
    text: "Length of the vector w = Wn, the first layer seen along the data.",
  },
  ntk: {
    symbol: "Θ",
    name: "neural tangent kernel",
    text: "Θ = γ²(η_w‖u‖² + η_u‖w‖²), learning rates inside: how fast the output follows its error. It stands still in lazy training and changes in rich training.",
  },
  ntk_change: {
    symbol: "ΔΘ/Θ₀",
    name: "relative change of the kernel",
    text: "Below 0.1 training is lazy, from 1 on it is rich, and in between it is intermediate.",
  },
  decomposition: {
    symbol: "Δln|f|",
    name: "what the output’s change is made of",
    text: "f = γ‖u‖‖w‖ζ, so that Δln|f| is exactly the sum of Δln|ζ| (alignment) and Δln(‖u‖‖w‖) (rescaling).",
  },
  alignment: {
    symbol: "Δln|ζ|",
    name: "alignment and disalignment",
    text: "The layers align where |ζ| rises and disalign where it falls. It acts if |ζ| moves by 0.1 or more in total.",
  },
  rescaling: {
    symbol: "Δln‖u‖‖w‖",
    name: "rescaling",
    text: "The layers rescale where ‖u‖‖w‖ changes. It acts if the logarithm moves by 0.1 or more in total.",
  },
  window: {
    symbol: "window",
    name: "window of a mechanism",
    text: "From when a tenth of its change is done until nine tenths are.",
  },
  order_parameter: {
    symbol: "F",
    name: "order parameter",
    text: "The distance to learn in units of what the first kernel has, F = 4|γ√(η_uη_w) f*|/Θ₀. Small: lazy. Large: rich.",
  },
  time: {
    symbol: "t",
    name: "time",
    text: "Time of gradient flow. With step size s, descent makes its step n at t = n s.",
  },
  step: {
    symbol: "n",
    name: "step of the optimiser",
    text: "The last measurement whose numbers are finite.",
  },
  flow: {
    symbol: "flow",
    name: "gradient flow",
    text: "Training with infinitely small steps: the exact solution in closed form.",
  },
  descent: {
    symbol: "descent",
    name: "gradient descent",
    text: "Training with steps of finite size, followed exactly step by step.",
  },
  sharpness: {
    symbol: "z",
    name: "sharpness times step size",
    text: "z = 2 s E[a²] Θ. Up to 2 small errors shrink; beyond it they grow, and the run catapults to a flatter place or diverges.",
  },
  signal: {
    symbol: "b",
    name: "exponent of the signal",
    text: "b = a + (e_u + e_w)/2, the power of the width that the rate of learning what the data ask for follows.",
  },
  kernel_exponent: {
    symbol: "k",
    name: "exponent of the kernel",
    text: "k = 2a + 1 + max(e_w + s_u, e_u + s_w), the power of the width that the initial kernel follows.",
  },
  rate_exponent: {
    symbol: "r",
    name: "exponent of the rate",
    text: "r = max(b, k). Wide networks are frozen if r < 0 and unstable if r > 0. At r = 0 they are in the kernel phase if b < k and learn features if b ≥ k.",
  },
  output_exponent: {
    symbol: "o",
    name: "exponent of the initial output",
    text: "o = a + 1/2 + (s_u + s_w)/2, the power of the width that the initial output follows.",
  },
  phase: {
    symbol: "phase",
    name: "phase",
    text: "What becomes of a family of networks as the width grows: frozen, kernel, feature or unstable.",
  },
  regime: {
    symbol: "regime",
    name: "regime",
    text: "How this one network learns: lazy (its kernel changes by less than 0.1), rich (by 1 or more), or intermediate.",
  },
  lambda: {
    symbol: "λ",
    name: "relative scale of the layers",
    text: "UᵀU − WWᵀ = λI, conserved by gradient flow. Positive: the second layer is larger. Zero: both are alike.",
  },
  sigma: {
    symbol: "σ",
    name: "singular values of the best map",
    text: "The sizes of what there is to learn, in order.",
  },
  inputs: { symbol: "m", name: "inputs", text: "Number of inputs of the network." },
  outputs: { symbol: "k", name: "outputs", text: "Number of outputs of the network." },
  hidden: { symbol: "h", name: "width", text: "Number of hidden neurons." },
  laziness: {
    symbol: "χ",
    name: "laziness",
    text: "χ = |λ|/2σ₁, the imbalance next to the target: lazy above 2.18, rich below 0.58.",
  },
  init_map: {
    symbol: "‖UW‖",
    name: "size of the map at the start",
    text: "How large the singular values of the network’s map are before training, next to the target’s largest.",
  },
  kernel_distance: {
    symbol: "1 − cos(Θ₀, Θ)",
    name: "rotation of the kernel",
    text: "How far the tangent kernel has turned since the start: zero if it only grew.",
  },
  gamma: {
    symbol: "γ",
    name: "decay of the initial scale",
    text: "κ = β₁β₂/α ∝ m^−γ: the initial weights and the factor 1/α, together, over the width m. (Not the output scale.)",
  },
  gamma_prime: {
    symbol: "γ′",
    name: "decay of the layers’ ratio",
    text: "κ′ = β₁/β₂ ∝ m^−γ′: the size of the second layer over that of the first.",
  },
  movement: {
    symbol: "S",
    name: "exponent of the movement",
    text: "How far the first layer moves, relative to its start, grows like m^S. Negative: linear. Zero: critical. Positive: condensed.",
  },
  excess: {
    symbol: "γ − 1 − γ′₊",
    name: "distance from the critical line",
    text: "γ − 1 − max(γ′, 0). Its sign names the regime: negative is linear, zero critical, positive condensed.",
  },
  zero_output: {
    symbol: "f₀ = 0",
    name: "zero output at the start",
    text: "By pairs of neurons that cancel, or by subtracting the initial output. Without it nothing is established for γ < 1/2.",
  },
} as const satisfies Record<string, Term>;

export type TermName = keyof typeof GLOSSARY;
