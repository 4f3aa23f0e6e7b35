"""Legends that cover nothing: where a panel is empty, else beside it.

What is empty is read off the figure as it is drawn, so that bands, error bars, marks and words
count as curves do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from numpy.typing import NDArray

Renderer: Any = RendererAgg  # which has no types
MARK = "lazyrich: legend where there is room"  # of legends that `settle` may move
ROOM = 0.5  # around a legend, in units of its letters
INK = 6  # of 255 by which a pixel differs from the background
BESIDE = (1.02, 1.0)  # where a legend stands that has no room inside, in units of the panel


def legend(panel: Axes, **options: Any) -> Legend:  # noqa: ANN401 - those of matplotlib
    """A legend that covers nothing that is drawn.

    It stands in the panel, near a corner, if it has room there, else to the right of the panel. In
    a figure of `plot.figure` the place is found when the figure is saved or shown.

    Args:
        panel: the axes.
        options: options of `Axes.legend`; with a `loc` the legend stays there.

    Example:
        >>> ax = Figure().subplots()
        >>> _ = ax.plot([0, 1], [0, 1], label="a line")
        >>> _ = legend(ax)
    """
    made = panel.legend(**{"frameon": False, **options})
    if "loc" not in options:
        made.set_gid(MARK)
        figure = panel.figure if isinstance(panel.figure, Figure) else panel.figure.figure
        if not getattr(figure, "settles", False):
            place(figure, [made])
    return made


def movable(axes: Iterable[Axes]) -> list[Legend]:
    """The legends whose place is not given."""
    legends = (ax.get_legend() for ax in axes)
    return [one for one in legends if one is not None and one.get_gid() == MARK]


def place(figure: Figure, legends: Iterable[Legend]) -> None:
    """Put legends where the figure is empty; those that find no room stand beside their panel."""
    inside = list(legends)
    while inside:
        renderer = _drawn_without(figure, inside)
        found = {one: _empty_place(one, renderer) for one in inside}
        for one, at in found.items():
            one.set_loc("upper left" if at is None else "lower left")
            one.set_bbox_to_anchor(BESIDE if at is None else at, transform=one.axes.transAxes)
            one.borderaxespad = 0.0
        if None not in found.values():
            return
        inside = [one for one, at in found.items() if at is not None]  # the panels have shrunk


def _drawn_without(figure: Figure, legends: list[Legend]) -> Any:  # noqa: ANN401
    """The figure's pixels without some of its legends."""
    renderer = Renderer(figure.bbox.width, figure.bbox.height, figure.dpi)
    for one in legends:
        one.set_visible(False)
    figure.draw(renderer)
    for one in legends:
        one.set_visible(True)
    return renderer


def _empty_place(legend: Legend, renderer: Any) -> tuple[float, float] | None:  # noqa: ANN401
    """The lower left corner, in units of the panel, of a place without ink, nearest to a corner."""
    ax = legend.axes
    letters = legend.prop.get_size_in_points() * renderer.points_to_pixels(1.0)
    room = int(np.ceil(ROOM * letters))
    size = legend.get_window_extent(renderer)
    height, width = (int(np.ceil(side)) + 2 * room for side in (size.height, size.width))
    free = _free(_ink(ax, renderer), height, width)
    if not free.any():
        return None
    rows, columns = np.nonzero(free)  # of the place's upper left corner
    up, across = (at / max(n - 1, 1) for at, n in zip((rows, columns), free.shape, strict=True))
    away = np.hypot(np.minimum(up, 1 - up), np.minimum(across, 1 - across))
    best = np.lexsort((-across, up, away.round(3)))[0]  # the upper right one of equals
    x = columns[best] + room
    y = ax.bbox.height - rows[best] - height + room
    return float(x / ax.bbox.width), float(y / ax.bbox.height)


def _ink(ax: Axes, renderer: Any) -> NDArray[np.bool_]:  # noqa: ANN401
    """Where a panel's pixels differ from its background, from its upper left corner."""
    pixels = np.asarray(renderer.buffer_rgba())[..., :3].astype(int)
    box = ax.bbox
    top, left = round(pixels.shape[0] - box.y1), round(box.x0)
    part = pixels[max(top, 0) : top + int(box.height), max(left, 0) : left + int(box.width)]
    background = np.round(255 * np.array(to_rgb(ax.get_facecolor())))
    ink: NDArray[np.bool_] = (np.abs(part - background) > INK).any(-1)
    for side, spine in (("left", ink[:, :2]), ("bottom", ink[-2:])):
        if ax.spines[side].get_visible():
            spine[...] = False  # an axis is no curve
    return ink


def _free(ink: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Upper left corners of the boxes of this size that hold no ink, from sums over rectangles."""
    if height >= ink.shape[0] or width >= ink.shape[1]:
        return np.zeros((0, 0), bool)
    total = np.pad(ink.astype(int).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    within = total[height:, width:] - total[:-height, width:]
    return within - total[height:, :-width] + total[:-height, :-width] == 0
