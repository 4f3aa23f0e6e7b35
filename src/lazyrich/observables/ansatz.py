"""The neural feature ansatz: do weights and input gradients single out the same directions?

Everything is computed from k×k matrices (k neurons), never from the d×d matrices WᵀW and WᵀKW:
with `B = WWᵀ`, `u = W·1`, `⟨F,G⟩ = tr(B²K)`, `‖F‖² = tr(B²)`, `‖G‖² = tr(KBKB)`.
Definitions follow Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271.
"""

from __future__ import annotations

from math import nan, sqrt
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.norms import norm
from lazyrich.capture.sketch import Covariance, Weight

Correlation = Literal["cosine", "pearson"]


def nfm(weight: Weight) -> Float[Tensor, "d d"]:
    """Neural feature matrix, `WᵀW`.

    Args:
        weight: W, (neurons, inputs).

    Returns:
        (inputs, inputs).

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271.
    """
    return weight.T @ weight


def ptk(gradients: Float[Tensor, "*rows k"], samples: int) -> Covariance:
    """Covariance of the pre-activation tangent features, `K = (1/n) Σ g gᵀ`.

    Args:
        gradients: `g = ∂f_c/∂z`, all leading axes (samples, outputs, positions) are summed.
        samples: n.

    Returns:
        K in float64, (neurons, neurons).

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271.
    """
    g = gradients.flatten(0, -2)
    return (g.T @ g).double() / samples


def agop(weight: Weight, covariance: Covariance) -> Float[Tensor, "d d"]:
    """Average gradient outer product with respect to the layer's input, `WᵀKW`.

    Args:
        weight: W.
        covariance: K.

    Returns:
        (inputs, inputs); for a convolution, of its patches.

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271.
    """
    return weight.T @ covariance.to(weight.dtype) @ weight


@torch.no_grad()
def ansatz_correlation(
    weight: Weight,
    covariance: Covariance,
    *,
    power: float = 1.0,
    correlation: Correlation = "cosine",
) -> float:
    """Correlation of the neural feature matrix with a power of the AGOP, `ρ(WᵀW, (WᵀKW)^s)`.

    Args:
        weight: W for the plain ansatz, `W − W_0` for the centred one.
        covariance: K; for the double-centred ansatz `K − K_0` (power 1 only, as it has no root).
        power: s > 0.
        correlation: cosine, or Pearson over all d² entries.

    Returns:
        Between −1 and 1; NaN if a matrix vanishes.

    Example:
        >>> w = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
        >>> round(ansatz_correlation(w, torch.eye(2, dtype=torch.float64)), 12)
        1.0

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271.
    """
    if power == 1:
        return debiased_correlation(weight, covariance, covariance, correlation=correlation)
    w = weight.double()
    b, u = w @ w.T, w.sum(1)
    t, eigenvalues = _agop_basis(b, covariance.double())
    powers = eigenvalues**power
    inner = (powers * (t * (b @ b @ t)).sum(0)).sum()  # Σ Λ^s (TᵀB²T)_ii
    sum_f, sum_g = u @ u, (powers * (t.T @ u).square()).sum()
    d2 = w.shape[1] ** 2 if correlation == "pearson" else torch.inf
    return _ratio(
        inner - sum_f * sum_g / d2,
        b.square().sum() - sum_f**2 / d2,
        powers.square().sum() - sum_g**2 / d2,
    )


def _agop_basis(b: Covariance, k: Covariance) -> tuple[Float[Tensor, "k r"], Float[Tensor, " r"]]:
    """`(WᵀKW)^s = WᵀTΛ^sTᵀW`: T and Λ from `K^½BK^½ = QΛQᵀ`, `T = K^½QΛ^-½`."""
    values, vectors = torch.linalg.eigh(k)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    values, vectors = torch.linalg.eigh(root @ b @ root)
    keep = values > values.max().clamp(min=0) * len(values) * torch.finfo(torch.float64).eps
    values, vectors = values[keep], vectors[:, keep]
    return root @ vectors / values.sqrt(), values


@torch.no_grad()
def debiased_correlation(
    weight: Weight,
    first: Covariance,
    second: Covariance,
    *,
    correlation: Correlation = "cosine",
) -> float:
    """Correlation from two independent estimates of K, without the bias of their noise.

    `‖G‖²` becomes `tr(K₁BK₂B)`, which noise does not inflate. Computed in float64.

    Args:
        weight: W or `W − W_0`.
        first: K₁.
        second: K₂; the same matrix if K is exact.
        correlation: cosine, or Pearson over all d² entries.

    Returns:
        About −1 to 1 (noise may exceed 1); NaN if a matrix vanishes.
    """
    return correlation_with_error(
        weight, first[None].double(), second[None].double(), correlation=correlation
    )[0]


@torch.no_grad()
def correlation_with_error(
    weight: Weight,
    first: Float[Tensor, "groups k k"],
    second: Float[Tensor, "groups k k"],
    *,
    correlation: Correlation = "cosine",
) -> tuple[float, float]:
    """Debiased correlation and its standard error over groups of samples.

    The error is the infinitesimal jackknife: with `ρ = N/√(F D)`, group j moves ln ρ by
    `(N_j/N − 1) − ½(D_j/D − 2)`, where N and D are the parts that K enters.

    Args:
        weight: W or `W − W_0`.
        first: K₁ of every group of samples; their mean is the batch's K₁. Matrices are multiplied
            in its precision, sums and differences are taken in float64.
        second: K₂ of the same groups, from independent directions; the same tensor if K is exact.
        correlation: cosine, or Pearson over all d² entries.

    Returns:
        The correlation and its standard error (NaN with one group that has a gradient).
    """
    w = (weight.double() / weight.double().norm()).to(first.dtype)  # no underflow for small W − W_0
    b, u = w @ w.T, w.double().sum(1)
    exact = second is first
    if not (some := first.flatten(1).any(1) | second.flatten(1).any(1)).all() and some.any():
        first = first[some]  # groups without a gradient would make that of one look certain
        second = first if exact else second[some]
    if size := norm(first) if exact else max(norm(first), norm(second)):  # nor of products of K
        first = first / size
        second = first if exact else second / size
    k1 = first.mean(0)
    k2 = k1 if exact else second.mean(0)
    left = b @ b  # ⟨F,G⟩ = tr(B²K)
    right1 = b @ k1 @ b  # ‖G‖² = tr(K₁ BK₂B)
    right2 = right1 if exact else b @ k2 @ b
    f = _inner(b, b)
    if correlation == "pearson":
        ones = torch.outer(u, u).to(b) / w.shape[1]  # uᵀKu/d, the entry sum of G, is tr(K ones)
        f = f - (u @ u / w.shape[1]) ** 2
        left = left - ones * (u @ u / w.shape[1])
        right1 = right1 - ones * _inner(ones, k1)
        right2 = right2 - ones * _inner(ones, k2)
    n, d = _inner(left, k1 + k2) / 2, _inner(k1, right2)
    value = _ratio(n, f, d)
    groups = len(first)
    if groups == 1:
        return value, float("nan")
    n1, d1 = (first.flatten(1) @ torch.stack([left, right2], -1).flatten(0, 1)).double().T
    n2, d2 = n1, d1
    if not exact:
        n2, d2 = (second.flatten(1) @ torch.stack([left, right1], -1).flatten(0, 1)).double().T
    moved = value * ((n1 + n2) / (2 * n) - (d1 + d2) / (2 * d))
    return value, float((moved.square().sum() / (groups * (groups - 1))).sqrt())


def _inner(a: Covariance, b: Covariance) -> Tensor:
    return (a.double() * b.double()).sum()


@torch.no_grad()
def centred_share(weight: Weight, moved: Weight, covariance: Covariance) -> float:
    """Weight of the centred part in the ansatz, `tr(F̄Ḡ)/tr(FG)`.

    `F = WᵀW`, `G = WᵀKW`, `F̄` and `Ḡ` the same of `W̄ = W − W_0`.

    Args:
        weight: W.
        moved: W̄.
        covariance: K.

    Returns:
        At least 0; 0 before training, near 1 where the start is forgotten, and above 1 where W̄
        outweighs what it left of W. NaN if a matrix vanishes.

    Example:
        >>> w, k = torch.eye(2), torch.eye(2)
        >>> centred_share(w, 0.5 * w, k)  # fourth order in the weights
        0.0625

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271, on the centred ansatz.
    """

    def inner(w: Tensor) -> Tensor:
        b = w.double() @ w.double().T
        return _inner(b @ b, covariance)

    whole = inner(weight)
    return float(inner(moved) / whole) if whole > 0 else nan


@torch.no_grad()
def haar_null(
    weight: Weight,
    first: Covariance,
    second: Covariance | None = None,
    *,
    correlation: Correlation = "cosine",
) -> float:
    """Correlation to be expected if K had no preferred directions: K → QKQᵀ, Q Haar-orthogonal.

    Closed form, the ratio of expectations `E⟨F,G⟩ / √(‖F‖² E‖G‖²)`. WᵀW and WᵀKW share W, so this
    is far from 0: a measured value means something only beside it.

    Args:
        weight: W or `W − W_0`.
        first: K, or its first estimate.
        second: a second independent estimate of K, if K is not exact.
        correlation: cosine, or Pearson over all d² entries.

    Returns:
        Between 0 and 1; NaN if a matrix vanishes.
    """
    w = (weight.double() / weight.double().norm()).to(first.dtype)
    k1 = first.double()
    k2 = k1 if second is None else second.double()
    k = len(w)
    if k == 1:  # Q = ±1 changes nothing
        return debiased_correlation(weight, first, k2.to(first.dtype), correlation=correlation)
    b, u = (w @ w.T).double(), w.double().sum(1)
    if correlation == "cosine":
        u = torch.zeros_like(u)  # no mean is taken off
    t1, t2 = float(k1.trace()), float(k2.trace())
    null, _ = null_from_traces(
        neurons=k,
        mean_trace=(t1 + t2) / 2,
        traces=t1 * t2,
        product=float((k1 * k2).sum()),
        b_square=float(b.square().sum()),
        b_trace=float(b.trace()),
        mean_square=float(u @ u) ** 2 / w.shape[1] ** 2,
    )
    return null


def null_from_traces(
    *,
    neurons: int,
    mean_trace: float,
    traces: float,
    product: float,
    b_square: float,
    b_trace: float,
    mean_square: float = 0.0,
) -> tuple[float, float]:
    """The Haar null from the few numbers that it depends on.

    Args:
        neurons: k ≥ 2; NaN for one neuron.
        mean_trace: `½ tr(K₁ + K₂)`.
        traces: `tr K₁ tr K₂`.
        product: `tr(K₁K₂)`.
        b_square: `tr B²`, `B = WWᵀ`.
        b_trace: `tr B`.
        mean_square: `‖u‖⁴/d²` for Pearson, 0 for the cosine.

    Returns:
        Between 0 and 1, NaN if a matrix vanishes; and which part of `E‖G‖²` the product brings.
    """
    k = neurons
    if k == 1:
        return nan, nan
    # E[(QKQᵀ)_ij (QKQᵀ)_kl] = a δ_ij δ_kl + b (δ_ik δ_jl + δ_il δ_jk)

    def square(traces: float, product: float) -> float:
        a = ((k + 1) * traces - 2 * product) / (k * (k - 1) * (k + 2))
        b = (k * product - traces) / (k * (k - 1) * (k + 2))
        g = (a + b) * b_square + b * b_trace**2
        return g - mean_square * (a + 2 * b)  # E(uᵀQKQᵀu)² = (a + 2b)‖u‖⁴

    f, g = b_square - mean_square, square(traces, product)
    n = f * mean_trace / k
    return (n / sqrt(f * g), square(0.0, product) / g) if f * g > 0 else (nan, nan)


def _ratio(inner: Tensor, left: Tensor, right: Tensor) -> float:
    scale = left * right
    return float(inner / scale.sqrt()) if scale > 0 else float("nan")
