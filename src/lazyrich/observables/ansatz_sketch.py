"""The neural feature ansatz from two sketches of K, in few k×k products.

With `X_i = BK_i`, `B = WWᵀ`: `⟨F,G⟩ = tr(BX)`, `‖G‖² = tr(X₁X₂)`; traces of products are sums over
entries. The standard error needs gradients of some samples only. Where all rows of gradients are
no more than neurons, K is not formed: with the rows of G, `K = GᵀG/n`, both are means over samples,
`⟨F,G⟩ = ‖GB‖²/n`, `‖G‖² = ‖G₁BG₂ᵀ‖²/n²`; or, of a weight with fewer inputs than neurons, with
`Y = GW`, `⟨F,G⟩ = tr(YWᵀWYᵀ)/n`, `‖G‖² = ‖Y₁Y₂ᵀ‖²/n²`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lazyrich.capture.kernel import gram
from lazyrich.capture.norms import norm
from lazyrich.capture.sketch import Covariance, Sketch, Weight, dots
from lazyrich.observables.ansatz import Correlation, null_from_traces

_MODERATE = 1e-6, 1e6  # norms whose fourth powers float32 holds well


@dataclass(frozen=True, kw_only=True)
class Ansatz:
    """Correlation of `WᵀW` and `WᵀKW`.

    Attributes:
        value: correlation, between −1 and 1 up to noise; NaN if a matrix vanishes.
        stderr: its standard error over samples and directions; NaN with one sample, or with one
            that has a gradient.
        null: what it would be if K had no preferred directions.
        null_stderr: its standard error, likewise.
        inner: `tr(WᵀW WᵀKW)`, no mean taken off.
        by_sample: `N_α/N`, what samples bring to the inner product in units of the mean, of those
            that have a gradient.
        samples: how many these are; `by_sample` may be of some only.
        bias: bias of N/√D by the noise of random directions, in units of `value`, which is free of
            it.
        null_bias: the bias, likewise, of `null`.

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271.
    """

    value: float
    stderr: float
    null: float
    null_stderr: float
    inner: float
    by_sample: Float[Tensor, " s"]
    samples: int
    bias: float
    null_bias: float


def share_with_error(part: Ansatz, whole: Ansatz) -> tuple[float, float]:
    """Ratio of the inner products of two ansatzes on the same sketches, and its standard error.

    Args:
        part: part of `W − W_0`.
        whole: whole of W.

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
    exact, all_samples = second is first, first.samples
    first, second = _contributing(first, second)
    # the scales of W and K are of no interest, and their fourth powers must fit into float32
    size, of_k = norm(weight), sqrt(float(first.trace() + second.trace()) / 2)
    size = size if size and not _MODERATE[0] < size < _MODERATE[1] else 1.0
    w = (weight / size if size != 1 else weight).to(first.rows.dtype)
    if of_k:
        first = first.in_units_of(of_k)
        second = first if exact else second.in_units_of(of_k)
    of_rows = first.covariance is None
    narrow = of_rows and correlation == "cosine" and w.shape[1] < w.shape[0]
    b = gram(w.T if narrow else w)  # of either, the trace and the norm are the same
    b /= (trace := b.diagonal().sum())
    w = w / trace.sqrt() if narrow or correlation == "pearson" else w
    u = w.sum(1) / w.shape[1] ** 0.5 if correlation == "pearson" else None
    if of_rows:
        in_all = _in_rows(b, u, first, second, w if narrow else None)
    else:
        in_all = _in_covariances(b, u, first, second)
    of, n, d, plain = in_all.by_sample, in_all.inner, in_all.square, in_all.plain
    b_square, mean_square = norm(b) ** 2, norm(u) ** 4 if u is not None else 0.0
    scale = (b_square - mean_square) * float(d)
    most = 1.0 if exact else inf  # beyond by rounding alone
    value = min(float(n) / sqrt(scale), most) if scale > 0 else nan
    stderr = abs(value) * _error(of.inner / n - of.square / d, first.samples)
    bias = _bias(in_all.gap.inner / n, in_all.gap.square / d, first.samples)
    value /= 1 + bias
    of_null = _null(len(w), b_square, mean_square, first, second, in_all)
    scale_of_inner = (float(trace) * size**2 * of_k) ** 2 * first.samples / all_samples
    null, null_stderr, null_bias = of_null if len(w) > 1 else (value, stderr, bias)
    return Ansatz(
        value=value,
        stderr=stderr,
        null=null,
        null_stderr=null_stderr,
        inner=float(plain) * scale_of_inner if trace and of_k else 0.0,
        by_sample=of.plain / plain,
        samples=first.samples,
        bias=bias,
        null_bias=null_bias,
    )


def _contributing(first: Sketch, second: Sketch) -> tuple[Sketch, Sketch]:
    """The same of samples with a gradient only, as of those that an expert is asked for.

    The others move no correlation, and would make that of one sample look certain.
    """
    some = first.rows.flatten(1).any(1) | second.rows.flatten(1).any(1)
    if some.all() or (first.covariance is None and not some.any()):
        return first, second
    samples = round(first.samples * float(some.float().mean()))
    kept = _only(first, some, samples)
    return kept, kept if second is first else _only(second, some, samples)


def _only(one: Sketch, some: Bool[Tensor, " s"], samples: int) -> Sketch:
    samples = samples or one.samples  # none of those that have rows
    k = None if one.covariance is None else one.covariance * (one.samples / samples)
    return Sketch(covariance=k, rows=one.rows[some], samples=samples)


def _null(
    neurons: int,
    b_square: float,
    mean_square: float,
    first: Sketch,
    second: Sketch,
    in_all: _InAll,
) -> tuple[float, float, float]:
    """The null, its standard error and the bias taken off, see `null_from_traces`."""
    t1, t2 = float(first.trace()), float(second.trace())
    of, product = in_all.by_sample, in_all.product
    null, of_product = null_from_traces(
        neurons=neurons,
        mean_trace=(t1 + t2) / 2,
        traces=t1 * t2,
        product=product,
        b_square=b_square,
        b_trace=1.0,
        mean_square=mean_square,
    )
    gap, in_traces, in_products = in_all.gap, 2 / (t1 + t2 or nan), 1 / (product or nan)
    moved = of.trace * in_traces - of.product * in_products
    error = null * abs(of_product) * _error(moved, first.samples)
    of_trace, of_gap = gap.trace * in_traces, gap.product * in_products
    bias = _bias(of_trace, (1 - of_product) * of_trace + of_product * of_gap, first.samples)
    return null / (1 + bias), error, bias


def _bias(of_n: Float[Tensor, " s"], of_d: Float[Tensor, " s"], samples: int) -> float:
    """Relative bias of N/√D by the noise of random directions, to second order.

    `⅜ Var D/D² − ½ Cov(N, D)/(ND)`. Both estimates of one sample differ by that noise alone, which
    is independent between samples: with their differences x of N_α/N and y of D_α/D,
    `Var D/D² = Σ y²/n²` and `Cov(N, D)/(ND) = Σ xy/(2n²)`.

    Args:
        of_n: x, of some samples; 0 if K is exact.
        of_d: y, of the same.
        samples: n.
    """
    found = float((0.375 * of_d.square() - 0.25 * of_n * of_d).mean()) / samples
    return found if isfinite(found) else 0.0


def _error(moved: Float[Tensor, " s"], samples: int) -> float:
    """Standard error of a logarithm from what some of all samples move it by."""
    return sqrt(float(moved.var()) / samples) if len(moved) > 1 else nan


class _BySample(NamedTuple):
    """What each sample brings."""

    inner: Float[Tensor, " s"]  # N_α
    square: Float[Tensor, " s"]  # D_α
    plain: Float[Tensor, " s"]  # N_α, no mean taken off
    trace: Float[Tensor, " s"]  # gᵀg
    product: Float[Tensor, " s"]  # gᵀKg


class _InAll(NamedTuple):
    """What all samples bring: means of the first, and `tr(K₁K₂)`."""

    by_sample: _BySample  # in the mean over both estimates
    gap: _BySample  # by the first less that by the second
    inner: Tensor
    square: Tensor
    plain: Tensor
    product: float


def _in_rows(
    b: Float[Tensor, "a a"],
    u: Float[Tensor, " k"] | None,
    first: Sketch,
    second: Sketch,
    inwards: Weight | None,
) -> _InAll:
    """Of sketches that are all rows.

    Args:
        b: B, or `WᵀW` if there is `inwards`.
        u: `W·1/√d`; None for cosine.
        first: the rows G₁.
        second: the rows G₂ of the same samples.
        inwards: W, for a product with rows that are shorter by it.
    """
    g1, g2 = first.rows, second.rows
    if inwards is None:
        y1, y2 = g1 @ b, g2 @ b
        plain, square = (dots(y1, y1), dots(y2, y2)), _pairs(y1, g2)
    else:
        y1, y2 = g1 @ inwards, g2 @ inwards
        plain, square = (dots(y1 @ b, y1), dots(y2 @ b, y2)), _pairs(y1, y2)
    n, d = plain, square
    if u is not None:
        e1, e2 = ((g @ u).double().square().sum(1) for g in (g1, g2))  # uᵀKu by sample
        n = n[0] - _sum(u, u) * e1, n[1] - _sum(u, u) * e2
        d = d[0] - e1 * e2.mean(), d[1] - e2 * e1.mean()
    trace = dots(g1, g1), dots(g2, g2)
    of, gap = _mean_and_gap(*map(_BySample, n, d, plain, trace, _pairs(g1, g2)))
    means = of.inner.mean(), of.square.mean(), of.plain.mean()
    return _InAll(of, gap, *means, float(of.product.mean()))


def _mean_and_gap(one: _BySample, other: _BySample) -> tuple[_BySample, _BySample]:
    pairs = list(zip(one, other, strict=True))
    return _BySample(*((a + b) / 2 for a, b in pairs)), _BySample(*(a - b for a, b in pairs))


def _pairs(
    a: Float[Tensor, "s r k"], b: Float[Tensor, "s r k"]
) -> tuple[Float[Tensor, " s"], Float[Tensor, " s"]]:
    """`Σ (a·b)²/s` over all pairs with a row of a sample in a, and with one in b."""
    samples = len(a)
    squares = (a.flatten(0, 1) @ b.flatten(0, 1).T).square().view(*a.shape[:2], *b.shape[:2])
    of_pairs = squares.sum((1, 3), dtype=torch.float64)
    return of_pairs.sum(1) / samples, of_pairs.sum(0) / samples


def _in_covariances(
    b: Covariance, u: Float[Tensor, " k"] | None, first: Sketch, second: Sketch
) -> _InAll:
    """Of sketches that have K and the rows of some samples; `u` as above."""
    sides = [_by_sample(b, u, first, second)]
    sides.append(sides[0] if second is first else _by_sample(b, u, second, first))
    of, gap = _mean_and_gap(*sides)
    k1, k2 = first.covariance, second.covariance
    assert k1 is not None  # both are of as many rows
    assert k2 is not None
    x1, x2 = b @ k1, b @ k2
    plain = (_sum(b, x1) + _sum(b, x2)) / 2
    n, d = plain, _sum(x1, x2.T)
    if u is not None:
        s1, s2 = (_sum(u, k @ u) for k in (k1, k2))
        n, d = n - _sum(u, u) * (s1 + s2) / 2, d - s1 * s2
    return _InAll(of, gap, n, d, plain, float(_sum(k1, k2)))


def _by_sample(
    b: Covariance, u: Float[Tensor, " k"] | None, here: Sketch, other: Sketch
) -> _BySample:
    """Of the samples in the rows of one sketch that has K; `u = W·1/√d`, None for cosine."""
    y = here.rows @ b
    plain, d = dots(y, y), other.form(y)
    n, trace, product = plain, dots(here.rows, here.rows), other.form(here.rows)
    if u is not None:
        entries = (here.rows @ u).double().square().sum(1)  # uᵀKu is the entry sum of G
        n, d = n - _sum(u, u) * entries, d - other.form(u[None, None])[0] * entries
    return _BySample(n, d, plain, trace, product)


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """`Σ a∘b`, rows in the tensors' precision, their sum in float64."""
    return torch.linalg.vecdot(a, b).double().sum()
