"""What a probe has measured, layer by layer, while a network trained."""

from __future__ import annotations

from textwrap import fill

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lazyrich.plot.legends import legend
from lazyrich.plot.mechanisms import COLOURS, room_below
from lazyrich.plot.style import BLACK, BLUE, GREEN, GREY, PURPLE, VERMILION, axes
from lazyrich.plot.ticks import ROUND, tidy

WRAP = 40  # characters above a panel
LEAST = 1e-6  # of a change that is drawn on a logarithmic axis

SHORT = {"ntk_change": "change", "centred_kernel_distance": "rotation"}
SHARES = (
    ("layer_log_alignment", "alignment  Δ ln A", BLUE, "-"),
    ("layer_log_rescaling", "rescaling  Δ ln‖W‖", VERMILION, "-"),
    ("layer_log_gain", "activation gain", GREY, "--"),
)


def mechanism_shares(
    history: xr.Dataset,
    layer: str,
    *,
    windows: tuple[tuple[str, float, float], ...] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw one layer's part in the change of ln‖f‖ since the start, mechanism by mechanism.

    Args:
        history: a history with dims `step` and `layer` and the variables `layer_log_alignment`,
            `layer_log_rescaling` and, if measured, `layer_log_gain`.
        layer: its path.
        windows: (mechanism, first step, last step) in which it acted, as bars.
        ax: where to draw.
    """
    ax = axes(ax)
    row = history.sel(layer=layer)
    for name, label, colour, dashes in SHARES:
        if name in row:
            ax.plot(row.step, row[name], dashes, color=colour, label=label)
    ax.axhline(0, color=BLACK, lw=0.5)
    heights = room_below(ax, len(windows))
    for (mechanism, start, stop), height in zip(windows, heights, strict=True):
        ax.plot(
            [start, stop],
            [height] * 2,
            transform=ax.get_xaxis_transform(),
            color=COLOURS[mechanism],
            lw=5,
            solid_capstyle="butt",
            alpha=0.5,
        )
    return _finished(ax, layer, "part in Δ ln‖f‖")


def feature_ansatz(history: xr.Dataset, layer: str, *, ax: Axes | None = None) -> Axes:
    """Draw one layer's NFA with its standard error and its null, and the centred NFA.

    Args:
        history: a history with dims `step` and `layer` and the variables `nfa` and, if measured,
            `nfa_stderr`, `nfa_null` and `cnfa`.
        layer: its path.
        ax: where to draw.
    """
    ax = axes(ax)
    row = history.sel(layer=layer)
    if "nfa_stderr" in row:
        low, high = row.nfa - row.nfa_stderr, row.nfa + row.nfa_stderr
        ax.fill_between(row.step, low, high, color=BLUE, alpha=0.2, lw=0)
    ax.plot(row.step, row.nfa, color=BLUE, label="NFA")
    if "cnfa" in row:
        ax.plot(row.step, row.cnfa, color=GREEN, label="centred NFA")
    if "nfa_null" in row:
        ax.plot(row.step, row.nfa_null, ":", color=BLACK, label="NFA by chance")
    ax.set_ylim(min(0.0, ax.get_ylim()[0]), 1.03)
    return _finished(ax, layer, "correlation")


def kernel_motion(history: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw how far the NTK has moved since the start, and how far it turned between samples.

    Args:
        history: a history with the dim `step` and the variables `ntk_change`, with its interval
            `…_low`, `…_high`, and, if measured, `centred_kernel_distance`.
        ax: where to draw.
    """
    ax = axes(ax)
    for name, colour in (("ntk_change", BLUE), ("centred_kernel_distance", PURPLE)):
        if name in history:
            _interval(ax, history, name, colour)
            label = f"{SHORT[name]}  {history[name].attrs.get('symbol', name)}"
            ax.plot(history.step, _positive(history[name]), color=colour, label=label)
    _logarithmic(ax)
    return _finished(ax, "neural tangent kernel", "since the start")


def loss_curve(history: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the loss on the probe's batch.

    Args:
        history: a history with the dim `step` and the variable `loss`, whose `long_name` is the
            title.
        ax: where to draw.
    """
    ax = axes(ax)
    ax.plot(history.step, _positive(history.loss), color=BLACK)
    _logarithmic(ax)
    title = history.loss.attrs.get("long_name", "loss")
    return _finished(ax, fill(title, WRAP), "loss on the probe batch")


def forecast_and_outcome(
    history: xr.Dataset, predicted: float, stderr: float = 0.0, *, ax: Axes | None = None
) -> Axes:
    """Draw the NTK change that was forecast beside the one that came.

    Args:
        history: a history with the dim `step` and the variable `ntk_change`.
        predicted: the change that was forecast, ‖Θ − Θ₀‖/‖Θ₀‖ at the end of a rehearsal.
        stderr: its standard error.
        ax: where to draw.
    """
    ax = axes(ax)
    if np.isfinite(predicted) and predicted > 0:
        ax.axhline(predicted, color=VERMILION, ls="--", label="forecast, by rehearsal")
        ax.axhspan(
            max(predicted - stderr, LEAST), predicted + stderr, color=VERMILION, alpha=0.15, lw=0
        )
    _interval(ax, history, "ntk_change", BLUE)
    ax.plot(history.step, _positive(history.ntk_change), color=BLUE, label="measured")
    _logarithmic(ax)
    return _finished(ax, "forecast against outcome", "change of the NTK  ‖ΔΘ‖/‖Θ₀‖")


def side_by_side(
    first: xr.Dataset,
    second: xr.Dataset,
    name: str,
    *,
    names: tuple[str, str],
    ax: Axes | None = None,
) -> Axes:
    """Draw one quantity of two runs, each with its interval, on a logarithmic axis.

    Args:
        first: history with the dim `step` and the variable, and if measured its `…_low` and
            `…_high`.
        second: the same of the other run.
        name: the variable; a run without it is left out.
        names: what the runs are called.
        ax: where to draw.
    """
    ax = axes(ax)
    attrs: dict[str, str] = {}
    for history, label, colour in zip((first, second), names, (BLUE, VERMILION), strict=True):
        if name in history:
            _interval(ax, history, name, colour)
            ax.plot(history.step, _positive(history[name]), color=colour, label=label)
            attrs = attrs or history[name].attrs
    _logarithmic(ax)
    return _finished(ax, fill(attrs.get("long_name", name), WRAP), attrs.get("symbol", name))


def _interval(ax: Axes, history: xr.Dataset, name: str, colour: str) -> None:
    low, high = f"{name}_low", f"{name}_high"
    if low in history and high in history:
        below, above = _positive(history[low]), _positive(history[high])
        ax.fill_between(history.step, below, above, color=colour, alpha=0.2, lw=0)


def _logarithmic(ax: Axes) -> None:
    """A logarithmic axis, if there is anything that it can show."""
    if any((np.asarray(line.get_ydata(), float) > 0).any() for line in ax.get_lines()):
        ax.set_yscale("log")


def _positive(values: xr.DataArray) -> xr.DataArray:
    return values.where(values > LEAST * float(abs(values).max()))


def _finished(ax: Axes, title: str, ylabel: str) -> Axes:
    ax.set_title(title)
    ax.set_xlabel("step")
    ax.set_ylabel(ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=ROUND))
    tidy(ax)
    if ax.get_legend_handles_labels()[0]:
        legend(ax)
    return ax
