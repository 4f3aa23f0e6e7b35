"""The words for what learning does: phases, regimes, mechanisms, each list once.

A **phase** is what happens to a scaling family as its width grows; a **regime** is what one network
of one width did or will do. Not knowing is `CANNOT_TELL`, for both.
"""

from __future__ import annotations

from enum import StrEnum
from math import isnan
from typing import Final, Literal, TypeAlias


class Word(StrEnum):
    """A word of a fixed list; it is, compares, prints and shows itself as its text.

    Example:
        >>> Phase("kernel"), Phase.KERNEL == "kernel"
        ('kernel', True)
    """

    __repr__ = str.__repr__


class Phase(Word):
    """What happens to the kernel of a scaling family, in Θ(1) time, as the width grows."""

    FROZEN = "frozen"
    KERNEL = "kernel"
    FEATURE = "feature"
    UNSTABLE = "unstable"


class Regime(Word):
    """How one network learns: not at all, without or with features of its own, or not stably."""

    FROZEN = "frozen"
    LAZY = "lazy"
    INTERMEDIATE = "intermediate"
    RICH = "rich"
    UNSTABLE = "unstable"


class Mechanism(Word):
    """How a layer moves its features."""

    ALIGNMENT = "alignment"
    DISALIGNMENT = "disalignment"
    RESCALING = "rescaling"


CANNOT_TELL: Final = "cannot tell"

JudgedPhase: TypeAlias = Phase | Literal["cannot tell"]
"""A phase that numbers show, or that they leave open."""

JudgedRegime: TypeAlias = Regime | Literal["cannot tell"]
"""A regime that numbers show, or that they leave open."""

LAZY_BELOW: Final = 0.1
"""Relative change of the tangent kernel, ‖ΔΘ‖/‖Θ₀‖, below which training is lazy."""

RICH_FROM: Final = 1.0
"""The same from which it is rich."""


def regimes_of_change(
    low: float, high: float, *, lazy_below: float = LAZY_BELOW, rich_from: float = RICH_FROM
) -> tuple[Regime, ...]:
    """The regimes that a change of the kernel between two numbers may belong to.

    Forecast and verdict, of a network and of a layer, all take their word from here.

    Args:
        low: lower end of what is known of ‖ΔΘ‖/‖Θ₀‖.
        high: upper end; `low` for a number that is known.
        lazy_below: where intermediate begins.
        rich_from: where it ends.

    Returns:
        From lazy to rich; one where the change is known well enough, none where it is not known.

    Example:
        >>> regimes_of_change(0.1, 0.99), regimes_of_change(0.05, 0.2)
        (('intermediate',), ('lazy', 'intermediate'))
    """
    if isnan(low) or isnan(high):
        return ()
    scale = (
        (Regime.LAZY, low < lazy_below),
        (Regime.INTERMEDIATE, high >= lazy_below and low < rich_from),
        (Regime.RICH, high >= rich_from),
    )
    return tuple(regime for regime, may_be in scale if may_be)


def only(regimes: tuple[Regime, ...]) -> JudgedRegime:
    """The regime, if there is but one that may be.

    Args:
        regimes: see `regimes_of_change`.
    """
    return regimes[0] if len(regimes) == 1 else CANNOT_TELL
