"""Where λ-balanced networks are lazy: the kernel's distance at the end, over λ, for three shapes.

A layer that is large can stay as it is only if it reaches every output (λ > 0) or sees every input
(λ < 0); a bottleneck waits and then turns its kernel, whatever the sign of λ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

from lazyrich import plot
from lazyrich.theory.balanced_linear import balanced_flow, balanced_state
from lazyrich.theory.two_layer_linear import LinearNetwork, MomentData

SHAPES = {"4 → 4 → 4": (4, 4, 4), "8 → 3 → 3": (3, 8, 3), "4 → 2 → 4": (4, 4, 2)}
NETWORK = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
LINEAR = 0.1  # |λ| below which the axis is linear
END = 4e3  # by when all of them have converged


def distances(scales: np.ndarray, *, outputs: int, inputs: int, width: int) -> xr.DataArray:
    """The distance of the kernel from its start, over λ, in units of the target's size."""
    target = np.random.default_rng(0).standard_normal((outputs, inputs))
    target /= np.linalg.norm(target, 2)
    data = MomentData(sigma_xx=np.eye(inputs), sigma_yx=target, mean_yy=float(np.sum(target**2)))
    state = balanced_state(
        outputs=outputs,
        inputs=inputs,
        width=width,
        init_relative_scale=scales,
        init_std=0.1,
        seed=1,
    )
    return balanced_flow(state, NETWORK, data, END).kernel_distance


def draw(target: Path, points: int) -> Path:
    """The picture, of as many λ on each side of zero."""
    near = np.linspace(0, LINEAR, points // 3, endpoint=False)  # where the axis is linear
    half = np.concatenate([near[1:], np.geomspace(LINEAR, 100, points)])
    scales = np.concatenate([-half[::-1], [0.0], half])
    with plot.style():
        made = plot.figure(width=5.4)
        ax = made.axes[0]
        for label, (outputs, inputs, width) in SHAPES.items():
            found = distances(scales, outputs=outputs, inputs=inputs, width=width)
            ax.plot(scales, found, label=label)
        ax.set_xscale("symlog", linthresh=LINEAR)
        ax.set(xlabel="relative scale λ of the layers", ylabel="distance of the kernel at the end")
        plot.legend(ax, title="inputs → width → outputs")
        return plot.save(made, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("balanced-linear.png"))
    parser.add_argument("--points", type=int, default=24, help="values of λ on each side of zero")
    options = parser.parse_args()
    print(draw(options.out, options.points))
