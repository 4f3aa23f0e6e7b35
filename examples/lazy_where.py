"""Which model is lazy where: the change of the kernel over one scale, and exponents of the width.

The scale is χ, the tangent kernel at the start over the least one of a network that fits; targets
have size 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lazyrich import plot
from lazyrich.phases import abc_scaling_law
from lazyrich.theory.abc import AbcParametrisation, abc_phases
from lazyrich.theory.aligned_modes import mode_flow, mode_times
from lazyrich.theory.balanced_linear import balanced_flow, balanced_state
from lazyrich.theory.diagonal_linear import diagonal_limit
from lazyrich.theory.single_neuron import neuron_flow
from lazyrich.theory.two_layer_linear import LinearNetwork, LineData, LineState, MomentData, flow
from lazyrich.theory.two_layer_relu import relu_phases
from lazyrich.vocabulary import LAZY_BELOW, RICH_FROM

Array = NDArray[np.float64]

NETWORK = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
END = 1e7  # by when all flows have ended
SMALL = 1e-5  # of weights that are all but zero
STYLES = ("-", "--", ":", "-", "-", "-", "-")


def white(target: list[list[float]]) -> MomentData:
    """Data with Σ_xx = I and no noise."""
    size = float(np.sum(np.square(target)))
    return MomentData(sigma_xx=np.eye(len(target[0])), sigma_yx=target, mean_yy=size)


def line(chi: Array) -> Array:
    """Two layers of any width on a line, orthogonal and equally large."""
    size = xr.DataArray(chi, dims="chi")
    state = LineState(uu=size, uw=0.0, ww=size)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    return flow(state, NETWORK, data, np.inf).ntk_change.values


def balanced(chi: Array) -> Array:
    """A λ-balanced network with λ = 2χ, of three inputs and three equally large targets."""
    state = balanced_state(
        outputs=3, inputs=3, width=3, init_relative_scale=2 * chi, init_std=SMALL, seed=0
    )
    return balanced_flow(state, NETWORK, white(np.eye(3).tolist()), 4e3).ntk_change.values


def neuron(chi: Array, *, upstream: bool) -> Array:
    """A neuron of two inputs with all its weight in the readout, or across the target."""
    data = white([[1.0, 0.0]])
    sizes = np.sqrt(2 * chi)
    pairs = [(x, [0.0, 0.0]) if upstream else (SMALL, [0.0, x]) for x in sizes]
    return np.array([neuron_flow(u, w, NETWORK, data, END).ntk_change.item() for u, w in pairs])


def diagonal(chi: Array, *, factors: int) -> Array:
    """One coefficient of so many factors, from zero."""
    start = (chi / 2) ** (1 / (2 * factors - 2))
    kernels = [
        diagonal_limit([[1.0]], [1.0], factors=factors, init_scale=x).ntk_change.item()
        for x in start
    ]
    return np.array(kernels)


def mode(chi: Array, *, layers: float) -> Array:
    """A balanced mode, whose kernel is `u^{2−2/L}`, at the end of its way."""
    start = chi ** (1 / (2 - 2 / layers))
    share = 1 - 1e-12
    ends = [mode_times([1.0], [u], share, depth=layers - 1).item() for u in start]
    found = [
        mode_flow([1.0], [u], t, depth=layers - 1).mode_kernel_change.item()
        for u, t in zip(start, ends, strict=True)
    ]
    return np.abs(found)


MODELS = {
    "two layers on a line": line,
    "λ-balanced, 3 → 3 → 3": balanced,
    "diagonal, 2 factors": lambda chi: diagonal(chi, factors=2),
    "diagonal, 5 factors": lambda chi: diagonal(chi, factors=5),
    "neuron, upstream": lambda chi: neuron(chi, upstream=True),
    "neuron, downstream": lambda chi: neuron(chi, upstream=False),
    "balanced modes, 2 to ∞ layers": lambda chi: mode(chi, layers=2),
}


def widths(gamma: Array) -> dict[str, Array]:
    """Exponents of the width with which features move, from NTK (γ = 1/2) to μP (γ = 1)."""
    found = {"two-layer ReLU, S": relu_phases(gamma, 0).weight_movement_exponent.values}
    x = gamma - 0.5  # of the way from NTK to μP; their depths are those of hidden layers
    ends = [AbcParametrisation.named(name, depth=3) for name in ("ntk", "mup")]
    rows = []
    for share in 2 * x:
        a, b = (
            [low + (high - low) * float(share) for low, high in zip(*pair, strict=True)]
            for pair in ((ends[0].a, ends[1].a), (ends[0].b, ends[1].b))
        )
        rows.append(float(-abc_phases(a, b, 0).feature_decay))
    found["abc, 3 hidden layers, −r"] = np.array(rows)
    laws = [abc_scaling_law(AbcParametrisation.from_exponents([-s, 0.5], [s, s], 0)) for s in x]
    found["two-layer linear, signal"] = np.array(
        [float(law.exponents.signal - law.exponents.kernel) for law in laws]
    )
    return found


def draw(target: Path, points: int) -> Path:
    """Both pictures, of so many scales."""
    with plot.style():
        made = plot.figure(1, 2, width=5.0, height=4.0)
        kernels(made.axes[0], np.geomspace(0.03, 100, points))
        exponents(made.axes[1])
        return plot.save(made, target)


def kernels(ax: Axes, chi: Array) -> None:
    """The change of the kernel over χ, and what the library calls it."""
    for (label, change), style in zip(MODELS.items(), STYLES, strict=True):
        ax.plot(chi, change(chi), linestyle=style, label=label)
    for level in (LAZY_BELOW, RICH_FROM):
        ax.axhline(level, color="0.7", linewidth=0.8, zorder=0)
    ax.set(xscale="log", yscale="log", ylim=(1e-4, 60), title="one network")
    ax.set(xlabel="χ, kernel at the start over the least that fits")
    ax.set(ylabel="change of the kernel at the end")
    plot.legend(ax, fontsize=7)


def exponents(ax: Axes) -> None:
    """The exponents of the width over that of the output scale."""
    for (label, values), style in zip(widths(GAMMAS).items(), STYLES, strict=False):
        ax.plot(GAMMAS, values, linestyle=style, label=label)
    ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    ax.set(
        xlabel=r"γ, output scale ∝ $\mathregular{width^{-γ}}$",
        ylabel="exponent of the movement of features",
    )
    ax.set(title="many widths")
    plot.legend(ax)


GAMMAS = np.linspace(0.5, 1.0, 9)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("lazy-where.png"))
    parser.add_argument("--points", type=int, default=121, help="scales")
    options = parser.parse_args()
    print(draw(options.out, options.points))
