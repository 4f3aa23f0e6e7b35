"""How many directions a weight uses."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.look import Look, Reference
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import Quantity


@torch.no_grad()
def stable_rank(weight: Float[Tensor, "m d"]) -> float:
    """Stable rank, `‖W‖_F² / ‖W‖_2²`.

    Args:
        weight: W.

    Returns:
        Between 1 and the rank; NaN for W = 0.

    Example:
        >>> stable_rank(torch.eye(3))
        3.0

    References:
        Rudelson & Vershynin, arXiv:math/0503442.
    """
    s = torch.linalg.svdvals(weight.double())
    return float((s / s.max()).square().sum())


def _measure(look: Look, _: Reference) -> Row:
    return {"stable_rank": {layer.name: stable_rank(layer.matrix) for layer in look.layers}}


STABLE_RANK = Observable(
    quantities=(
        Quantity(
            name="stable_rank",
            dims=("layer",),
            symbol="‖W‖_F²/‖W‖²",
            meaning="stable rank of a layer's weight",
            low=1.0,
            source="Rudelson & Vershynin, arXiv:math/0503442",
        ),
    ),
    measure=_measure,
    default=False,
)
