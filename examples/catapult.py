"""Gradient descent at large steps on one sample: lazy, catapult and divergent runs."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from lazyrich import plot
from lazyrich.theory.catapult import catapult_descent, catapult_phases

SHARPNESS = (1.5, 2.5, 3.5, 4.1)
OUTPUTS = (1e-2, 1e-4, 1e-6)
WIDTHS = (3.2, 1.8, 0.6)  # of lines: below sharpness 3 all of them are on one curve


def losses(ax: Axes) -> None:
    """The loss of one run of each kind."""
    found = catapult_descent(list(SHARPNESS), 1e-3, steps=40)
    for z in SHARPNESS:
        run = found.sel(init_sharpness=z)
        word = catapult_phases(z, 1e-3).catapult_phase.item()
        ax.plot(run.step, run.loss / run.loss.isel(step=0), label=f"z₀ = {z:g}: {word}")
    ax.set(yscale="log", ylim=(1e-9, 1e9), xlabel="step", ylabel="loss / loss at the start")
    plot.legend(ax)


def ends(sharpness: np.ndarray) -> xr.DataArray:
    """Where the sharpness settles, over that at the start."""
    return catapult_phases(sharpness, list(OUTPUTS)).sharpness


def draw(out: Path, points: int = 600) -> Path:
    """Draw both."""
    with plot.style():
        made = plot.figure(1, 2, width=4.6, height=3.4)
        losses(made.axes[0])
        ax = made.axes[1]
        found = ends(np.linspace(0.02, 3.999, points))
        for output, width in zip(OUTPUTS, WIDTHS, strict=True):
            end = found.sel(init_output=output)
            ax.plot(end.init_sharpness, end, linewidth=width, label=f"F₀ = {output:g}")
        ax.axhline(2, color="0.6", linewidth=0.8)
        ax.set(xlabel="sharpness at the start z₀", ylabel="sharpness at the end")
        plot.legend(ax)
        return plot.save(made, out)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write")
    print(f"wrote {draw(parser.parse_args().out / 'catapult.png')}")


if __name__ == "__main__":
    main()
