"""At which optimiser steps to measure. A schedule is a function of the step: is it due?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

from lazyrich._arguments import shown, whole
from lazyrich._errors import InputError

Schedule = Callable[[int], bool]
"""Any function from the number of steps made so far to whether to measure now."""


@dataclass(frozen=True)
class Every:
    """Due at the multiples of an interval, beginning with 0.

    Attributes:
        interval: n.
    """

    interval: int

    def __call__(self, step: int) -> bool:
        """Whether `step` is due."""
        return step % self.interval == 0


@dataclass(frozen=True)
class At:
    """Due at the steps listed.

    Attributes:
        steps: in increasing order.
    """

    steps: tuple[int, ...]

    def __call__(self, step: int) -> bool:
        """Whether `step` is due."""
        return step in self.steps


def checked_schedule(when: object) -> Schedule:
    """The schedule that was meant: a number n is `every(n)`.

    Args:
        when: what the user gave.

    Raises:
        InputError: neither a function nor a whole number ≥ 1.

    Example:
        >>> checked_schedule(20) == every(20)
        True
    """
    if isinstance(when, Integral) and not isinstance(when, bool):
        return every(int(when))
    if callable(when):
        return when
    raise InputError(
        f"`when` must be a schedule such as `every(50)`, a number of steps or a function of the "
        f"step, got {when!r}. Choose one."
    )


def every(interval: int) -> Every:
    """Measure every n steps.

    Args:
        interval: n ≥ 1.

    Raises:
        InputError: `interval` is not a positive whole number.

    Example:
        >>> [step for step in range(7) if every(3)(step)]
        [0, 3, 6]
    """
    return Every(_whole("interval", interval, 1))


def at(*steps: int) -> At:
    """Measure at the steps given.

    Args:
        steps: each ≥ 0; 0 is before the first step.

    Raises:
        InputError: no step, or one that is no whole number ≥ 0.

    Example:
        >>> at(10, 1).steps
        (1, 10)
    """
    if not steps:
        raise InputError("`at` must be given at least one step, got none.")
    return At(tuple(sorted({_whole("steps", step, 0) for step in steps})))


def log_spaced(first: int, last: int, count: int) -> At:
    """Measure often at the start and rarely later: steps in equal ratios.

    Args:
        first: the first step, ≥ 1.
        last: the last one, ≥ `first`.
        count: how many, ≥ 2; equal ones after rounding are measured once.

    Raises:
        InputError: an argument out of its range.

    Example:
        >>> log_spaced(1, 1000, 4).steps
        (1, 10, 100, 1000)
    """
    first = _whole("first", first, 1)
    last = _whole("last", last, first)
    count = _whole("count", count, 2)
    ratio = last / first
    return At(tuple(sorted({round(first * ratio ** (i / (count - 1))) for i in range(count)})))


def _whole(name: str, value: object, least: int) -> int:
    if (found := whole(value)) is None or found < least:
        raise InputError(f"`{name}` must be a whole number ≥ {least}, got {shown(value)}.")
    return found
