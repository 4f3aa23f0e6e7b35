"""One look for all figures: quiet axes, a colour-blind safe palette, vector-ready fonts."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import xarray as xr
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lazyrich._files import check_target, write_whole
from lazyrich.plot.picture import Panel, Picture, settle
from lazyrich.vocabulary.quantity import label_of

# Okabe & Ito, https://jfly.uni-koeln.de/color/
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#6F7B81"
_INDEX = re.compile(r"(\w)_(\w)(²?)")
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", ":")  # when all colours have been used
LOOKS = tuple((colour, dashes) for dashes in DASHES for colour in CYCLE)
"""Colours and dashes of curves, all of them different."""

_RC: Any = {
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "font.size": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,
    "savefig.dpi": 160,
    "svg.fonttype": "none",
    "svg.hashsalt": "lazyrich",  # the same picture is the same text
}


def style() -> AbstractContextManager[None]:
    """A context in which figures look like all figures of lazyrich."""
    return mpl.rc_context(_RC)


def figure(rows: int = 1, columns: int = 1, *, width: float = 5.0, height: float = 3.6) -> Figure:
    """A figure that shows itself in a notebook, without the global state of pyplot.

    It has the look of `style`. When it is shown or written, ticks are at round numbers, and legends
    of `legend` where they cover nothing.

    Args:
        rows: number of rows of panels.
        columns: number of columns of panels.
        width: width of a panel, in inches.
        height: height of a panel, in inches.
    """
    with style():
        made = Picture(figsize=(width * columns, height * rows), layout="constrained")
        made.subplots(rows, columns, subplot_kw={"axes_class": Panel})
    return made


def axes(ax: Axes | None) -> Axes:
    """The given Axes, or those of a new figure."""
    return ax if ax is not None else figure().axes[0]


def axis_label(coordinate: xr.DataArray) -> str:
    r"""What stands at an axis, by its attributes; indices of symbols are set below the line.

    Example:
        >>> attrs = {"long_name": "initial variance of the first layer", "symbol": "σ_w²"}
        >>> axis_label(xr.DataArray([1.0], dims="init_var_w", name="init_var_w", attrs=attrs))
        'initial variance $\\mathregular{σ_w^2}$ of the first layer'
    """
    label = label_of(coordinate.attrs, str(coordinate.name))
    return _INDEX.sub(_below_the_line, label) if "symbol" in coordinate.attrs else label


def _below_the_line(symbol: re.Match[str]) -> str:
    letter, index, square = symbol.groups()
    return rf"$\mathregular{{{letter}_{index}{'^2' if square else ''}}}$"


def check_picture(path: str | Path) -> Path:
    """Refuse a picture file that could not be written, before the work is done.

    Args:
        path: path of the file, which ends in a format that matplotlib writes.

    Raises:
        InputError: if the folder is missing, the target is one, or the format is unknown.
    """
    kinds = sorted(Figure().canvas.get_supported_filetypes())
    return check_target(path, [f".{kind}" for kind in kinds])


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure whole or not at all, with ticks and legends in order."""
    target = check_picture(path)
    if not isinstance(figure, Picture):  # which does it by itself
        settle(figure)
    return write_whole(target, figure.savefig)
