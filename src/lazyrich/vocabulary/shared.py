"""Quantities that more than one room gives: what theory predicts and a probe measures."""

from __future__ import annotations

from lazyrich.vocabulary.quantity import BEAGLEHOLE2024, DERIVED, FORT2020, Quantity

LOSS = Quantity(name="loss", symbol="L", meaning="loss", source=DERIVED)
ALIGNMENT = Quantity(
    name="alignment",
    dims=("layer",),
    symbol="ζ",
    meaning="alignment of neighbouring layers, ‖W₂W₁‖/(‖W₂‖‖W₁‖); signed if both are vectors",
    low=-1.0,
    high=1.0,
)
NTK_CHANGE = Quantity(
    interval=True,
    stderr=True,
    name="ntk_change",
    symbol="‖ΔΘ‖/‖Θ₀‖",
    meaning="relative change of the tangent kernel since the start, learning rates inside",
    low=0.0,
)
KERNEL_DISTANCE = Quantity(
    name="kernel_distance",
    interval=True,
    stderr=True,
    symbol="1 − cos(Θ₀, Θ)",
    meaning="rotation of the neural tangent kernel since the start",
    low=0.0,
    high=2.0,
    source=FORT2020,
)
NFA = Quantity(
    name="nfa",
    stderr=True,
    dims=("layer",),
    symbol="ρ(WᵀW, AGOP)",
    meaning="cosine between neural feature matrix and average gradient outer product",
    low=-1.0,
    high=1.0,
    source=BEAGLEHOLE2024,
)
CNFA = Quantity(
    name="cnfa",
    stderr=True,
    dims=("layer",),
    symbol="ρ(W̄ᵀW̄, W̄ᵀKW̄)",
    meaning="nfa of the weights' change since the start, W̄ = W − W₀, in place of the weights",
    low=-1.0,
    high=1.0,
    source=BEAGLEHOLE2024,
)
LOG_OUTPUT = Quantity(
    name="log_output",
    symbol="Δln‖f‖",
    meaning="change of the logarithm of the output's norm since the start",
    source=DERIVED,
)

QUANTITIES = (LOSS, ALIGNMENT, NTK_CHANGE, KERNEL_DISTANCE, NFA, CNFA, LOG_OUTPUT)
