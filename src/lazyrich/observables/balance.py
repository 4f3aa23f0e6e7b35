"""How two neighbouring layers fit together: their alignment ζ and their balance."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.look import Look, Reference
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, Quantity
from lazyrich.vocabulary.shared import ALIGNMENT


@torch.no_grad()
def alignment(upper: Float[Tensor, "a b"], lower: Float[Tensor, "b c"]) -> float:
    """Alignment of two neighbouring layers, `ζ = ‖W₂W₁‖_F / (‖W₂‖_F ‖W₁‖_F)`.

    If both are vectors, so that their product is a number, ζ has its sign.

    Args:
        upper: W₂, (outputs, hidden).
        lower: W₁, (hidden, inputs).

    Returns:
        Between 0 and 1, or −1 and 1 if signed; NaN if a layer is zero.

    Example:
        >>> alignment(torch.ones(1, 4), torch.ones(4, 1))
        1.0

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """
    a, b = upper.double(), lower.double()
    product = a @ b
    size = product.sum() if product.numel() == 1 else product.norm()
    return float(size / (a.norm() * b.norm()))


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

    References:
        Xu & Ziyin, arXiv:2401.07085, on a line; for general layers derived here.
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
        "alignment": {lower.name: alignment(upper.matrix, lower.matrix) for lower, upper in pairs},
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
        ALIGNMENT,
        Quantity(
            name="imbalance",
            dims=("layer",),
            symbol="‖η₁W₂ᵀW₂ − η₂W₁W₁ᵀ‖",
            meaning="distance of two neighbouring layers from balance",
            low=0.0,
            source=DERIVED,
        ),
    ),
    measure=_neighbours,
    default=False,
)
