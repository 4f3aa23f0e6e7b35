"""From the L₂ norm to the L₁ norm: the fits of diagonal networks over their initial scale.

Twenty samples of forty inputs, of which three matter. Large starts end at the least-squares fit,
small ones at the sparsest, the sooner the more weights are multiplied.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

from lazyrich import plot
from lazyrich.theory.diagonal_linear import diagonal_limit

FACTORS = (2, 3, 4)


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and targets of three coefficients."""
    random = np.random.default_rng(0)
    x = random.standard_normal((20, 40))
    return x, x[:, :3] @ np.array([1.0, -0.5, 0.3])


def fits(scales: np.ndarray) -> xr.Dataset:
    """The ends of the flow over factors and initial scales."""
    x, y = problem()
    return diagonal_limit(x, y, factors=list(map(float, FACTORS)), init_scale=scales)


def draw(target: Path, points: int) -> Path:
    """The picture: the sum of the coefficients, and the change of the kernel that goes with it."""
    found = fits(np.geomspace(1e-6, 10, points))
    with plot.style():
        made = plot.figure(1, 2, width=4.2)
        for factors, one in found.groupby("factors"):
            for ax, name in zip(made.axes, ("l1_norm", "ntk_change"), strict=True):
                ax.plot(found.init_scale, one[name].squeeze(), label=f"{factors:g} factors")
        sums, kernels = made.axes
        sums.axhline(1.8, color="grey", linewidth=0.8)
        sums.set(xscale="log", xlabel="initial scale α", ylabel="‖β‖₁ at the end")
        kernels.set(xscale="log", yscale="log", xlabel="initial scale α", ylabel="‖ΔΘ‖/‖Θ₀‖")
        kernels.set_ylim(1e-6, 1e12)
        plot.legend(sums)
        return plot.save(made, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("diagonal-linear.png"))
    parser.add_argument("--points", type=int, default=60, help="initial scales")
    options = parser.parse_args()
    print(draw(options.out, options.points))
