"""How far the weights went."""

from __future__ import annotations

from math import inf, nan
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.look import Look, Reference
from lazyrich.capture.norms import norm as frobenius
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, Quantity


@torch.no_grad()
def weight_movement(
    weight: Float[Tensor, "m d"],
    reference: Float[Tensor, "m d"],
    *,
    norm: Literal["frobenius", "spectral"] = "frobenius",
) -> float:
    """Relative displacement of a weight matrix, `‖W − W_0‖ / ‖W_0‖`.

    Args:
        weight: W.
        reference: W_0.
        norm: Frobenius or spectral norm, the same above and below.

    Returns:
        A number ≥ 0; NaN if nothing moved from zero, infinite if something did.

    Example:
        >>> weight_movement(3 * torch.eye(2), torch.eye(2), norm="spectral")
        2.0
    """
    if norm == "spectral":
        w0 = reference.double()
        moved = torch.linalg.matrix_norm(weight.double() - w0, ord=2)
        return float(moved / torch.linalg.matrix_norm(w0, ord=2))
    wide = torch.promote_types(weight.dtype, torch.float32)  # a difference loses no more than W has
    w, w0 = weight.to(wide), reference.to(wide)
    moved, size = frobenius(w - w0), frobenius(w0)
    return moved / size if size else (inf if moved else nan)


def _measure(look: Look, reference: Reference) -> Row:
    weights = {layer.name: layer.matrix for layer in look.layers}
    return {
        "weight_movement": {
            name: weight_movement(w, reference.weights[name]) for name, w in weights.items()
        }
    }


WEIGHT_MOVEMENT = Observable(
    quantities=(
        Quantity(
            name="weight_movement",
            dims=("layer",),
            symbol="‖W − W₀‖/‖W₀‖",
            meaning="relative displacement of a layer's weight",
            low=0.0,
            source=DERIVED,
        ),
    ),
    measure=_measure,
)
