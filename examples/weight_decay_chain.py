"""Weight decay against depth: what a linear network keeps, and where it loses it all at once."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from lazyrich import plot
from lazyrich.theory.weight_decay_chain import chain_minima

FACTORS = (1, 2, 3, 5)


def branches(ax: Axes, points: int) -> None:
    """The map over weight decay: a line of the global minimum, dashed where it is metastable."""
    decay = np.linspace(0, 2.4, points)
    found = chain_minima(1.0, 1.0, factors=list(FACTORS), weight_decay=decay)
    for layers in FACTORS:
        run = found.sel(factors=layers)
        (line,) = ax.plot(decay, run.end_to_end_map, label=f"{layers} layer{'s' * (layers > 1)}")
        held = run.learned_map.where(run.collapse == "metastable")
        ax.plot(decay, held, "--", color=line.get_color())
    ax.set(xlabel="weight decay λ", ylabel="end-to-end map u", title="for E[a²] = E[ay] = 1")
    plot.legend(ax)


def limits(ax: Axes) -> None:
    """Both limits of weight decay over the number of layers."""
    layers = np.arange(2, 41)
    found = chain_minima(1.0, 1.0, factors=layers, weight_decay=0.0)
    ax.plot(layers, found.critical_decay, "o", markersize=3, label="zero is better")
    ax.plot(layers, found.spinodal_decay, "s", markersize=3, label="only zero is left")
    ax.set(xlabel="layers", ylabel="weight decay λ", yscale="log")
    plot.legend(ax)


def draw(out: Path, points: int = 2000) -> Path:
    """Draw both."""
    with plot.style():
        made = plot.figure(1, 2, width=4.6, height=3.4)
        branches(made.axes[0], points)
        limits(made.axes[1])
        return plot.save(made, out)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write")
    print(f"wrote {draw(parser.parse_args().out / 'weight-decay-chain.png')}")


if __name__ == "__main__":
    main()
