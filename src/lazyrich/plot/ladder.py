"""How a layer's updates follow the width, from a coordinate check."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from lazyrich._errors import InputError
from lazyrich.plot.legends import legend
from lazyrich.plot.style import BLACK, BLUE, VERMILION, axes
from lazyrich.plot.ticks import tidy

UPDATES = (
    ("feature_update", "update", BLACK, "-"),
    ("effective_update", "its own weight", BLUE, "-"),
    ("propagating_update", "from below", VERMILION, "--"),
)


def feature_updates(data: xr.Dataset, layer: str, *, ax: Axes | None = None) -> Axes:
    """Draw how much a layer's outputs moved at every width, and its parts if they were measured.

    A line is the geometric mean over seeds, the band around it reaches from the smallest to the
    largest; behind each name stands the fitted exponent of the width.

    Args:
        data: Dataset with dims `width`, `seed` and `layer`: `feature_update` and its exponent, of a
            refined check also `effective_update` and `propagating_update`.
        layer: its path.
        ax: where to draw.

    Raises:
        InputError: no such layer.
    """
    if layer not in data.layer.values:
        raise InputError(
            f"`layer` must be one of {[str(name) for name in data.layer.values]}, got {layer!r}."
        )
    ax = axes(ax)
    row = data.sel(layer=layer)
    for name, label, colour, dashes in UPDATES:
        if name not in row or not (row[name] > 0).any():
            continue
        sizes = row[name].where(row[name] > 0)
        exponent = float(row[f"{name}_exponent"])
        said = f"{label}, width^{exponent:.2f}"
        middle = np.exp(xr.apply_ufunc(np.log, sizes).mean("seed"))
        ax.plot(row.width, middle, dashes, color=colour, label=said)
        low, high = sizes.min("seed"), sizes.max("seed")
        ax.fill_between(row.width, low, high, color=colour, alpha=0.15, lw=0)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_title(layer or "(model)")
    ax.set_xlabel("width")
    ax.set_ylabel("root mean square")
    tidy(ax)
    legend(ax)
    return ax
