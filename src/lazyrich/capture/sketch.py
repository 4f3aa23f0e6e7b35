"""Gradients along random output directions, reduced to what the feature ansatz needs of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.kernel import gram
from lazyrich.capture.norms import norm

Weight = Float[Tensor, "k d"]
Covariance = Float[Tensor, "k k"]

ROWS = 256  # of gradients along random directions, at least one a sample: errors of 1 to 2 %
_SOME = 64  # samples for a standard error, which is then itself known to about 10 %


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """What gradients along random directions say of K.

    Attributes:
        covariance: `K = (1/n) Σ g gᵀ` over all samples; None where the rows are all there is.
        rows: g of some samples, (samples, rows of a sample, neurons).
        samples: n.
    """

    covariance: Covariance | None
    rows: Float[Tensor, "s r k"]
    samples: int

    def form(self, vectors: Float[Tensor, "s r k"]) -> Float[Tensor, " s"]:
        """`Σ_r yᵀKy` for every sample, where there is K."""
        assert self.covariance is not None
        return dots(vectors @ self.covariance, vectors)

    def trace(self) -> Float[Tensor, ""]:
        """The trace of K."""
        if self.covariance is not None:
            return self.covariance.diagonal().sum(dtype=torch.float64)
        return torch.tensor(norm(self.rows) ** 2 / len(self.rows), dtype=torch.float64)

    def in_units_of(self, size: float) -> Sketch:
        """The same of `g/size`: squares of very small or large gradients do not fit into float32.

        Args:
            size: > 0, a typical norm of g.
        """
        k = None if self.covariance is None else self.covariance / size**2
        return replace(self, covariance=k, rows=self.rows / size)


@torch.no_grad()
def sketch(gradients: Float[Tensor, "n r k"]) -> Sketch:
    """Reduce the gradients along random directions to what the ansatz needs.

    Args:
        gradients: `g = ∂(v·f)/∂z`, (samples, positions, neurons).

    Returns:
        A sketch, whose K is unbiased over the directions v.
    """
    n, r, k = gradients.shape
    g = gradients.to(torch.promote_types(gradients.dtype, torch.float32))
    if n * r <= k:
        return Sketch(covariance=None, rows=g, samples=n)
    some = torch.linspace(0, n - 1, min(n, _SOME), dtype=torch.float64).round().long()
    return Sketch(covariance=gram(g.flatten(0, 1).T) / n, rows=g[some.to(g.device)], samples=n)


def random_rows(
    gradients: Float[Tensor, "n s t k"], generator: torch.Generator
) -> Float[Tensor, "n q k"]:
    """As many random rows of every sample as `ROWS` allows, all if there are no more.

    Args:
        gradients: g, (samples, directions, positions, neurons).
        generator: draws them, for every sample anew.

    Returns:
        Rows times √(r/q), r being directions times positions, so that `Σ g gᵀ` of a sample is
        unbiased.

    Example:
        >>> random_rows(torch.ones(128, 2, 4, 3), torch.Generator().manual_seed(0))[0]
        tensor([[2., 2., 2.],
                [2., 2., 2.]])
    """
    n, s, t, _ = gradients.shape
    if (q := max(1, ROWS // n)) >= s * t:
        return gradients.flatten(1, 2)
    drawn = torch.rand(n, s * t, generator=generator).topk(q, sorted=False).indices
    index = drawn.to(gradients.device)
    of_sample = torch.arange(n, device=index.device)[:, None]
    return gradients[of_sample, index // t, index % t] * (s * t / q) ** 0.5


def dots(a: Float[Tensor, "s r k"], b: Float[Tensor, "s r k"]) -> Float[Tensor, " s"]:
    """`Σ a∘b` of every sample, rows in the tensors' precision, their sum in float64."""
    return torch.linalg.vecdot(a, b).double().sum(1)
