"""Two maps of exponents in exact fractions: Luo et al.'s plane, and one of abc-parametrisations.

Left: how far the first layer of a two-layer ReLU network moves, RD ∝ m^S, with usual
initialisations. Right: how features of a network with three hidden layers change, Δx ∝ n^(−r),
where it is stable, over the exponents of the last layer's variance and of the learning rate.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patheffects import Normal, Stroke

from lazyrich import plot
from lazyrich.theory.abc import AbcParametrisation, abc_phases
from lazyrich.theory.two_layer_relu import ReluScaling, relu_phases

LARGEST = 2.0  # exponents of the colours
NAMES = {"ntk": "NTK", "mean_field": "mean field, Xavier, μP", "he": "LeCun, He"}


def paint(ax: Axes, values: xr.DataArray, label: str) -> None:
    """Colours of a quantity over a plane: white where it is zero, grey where it has no value."""
    ax.set_facecolor("0.8")
    y, x = values.dims
    painted = ax.pcolormesh(
        values[x], values[y], values, cmap="RdBu_r", vmin=-LARGEST, vmax=LARGEST, rasterized=True
    )
    ax.figure.colorbar(painted, ax=ax, label=label, extend="both")


def relu(ax: Axes) -> None:
    """The exponent S over γ and γ′, the critical line, and initialisations that have names."""
    found = relu_phases(np.linspace(0, 2, 161), np.linspace(-1, 1.5, 201), zero_output=True)
    paint(ax, found.weight_movement_exponent.transpose(), "exponent S of the movement")
    ax.plot([1, 1, 2], [-1, 0, 1], color="black")
    ax.text(0.25, 1.1, "linear", color="white", style="italic")
    ax.text(1.4, -0.6, "condensed", style="italic")
    ax.annotate("critical", (1.5, 0.5), (1.55, 0.15), style="italic")
    for name, text in NAMES.items():
        one = ReluScaling.named(name)
        ax.plot(float(one.gamma), float(one.gamma_prime), "ko", ms=4)
        ax.annotate(text, (one.gamma, one.gamma_prime), (4, -11), textcoords="offset points")
    ax.set(xlabel="γ", ylabel="γ′", title="two-layer ReLU networks")


def deep(ax: Axes) -> None:
    """The exponent r over those of the learning rate and of the last layer, from muP's others."""
    mup = AbcParametrisation.named("mup", depth=3)
    rate = np.linspace(-1, 1.5, 501)
    found = abc_phases(mup.a, [*mup.b[:-1], np.linspace(0, 1.5, 301)], rate)
    stable = found.feature_decay.where(found.phase != "unstable").transpose("b_4", "c")
    paint(ax, -stable, "exponent −r of the features' change")
    ax.plot(float(mup.c), float(mup.b[-1]), "ko", ms=4)
    ax.annotate("μP", (0, 0.5), (-6, -4), textcoords="offset points", ha="right")
    ax.text(-0.95, 0.07, "unstable", style="italic")
    ax.annotate(
        *("frozen but for its left edge,\non which it learns", (0.12, 1.3)),
        style="italic",
        path_effects=[Stroke(linewidth=2.5, foreground="white"), Normal()],
    )
    ax.set(xlabel="c of the learning rate", ylabel="b of the last layer")
    ax.set_title("three hidden layers, else as μP")


def main() -> None:
    """Draw both maps."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write")
    out = parser.parse_args().out
    with plot.style():
        made = plot.figure(1, 2, width=4.8, height=3.8)
        relu(made.axes[0])
        deep(made.axes[1])
        print(f"wrote {plot.save(made, out / 'scaling-exponents.png')}")


if __name__ == "__main__":
    main()
