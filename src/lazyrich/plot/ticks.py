"""Ticks at round numbers, and two of them at least on every axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import (
    AutoLocator,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

ROUND = (1, 2, 5, 10)  # no step of 2.5: 0.375 is no round number
WITHIN_DECADES = ((1, 2, 5), (1, 2, 3, 4, 6, 8))  # ticks in every decade, the fewest first
FEW = 3  # ticks that an axis within one decade should have


class RoundTicks(MaxNLocator):
    """Linear ticks, 1, 2 or 5 times a power of ten apart."""

    def __init__(self) -> None:
        super().__init__("auto", steps=ROUND)


class LogTicks(LogLocator):
    """Powers of the base; where fewer than two of them are in view, round numbers between them."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """The ticks of an axis from `vmin` to `vmax`."""
        self.set_params(subs=(1,))
        ticks = super().tick_values(vmin, vmax)
        if _in_view(ticks, vmin, vmax) >= 2:
            return ticks
        for subs in WITHIN_DECADES:
            self.set_params(subs=subs)
            ticks = super().tick_values(vmin, vmax)
            if _in_view(ticks, vmin, vmax) >= FEW:
                return ticks
        return MaxNLocator(5, steps=ROUND).tick_values(vmin, vmax)


class LogLabels(LogFormatterSciNotation):
    """Powers as powers; where ticks lie between them, plain numbers."""

    def __init__(self, base: float = 10.0) -> None:
        super().__init__(base)
        self._unit = float(np.log(base))
        self._whole = True

    def set_locs(self, locs: Sequence[float] | None = None) -> None:
        """See whether all ticks are powers."""
        super().set_locs(locs)
        powers = np.log([tick for tick in ([] if locs is None else locs) if tick > 0]) / self._unit
        self._whole = bool(np.allclose(powers, np.round(powers)))

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The label of the tick at x."""
        return str(super().__call__(x, pos)) if self._whole else f"{x:g}"


def _in_view(ticks: Sequence[float], vmin: float, vmax: float) -> int:
    low, high = sorted((vmin, vmax))
    return int(np.sum((np.asarray(ticks) >= low) & (np.asarray(ticks) <= high)))


def tidy(ax: Axes) -> None:
    """Set round ticks where nobody has chosen others.

    Args:
        ax: the axes, whose scales are set; its limits may still change.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().subplots()
        >>> _ = ax.set(ylim=(26, 46)), ax.set(yscale="log")
        >>> tidy(ax)
        >>> [label for label in ax.yaxis.get_major_ticks() if label.get_visible()] != []
        True
    """
    for axis in (ax.xaxis, ax.yaxis):
        kind = type(axis.get_major_locator())
        if kind is AutoLocator:
            axis.set_major_locator(RoundTicks())
        elif kind is LogLocator and axis.isDefault_majloc:
            base = float(getattr(axis.get_transform(), "base", 10))
            axis.set_major_locator(LogTicks(base=base))
            if axis.isDefault_majfmt:
                axis.set_major_formatter(LogLabels(base=base))
                axis.set_minor_formatter(NullFormatter())
