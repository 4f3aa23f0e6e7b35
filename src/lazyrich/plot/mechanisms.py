"""The mechanisms at work over time."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from lazyrich.plot.legends import legend
from lazyrich.plot.style import BLACK, BLUE, PURPLE, VERMILION, axes
from lazyrich.plot.ticks import tidy
from lazyrich.vocabulary.regimes import Mechanism

FIRST_BAR, BAR = 0.04, 0.055  # height of the lowest bar and distance of two, of the panel
COLOURS: dict[str, str] = dict(zip(Mechanism, (BLUE, PURPLE, VERMILION), strict=True))


def mechanism_timeline(mechanisms: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the log decomposition of the output and the windows in which each mechanism acts.

    Args:
        mechanisms: Dataset from `mechanisms`, of a single trajectory.
        ax: where to draw.
    """
    ax = axes(ax)
    dim = "time" if "time" in mechanisms.log_output.dims else "step"
    time = mechanisms[dim]
    for name, label, colour, width in (
        ("log_output", "output  Δ ln|f|", BLACK, 2.2),
        ("log_alignment", "alignment  Δ ln|ζ|", BLUE, 1.6),
        ("log_rescaling", "rescaling  Δ ln(‖u‖‖w‖)", VERMILION, 1.6),
    ):
        ax.plot(
            time,
            mechanisms[name].where(np.isfinite(mechanisms[name])),
            color=colour,
            lw=width,
            label=label,
        )
    acting = [
        name
        for name in mechanisms.mechanism.values
        if bool(mechanisms.mechanism_acts.sel(mechanism=name))
    ]
    ax.axhline(0, color=BLACK, lw=0.5)
    for name, height in zip(acting, room_below(ax, len(acting)), strict=True):
        _window(ax, mechanisms.sel(mechanism=name), height)
    ax.set_xlabel(dim)
    ax.set_ylabel("change of logarithm since the start")
    ax.set_title(", ".join(acting) if acting else "no mechanism acts")
    tidy(ax)
    legend(ax)
    return ax


def room_below(ax: Axes, rows: int) -> list[float]:
    """Room for bars below all curves; the heights of the bars, in units of the panel.

    Args:
        ax: the axes, on which all curves are drawn.
        rows: how many bars.
    """
    if rows:
        low, high = ax.get_ylim()
        share = FIRST_BAR + BAR * rows
        ax.set_ylim(low - (high - low) * share / (1 - share), high)
    return [FIRST_BAR + BAR * row for row in range(rows)]


def _window(ax: Axes, mechanism: xr.Dataset, height: float) -> None:
    """A bar from the start to the stop of its window, with the mechanism's name behind it."""
    name = str(mechanism.mechanism.item())
    start, stop = float(mechanism.window_start), float(mechanism.window_stop)
    ax.plot(
        [start, stop],
        [height, height],
        transform=ax.get_xaxis_transform(),
        color=COLOURS[name],
        lw=6,
        solid_capstyle="butt",
        alpha=0.6,
    )
    ax.text(
        *(stop, height, f"  {name}"),
        transform=ax.get_xaxis_transform(),
        va="center",
        fontsize="small",
    )
