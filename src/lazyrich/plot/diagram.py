"""Phase diagrams: shaded regions with their names in them, boundaries as lines."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from scipy import ndimage

from lazyrich.phases.diagram import PhaseDiagram
from lazyrich.plot.style import BLACK, axes
from lazyrich.theory.exact import Array

REGION_COLOURS = {
    "frozen": "#D9D9D9",
    "unstable": "#F3D9C9",
    "kernel": "#CFE3F3",
    "feature_critical": "#FBE7BF",
    "feature_vanishing_init": "#BFE5D6",
}
MECHANISM_COLOURS = {
    "none": "#EEEEEE",
    "alignment": "#A6D3F0",
    "disalignment": "#E5BCD3",
    "alignment+disalignment": "#B9C2E3",
    "rescaling": "#F7F1A0",
    "alignment+rescaling": "#8FD3BC",
    "disalignment+rescaling": "#EFA873",
    "alignment+disalignment+rescaling": "#C9BBA3",
}
LABEL_ROOM = 0.04  # of the picture's side: areas without this room on all sides stay unnamed
NAMED_INSIDE = 4
EDGE = 0.25  # names nearer to a side than this are set away from it


def phase_diagram(diagram: PhaseDiagram, *, show: str = "region", ax: Axes | None = None) -> Axes:
    """Draw a phase diagram.

    Args:
        diagram: from `parameter_diagram` or `exponent_diagram`.
        show: `region` or `mechanism` for named areas, or an order parameter for a heat map.
        ax: where to draw.
    """
    ax = axes(ax)
    values = diagram.values[show]
    y, x = (str(dim) for dim in values.dims)
    if "flag_values" in values.attrs:
        _draw_areas(ax, values)
    else:
        positive = bool((values > 0).all())
        mesh = ax.pcolormesh(
            *(values[x], values[y], values),
            norm=mpl.colors.LogNorm() if positive else None,
            cmap="cividis",
            rasterized=True,
        )
        ax.figure.colorbar(mesh, ax=ax, label=values.attrs["long_name"])
    for curve in diagram.boundaries:
        ax.plot(curve.x, curve.y, color=BLACK, lw=1.2)
        middle = len(curve.x) // 2
        ax.annotate(
            curve.name,
            (curve.x[middle], curve.y[middle]),
            textcoords="offset points",
            xytext=(5, 5),
            fontsize="small",
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
        )
    for name, axis in ((x, ax.xaxis), (y, ax.yaxis)):
        if _is_geometric(values[name].values):
            (ax.set_xscale if axis is ax.xaxis else ax.set_yscale)("log")
        axis.set_label_text(values[name].attrs.get("long_name", name))
    ax.set_title(values.attrs["long_name"])
    return ax


def _draw_areas(ax: Axes, values: xr.DataArray) -> None:
    """Shade flagged areas and name them: inside if they are few, else in a legend."""
    palette = REGION_COLOURS | MECHANISM_COLOURS
    names = values.attrs["flag_meanings"].split()
    present = [int(code) for code in np.unique(values)]
    y, x = values.dims
    ax.pcolormesh(
        *(values[x], values[y], values),
        cmap=ListedColormap([palette[name] for name in names]),
        vmin=-0.5,
        vmax=len(names) - 0.5,
        rasterized=True,
    )
    if len(present) > NAMED_INSIDE:
        patches = [
            Patch(color=palette[names[code]], label=_spelled(names[code])) for code in present
        ]
        ax.legend(handles=patches, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return
    for code in present:
        inside = np.pad(values.values == code, 1)
        depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
        if depth.max() < LABEL_ROOM * min(depth.shape):
            continue
        row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
        position = column / (depth.shape[1] - 1)
        ax.text(
            *(float(values[x][column]), float(values[y][row])),
            _spelled(names[code]),
            fontsize="small",
            ha="left" if position < EDGE else "right" if position > 1 - EDGE else "center",
            va="center",
        )


def _spelled(name: str) -> str:
    return name.replace("feature_", "feature learning,\n").replace("_", " ").replace("+", "\n+ ")


def _is_geometric(values: Array) -> bool:
    if not (values > 0).all():
        return False
    ratios = values[1:] / values[:-1]
    return bool(np.allclose(ratios, ratios[0], rtol=1e-6)) and values[-1] / values[0] > 5
