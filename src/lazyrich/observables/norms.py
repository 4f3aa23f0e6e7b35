"""Norms of large tensors, without a copy in double precision."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_SQUARES_FIT = 1e-12, 1e12  # norms whose squares float32 holds well


def norm(x: Float[Tensor, "*rows d"]) -> float:
    """Frobenius norm, `‖x‖`: of rows in the tensor's precision (≥ float32), of all in float64.

    Args:
        x: any tensor with at least one axis.

    Returns:
        A number ≥ 0, also for what float32 cannot square.

    Example:
        >>> round(norm(torch.tensor([3e-30, 4e-30])) / 1e-30, 6)
        5.0
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    rows = torch.linalg.vector_norm(x, dim=-1, dtype=wide)
    size = float(torch.linalg.vector_norm(rows, dtype=torch.float64))
    if _SQUARES_FIT[0] < size < _SQUARES_FIT[1]:
        return size
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))
