"""What a layer gives, reduced to what inner products of samples need."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

COLUMNS = 2**16  # in double precision at a time


@dataclass(frozen=True, kw_only=True)
class Features:
    """H without its mean over samples, in float64, as whichever is smaller.

    Attributes:
        gram: `HHᵀ`, (samples, samples); None where there are the rows.
        rows: H, (samples, features); None where there is `gram`.
    """

    gram: Float[Tensor, "n n"] | None
    rows: Float[Tensor, "n p"] | None

    @property
    def squares(self) -> Float[Tensor, " n"]:
        """The diagonal of `HHᵀ`."""
        if self.gram is not None:
            return self.gram.diagonal()
        assert self.rows is not None
        return self.rows.square().sum(1)


@torch.no_grad()
def features_of(features: Float[Tensor, "n p"], *, as_gram: bool | None = None) -> Features:
    """Reduce what a layer gives.

    Args:
        features: H.
        as_gram: whether to; None where it is smaller.

    Example:
        >>> features_of(torch.tensor([[1.0, 0.0, 0.0], [3.0, 0.0, 0.0]])).gram
        tensor([[ 1., -1.],
                [-1.,  1.]], dtype=torch.float64)
    """
    n, p = features.shape
    if not (n < p if as_gram is None else as_gram):
        rows = features.double()
        return Features(gram=None, rows=rows - rows.mean(0))
    gram = torch.zeros(n, n, dtype=torch.float64, device=features.device)
    for part in torch.split(features, COLUMNS, 1):
        h = part.double()
        h = h - h.mean(0)
        gram.addmm_(h, h.T)
    return Features(gram=gram, rows=None)
