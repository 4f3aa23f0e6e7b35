"""Which sample each row of an operation belongs to, found by gradients.

Of the direction `Σ_i c_i v_i·f_i` a row that only sample i reads has the gradient `c_i g`, g that
of `Σ_i v_i·f_i`. So two backward passes tell the samples of all rows of all operations, whatever
the order of their axes, also where tokens were routed or packed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from lazyrich.capture.directions import probing_direction

Order = Int[Tensor, "n t"]
"""For every sample its rows; −1 is none."""


def coded_directions(outputs: Float[Tensor, "n k"]) -> tuple[Tensor, Tensor]:
    """Random v for every sample, and the same times 1, 2, … n."""
    v = probing_direction(outputs)
    return v, v * torch.arange(1, len(v) + 1).to(v)[:, None]


def arrangement(
    plain: Float[Tensor, "*rows m"], coded: Float[Tensor, "*rows m"], samples: int
) -> Order | None:
    """The rows of every sample.

    Args:
        plain: gradients of the direction v at all rows of an operation.
        coded: those of the other one.
        samples: n.

    Returns:
        The rows of each sample in order; where samples have different numbers of them, only rows
        that matter to the output, filled up by −1. None if some row matters to several samples.

    Example:
        >>> g = torch.ones(3, 2, 5)  # three steps of two samples
        >>> arrangement(g, g * torch.tensor([1.0, 2.0])[:, None], 2)
        tensor([[0, 2, 4],
                [1, 3, 5]])
    """
    found = _owners(plain.flatten(0, -2), coded.flatten(0, -2), samples)
    if found is None:
        return None
    owner, unsure = found
    rows = torch.arange(len(owner), device=owner.device)
    for free in (owner < 0, unsure):
        for regular in _regular(plain.shape[:-1], samples, owner.device):
            if ((owner == regular) | free).all():
                return rows[regular.argsort(stable=True)].view(samples, -1)
    of_each = [rows[owner == i] for i in range(samples)]
    order = rows.new_full((samples, max(map(len, of_each))), -1)
    for own, into in zip(of_each, order, strict=True):
        into[: len(own)] = own
    return order if order.numel() else None


def arranged(rows: Shaped[Tensor, "*rows d"], order: Order) -> Shaped[Tensor, "n t d"]:
    """Rows by sample, zeros where there is none."""
    flat = rows.flatten(0, -2) if rows.ndim > 1 else rows[None]
    if is_plain(order, len(flat)):
        return flat.reshape(*order.shape, -1)
    found = flat[order.clamp(min=0)]
    return found * (order >= 0).to(found)[..., None]


def is_plain(order: Order, rows: int) -> bool:
    """Whether all rows lie one after the other, sample by sample."""
    if order.numel() != rows:
        return False
    return bool((order.flatten() == torch.arange(rows, device=order.device)).all())


def _owners(plain: Tensor, coded: Tensor, samples: int) -> tuple[Tensor, Tensor] | None:
    """The sample of each row, −1 where nothing matters, and of which rounding leaves it open.

    None if a row is of several. Terms that cancel in the gradient of a row leave rounding as large
    as theirs, and in the coded one as many times larger as the code of their sample.
    """
    eps = 8 * torch.finfo(plain.dtype).eps
    plain, coded = plain.double(), coded.double()
    size = torch.linalg.vector_norm(plain, dim=1)
    alive = size > eps * size.max()
    label = (plain * coded).sum(1) / size.square().where(alive, torch.ones_like(size))
    owner = label.round().clamp(1, samples)
    apart = torch.linalg.vector_norm(coded - owner[:, None] * plain, dim=1)
    clean = apart <= 0.1 * size
    rounding = eps * torch.linalg.vector_norm(coded, dim=1).max()
    if not (clean | ~alive | (apart <= rounding)).all():
        return None
    known = alive & clean
    return (owner.long() - 1).where(known, -1), ~known | (size <= 10 * rounding)


def _regular(
    shape: Sequence[int], samples: int, device: torch.device
) -> Iterator[Int[Tensor, " r"]]:
    """The sample of each row if they lie along an axis, in blocks or in turn."""
    for axis, size in enumerate(shape):
        if size % samples == 0:
            place = torch.arange(size, device=device)
            for along in (place // (size // samples), place % samples):
                wide = along.view(-1, *(1 for _ in shape[axis + 1 :])).expand(*shape[axis:])
                yield wide.expand(tuple(shape)).reshape(-1)
