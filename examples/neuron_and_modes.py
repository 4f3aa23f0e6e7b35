"""Three neurons, lazy, rich and delayed rich, and one mode of linear networks of four depths."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from lazyrich import plot
from lazyrich.theory.aligned_modes import mode_flow, mode_times
from lazyrich.theory.single_neuron import neuron_flow
from lazyrich.theory.two_layer_linear import LinearNetwork, MomentData

NEURONS = {"upstream": (30.0, [0.02, -0.02]), "balanced": (0.02, [0.012, -0.016])}
NEURONS |= {"downstream": (0.02, [-20.0, 20.0])}


def neurons(ax: Axes) -> None:
    """The excess loss of each neuron over time."""
    network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
    data = MomentData(sigma_xx=np.eye(2), sigma_yx=[[1.0, 0.5]], mean_yy=1.25)
    times = np.geomspace(1e-4, 3e4, 600)
    for name, (u, w) in NEURONS.items():
        found = neuron_flow(u, w, network, data, times)
        delayed = "delayed " if found.delayed.item() else ""
        label = f"{name}: {delayed}{found.regime.item()}"
        ax.plot(times, found.excess_loss / 1.25, label=label)
    ax.set(xscale="log", xlabel="time", ylabel="excess loss over that of zero output")
    ax.set(title="a neuron u w·x", ylim=(0, 1.6))
    plot.legend(ax)


def modes(ax: Axes) -> None:
    """The size of a mode over time in units of its half time."""
    share = np.linspace(0, 2.5, 400)
    for depth in (1, 2, 4, np.inf):
        half = mode_times([1.0], [0.01], depth=depth).item()
        size = mode_flow([1.0], [0.01], share * half, depth=depth).mode_size.isel(mode=0)
        layers = "∞" if np.isinf(depth) else f"{depth + 1:g}"
        ax.plot(share, size, label=f"{layers} layers")
    ax.set(xlabel="time / half time", ylabel="size u", title="a mode of balanced linear networks")
    plot.legend(ax)


def main() -> None:
    """Draw both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write")
    out = parser.parse_args().out
    with plot.style():
        made = plot.figure(1, 2, width=4.6, height=3.4)
        neurons(made.axes[0])
        modes(made.axes[1])
        print(f"wrote {plot.save(made, out / 'neuron-and-modes.png')}")


if __name__ == "__main__":
    main()
