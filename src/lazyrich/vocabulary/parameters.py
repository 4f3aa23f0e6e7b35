"""What a parameter is: what theory, studies and the command line let one choose, each once.

A parameter is a `Quantity`. Its meaning begins with its word, so that `Quantity.label` is what a
paper would write at an axis. Where layers may differ, `<name>_u` is of the second and `<name>_w`
of the first layer, and `<name>` of all; `<name>_exponent` is the power of the width d that `<name>`
is proportional to, in a study beyond what its parametrisation has.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from lazyrich.vocabulary.quantity import (
    DERIVED,
    DOMINE2024,
    LEWKOWYCZ2020,
    LUO2021,
    WOODWORTH2020,
    YANG2022,
    Quantity,
    by_name,
)

LAYERS = {"": ", of all layers", "_u": " of the second layer", "_w": " of the first layer"}


def _by_layer(name: str, symbol: str, meaning: str, *, low: float = 0.0) -> tuple[Quantity, ...]:
    """A parameter of all layers and of either; `{}` is where its symbol has the index."""
    return tuple(
        Quantity(
            name=f"{name}{index}",
            symbol=symbol.format(index),
            meaning=f"{meaning}{layer}",
            low=low,
        )
        for index, layer in LAYERS.items()
    )


def _exponent(of: Quantity, symbol: str) -> Quantity:
    """The power of the width that a parameter is proportional to; its symbol names the layer."""
    word, _, _ = of.meaning.partition(",")[0].partition(" of ")
    return replace(
        of,
        name=f"{of.name}_exponent",
        symbol=symbol,
        meaning=f"exponent of the {word} {of.symbol}",
        low=-inf,
        high=inf,
    )


WIDTH = Quantity(name="width", symbol="d", meaning="width, the neurons of a hidden layer", low=1.0)
OUTPUT_SCALE = Quantity(
    name="output_scale", symbol="γ", meaning="output scale, the factor on the network's output"
)
LR = _by_layer("lr", "η{}", "learning rate")
INIT_STD = _by_layer("init_std", "σ{}", "initial standard deviation")
INIT_VAR = _by_layer("init_var", "σ{}²", "initial variance")
EXPONENTS = (
    _exponent(OUTPUT_SCALE, "a"),
    *(_exponent(lr, f"e{index}") for lr, index in zip(LR, LAYERS, strict=True)),
    *(_exponent(variance, f"s{index}") for variance, index in zip(INIT_VAR, LAYERS, strict=True)),
)
RELU_EXPONENTS = (
    Quantity(
        name="gamma",
        symbol="γ_κ",
        meaning="decay of the initial scale β₁β₂/α of a two-layer ReLU network with its width",
        source=LUO2021,
    ),
    Quantity(
        name="gamma_prime",
        symbol="γ_κ′",
        meaning="decay of the ratio β₁/β₂ of a two-layer ReLU network's layers with its width",
        source=LUO2021,
    ),
)
INIT_SCALE = Quantity(
    name="init_scale",
    symbol="κ",
    meaning="initial scale, the factor on the weights as drawn, whatever their initial variance",
    low=0.0,
    source=DERIVED,
)
LR_SCALE = Quantity(
    name="lr_scale",
    symbol="η/η₀",
    meaning="relative learning rate, the factor on the one that is named or found",
    low=0.0,
    source=DERIVED,
)
MOMENTUM = Quantity(name="momentum", symbol="μ", meaning="momentum", low=0.0, high=1.0)
WEIGHT_DECAY = _by_layer("weight_decay", "λ{}", "weight decay")
START = (
    Quantity(
        name="init_alignment",
        symbol="ζ₀",
        meaning="initial alignment of the layers",
        low=-1.0,
        high=1.0,
    ),
    Quantity(
        name="initial_uu",
        symbol="‖u₀‖²",
        meaning="initial squared norm of the second layer",
        low=0.0,
    ),
    Quantity(name="initial_uw", symbol="u₀·w₀", meaning="initial product of the layers"),
    Quantity(
        name="initial_ww",
        symbol="‖w₀‖²",
        meaning="initial squared norm of the first layer",
        low=0.0,
    ),
    Quantity(
        name="init_relative_scale",
        symbol="λ₀",
        meaning="initial relative scale of the layers, conserved by gradient flow",
        units="y/x",
        source=DOMINE2024,
    ),
    Quantity(
        name="init_sharpness",
        symbol="ηλ₀",
        meaning="initial sharpness, the curvature of the loss where it fits, times the rate",
        low=0.0,
        source=LEWKOWYCZ2020,
    ),
    Quantity(
        name="init_output",
        symbol="F₀",
        meaning="initial output, in units of 1/2γ√(η_uη_w)E[a²]",
        source=DERIVED,
    ),
    Quantity(
        name="target_output",
        symbol="Y",
        meaning="target output, in units of 1/2γ√(η_uη_w)E[a²]",
        source=DERIVED,
    ),
    Quantity(
        name="remaining", symbol="E", meaning="remaining share of the residual", low=0, high=1
    ),
)
DATA = (
    Quantity(
        name="mean_aa", symbol="E[a²]", meaning="mean square of the inputs", units="x^2", low=0.0
    ),
    Quantity(
        name="mean_ay", symbol="E[ay]", meaning="mean product of inputs and targets", units="x y"
    ),
    Quantity(
        name="mean_yy", symbol="E[y²]", meaning="mean square of the targets", units="y^2", low=0.0
    ),
    Quantity(
        name="target_scale",
        symbol="σ_1",
        meaning="target scale, the largest singular value of the best linear map",
        units="y/x",
        low=0.0,
        source=DOMINE2024,
    ),
    Quantity(
        name="samples", symbol="n", meaning="number of training samples", low=1, source=DERIVED
    ),
    Quantity(
        name="dimension", symbol="m", meaning="number of inputs of a sample", low=1, source=DERIVED
    ),
)
TRAINING = (
    Quantity(
        name="factors",
        symbol="D",
        meaning="number of weights whose product is a coefficient",
        low=1,
        source=WOODWORTH2020,
    ),
    Quantity(
        name="power",
        symbol="β",
        meaning="power of a neuron's input that is its output",
        low=1,
        source=DERIVED,
    ),
    Quantity(name="depth", symbol="L", meaning="number of hidden layers", low=1, source=YANG2022),
    Quantity(
        name="batch_size",
        symbol="B",
        meaning="batch size, the samples of a step",
        low=1,
        source=DERIVED,
    ),
)

QUANTITIES = (
    *(WIDTH, OUTPUT_SCALE, *LR, *INIT_STD, *INIT_VAR, *EXPONENTS, *RELU_EXPONENTS),
    *(INIT_SCALE, LR_SCALE, MOMENTUM),
    *(*WEIGHT_DECAY, *START, *DATA, *TRAINING),
)
PARAMETERS = by_name(QUANTITIES)
"""Every parameter by its name."""


def axis_attrs(name: str) -> dict[str, str]:
    """The attributes of an axis: those of the parameter; none if it is none.

    Args:
        name: name of the axis.

    Example:
        >>> axis_attrs("lr_u")["symbol"], axis_attrs("my_own_field")
        ('η_u', {})
    """
    return PARAMETERS[name].attrs if name in PARAMETERS else {}
