"""Quantities over time, theory as lines and experiments as points."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from lazyrich.plot.style import CYCLE, axes
from lazyrich.quantities import VOCABULARY


def trajectory(
    solutions: Mapping[str, xr.Dataset],
    quantity: str,
    *,
    points: Mapping[str, xr.Dataset] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one quantity of several solutions over time.

    Args:
        solutions: label → Dataset with the dim `time` or `step`, drawn as lines; a dim `draw`
            becomes the median with its 5–95 % band.
        quantity: the variable's name.
        points: label → Dataset, drawn as markers in the colour of the line of the same label.
        ax: where to draw.
    """
    ax = axes(ax)
    colours = {label: CYCLE[i % len(CYCLE)] for i, label in enumerate(solutions)}
    for label, solution in solutions.items():
        _draw_line(ax, solution[quantity], label, colours[label])
    for label, measured in (points or {}).items():
        values = measured[quantity]
        colour = colours.get(label, CYCLE[-1])
        time = values[_time_dim(values)]
        shown = np.unique(np.linspace(0, time.size - 1, 25).astype(int))
        ax.plot(time[shown], values[shown], "o", ms=3.5, mfc="white", color=colour, zorder=3)
    entry = VOCABULARY[quantity]
    ax.set_xlabel(_time_dim(next(iter(solutions.values()))[quantity]))
    ax.set_ylabel(f"{quantity.replace('_', ' ')}  {entry.symbol}")
    ax.set_title(entry.meaning.partition(";")[0])
    if len(solutions) > 1:
        ax.legend()
    return ax


def _draw_line(ax: Axes, values: xr.DataArray, label: str, colour: str) -> None:
    time = values[_time_dim(values)]
    if "draw" in values.dims:
        low, values, high = (values.quantile(q, "draw") for q in (0.05, 0.5, 0.95))
        ax.fill_between(time, low, high, color=colour, alpha=0.2, lw=0)
    ax.plot(time, values, color=colour, label=label)


def _time_dim(values: xr.DataArray) -> str:
    return "time" if "time" in values.dims else "step"
