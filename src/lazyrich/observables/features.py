"""How far weights and hidden features moved, and how concentrated they are."""

from __future__ import annotations

from math import inf, nan
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.norms import norm as frobenius


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
    """
    s = torch.linalg.svdvals(weight.double())
    return float((s / s.max()).square().sum())


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
