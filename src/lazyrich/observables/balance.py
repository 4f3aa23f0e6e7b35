"""How two neighbouring layers fit together: their alignment ζ and their balance."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.look import Look, Reference
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, Quantity


@torch.no_grad()
def inter_layer_alignment(upper: Float[Tensor, "a b"], lower: Float[Tensor, "b c"]) -> float:
    """Alignment of two neighbouring layers, `ζ = ‖W₂W₁‖_F / (‖W₂‖_F ‖W₁‖_F)`.

    Args:
        upper: W₂, (outputs, hidden).
        lower: W₁, (hidden, inputs).

    Returns:
        Between 0 and 1; NaN if a layer is zero.

    Example:
        >>> inter_layer_alignment(torch.ones(1, 4), torch.ones(4, 1))
        1.0
    """
    a, b = upper.double(), lower.double()
    return float((a @ b).norm() / (a.norm() * b.norm()))


@torch.no_grad()
def imbalance(
    upper: Float[Tensor, "a b"],
    lower: Float[Tensor, "b c"],
    *,
    lr_upper: float = 1.0,
    lr_lower: float = 1.0,
) -> float:
    """Distance from balanced layers, `‖η₁W₂ᵀW₂ − η₂W₁W₁ᵀ‖_F`, conserved by flow in linear nets.

    Args:
        upper: W₂, (outputs, hidden).
        lower: W₁, (hidden, inputs).
        lr_upper: η₂, learning rate of the upper layer.
        lr_lower: η₁, learning rate of the lower layer.

    Returns:
        A number ≥ 0.

    Example:
        >>> imbalance(torch.ones(1, 4), torch.ones(4, 1))
        0.0
    """
    a, b = upper.double(), lower.double()
    return float((lr_lower * a.T @ a - lr_upper * b @ b.T).norm())


def _neighbours(look: Look, _: Reference) -> Row:
    """Of every layer with the next one, where their shapes allow."""
    pairs = [
        (lower, upper)
        for lower, upper in pairwise(look.layers)
        if upper.matrix.shape[1] == lower.matrix.shape[0]
    ]
    rates = look.rates
    return {
        "inter_layer_alignment": {
            lower.name: inter_layer_alignment(upper.matrix, lower.matrix) for lower, upper in pairs
        },
        "imbalance": {
            lower.name: imbalance(
                upper.matrix,
                lower.matrix,
                lr_upper=rates.get(f"{upper.name}.weight", 1.0),
                lr_lower=rates.get(f"{lower.name}.weight", 1.0),
            )
            for lower, upper in pairs
        },
    }


BALANCE = Observable(
    quantities=(
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
    ),
    measure=_neighbours,
    default=False,
)
