"""How the values of an axis are spaced: by ratios or by differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lazyrich.numerics.exact import Array


@dataclass(frozen=True)
class Spacing:
    """The coordinate in which the values of an axis are evenly spaced, as nearly as they can be.

    Attributes:
        ratios: whether that is the logarithm.

    Example:
        >>> Spacing.of(np.array([0.1, 1.0, 3.0, 10.0])).ratios
        True
        >>> Spacing.of(np.array([0.0, 1.0, 2.0])).ratios
        False
    """

    ratios: bool

    @classmethod
    def of(cls, values: Array) -> Spacing:
        """The spacing of an axis, from at least three values > 0; else by differences."""
        some = np.unique(np.asarray(values, dtype=float))
        if some.size < 3 or some[0] <= 0:
            return cls(ratios=False)
        logs, steps = np.log(np.diff(np.log(some))), np.log(np.diff(some))
        return cls(ratios=bool(np.ptp(logs) < np.ptp(steps)))

    def straight(self, values: Array) -> Array:
        """The coordinate: the values or their logarithms."""
        return np.log(values) if self.ratios else np.asarray(values, dtype=float)

    def back(self, coordinate: Array) -> Array:
        """The values at a coordinate."""
        return np.exp(coordinate) if self.ratios else np.asarray(coordinate, dtype=float)
