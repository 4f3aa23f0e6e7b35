"""How far the neurons of a layer share directions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.look import Look, Reference
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import Quantity


@torch.no_grad()
def condensation(weight: Float[Tensor, "m d"]) -> float:
    """How far neurons share directions: mean `|cos|` between the input weights of two neurons.

    Args:
        weight: W, one row a neuron, at least two.

    Returns:
        1 if all neurons lie on one line, about `√(2/(πd))` for random ones; zero rows are left out;
        NaN with fewer than two neurons left (Luo et al., arXiv:2007.07497).

    Example:
        >>> round(condensation(torch.tensor([[1.0, 1.0], [-2.0, -2.0]])), 12)
        1.0
    """
    w = weight.double()
    norms = w.norm(dim=1)
    w = w[norms > 0] / norms[norms > 0, None]
    m = len(w)
    if m < 2:
        return float("nan")
    return float((w @ w.T).abs().fill_diagonal_(0).sum() / (m * (m - 1)))


def _measure(look: Look, _: Reference) -> Row:
    return {"condensation": {layer.name: condensation(layer.matrix) for layer in look.layers}}


CONDENSATION = Observable(
    quantities=(
        Quantity(
            name="condensation",
            dims=("layer",),
            symbol="E|cos(w_i, w_j)|",
            meaning="mean absolute cosine between the input weights of a layer's neurons",
            low=0.0,
            high=1.0,
            source="Luo et al., Phase diagram for two-layer ReLU networks, arXiv:2007.07497",
        ),
    ),
    measure=_measure,
    default=False,
)
