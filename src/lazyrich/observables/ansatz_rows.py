"""The neural feature ansatz from few gradients: no k×k product of them is formed.

With the gradients as rows of G, `K = GᵀG/n` and `B = WWᵀ`: `⟨F,G⟩ = ‖GB‖²/n` and
`‖G‖² = ‖G₁BG₂ᵀ‖²/n²`. Cheaper than `ansatz` where rows are fewer than neurons.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.observables.ansatz import null_from_traces

Rows = Float[Tensor, "n r m"]


@dataclass(frozen=True, kw_only=True)
class Ansatz:
    """Correlation (cosine) of `WᵀW` and `WᵀKW`.

    Attributes:
        value: between −1 and 1 up to noise; NaN if a matrix vanishes.
        stderr: its standard error over samples and directions; NaN with one sample.
        null: what it would be if K had no preferred directions.
    """

    value: float
    stderr: float
    null: float


@torch.no_grad()
def ansatz_from_rows(weight: Float[Tensor, "m d"], first: Rows, second: Rows) -> Ansatz:
    """The same as `correlation_with_error` and `haar_null`, every sample a group of its own.

    Args:
        weight: W or `W − W_0`.
        first: rows of G₁, (samples, rows of a sample, neurons), scaled so that `K₁ = G₁ᵀG₁/n`.
        second: G₂ from independent probes; the same tensor if K is exact.

    Returns:
        Value, error and null, as far as W and G do not vanish.
    """
    n = len(first)
    b = weight @ weight.T
    b /= b.diagonal().sum().clone()  # no underflow of B² for a small W − W_0
    q1 = first @ b
    q2 = q1 if second is first else second @ b
    inner = [_square(q, (1, 2)) for q in (q1, q2)]
    numerator = (inner[0] + inner[1]) / 2  # its mean over samples is ⟨F,G⟩
    pairs = _pairs(q1, second)
    f, n_, d = _square(b), numerator.mean(), pairs.mean()
    value = float(n_ / (f * d).sqrt()) if f > 0 and d > 0 else float("nan")
    moved = value * (numerator / n_ - (pairs.mean(0) + pairs.mean(1)) / (2 * d))
    error = float((moved.square().sum() / (n * (n - 1))).sqrt()) if n > 1 else float("nan")
    t1, t2 = (_square(g) / n for g in (first, second))
    null = null_from_traces(
        neurons=len(b),
        mean_trace=(t1 + t2) / 2,
        traces=t1 * t2,
        product=_pairs(first, second).mean(),
        b_square=f,
        b_trace=b.diagonal().sum(dtype=torch.float64),
    )
    return Ansatz(value=value, stderr=error, null=value if len(b) == 1 else null)


def _square(x: Tensor, dim: tuple[int, ...] = ()) -> Tensor:
    return x.square().sum(dim, dtype=torch.float64)


def _pairs(first: Rows, second: Rows) -> Float[Tensor, "n n"]:
    """`‖Q₁ᵢ G₂ⱼᵀ‖²` for every pair of samples."""
    (n, r, _), (_, q, _) = first.shape, second.shape
    products = first.flatten(0, 1) @ second.flatten(0, 1).T
    return products.square().view(n, r, n, q).sum((1, 3), dtype=torch.float64)
