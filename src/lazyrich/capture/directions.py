"""Output directions: a few random ones, or every output in turn.

What a network's Jacobian says is read along directions v in the space of its outputs, one backward
pass each. Random signs give unbiased squares at a cost that does not depend on how many outputs
there are; all outputs one by one give exact values.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich._arguments import shown, whole
from lazyrich._errors import InputError

Directions = int | Literal["all"]
"""How many random output directions to take, at least 2; or `"all"` outputs, which is exact."""


def checked_directions(directions: object) -> Directions:
    """The number of directions, if it is one.

    Args:
        directions: what the user gave.

    Raises:
        InputError: neither an integer ≥ 2 nor `"all"`.
    """
    if directions == "all":
        return "all"
    if isinstance(directions, Integral) and int(directions) >= 2:
        return int(directions)
    raise InputError(
        f'`directions` must be an integer ≥ 2 or "all", got {directions!r}. Two independent random '
        "directions are the fewest that allow for an unbiased square and a standard error."
    )


def checked_seed(seed: object) -> int:
    """The seed of random directions, if it is one.

    Args:
        seed: what the user gave.

    Raises:
        InputError: no whole number ≥ 0.
    """
    if (found := whole(seed)) is None or found < 0:
        raise InputError(f"`seed` must be a whole number ≥ 0, got {shown(seed)}. Pass 0, 1, 2, …")
    return found


def random_count(directions: Directions, outputs: int) -> int | None:
    """How many random directions to take; None for all outputs, also where these are not more.

    Args:
        directions: the number chosen.
        outputs: how many there are.

    Raises:
        InputError: see `checked_directions`.

    Example:
        >>> random_count(16, 10), random_count(16, 100), random_count("all", 100)
        (None, 16, None)
    """
    chosen = checked_directions(directions)
    return None if chosen == "all" or outputs <= chosen else chosen


def probing_direction(outputs: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """One direction, the same at every time, that finds out how a network is made.

    Normal numbers, not signs, which might cancel.

    Args:
        outputs: the outputs, for their shape, precision and device.
    """
    generator = torch.Generator().manual_seed(0)
    return torch.randn(outputs.shape, generator=generator).to(outputs)


def random_signs(
    outputs: Float[Tensor, "n *k"], count: int, *, seed: int
) -> Iterator[Float[Tensor, "n *k"]]:
    """Directions of independent random signs, one for every sample and output (Rademacher).

    Args:
        outputs: a tensor of the outputs' shape, type and device.
        count: how many directions.
        seed: seed of a generator of their own; the global random state is not touched.

    Example:
        >>> [v] = random_signs(torch.zeros(2, 3), 1, seed=0)
        >>> v.abs().unique(), v.shape
        (tensor([1.]), torch.Size([2, 3]))
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        signs = torch.randint(0, 2, outputs.shape, generator=generator, dtype=outputs.dtype)
        yield signs.mul_(2).sub_(1).to(outputs)
