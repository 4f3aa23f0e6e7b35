"""The neural feature ansatz from two sketches of K, in few k×k products.

With `X_i = BK_i`, `B = WWᵀ`: `⟨F,G⟩ = tr(BX)`, `‖G‖² = tr(X₁X₂)`; traces of products are sums over
entries. The standard error needs gradients of some samples only. Cheaper than `ansatz_rows` where
rows are more than neurons.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.observables.ansatz import Correlation, Covariance, Weight, null_from_traces
from lazyrich.observables.ansatz_rows import Ansatz

_SOME = 64  # samples for a standard error, which is then itself known to about 10 %
_BLOCK = 128  # neurons: smaller products waste more time than symmetry saves


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """What one random probe a sample says of K.

    Attributes:
        covariance: `K = (1/n) Σ g gᵀ` over all samples.
        rows: g of some samples, (samples, rows of a sample, neurons).
        samples: n.
    """

    covariance: Covariance
    rows: Float[Tensor, "s r k"]
    samples: int


@torch.no_grad()
def sketch(gradients: Float[Tensor, "n r k"]) -> Sketch:
    """Reduce the gradients along one probe a sample to what the ansatz needs.

    Args:
        gradients: `g = ∂(v·f)/∂z`, (samples, positions, neurons).

    Returns:
        A sketch, whose K is unbiased over the probes v.
    """
    n = len(gradients)
    g = gradients.to(torch.promote_types(gradients.dtype, torch.float32))
    some = torch.linspace(0, n - 1, min(n, _SOME), dtype=torch.float64).round().long()
    return Sketch(covariance=_gram(g.flatten(0, 1)) / n, rows=g[some.to(g.device)], samples=n)


@torch.no_grad()
def ansatz_from_sketches(
    weight: Weight, first: Sketch, second: Sketch, *, correlation: Correlation = "cosine"
) -> Ansatz:
    """Debiased correlation, its standard error over samples and probes, and its null.

    The error is the infinitesimal jackknife: with `ρ = N/√(F D)`, sample α moves ln ρ by
    `N_α/N − D_α/D`, up to a constant, where `N_α = gᵀB²g` and `D_α = gᵀBKBg` in the mean over both
    probes.

    Args:
        weight: W or `W − W_0`.
        first: the sketch with K₁. Matrices are multiplied in its precision, summed in float64.
        second: the sketch with K₂, from independent probes on the same samples.
        correlation: cosine, or Pearson over all d² entries.

    Returns:
        Value, error (NaN with one sample) and null.
    """
    w = (weight / torch.linalg.vector_norm(weight, dtype=torch.float64)).to(first.rows.dtype)
    b, u = _gram(w.T), w.sum(1)
    k1, k2 = first.covariance, second.covariance
    x1, x2 = b @ k1, b @ k2
    # uᵀKu, the entry sum of G; what Pearson takes off
    s1, s2 = (_sum(u, k @ u) for k in (k1, k2))
    uu, d2 = _sum(u, u), w.shape[1] ** 2 if correlation == "pearson" else torch.inf
    f = _sum(b, b) - uu**2 / d2
    n = (_sum(b, x1) + _sum(b, x2) - uu * (s1 + s2) / d2) / 2
    d = _sum(x1, x2.T) - s1 * s2 / d2
    moved = torch.zeros(len(first.rows), dtype=torch.float64, device=w.device)
    for here, k, s in ((first, k2, s2), (second, k1, s1)):
        y, entries = here.rows @ b, (here.rows @ u).double().square().sum(1)
        moved += (_dots(y, y) - uu * entries / d2) / (2 * n)
        moved -= (_dots(y @ k, y) - s * entries / d2) / (2 * d)
    value = float(n / (f * d).sqrt()) if f * d > 0 else torch.nan
    spread = moved.var() if len(moved) > 1 else torch.tensor(torch.nan)
    trace1, trace2 = k1.double().trace(), k2.double().trace()
    null = null_from_traces(
        neurons=len(w),
        mean_trace=(trace1 + trace2) / 2,
        traces=trace1 * trace2,
        product=_sum(k1, k2),
        b_square=_sum(b, b),
        b_trace=b.double().trace(),
        mean_square=uu**2 / d2,
    )
    return Ansatz(
        value=value,
        stderr=abs(value) * float((spread / first.samples).sqrt()),
        null=value if len(w) == 1 else null,
    )


def _gram(rows: Float[Tensor, "n k"]) -> Float[Tensor, "k k"]:
    """`GᵀG`, of which one triangle of blocks is multiplied."""
    k = rows.shape[1]
    if k < 2 * _BLOCK:
        return rows.T @ rows
    product = rows.new_empty(k, k)
    for i in range(0, k, step := max(_BLOCK, -(-k // 8))):
        end = i + step
        torch.mm(rows[:, i:end].T, rows[:, i:], out=product[i:end, i:])
        product[end:, i:end] = product[i:end, end:].T
    return product


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """`Σ a∘b`, rows in the tensors' precision, their sum in float64."""
    return torch.linalg.vecdot(a, b).double().sum()


def _dots(a: Float[Tensor, "s r k"], b: Float[Tensor, "s r k"]) -> Float[Tensor, " s"]:
    return torch.linalg.vecdot(a, b).double().sum(1)
