"""One quantity of two runs, and whether their intervals show a difference."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from lazyrich.vocabulary.regimes import CANNOT_TELL, Word


class Difference(Word):
    """What the second run has beside the first one."""

    MORE = "more"
    LESS = "less"
    NONE_SEEN = "no difference seen"
    CANNOT_TELL = CANNOT_TELL


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A number with its 95 % interval for many samples.

    Attributes:
        value: the number; NaN if it is not finite.
        low: lower end of the interval; NaN if there is none.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One quantity of two runs.

    Attributes:
        quantity: its name.
        layer: its path; None for the network.
        first: value of the first run; None where it was not measured.
        second: value of the second run, likewise.
    """

    quantity: str
    layer: str | None
    first: Reading | None
    second: Reading | None

    @property
    def difference(self) -> Difference:
        """More or less where the intervals have nothing in common; none seen where they do.

        Example:
            >>> low, high = (Reading(value=x, low=0.9 * x, high=1.1 * x) for x in (1.0, 2.0))
            >>> Contrast(quantity="ntk_change", layer=None, first=low, second=high).difference
            'more'
            >>> Contrast(quantity="ntk_change", layer=None, first=low, second=low).difference
            'no difference seen'
        """
        if self.first is None or self.second is None:
            return Difference.CANNOT_TELL
        if isnan(self.first.low) or isnan(self.second.low):
            return Difference.CANNOT_TELL
        if self.second.low > self.first.high:
            return Difference.MORE
        return Difference.LESS if self.second.high < self.first.low else Difference.NONE_SEEN
