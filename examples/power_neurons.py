"""Neurons of powers 1, 1.5, 2 and 3: the output over time, and each neuron on its hyperbola."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from lazyrich import plot
from lazyrich.theory.power_neurons import power_flow, power_weights
from lazyrich.theory.two_layer_linear import LinearNetwork, LineData

POWERS = (1.0, 1.5, 2.0, 3.0)
NETWORK = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
DATA = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)


def outputs(ax: Axes) -> None:
    """The output over time from a small start: the larger the power, the longer the plateau."""
    times = np.geomspace(0.1, 300, 1000)
    for power in POWERS:
        found = power_flow([0.1], [0.1], NETWORK, DATA, times, power=power)
        ax.plot(times, found.amplitude, label=f"β = {power:g}")
    ax.set(xscale="log", xlabel="time", ylabel="amplitude F", title="one neuron, u = w = 0.1")
    plot.legend(ax)


def curves(ax: Axes) -> xr.Dataset:
    """Where the neurons of a drawn network go, at power 2."""
    drawn = power_weights(40, init_std_u=0.3, init_std_w=0.3, seed=0)
    found = power_flow(drawn.u, drawn.w, NETWORK, DATA, np.linspace(0, 12, 60), power=2.0)
    ax.plot(found.w, found.u, color="C0", lw=0.8)
    ax.plot(drawn.w, drawn.u, ".", color="k", ms=4, label="start")
    plot.legend(ax)
    ax.set(xlabel="w", ylabel="u", title="forty neurons of power 2, 2u² − w² = const")
    return found


def main() -> None:
    """Draw both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write")
    out = parser.parse_args().out
    with plot.style():
        made = plot.figure(1, 2, width=4.6, height=3.4)
        outputs(made.axes[0])
        curves(made.axes[1])
        print(f"wrote {plot.save(made, out / 'power-neurons.png')}")


if __name__ == "__main__":
    main()
