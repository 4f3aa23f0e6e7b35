"""How like other ones the features of a layer are: those at its start, or of another layer."""

from __future__ import annotations

from math import nan, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.features import COLUMNS, Features, features_of
from lazyrich.capture.kernel import add_gram, mirrored
from lazyrich.capture.look import Look, Reference
from lazyrich.capture.norms import norm
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import Quantity

FEWEST = 4  # samples of which an unbiased estimate can be made


@torch.no_grad()
def linear_cka(
    features: Float[Tensor, "n d"], reference: Float[Tensor, "n e"], *, unbiased: bool = True
) -> float:
    """Linear centred kernel alignment of two representations of the same samples.

    `HSIC(K, L)/√(HSIC(K, K) HSIC(L, L))`, `K = HHᵀ`, `L = H_0H_0ᵀ`. The biased estimate
    `‖HᵀH_0‖_F²`, columns of H centred, is of order d/(d + n) for unrelated features of d
    dimensions. The unbiased one, HSIC_1, scatters about 0 for them.

    Args:
        features: H, (samples, features).
        reference: H_0, the same samples, any number of features.
        unbiased: whether HSIC is estimated without bias, for which 4 samples are needed.

    Returns:
        Between −1 and 1, and 0 and 1 if biased; NaN if a representation is constant, or of fewer
        samples than needed.

    Example:
        >>> h = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [2.0, 2.0]])
        >>> round(linear_cka(h, -5 * h), 12)
        1.0

    References:
        Kornblith et al., arXiv:1905.00414; HSIC_1: Song et al., Feature selection via dependence
        maximization, JMLR 13 (2012), equation 5.
    """
    n, widest = len(features), max(features.shape[1], reference.shape[1])
    reduced = (features_of(h, as_gram=n < widest) for h in (features, reference))
    return _alignment(*reduced, unbiased=unbiased)


def _alignment(one: Features, other: Features, *, unbiased: bool = True) -> float:
    """CKA of two representations, both as Gram matrices or both as rows."""
    p, q = one.gram, other.gram
    if p is not None and q is not None:
        inner, sizes = (p * q).sum(), (p.square().sum(), q.square().sum())
    else:
        a, b = one.rows, other.rows
        assert a is not None
        assert b is not None
        inner = (a.T @ b).square().sum()
        sizes = (a.T @ a).square().sum(), (b.T @ b).square().sum()
    if not unbiased:
        return _cosine(inner, *sizes)
    of_a, of_b = one.squares, other.squares
    return _cosine(hsic(inner, of_a, of_b), hsic(sizes[0], of_a, of_a), hsic(sizes[1], of_b, of_b))


def hsic(inner: Tensor, of_k: Float[Tensor, " n"], of_l: Float[Tensor, " n"]) -> Tensor:
    """HSIC_1 of two centred Gram matrices, times n(n − 3).

    With K̃ the matrix K without its diagonal, `tr K̃L̃ + 1ᵀK̃1 1ᵀL̃1/((n−1)(n−2)) −
    2·1ᵀK̃L̃1/(n−2)`. Rows of a centred K add up to zero, so that `K̃1` is minus the diagonal.

    Args:
        inner: `tr KL`.
        of_k: diagonal of K.
        of_l: diagonal of L.

    Returns:
        A number; NaN with fewer than 4 samples.
    """
    n = len(of_k)
    if n < FEWEST:
        return torch.full_like(inner, torch.nan)
    return inner + of_k.sum() * of_l.sum() / ((n - 1) * (n - 2)) - (of_k @ of_l) * n / (n - 2)


def _cosine(inner: Tensor, first: Tensor, second: Tensor) -> float:
    if not (first > 0 and second > 0):
        return nan
    return max(-1.0, min(float(inner) / sqrt(first) / sqrt(second), 1.0))


@torch.no_grad()
def cka_table(
    rows: dict[str, Float[Tensor, "n d"]], columns: dict[str, Float[Tensor, "n e"]]
) -> list[list[float]]:
    """Unbiased linear CKA of every representation of one kind with every one of another.

    Args:
        rows: representations, by name.
        columns: others, of the same samples.
    """
    ps, qs = ([_products(h) for h in of.values()] for of in (rows, columns))
    of_p, of_q = ([_hsic_of(one, one) for one in every] for every in (ps, qs))
    return [
        [_cosine(_hsic_of(p, q), own, other) for q, other in zip(qs, of_q, strict=True)]
        for p, own in zip(ps, of_p, strict=True)
    ]


class _Products(NamedTuple):
    """Centred inner products of samples, in units of the mean of a sample with itself."""

    different: Float[Tensor, "n n"]  # of two samples, 0 on the diagonal; as precise as the features
    own: Float[Tensor, " n"]  # of each with itself, in float64


def _products(features: Float[Tensor, "n p"]) -> _Products:
    n = len(features)
    kind = torch.promote_types(features.dtype, torch.float32)
    total = torch.zeros(n, n, dtype=kind, device=features.device)
    own = torch.zeros(n, dtype=torch.float64, device=features.device)
    size = norm(features) or 1.0  # whose square need not fit into the features' precision
    for part in torch.split(features, COLUMNS, 1):
        h = part.double()
        h = (h - h.mean(0)) / size
        own += h.square().sum(1)
        add_gram(total, h.to(kind))
    unit = own.mean() if own.any() else 1.0
    return _Products(mirrored(total).fill_diagonal_(0) / unit, own / unit)


def _hsic_of(p: _Products, q: _Products) -> Tensor:
    inner = torch.linalg.vecdot(p.different, q.different).double().sum() + p.own @ q.own
    return hsic(inner, p.own, q.own)


def _measure(look: Look, reference: Reference) -> Row:
    pairs = {name: (h, reference.features[name]) for name, h in look.features.items()}
    return {"cka": {name: _alignment(h, h_0) for name, (h, h_0) in pairs.items()}}


CKA = Observable(
    quantities=(
        Quantity(
            name="cka",
            dims=("layer",),
            symbol="CKA(h₀, h)",
            meaning="similarity of a layer's features with those at its start, or of another layer",
            low=-1.0,
            high=1.0,
            source="Kornblith et al., arXiv:1905.00414, with HSIC_1 of Song et al., JMLR 13 (2012)",
        ),
    ),
    measure=_measure,
)
