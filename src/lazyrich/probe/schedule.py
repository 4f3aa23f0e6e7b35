"""At which optimiser steps to measure. A schedule is a function of the step: is it due?

A budget leaves out what is due and would take too large a share of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

from lazyrich._arguments import as_number, shown, whole
from lazyrich._errors import InputError
from lazyrich.probe.clock import Clock

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
        steps: the steps, in increasing order.
    """

    steps: tuple[int, ...]

    def __call__(self, step: int) -> bool:
        """Whether `step` is due."""
        return step in self.steps


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """A schedule, and which share of the time all measurements together may take.

    Attributes:
        due: the schedule.
        budget: the share; None for any.
    """

    due: Schedule
    budget: float | None

    def __call__(self, step: int, clock: Clock) -> bool:
        """Whether to measure now.

        Args:
            step: steps made so far.
            clock: clock of the measurements before.
        """
        return self.due(step) and clock.affords(self.budget)


_BUDGET = 0.02  # of the time: less than runs differ by


def cadence(when: object, budget: object) -> Cadence:
    """The cadence that was meant.

    With nothing given every 50th step is due, if two percent of the time allow for it: looks of any
    two runs are then at steps that both may have, and a network that is dear to look at is looked
    at more rarely. A schedule alone depends on no clock.

    Args:
        when: the same as in `checked_schedule`; None for every 50th step, or every one if there is
            a budget.
        budget: share of the time; None for any, or 0.02 without a schedule.

    Raises:
        InputError: no schedule, or no share.

    Example:
        >>> cadence(None, None).budget, cadence(50, None).budget
        (0.02, None)
    """
    share = _BUDGET if when is None and budget is None else budget
    known = None if share is None else as_number(share)
    if share is not None and not 0 < (known or 0) < 1:
        raise InputError(
            f"`budget` must be a share between 0 and 1, got {shown(share)}. Pass such as 0.05."
        )
    if when is None:
        return Cadence(due=every(50 if budget is None else 1), budget=known)
    return Cadence(due=checked_schedule(when), budget=known)


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
        f"step, got {when!r}. Pass `every(50)` to measure at each 50th step."
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
