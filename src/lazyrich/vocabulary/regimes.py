"""The words for what learning does: phases, regimes, mechanisms, each list once.

A **phase** is what happens to a scaling family as its width grows; a **regime** is what one network
of one width did or will do. Not knowing is `CANNOT_TELL`, for both.
"""

from __future__ import annotations

from enum import StrEnum
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
