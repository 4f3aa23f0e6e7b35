"""Figures that show themselves in a notebook, with ticks and legends in order when they are drawn.

They have no part in the global state of pyplot, which is what shows other figures in a notebook.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich.plot.legends import movable, place
from lazyrich.plot.ticks import tidy


class Picture(Figure):
    """A figure that is put in order before it is written, and that a notebook displays."""

    settles = True

    def savefig(self, fname: Any, **options: Any) -> None:  # noqa: ANN401 - those of matplotlib
        """Put ticks and legends in order and write the figure."""
        settle(self)
        super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        """What a notebook displays."""
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


class Panel(Axes):
    """Axes that a notebook displays as the figure that they are in."""

    def _repr_png_(self) -> bytes | None:
        """What a notebook displays."""
        figure = self.get_figure()
        return figure._repr_png_() if isinstance(figure, Picture) else None


def settle(figure: Figure) -> None:
    """Round ticks on every axis, and every legend where it covers nothing."""
    for ax in figure.axes:
        tidy(ax)
    legends = movable(figure.axes)
    if legends:
        place(figure, legends)
