"""Test loss against richness, where the best one lies, and where the network stands."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from lazyrich.plot.legends import legend
from lazyrich.plot.style import BLUE, GREY, VERMILION, axes

EVERY = ("mean_test_loss_low", "mean_test_loss_high")


def richness_curve(
    data: xr.Dataset,
    standing: xr.Dataset | None = None,
    *,
    interval: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw mean test loss against richness with its interval over the seeds.

    Args:
        data: a Dataset over `richness` and `seed` with `test_loss`, `loss`, and
            `mean_test_loss` with the ends of its interval; such as `RichnessCurve.best`.
        standing: the same over `seed` of the network as it stands, with its `richness`.
        interval: ends of the interval of the best ρ, which is shaded.
        ax: where to draw.
    """
    ax = axes(ax)
    rho = data.richness
    if interval is not None and np.isfinite(interval).all():
        ax.axvspan(*interval, color=GREY, alpha=0.18, lw=0, label="best ρ, 95 % interval")
    ax.plot(rho, data.loss.mean("seed"), ":", color=GREY, label="training loss")
    for seed in data.seed:
        ax.plot(rho, data.test_loss.sel(seed=seed), ".", color=BLUE, alpha=0.4, ms=4)
    ax.plot(rho, data.mean_test_loss, color=BLUE, label="test loss")
    low, high = (data[end] for end in EVERY)
    ax.fill_between(rho, low, high, color=BLUE, alpha=0.15, lw=0)
    drawn = [data.test_loss, data.loss]
    if standing is not None:
        at = float(np.exp(np.log(standing.richness.where(standing.richness > 0)).mean()))
        if np.isfinite(at) and np.isfinite(float(standing.mean_test_loss)):
            drawn.append(standing.test_loss)
            middle = float(standing.mean_test_loss)
            reach = np.abs([[float(standing[end]) - middle] for end in EVERY])
            ax.errorbar([at], [middle], yerr=reach, fmt="D", color=VERMILION, label="as it stands")
    ax.set_xscale("log")
    values = np.concatenate([np.ravel(one) for one in drawn])
    values = values[np.isfinite(values)]
    if values.size:  # intervals of few seeds are wide: the view is that of the trainings
        if values.min() > 0:
            ax.set_yscale("log")
            ax.set_ylim(values.min() / 1.5, values.max() * 1.5)
        else:
            margin = 0.1 * (np.ptp(values) or 1.0)
            ax.set_ylim(values.min() - margin, values.max() + margin)
    ax.set_xlabel(f"richness {rho.attrs.get('symbol', 'ρ')}, lazy to rich")
    ax.set_ylabel("loss")
    legend(ax)
    return ax
