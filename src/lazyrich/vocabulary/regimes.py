"""The words for what learning does: phases, regimes, mechanisms, each list once.

A **phase** is what happens to a scaling family as its width grows; a **regime** is what one network
of one width did or will do. Not knowing is `CANNOT_TELL`, for both.
"""

from __future__ import annotations

from enum import StrEnum
from math import isnan
from typing import Final, Literal, Self, TypeAlias


class Word(StrEnum):
    """A word of a fixed list; it is, compares, prints and shows itself as its text.

    Attributes:
        meaning: what it says, as a phrase of the glossary; empty where the name is enough.

    Example:
        >>> Phase("kernel"), Phase.KERNEL == "kernel"
        ('kernel', True)
        >>> Phase.KERNEL.meaning
        'the network learns, and its tangent kernel stays what it was'
    """

    meaning: str

    def __new__(cls, text: str, meaning: str = "") -> Self:
        """A member that is equal to its text."""
        word = str.__new__(cls, text)
        word._value_, word.meaning = text, meaning
        return word

    __repr__ = str.__repr__


class Phase(Word):
    """What happens to the kernel of a scaling family, in Θ(1) time, as the width grows.

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """

    FROZEN = "frozen", "a wide network does not learn in any fixed time"
    KERNEL = "kernel", "the network learns, and its tangent kernel stays what it was"
    FEATURE = "feature", "the network learns, and its tangent kernel changes"
    UNSTABLE = "unstable", "the network learns ever faster, so that gradient descent diverges"


class Regime(Word):
    """How one network learns: not at all, without or with features of its own, or not stably.

    References:
        Chizat, Oyallon & Bach, arXiv:1812.07956, for lazy training.
    """

    FROZEN = "frozen", "neither the output nor the tangent kernel moved to speak of"
    LAZY = "lazy", "the tangent kernel changed by less than a tenth of its size"
    INTERMEDIATE = "intermediate", "the tangent kernel changed by a tenth to all of its size"
    RICH = "rich", "the tangent kernel changed by its own size or more"
    UNSTABLE = "unstable", "training diverged, or its loss grew"


class Mechanism(Word):
    """How a layer moves its features.

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """

    ALIGNMENT = "alignment", "the layer turns towards its inputs, and passes on more of their norm"
    DISALIGNMENT = "disalignment", "the layer turns away from its inputs, and passes on less of it"
    RESCALING = "rescaling", "the norm of the layer's weights changes"


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
        regimes: the same as in `regimes_of_change`.
    """
    return regimes[0] if len(regimes) == 1 else CANNOT_TELL
