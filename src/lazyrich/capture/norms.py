"""Norms of large tensors, without a copy in double precision, and those of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SQUARES_FIT = 1e-12, 1e12  # norms whose squares float32 holds well
_RUN = 512  # entries that are added in their own precision


@dataclass(frozen=True, kw_only=True)
class LayerNorms:
    """Norms of one layer over the probe batch, in the order in which layers act.

    Attributes:
        weight: `‖W‖_F`.
        inputs: `‖h‖`, over all samples and positions.
        preactivations: `‖z‖`, z the layer's output before its nonlinearity.

    References:
        Everett et al., arXiv:2407.05872.
    """

    weight: float
    inputs: float
    preactivations: float


def root_mean_square(tensors: Sequence[Tensor]) -> float:
    """Over the entries of all tensors, in float64.

    Args:
        tensors: at least one, with an entry.

    Example:
        >>> root_mean_square([torch.tensor([3.0]), torch.tensor([[4.0, 5.0]])]) ** 2  # 50/3
        16.66...
    """
    flat = torch.cat([x.detach().double().reshape(-1) for x in tensors])
    return flat.square().mean().sqrt().item()


def norm(x: Float[Tensor, "*shape"]) -> float:
    """Frobenius norm, `‖x‖`: of short runs in the tensor's precision (≥ float32), then in float64.

    Double precision all the way would take sixty times as long.

    Args:
        x: any tensor.

    Returns:
        A number ≥ 0, also for what float32 cannot square.

    Example:
        >>> round(norm(torch.tensor([3e-30, 4e-30])) / 1e-30, 6)
        5.0
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    entries = x.reshape(-1)
    end = len(entries) - len(entries) % _RUN
    runs = entries[:end].view(-1, _RUN), entries[None, end:]
    sizes = torch.cat([torch.linalg.vector_norm(run, dim=1, dtype=wide) for run in runs])
    size = float(torch.linalg.vector_norm(sizes, dtype=torch.float64))
    if SQUARES_FIT[0] < size < SQUARES_FIT[1]:
        return size
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))


def squared_norms(x: Float[Tensor, "n s *shape"]) -> Float[Tensor, "n s"]:
    """`‖x‖²` over all axes but two, in float64: squares in the tensor's precision (≥ float32).

    Args:
        x: any tensor with at least three axes.

    Example:
        >>> squared_norms(torch.tensor([[[3e-30, 4e-30]]])).item() / 1e-60  # not in float32
        25.0...
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    size = torch.linalg.vector_norm(x.flatten(2), dim=2, dtype=wide)
    if not ((size > SQUARES_FIT[0]) & (size < SQUARES_FIT[1])).all():
        size = torch.linalg.vector_norm(x.flatten(2), dim=2, dtype=torch.float64)
    return size.double().square()


@torch.no_grad()
def layer_norms(
    weight: Float[Tensor, "*w"], inputs: Float[Tensor, "*h"], preactivations: Float[Tensor, "*z"]
) -> LayerNorms:
    """Norms of one layer.

    Args:
        weight: W.
        inputs: h, patches for a convolution.
        preactivations: z.

    Returns:
        The three norms.
    """
    return LayerNorms(weight=norm(weight), inputs=norm(inputs), preactivations=norm(preactivations))
