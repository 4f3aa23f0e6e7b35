"""The contrastive energy of one neuron in the plane, and the maxima that ascents find."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lazyrich import plot
from lazyrich.theory.contrastive_energy import contrastive_maxima

SAMPLES = np.random.default_rng(3).normal(size=(7, 2))


def energy(angle: np.ndarray, activation: Callable[[Any], Any]) -> np.ndarray:
    """Half the variance of the output, in each direction."""
    directions = np.array([np.cos(angle), np.sin(angle)])
    return np.var(activation(SAMPLES @ directions), axis=0) / 2


def landscape(ax: Axes, title: str, activation: Callable[[Any], Any], points: int) -> None:
    """The energy, the bends and the maxima."""
    angle = np.linspace(0, 2 * np.pi, points)
    ax.plot(angle, energy(angle, activation), color="C0")
    for x, y in SAMPLES:
        for bend in (np.arctan2(x, -y), np.arctan2(-x, y)):
            ax.axvline(bend % (2 * np.pi), color="0.85", linewidth=0.6, zorder=0)
    found = contrastive_maxima(SAMPLES, activation=activation)
    at = np.arctan2(*found.unit_weight.values.T[::-1]) % (2 * np.pi)
    ax.plot(at, found.contrastive_energy, "o", color="C1")
    ax.set(xlabel="angle of w", ylabel="energy E", title=title)


def draw(out: Path, points: int = 2000) -> Path:
    """Draw both."""
    with plot.style():
        made = plot.figure(1, 2, width=4.6, height=3.2)
        landscape(made.axes[0], "linear", np.positive, points)
        landscape(made.axes[1], "ReLU", lambda z: np.maximum(z, 0), points)
        return plot.save(made, out)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(), help="folder to write")
    print(f"wrote {draw(parser.parse_args().out / 'contrastive-energy.png')}")


if __name__ == "__main__":
    main()
