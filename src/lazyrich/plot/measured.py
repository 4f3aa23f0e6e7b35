"""Measured phase diagrams: trained networks as points, level curves and theory as lines on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from scipy.spatial import cKDTree

from lazyrich._errors import InputError
from lazyrich.numerics.boundary import Boundary
from lazyrich.numerics.exact import Array
from lazyrich.numerics.scatter import Scatter, scattered
from lazyrich.numerics.spacing import Spacing
from lazyrich.phases.diagram import FEATURE_REGIONS
from lazyrich.plot.diagram import REGION_COLOURS
from lazyrich.plot.style import BLACK, VERMILION, axes, axis_label
from lazyrich.plot.ticks import tidy
from lazyrich.vocabulary.regimes import CANNOT_TELL, Phase

Curves = Mapping[str, Sequence[Boundary]]
"""Curves by the name that the legend gives them."""

CRITICAL, VANISHING_INIT = (REGION_COLOURS[name] for name in FEATURE_REGIONS)
PHASE_COLOURS: dict[str, str] = {
    **{phase: REGION_COLOURS.get(phase, CRITICAL) for phase in Phase},
    "linear": REGION_COLOURS[Phase.KERNEL],  # the regimes of Luo et al., arXiv:2007.07497
    "critical": CRITICAL,
    "condensed": VANISHING_INIT,
    CANNOT_TELL: "#FFFFFF",
}
"""Of the words that a measured diagram may hold, in the order of the legend."""

SIDE = 240  # places a side at which the colour of the nearest point is painted
WIDE_RANGE = 20  # ratio of the largest to the smallest value from which colours are logarithmic
WIDEST = 1e5  # ratio that colours span at most
MARGIN = 0.05  # around the outermost networks, in units of the axis
WRAP = 40  # characters beside a colour bar


def measured_map(
    diagram: xr.Dataset,
    show: str = "ntk_change",
    *,
    x: str | None = None,
    y: str | None = None,
    theory: Curves | None = None,
    curves: Curves | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an order parameter, an exponent or the phase of trained networks over two axes.

    Every place has the colour of the nearest network; dots show where the networks are, crosses
    those that have no value.

    Args:
        diagram: the Dataset of `measured_diagram`, with one value of all dims but two, or along
            `point`.
        show: a variable of it.
        x: the horizontal coordinate, where the networks lie along `point`.
        y: the vertical one.
        theory: predicted boundaries, drawn as lines on top.
        curves: level curves of the measurement, drawn dashed.
        ax: where to draw.

    Raises:
        InputError: no such variable, one that lies over no plane or has no value at all, or words
            that have no colour.

    Example:
        >>> change = xr.DataArray([[0.1, 1.0], [1.0, 10.0]], dims=("b", "a"))
        >>> diagram = xr.Dataset({"ntk_change": change}).assign_coords(a=[1, 2], b=[1, 2])
        >>> ax = measured_map(diagram)
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('a', 'b')
    """
    if show not in diagram:
        choice = ", ".join(map(str, diagram.data_vars))
        raise InputError(
            f"`show` must be one of {choice}, got {show!r}. Others are measured if "
            "`measured_diagram` is given their name as `order`."
        )
    in_words = diagram[show].dtype.kind in "UO"
    values = _coded(diagram[show]) if in_words else diagram[show]
    at = scattered(values, x, y)
    if not bool(np.isfinite(values).any()):
        raise InputError(f"{show!r} must have a value somewhere, got none. Finish the study.")
    ax = axes(ax)
    sides = at.x, at.y
    spacing = [Spacing.of(np.unique(side.values)) for side in sides]
    points = _points(at, values, diagram)
    limits = [_limits(side.values, one) for side, one in zip(sides, spacing, strict=True)]
    patches = (_paint_words if in_words else _paint_numbers)(
        ax, values, *_nearest(points, spacing, limits)
    )
    _draw_networks(ax, points)
    for drawn, colour, line in ((theory, VERMILION, "-"), (curves, BLACK, "--")):
        for name, parts in (drawn or {}).items():
            for i, curve in enumerate(parts):
                label = name if i == 0 else None
                ax.plot(curve.x, curve.y, line, color=colour, lw=1.8, label=label)
    for side, values_on, one, ends in zip("xy", sides, spacing, limits, strict=True):
        ax.set(**{f"{side}label": axis_label(values_on)})
        ax.set(**{f"{side}scale": "log" if one.ratios else "linear"})
        ax.set(**{f"{side}lim": ends})
    tidy(ax)
    ax.set_title(fill(values.attrs.get("long_name", show), 1 + WRAP))
    handles = [*patches, *(line for line in ax.lines if not str(line.get_label()).startswith("_"))]
    if handles:
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.18), ncols=2)
    return ax


def _draw_networks(ax: Axes, points: Array) -> None:
    """Dots, and crosses where there is no value; on top of curves, which pass through networks."""
    known = np.isfinite(points[2])
    on_top: dict[str, Any] = {"ls": "none", "color": BLACK, "zorder": 3}
    ax.plot(*points[:2, known], marker="o", ms=2.6, mec="white", mew=0.5, **on_top)
    halo = [Stroke(linewidth=2.0, foreground="white"), Normal()]
    ax.plot(*points[:2, ~known], marker="x", ms=4, mew=0.8, path_effects=halo, **on_top)


def _coded(values: xr.DataArray) -> xr.DataArray:
    """Words as their places in `PHASE_COLOURS`; the empty word is no value."""
    place = {"": np.nan} | {name: float(i) for i, name in enumerate(PHASE_COLOURS)}
    words = values.values.ravel().tolist()
    if unknown := sorted(set(words) - set(place)):
        raise InputError(
            f"{values.name!r} must hold words among {', '.join(PHASE_COLOURS)}, "
            f"got {', '.join(map(str, unknown))}. Show another variable."
        )
    return values.copy(data=np.reshape([place[word] for word in words], values.shape))


def _points(at: Scatter, values: xr.DataArray, diagram: xr.Dataset) -> Array:
    """Coordinates and values of all networks: those without a value that were tried are NaN."""
    tried = np.isfinite(at.values)
    if values.ndim == 1 or tried.mean() > 0.5:  # points, or a full grid
        tried[:] = True
    if "diverged" in diagram and set(diagram.diverged.dims) == set(values.dims):
        known = diagram.diverged.transpose(*values.dims).notnull().values.ravel()
        tried = np.isfinite(at.values) | known
    return np.stack([part[tried].astype(float) for part in (at.x.values, at.y.values, at.values)])


def _limits(values: Array, spacing: Spacing) -> tuple[float, float]:
    """The ends of an axis, with some room around the outermost networks."""
    ends = spacing.straight(np.array([values.min(), values.max()]))
    room = (ends[1] - ends[0]) * MARGIN
    low, high = spacing.back(ends + np.array([-room, room]))
    return float(low), float(high)


def _nearest(
    points: Array, spacing: Sequence[Spacing], limits: Sequence[tuple[float, float]]
) -> tuple[Array, Array, np.ma.MaskedArray]:
    """Horizontal and vertical places, and the value of the nearest network at each."""
    straight = [one.straight(part) for one, part in zip(spacing, points, strict=False)]
    ends = [one.straight(np.array(limit)) for one, limit in zip(spacing, limits, strict=True)]
    low, high = np.array(ends).T
    sides = [np.linspace(a, b, SIDE) for a, b in ends]
    mesh = np.stack(np.meshgrid(*sides), axis=-1)
    tree = cKDTree((np.stack(straight, axis=-1) - low) / (high - low))
    nearest = points[2][tree.query((mesh - low) / (high - low))[1]]
    across, up = (one.back(side) for one, side in zip(spacing, sides, strict=True))
    return across, up, np.ma.masked_invalid(nearest)


def _paint_words(
    ax: Axes, values: xr.DataArray, x: Array, y: Array, shade: np.ma.MaskedArray
) -> list[Patch]:
    """Areas of one word; returns the patches of the legend."""
    names, colours = list(PHASE_COLOURS), ListedColormap(list(PHASE_COLOURS.values()))
    ax.pcolormesh(x, y, shade, cmap=colours, vmin=-0.5, vmax=len(names) - 0.5, rasterized=True)
    present = np.unique(values.values[np.isfinite(values.values)]).astype(int)
    return [
        Patch(facecolor=PHASE_COLOURS[names[code]], edgecolor=BLACK, lw=0.4, label=names[code])
        for code in present
    ]


def _paint_numbers(
    ax: Axes, values: xr.DataArray, x: Array, y: Array, shade: np.ma.MaskedArray
) -> list[Patch]:
    """Colours with a bar beside them, which needs no legend."""
    norm = _norm(shade)
    image = ax.pcolormesh(x, y, shade, cmap="cividis", norm=norm, rasterized=True)
    cut = "min" if float(shade.min()) < float(norm.vmin or 0) else "neither"
    ax.figure.colorbar(image, ax=ax, label=values.attrs.get("symbol", values.name), extend=cut)
    return []


def _norm(shade: np.ma.MaskedArray) -> Normalize:
    low, high = float(shade.min()), float(shade.max())
    if low > 0 and high / low > WIDE_RANGE:
        return mpl.colors.LogNorm(max(low, high / WIDEST), high)
    return Normalize(low, high)
