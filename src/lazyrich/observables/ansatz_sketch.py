"""The neural feature ansatz from two sketches of K, in few k×k products.

With `X_i = BK_i`, `B = WWᵀ`: `⟨F,G⟩ = tr(BX)`, `‖G‖² = tr(X₁X₂)`; traces of products are sums over
entries. The standard error needs gradients of some samples only. Where all rows of gradients are
no more than neurons, K is not formed: with the rows of G, `K = GᵀG/n`, both are means over samples,
`⟨F,G⟩ = ‖GB‖²/n`, `‖G‖² = ‖G₁BG₂ᵀ‖²/n²`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.norms import norm
from lazyrich.capture.sketch import Covariance, Sketch, Weight, dots, gram
from lazyrich.observables.ansatz import Correlation, null_from_traces


@dataclass(frozen=True, kw_only=True)
class Ansatz:
    """Correlation of `WᵀW` and `WᵀKW`.

    Attributes:
        value: between −1 and 1 up to noise; NaN if a matrix vanishes.
        stderr: its standard error over samples and directions; NaN with one sample.
        null: what it would be if K had no preferred directions.
        null_stderr: its standard error, likewise.
        inner: `tr(WᵀW WᵀKW)`, no mean taken off.
        by_sample: `N_α/N`, what samples bring to the inner product in units of the mean.
        samples: how many there are; `by_sample` may be of some only.
    """

    value: float
    stderr: float
    null: float
    null_stderr: float
    inner: float
    by_sample: Float[Tensor, " s"]
    samples: int


def share_with_error(part: Ansatz, whole: Ansatz) -> tuple[float, float]:
    """Ratio of the inner products of two ansatzes on the same sketches, and its standard error.

    Args:
        part: of `W − W_0`.
        whole: of W.

    Returns:
        NaN if that of the whole is zero.
    """
    share = part.inner / whole.inner if whole.inner else nan
    return share, share * _error(part.by_sample - whole.by_sample, whole.samples)


@torch.no_grad()
def ansatz_from_sketches(
    weight: Weight, first: Sketch, second: Sketch, *, correlation: Correlation = "cosine"
) -> Ansatz:
    """Debiased correlation, its standard error over samples and directions, and its null.

    The error is the infinitesimal jackknife: with `ρ = N/√(F D)`, sample α moves ln ρ by
    `N_α/N − D_α/D`, up to a constant, where `N_α = gᵀB²g` and `D_α = gᵀBKBg` in the mean over both
    directions.

    Args:
        weight: W or `W − W_0`.
        first: the sketch with K₁. Matrices are multiplied in its precision, summed in float64.
        second: the sketch with K₂, from independent directions on the same samples; the same one
            if K is exact.
        correlation: cosine, or Pearson over all d² entries.

    Returns:
        Value, error (NaN with one sample), null and inner product.
    """
    exact = second is first
    # the scales of W and K are of no interest, and their fourth powers must fit into float32
    size, of_k = norm(weight), sqrt(float(first.trace() + second.trace()) / 2)
    w = (weight / size).to(first.rows.dtype) if size else weight.to(first.rows.dtype)
    if of_k:
        first, second = first.in_units_of(of_k), second.in_units_of(of_k)
    b = gram(w.T)
    b /= (trace := b.diagonal().sum())
    u = w.sum(1) / (trace * w.shape[1]).sqrt() if correlation == "pearson" else None
    sides = [_by_sample(b, u, first, second)]
    sides.append(sides[0] if exact else _by_sample(b, u, second, first))
    of = _BySample(*((one + other) / 2 for one, other in zip(*sides, strict=True)))
    n, d = _means(b, u, first, second) or (of.inner.mean(), of.square.mean())
    plain = n if u is None else (_product_with(b, first) + _product_with(b, second)) / 2
    b_square, mean_square = norm(b) ** 2, norm(u) ** 4 if u is not None else 0.0
    scale = (b_square - mean_square) * float(d)
    value = float(n) / sqrt(scale) if scale > 0 else nan
    value = min(value, 1.0) if exact else value  # beyond by rounding alone
    stderr = abs(value) * _error(of.inner / n - of.square / d, first.samples)
    traces, product = (float(first.trace()), float(second.trace())), float(_product(first, second))
    null, of_product = null_from_traces(
        neurons=len(w),
        mean_trace=(traces[0] + traces[1]) / 2,
        traces=traces[0] * traces[1],
        product=product,
        b_square=b_square,
        b_trace=1.0,
        mean_square=mean_square,
    )
    moved = of.trace / (sum(traces) / 2) - of.product / product if product else of.product * nan
    return Ansatz(
        value=value,
        stderr=stderr,
        null=value if len(w) == 1 else null,
        null_stderr=stderr
        if len(w) == 1
        else null * abs(of_product) * _error(moved, first.samples),
        inner=float(plain) * (float(trace) * size**2 * of_k) ** 2 if size and of_k else 0.0,
        by_sample=of.plain / plain,
        samples=first.samples,
    )


def _error(moved: Float[Tensor, " s"], samples: int) -> float:
    """Standard error of a logarithm from what some of all samples move it by."""
    return sqrt(float(moved.var()) / samples) if len(moved) > 1 else nan


class _BySample(NamedTuple):
    """What each sample brings, in the mean over both directions."""

    inner: Float[Tensor, " s"]  # N_α
    square: Float[Tensor, " s"]  # D_α
    plain: Float[Tensor, " s"]  # N_α, no mean taken off
    trace: Float[Tensor, " s"]  # gᵀg
    product: Float[Tensor, " s"]  # gᵀKg


def _by_sample(
    b: Covariance, u: Float[Tensor, " k"] | None, here: Sketch, other: Sketch
) -> _BySample:
    """Of the samples in the rows of one sketch; `u = W·1/√d`, None for cosine."""
    y = here.rows @ b
    plain, d = dots(y, y), other.form(y)
    n, trace, product = plain, dots(here.rows, here.rows), other.form(here.rows)
    if u is not None:
        entries = (here.rows @ u).double().square().sum(1)  # uᵀKu is the entry sum of G
        n, d = n - _sum(u, u) * entries, d - other.form(u[None, None])[0] * entries
    return _BySample(n, d, plain, trace, product)


def _means(
    b: Covariance, u: Float[Tensor, " k"] | None, first: Sketch, second: Sketch
) -> tuple[Tensor, Tensor] | None:
    """N and D over all samples, also those without rows; None if the rows are all there is."""
    k1, k2 = first.covariance, second.covariance
    if k1 is None or k2 is None:
        return None
    x1, x2 = b @ k1, b @ k2
    n, d = (_sum(b, x1) + _sum(b, x2)) / 2, _sum(x1, x2.T)
    if u is None:
        return n, d
    s1, s2 = (_sum(u, k @ u) for k in (k1, k2))
    return n - _sum(u, u) * (s1 + s2) / 2, d - s1 * s2


def _product_with(b: Covariance, of: Sketch) -> Tensor:
    """`tr(B²K)`."""
    if of.covariance is not None:
        return _sum(b, b @ of.covariance)
    y = of.rows @ b
    return dots(y, y).mean()


def _product(first: Sketch, second: Sketch) -> Tensor:
    """`tr(K₁K₂)`."""
    if first.covariance is not None and second.covariance is not None:
        return _sum(first.covariance, second.covariance)
    return second.form(first.rows).mean()


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """`Σ a∘b`, rows in the tensors' precision, their sum in float64."""
    return torch.linalg.vecdot(a, b).double().sum()
