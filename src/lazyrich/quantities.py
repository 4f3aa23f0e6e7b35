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
    low: float = -inf
    high: float = inf
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
        meaning="relative change of the neural tangent kernel since the start",
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
        name="stderr",
        symbol="σ(nfa)",
        meaning="standard error of nfa over samples and probes",
        low=0.0,
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
)

VOCABULARY: dict[str, Quantity] = {quantity.name: quantity for quantity in _ALL}
"""Every quantity by its name."""
