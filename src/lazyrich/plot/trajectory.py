"""Quantities over time, theory as lines and experiments as points."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from textwrap import fill

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.plot.legends import legend
from lazyrich.plot.style import BLACK, LOOKS, axes
from lazyrich.plot.ticks import tidy

POINTS = 25  # markers a curve
SAME = 0.01  # of their range by which curves differ that hide each other
WRAP = 48  # characters above a panel


def trajectory(
    solutions: Mapping[str, xr.Dataset] | xr.Dataset,
    quantity: str,
    *,
    points: Mapping[str, xr.Dataset] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one quantity of several solutions over time.

    Args:
        solutions: label → Dataset with the dim `time` or `step`, or one Dataset, drawn as lines;
            a dim `draw` becomes the median with its 5–95 % band. Infinite values are left out.
        quantity: the variable's name.
        points: label → Dataset, drawn as markers.
        ax: where to draw.

    Raises:
        InputError: if there is no such quantity, or it has further dims.
    """
    solutions = {"": solutions} if isinstance(solutions, xr.Dataset) else solutions
    ax = axes(ax)
    for label, solution, look in zip(solutions, solutions.values(), cycle(LOOKS), strict=False):
        _draw_line(ax, _checked(solution, quantity, {"draw"}), label, look)
    for label, measured in (points or {}).items():
        values = _checked(measured, quantity, set())
        time = values[_time_dim(values)]
        shown = np.unique(np.linspace(0, time.size - 1, POINTS).astype(int))
        ax.plot(
            time[shown], values[shown], "o", ms=4, mfc="white", color=BLACK, zorder=3, label=label
        )
    attrs = next(iter(solutions.values()))[quantity].attrs
    ax.set_xlabel(_time_dim(next(iter(solutions.values()))[quantity]))
    ax.set_ylabel(attrs["symbol"])
    title = attrs.get("long_name", quantity).partition(",")[0].partition(";")[0]
    ax.set_title(fill(title, WRAP))
    tidy(ax)
    if len(solutions) + len(points or {}) > 1:
        legend(ax)
    return ax


def _draw_line(ax: Axes, values: xr.DataArray, label: str, look: tuple[str, str]) -> None:
    """A curve with its band; dashed where it would hide another one."""
    colour, dashes = look
    time = values[_time_dim(values)]
    if "draw" in values.dims:
        with np.errstate(invalid="ignore"):  # between two diverged runs
            low, values, high = (values.quantile(q, "draw") for q in (0.05, 0.5, 0.95))
        whole = np.isfinite(low) & np.isfinite(high)
        ax.fill_between(time, low.where(whole), high.where(whole), color=colour, alpha=0.2, lw=0)
    shown = values.where(np.isfinite(values))
    if any(_same(line, time.values, shown.values) for line in ax.get_lines()):
        dashes = "--"
    ax.plot(time, shown, ls=dashes, color=colour, label=label or None)


def _same(line: Line2D, time: Array, values: Array) -> bool:
    """Whether a curve lies on a line that is drawn already."""
    x, y = (np.asarray(part, float) for part in line.get_data())
    known = np.isfinite(y)
    if known.sum() < 2 or not np.isfinite(values).any():
        return False
    there = np.interp(time, x[known], y[known])
    apart = np.nanmax(np.abs(values - there))
    return bool(apart <= SAME * max(np.ptp(y[known]), np.ptp(values[np.isfinite(values)])))


def _checked(solution: xr.Dataset, quantity: str, repeats: set[str]) -> xr.DataArray:
    """The finite values of a quantity over time and, at most, `repeats`."""
    drawable = [
        str(name) for name, values in solution.data_vars.items() if "symbol" in values.attrs
    ]
    if quantity not in drawable:
        raise InputError(f"there is no quantity {quantity!r}; choose from {', '.join(drawable)}")
    values = solution[quantity]
    time = _time_dim(values)
    extra = set(map(str, values.dims)) - {time} - repeats
    if extra or time not in values.dims:
        raise InputError(
            f"{quantity!r} must have the dim `time` or `step` alone, got {tuple(values.dims)}; "
            f"choose one value of the others with .isel or .sel"
        )
    return values


def _time_dim(values: xr.DataArray) -> str:
    return "time" if "time" in values.dims else "step"
