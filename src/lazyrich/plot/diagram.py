"""Phase diagrams: shaded regions with their names in them, boundaries as lines."""

from __future__ import annotations

from textwrap import fill

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy import ndimage

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.phases.diagram import FEATURE_REGIONS, MECHANISM_SETS, REGIONS, PhaseDiagram
from lazyrich.plot.style import BLACK, axes, axis_label
from lazyrich.plot.ticks import tidy
from lazyrich.vocabulary.regimes import Phase

REGION_COLOURS: dict[str, str] = {
    Phase.FROZEN: "#D9D9D9",
    Phase.UNSTABLE: "#F3D9C9",
    Phase.KERNEL: "#CFE3F3",
    **dict(zip(FEATURE_REGIONS, ("#FBE7BF", "#BFE5D6"), strict=True)),
}
SHADES = (  # grey; blue alone, pink alone, both; yellow alone, with blue, with pink, with both
    *("#EEEEEE", "#A6D3F0", "#E5BCD3", "#B9C2E3"),
    *("#F7F1A0", "#8FD3BC", "#EFA873", "#C9BBA3"),
)
MECHANISM_COLOURS = dict(zip(MECHANISM_SETS, SHADES, strict=True))
LABEL_ROOM = 0.1  # of the picture's side that a name needs on all sides of it
NAMED_INSIDE = 4
WRAP = 40  # characters beside a colour bar
SHARP = 500  # places a side that a picture of common size shows
NO_AREA = 0.01  # of the plane, below which a region is a line
EDGE = 0.25  # names nearer to a side than this are set away from it


def phase_diagram(diagram: PhaseDiagram, *, show: str = "region", ax: Axes | None = None) -> Axes:
    """Draw a phase diagram.

    In a heat map networks that can never move, and infinite values, are left blank.

    Args:
        diagram: diagram from `parameter_diagram` or `exponent_diagram`.
        show: `region` or `acting_mechanisms` for named areas, or an order parameter for a heat map.
        ax: where to draw.

    Raises:
        InputError: if there is nothing of that name to show.
    """
    if show not in diagram.values.data_vars:
        choice = ", ".join(map(str, diagram.values.data_vars))
        raise InputError(f"there is no quantity {show!r}; choose from {choice}")
    ax = axes(ax)
    values = diagram.values[show]
    frozen = diagram.values.region == REGIONS.index(Phase.FROZEN)
    y, x = (str(dim) for dim in values.dims)
    if "flag_values" in values.attrs:
        _draw_areas(ax, diagram, show)
    else:
        values = values.where(~frozen & np.isfinite(values))
        positive = bool((values > 0).where(values.notnull(), True).all())
        mesh = ax.pcolormesh(
            *(values[x], values[y], values),
            norm=mpl.colors.LogNorm() if positive else None,
            cmap="cividis",
            rasterized=True,
        )
        ax.figure.colorbar(mesh, ax=ax, label=fill(values.attrs["long_name"], WRAP))
    for curve in diagram.boundaries:
        ax.plot(curve.x, curve.y, color=BLACK, lw=1.2)
        place = len(curve.x) // 5  # away from the names of the regions
        ax.annotate(
            curve.name,
            (curve.x[place], curve.y[place]),
            ha="center",
            va="center",
            fontsize="small",
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.9},
        )
    for name, axis in ((x, ax.xaxis), (y, ax.yaxis)):
        if _is_geometric(values[name].values):
            (ax.set_xscale if axis is ax.xaxis else ax.set_yscale)("log")
        axis.set_label_text(axis_label(values[name]))
    tidy(ax)
    ax.set_title(fill(values.attrs["long_name"], WRAP))
    return ax


def _draw_areas(ax: Axes, diagram: PhaseDiagram, show: str) -> None:
    """Shade flagged areas and name them: inside if all have room for it, else in a legend."""
    values = diagram.values[show]
    palette = REGION_COLOURS | MECHANISM_COLOURS
    names = values.attrs["flag_meanings"].split()
    present = [int(code) for code in np.unique(values)]
    y, x = values.dims
    xs, ys, codes = refined(diagram, show)
    ax.pcolormesh(
        *(xs, ys, codes),
        cmap=ListedColormap([palette[name] for name in names]),
        vmin=-0.5,
        vmax=len(names) - 0.5,
        rasterized=True,
    )
    places = {code: _deepest(values.values == code) for code in present}
    if len(present) > NAMED_INSIDE or None in places.values():
        patches = []
        for code in present:
            thin = float(np.mean(codes == code)) < NO_AREA
            label = _spelled(names[code]) + ("\n(on a line)" if thin else "")
            patches.append(Patch(color=palette[names[code]], label=label))
        ax.legend(handles=patches, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        return
    for code, place in places.items():
        row, column = place or (0, 0)
        position = column / (values.sizes[x] - 1)
        ax.text(
            *(float(values[x][column]), float(values[y][row])),
            _spelled(names[code]),
            fontsize="small",
            ha="left" if position < EDGE else "right" if position > 1 - EDGE else "center",
            va="center",
        )


def refined(diagram: PhaseDiagram, show: str) -> tuple[Array, Array, NDArray[np.int_]]:
    """Axes and codes of a diagram, so fine that the edges of its areas have no visible steps.

    Every side of a cell is halved again and again. A new place between places of one code has
    theirs; any other is computed, so that the work goes with the length of the edges.
    """
    values = diagram.values[show]
    y, x = (str(dim) for dim in values.dims)
    xs, ys, codes = values[x].values, values[y].values, values.values
    while min(codes.shape) < SHARP:
        xs, ys = _halved(xs), _halved(ys)
        corners = [
            codes[np.ix_((np.arange(ys.size) + up) // 2, (np.arange(xs.size) + across) // 2)]
            for up in (0, 1)
            for across in (0, 1)
        ]
        codes = corners[0].copy()
        between = np.nonzero(np.min(corners, 0) != np.max(corners, 0))
        if between[0].size:
            codes[between] = diagram.at(show, xs[between[1]], ys[between[0]])
    return xs, ys, codes


def _halved(values: Array) -> Array:
    """An axis with a value between any two, its mean or, of ratios, its geometric mean."""
    low, high = values[:-1], values[1:]
    finer = np.empty(2 * values.size - 1)
    finer[::2] = values
    finer[1::2] = np.sqrt(low * high) if _is_geometric(values) else (low + high) / 2
    return finer


def _deepest(area: NDArray[np.bool_]) -> tuple[int, int] | None:
    """The point of an area farthest from its edges; None if that leaves no room for a name."""
    depth = ndimage.distance_transform_edt(np.pad(area, 1))[1:-1, 1:-1]
    if depth.max() < LABEL_ROOM * min(depth.shape):
        return None
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return int(row), int(column)


def _spelled(name: str) -> str:
    return name.replace("feature_", "feature learning,\n").replace("_", " ").replace("+", "\n+ ")


def _is_geometric(values: Array) -> bool:
    if not (values > 0).all():
        return False
    ratios = values[1:] / values[:-1]
    return bool(np.allclose(ratios, ratios[0], rtol=1e-6)) and values[-1] / values[0] > 5
