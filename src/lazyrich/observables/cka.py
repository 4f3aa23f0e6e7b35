"""How like their start the features of every layer still are."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.look import Look, Reference
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import Quantity


@torch.no_grad()
def cka(features: Float[Tensor, "n d"], reference: Float[Tensor, "n e"]) -> float:
    """Linear centred kernel alignment of two representations of the same samples.

    `‖HᵀH_0‖_F² / (‖HᵀH‖_F ‖H_0ᵀH_0‖_F)`, columns of H centred.

    Args:
        features: H, (samples, features).
        reference: H_0, the same samples, any number of features.

    Returns:
        Between 0 and 1; NaN if a representation is constant (Kornblith et al., arXiv:1905.00414).

    Example:
        >>> h = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
        >>> round(cka(h, -5 * h), 12)
        1.0
    """
    a, b = (h.double() - h.double().mean(0) for h in (features, reference))
    if len(a) < min(a.shape[1], b.shape[1]):  # Gram matrices are smaller than covariances
        p, q = a @ a.T, b @ b.T
        return float((p * q).sum() / (p.norm() * q.norm()))
    return float((a.T @ b).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm()))


def _measure(look: Look, reference: Reference) -> Row:
    pairs = {name: (h, reference.features[name]) for name, h in look.features.items()}
    return {"cka": {name: cka(h, h_0) for name, (h, h_0) in pairs.items()}}


CKA = Observable(
    quantities=(
        Quantity(
            name="cka",
            dims=("layer",),
            symbol="CKA(h₀, h)",
            meaning="similarity of a layer's features with those at the start",
            low=0.0,
            high=1.0,
            source="Kornblith et al., arXiv:1905.00414",
        ),
    ),
    measure=_measure,
)
