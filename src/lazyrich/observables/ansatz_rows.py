"""The neural feature ansatz from few gradients: no k×k product of them is formed.

With the gradients as rows of G, `K = GᵀG/n` and `P = GW` the input gradients:
`⟨F,G⟩ = ‖PWᵀ‖²/n`, `‖G‖² = ‖P₁P₂ᵀ‖²/n²`. Cheaper than `ansatz` where rows are fewer than neurons.
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
    w = (weight.double() / weight.double().norm()).to(weight.dtype)  # small W − W_0 squared
    p1 = first @ w
    p2 = p1 if second is first else second @ w
    inner = [(p @ w.T).double().square().sum((1, 2)) for p in (p1, p2)]
    numerator = (inner[0] + inner[1]) / 2  # Σ over samples / n is ⟨F,G⟩
    pairs = _pairs(p1, p2)
    b = w @ w.T
    f, n_, d = b.double().square().sum(), numerator.mean(), pairs.mean()
    value = float(n_ / (f * d).sqrt()) if f > 0 and d > 0 else float("nan")
    moved = value * (numerator / n_ - (pairs.mean(0) + pairs.mean(1)) / (2 * d))
    error = float((moved.square().sum() / (n * (n - 1))).sqrt()) if n > 1 else float("nan")
    t1, t2 = (g.double().square().sum() / n for g in (first, second))
    null = null_from_traces(
        neurons=len(w),
        mean_trace=(t1 + t2) / 2,
        traces=t1 * t2,
        product=_pairs(first, second).mean(),
        b_square=f,
        b_trace=b.double().trace(),
    )
    return Ansatz(value=value, stderr=error, null=value if len(w) == 1 else null)


def _pairs(first: Rows, second: Rows) -> Float[Tensor, "n n"]:
    """`‖P₁ᵢ P₂ⱼᵀ‖²` for every pair of samples."""
    (n, r, _), (_, q, _) = first.shape, second.shape
    products = first.flatten(0, 1) @ second.flatten(0, 1).T
    return products.double().square().view(n, r, n, q).sum((1, 3))
