"""The vocabulary: one name, one symbol, one range and one source for every quantity.

Theory, simulation and measurement all return `xarray.Dataset`s whose variables carry these names
and attributes, so that comparing two roads to the same quantity is a subtraction.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

XU2025 = "Xu & Ziyin, Three Mechanisms of Feature Learning in a Linear Network, arXiv:2401.07085"
BEAGLEHOLE2024 = (
    "Beaglehole, Mitliagkas & Agarwala, Feature learning as alignment, arXiv:2402.05271"
)
YANG2022 = "Yang et al., Tensor Programs V: Tuning Large Neural Networks, arXiv:2203.03466"
FORT2020 = "Fort et al., Deep learning versus kernel learning, arXiv:2010.15110"
BARATIN2021 = (
    "Baratin et al., Implicit regularization via neural feature alignment, arXiv:2008.00938"
)
CHIZAT2023 = "Chizat & Netrapalli, The feature speed formula, arXiv:2311.18718"
DERIVED = "derived in the lazyrich documentation"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A measurable quantity and what it means.

    Attributes:
        name: the variable's name in every Dataset.
        symbol: how papers write it.
        meaning: one sentence, used as `long_name`.
        units: `1` for pure numbers, otherwise in terms of the data's own units.
        low: the smallest possible value.
        high: the largest possible value.
        source: where the definition comes from.
    """

    name: str
    symbol: str
    meaning: str
    units: str = "1"
    low: float | int = -inf
    high: float | int = inf
    source: str = XU2025

    @property
    def attrs(self) -> dict[str, str]:
        """The CF-style attributes of a variable that holds this quantity."""
        return {
            "long_name": self.meaning,
            "units": self.units,
            "references": self.source,
            "symbol": self.symbol,
        }


_ALL = (
    Quantity(name="output", symbol="f", meaning="network output per unit input", units="y/x"),
    Quantity(name="loss", symbol="L", meaning="mean squared error", units="y^2", low=0.0),
    Quantity(
        name="excess_loss",
        symbol="L - L*",
        meaning="loss above its minimum over all linear maps",
        units="y^2",
        low=0.0,
    ),
    Quantity(
        name="alignment",
        symbol="ζ",
        meaning="alignment of the two layers, ‖UW‖/(‖U‖‖W‖); signed if both are vectors",
        low=-1.0,
        high=1.0,
    ),
    Quantity(name="uu", symbol="‖u‖²", meaning="squared norm of the second layer", low=0.0),
    Quantity(name="uw", symbol="u·w", meaning="product of the two layers"),
    Quantity(name="ww", symbol="‖w‖²", meaning="squared norm of the first layer", low=0.0),
    Quantity(
        name="balancedness",
        symbol="η_w‖u‖² − η_u‖w‖²",
        meaning="difference of the squared layer norms, conserved by gradient flow",
    ),
    Quantity(
        name="ntk",
        symbol="Θ",
        meaning="neural tangent kernel per squared unit input, learning rates inside",
        units="1/time",
        low=0.0,
    ),
    Quantity(
        name="ntk_plain",
        symbol="Θ/η",
        meaning="neural tangent kernel per squared unit input, without learning rates",
        low=0.0,
    ),
    Quantity(
        name="ntk_change",
        symbol="‖ΔΘ‖/‖Θ₀‖",
        meaning="relative change of the kernel since the start",
        low=0.0,
    ),
    Quantity(
        name="nfm", symbol="WᵀW", meaning="neural feature matrix of layer 1", source=BEAGLEHOLE2024
    ),
    Quantity(
        name="agop",
        symbol="E ∇f∇fᵀ",
        meaning="average gradient outer product of the network",
        source=BEAGLEHOLE2024,
    ),
    Quantity(
        name="nfa",
        symbol="ρ(WᵀW, AGOP)",
        meaning="cosine between neural feature matrix and average gradient outer product",
        low=-1.0,
        high=1.0,
        source=BEAGLEHOLE2024,
    ),
    Quantity(
        name="cnfa",
        symbol="ρ(W̄ᵀW̄, W̄ᵀKW̄)",
        meaning="the same for the weights' change since the start, W̄ = W − W₀",
        low=-1.0,
        high=1.0,
        source=BEAGLEHOLE2024,
    ),
    Quantity(
        name="null",
        symbol="ρ(WᵀW, WᵀQKQᵀW)",
        meaning="value of nfa if the gradients had no preferred directions, Q random orthogonal",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="cnfa_null",
        symbol="ρ(W̄ᵀW̄, W̄ᵀQKQᵀW̄)",
        meaning="value of cnfa if the gradients had no preferred directions, Q random orthogonal",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="double_cnfa",
        symbol="ρ(W̄ᵀW̄, W̄ᵀ(K − K₀)W̄)",
        meaning="cnfa with the change of the gradients' covariance since the start",
        low=-1.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="centred_share",
        symbol="tr(F̄Ḡ)/tr(FG)",
        meaning="inner product of both sides of cnfa, in units of that of nfa",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="stderr",
        symbol="σ(nfa)",
        meaning="standard error of nfa over samples and probes",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="kernel_distance",
        symbol="1 − cos(Θ₀, Θ)",
        meaning="rotation of the neural tangent kernel since the start",
        low=0.0,
        high=2.0,
        source=FORT2020,
    ),
    Quantity(
        name="effective_rank",
        symbol="exp H(λ)",
        meaning="exponential of the entropy of the neural tangent kernel's spectrum",
        low=1.0,
        source="Roy & Vetterli, The effective rank, EUSIPCO 2007",
    ),
    Quantity(
        name="target_alignment",
        symbol="yᵀΘy/(‖Θ‖‖y‖²)",
        meaning="alignment of the neural tangent kernel with the targets",
        low=0.0,
        high=1.0,
        source=BARATIN2021,
    ),
    Quantity(
        name="linearisation_error",
        symbol="‖f − f_lin‖/‖f − f₀‖",
        meaning="share of the output's change that the linearised network misses",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="layer_alignment",
        symbol="A = ‖z‖/(‖W‖‖h‖)",
        meaning="alignment of a layer's weight with its inputs",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="alignment_share",
        symbol="Δln A",
        meaning="share of a layer's alignment in the change of ln ‖f‖",
        source=DERIVED,
    ),
    Quantity(
        name="rescaling_share",
        symbol="Δln‖W‖",
        meaning="share of a layer's weight norm in the change of ln ‖f‖",
        source=DERIVED,
    ),
    Quantity(
        name="gain_share",
        symbol="Δln(‖h₊‖/‖z‖)",
        meaning="share of what follows a layer, up to the next, in the change of ln ‖f‖",
        source=DERIVED,
    ),
    Quantity(
        name="inter_layer_alignment",
        symbol="ζ",
        meaning="alignment of a layer's weight with that of the next one, ‖W₂W₁‖/(‖W₂‖‖W₁‖)",
        low=0.0,
        high=1.0,
    ),
    Quantity(
        name="imbalance",
        symbol="‖η₁W₂ᵀW₂ − η₂W₁W₁ᵀ‖",
        meaning="distance of two neighbouring layers from balance",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="weight_movement",
        symbol="‖W − W₀‖/‖W₀‖",
        meaning="relative displacement of a layer's weight",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="stable_rank",
        symbol="‖W‖_F²/‖W‖²",
        meaning="stable rank of a layer's weight",
        low=1.0,
        source="Rudelson & Vershynin, arXiv:math/0503442",
    ),
    Quantity(
        name="cka",
        symbol="CKA(h₀, h)",
        meaning="similarity of a layer's features with those at the start",
        low=0.0,
        high=1.0,
        source="Kornblith et al., Similarity of neural network representations, arXiv:1905.00414",
    ),
    Quantity(
        name="condensation",
        symbol="E|cos(w_i, w_j)|",
        meaning="mean absolute cosine between the input weights of a layer's neurons",
        low=0.0,
        high=1.0,
        source="Luo et al., Phase diagram for two-layer ReLU networks, arXiv:2007.07497",
    ),
    Quantity(
        name="feature_speed",
        symbol="‖ḣ‖/‖h‖",
        meaning="relative speed of a layer's features",
        units="1/time",
        low=0.0,
        source=CHIZAT2023,
    ),
    Quantity(
        name="backward_feature_cosine",
        symbol="cos θ",
        meaning="cosine of the angle between a layer's descent direction and its features' motion",
        low=-1.0,
        high=1.0,
        source=CHIZAT2023,
    ),
    Quantity(
        name="ntk_change_low",
        symbol="‖ΔΘ‖/‖Θ₀‖",
        meaning="lower end of the 95 % bootstrap interval of ntk_change over samples",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="ntk_change_high",
        symbol="‖ΔΘ‖/‖Θ₀‖",
        meaning="upper end of the 95 % bootstrap interval of ntk_change over samples",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="kernel_distance_low",
        symbol="1 − cos(Θ₀, Θ)",
        meaning="lower end of the 95 % bootstrap interval of kernel_distance over samples",
        low=0.0,
        high=2.0,
        source=DERIVED,
    ),
    Quantity(
        name="kernel_distance_high",
        symbol="1 − cos(Θ₀, Θ)",
        meaning="upper end of the 95 % bootstrap interval of kernel_distance over samples",
        low=0.0,
        high=2.0,
        source=DERIVED,
    ),
    Quantity(
        name="ntk_trace_ratio",
        symbol="tr Θ/tr Θ₀",
        meaning="trace of the neural tangent kernel in terms of that at the start",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="layer_ntk_share",
        symbol="‖Θ_l,0‖/‖Θ₀‖",
        meaning="size of one layer's part of the kernel at the start, in units of the whole",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="ntk_velocity",
        symbol="‖Θ_t − Θ_s‖/((t − s)‖Θ_s‖)",
        meaning="relative change of the kernel per step since the measurement before",
        units="1/step",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="layer_ntk_change",
        symbol="‖ΔΘ_l‖/‖Θ_l,0‖",
        meaning="relative change of one layer's part of the kernel since the start",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="layer_ntk_change_low",
        symbol="‖ΔΘ_l‖/‖Θ_l,0‖",
        meaning="lower end of the 95 % bootstrap interval of layer_ntk_change over samples",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="layer_ntk_change_high",
        symbol="‖ΔΘ_l‖/‖Θ_l,0‖",
        meaning="upper end of the 95 % bootstrap interval of layer_ntk_change over samples",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="output_change",
        symbol="‖Δf‖/‖way‖",
        meaning="change of the output since the start, in units of the way that the loss asks for",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="log_output",
        symbol="Δln‖f‖",
        meaning="change of the logarithm of the output's norm since the start",
        source=DERIVED,
    ),
    Quantity(
        name="input_share",
        symbol="Δln‖h₁‖",
        meaning="share of what comes before the first layer in the change of ln ‖f‖",
        source=DERIVED,
    ),
    Quantity(
        name="order_parameter",
        symbol="F",
        meaning="distance to travel in units of what the initial kernel has",
        source=DERIVED,
    ),
    Quantity(
        name="time_constant",
        symbol="τ = 1/D",
        meaning="time constant of the exact solution",
        units="time",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="plateau_time",
        symbol="t₁₀",
        meaning="time at which the residual has lost 10 % of its initial value",
        units="time",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="learning_time",
        symbol="t₉₀",
        meaning="time at which the residual has lost 90 % of its initial value",
        units="time",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="richness",
        symbol="ρ",
        meaning="relative displacement of the tangent features that fitting will ask for",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="time_to_fit",
        symbol="τ",
        meaning="time to fit along the first step, by a quadratic model of the loss",
        units="steps",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="predicted_ntk_change",
        symbol="‖Θ(θ₀ + τv) − Θ₀‖/‖Θ₀‖",
        meaning="relative change of the kernel after one virtual step to the fitted point",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="activation_size",
        symbol="rms(z)",
        meaning="root mean square of a layer's outputs before training",
        low=0.0,
        source=YANG2022,
    ),
    Quantity(
        name="feature_update",
        symbol="rms(Δz)",
        meaning="root mean square change of a layer's outputs since the start",
        low=0.0,
        source=YANG2022,
    ),
    Quantity(
        name="loss_ratio",
        symbol="L/L₀",
        meaning="loss in terms of its initial value",
        source=DERIVED,
    ),
    Quantity(
        name="output_size",
        symbol="rms(f)",
        meaning="root mean square of the network's output before training",
        units="y",
        low=0.0,
        source=YANG2022,
    ),
    Quantity(
        name="progress",
        symbol="‖Δf‖/‖τḟ‖",
        meaning="largest change of the output since the start, in units of the way it has to go",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="test_loss",
        symbol="L_test",
        meaning="loss of the test samples",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="train_accuracy",
        symbol="acc",
        meaning="share of training samples in the right class",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="test_accuracy",
        symbol="acc_test",
        meaning="share of test samples in the right class",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="learning_rate",
        symbol="η",
        meaning="base learning rate, which the factors of all parameters multiply",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(name="output_scale", symbol="γ", meaning="factor on the network's output"),
    Quantity(name="lr_u", symbol="η_u", meaning="learning rate of the second layer", low=0.0),
    Quantity(name="lr_w", symbol="η_w", meaning="learning rate of the first layer", low=0.0),
    Quantity(name="mean_aa", symbol="E[a²]", meaning="mean square of the inputs", low=0.0),
    Quantity(name="mean_ay", symbol="E[ay]", meaning="mean product of inputs and targets"),
    Quantity(name="mean_yy", symbol="E[y²]", meaning="mean square of the targets", low=0.0),
)

VOCABULARY: dict[str, Quantity] = {quantity.name: quantity for quantity in _ALL}
"""Every quantity by its name."""
