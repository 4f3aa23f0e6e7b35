"""Whether a pass draws random numbers, and whether another one gives the same."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lazyrich.capture.belongings import same
from lazyrich.capture.generators import Generator, restart, state_of
from lazyrich.capture.isolation import is_close


def have_drawn(generators: Sequence[Generator]) -> bool:
    """Whether some have left the state in which every pass begins; they are put back there."""
    drawn = [state_of(one) for one in generators]
    for generator in generators:
        restart(generator)
    return not same(drawn, [state_of(one) for one in generators])


def is_repeated(first: Tensor, again: Tensor) -> bool:
    """The same up to rounding: sums come in another order where memory is aligned otherwise."""
    first, again = first.detach(), again.detach()
    if first.shape != again.shape or not first.is_floating_point() or not first.numel():
        return same(first, again)
    return is_close(first.nan_to_num(), again.nan_to_num())
