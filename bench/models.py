"""How long the solvable models take at the sizes of real problems, in one run on one machine.

scripts/bench models                    print the table
scripts/bench models --record FILE      also write it as JSON and Markdown (FILE.json, FILE.md)
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from timing import Row, measure_parts, row, timed

from lazyrich.theory import balanced_linear, catapult, diagonal_linear, power_neurons
from lazyrich.theory import two_layer_linear as linear
from lazyrich.theory import weight_decay_chain as chain


def balanced() -> list[Row]:
    """λ-balanced networks of 400 inputs and 400 outputs, at 20 times."""
    state = balanced_linear.balanced_state(
        outputs=400, inputs=400, width=200, init_relative_scale=0.5, init_std=0.05, seed=0
    )
    target = np.random.default_rng(1).standard_normal((400, 400)) / 20
    data = linear.MomentData(
        sigma_xx=np.eye(400), sigma_yx=target, mean_yy=float(np.sum(target**2))
    )
    network, times = (
        linear.LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0),
        np.linspace(0, 5, 20),
    )
    seconds = timed(lambda: balanced_linear.balanced_flow(state, network, data, times))
    return [row("λ-balanced, 400 inputs and outputs, width 200, 20 times", seconds, goal="< 5 s")]


def diagonal() -> list[Row]:
    """Limits of diagonal networks of 1,000 coefficients on 100 samples."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 1000))
    y = x[:, :5] @ np.ones(5)
    return [
        row(
            f"diagonal, {factors} factors, 100 samples, 1,000 coefficients, α = {scale:g}",
            timed(
                lambda factors=factors, scale=scale: diagonal_linear.diagonal_limit(
                    x, y, factors=factors, init_scale=scale
                )
            ),
            goal="< 1 s",
        )
        for factors, scale in ((2, 1e-3), (2, 1e-30), (3, 1e-3))
    ]


def grids() -> list[Row]:
    """A million points of models that are formulas or maps."""
    first = xr.DataArray(np.linspace(0.5, 3.9, 1000), dims="init_sharpness")
    output = xr.DataArray(np.geomspace(1e-4, 0.1, 1000), dims="init_output")
    decay = xr.DataArray(np.linspace(0, 2, 1000), dims="weight_decay")
    gain = xr.DataArray(np.linspace(0.1, 3, 1000), dims="mean_ay")
    return [
        row("catapult, 10^6 runs", timed(lambda: catapult.catapult_phases(first, output))),
        row(
            "deep chain with weight decay, 10^6 minima",
            timed(lambda: chain.chain_minima(1.0, gain, factors=4, weight_decay=decay)),
        ),
    ]


def neurons() -> list[Row]:
    """One scalar equation whatever the width."""
    data = linear.LineData(mean_aa=1.3, mean_ay=0.9, mean_yy=2.0)
    rows = []
    for width in (10**3, 10**5):
        rng = np.random.default_rng(0)
        u, w = rng.standard_normal((2, width))
        network = linear.LinearNetwork(output_scale=1 / width, lr_u=float(width), lr_w=float(width))
        rows.append(
            row(
                f"neurons of power 1.5, width {width:,}, to the end",
                timed(
                    lambda u=u, w=w, network=network: power_neurons.power_flow(
                        u, w, network, data, np.inf, power=1.5
                    )
                ),
            )
        )
    return rows


def main() -> None:
    """Run everything."""
    parts = (balanced, diagonal, grids, neurons)
    measure_parts("models", __doc__.partition("\n")[0], parts, ("numpy",))


if __name__ == "__main__":
    main()
