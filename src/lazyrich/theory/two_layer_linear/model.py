"""The two-layer linear network as a model of the catalogue."""

from __future__ import annotations

import numpy as np
import xarray as xr

from lazyrich.theory.model import Assumption, Model
from lazyrich.theory.two_layer_linear.data import LineData, MomentData
from lazyrich.theory.two_layer_linear.descent import descent
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.readout import KNOWN
from lazyrich.theory.two_layer_linear.state import GramState, LineState
from lazyrich.vocabulary.quantity import BEAGLEHOLE2024, DERIVED, XU2025


def _example() -> xr.Dataset:
    state = GramState.sample(
        64, outputs=2, inputs=3, init_std_u=0.1, init_std_w=0.1, draws=2, seed=0
    )
    data = MomentData(
        sigma_xx=np.array([[1.0, 0.2, 0.0], [0.2, 1.0, 0.0], [0.0, 0.0, 0.5]]),
        sigma_yx=np.array([[1.0, 0.0, 0.3], [0.0, -0.5, 0.0]]),
        mean_yy=2.0,
    )
    network = LinearNetwork(output_scale=0.5, lr_u=0.2, lr_w=0.01)
    return descent(state, network, data, steps=4)


MODEL = Model(
    name="two_layer_linear",
    equation="f(x) = γ U W x under gradient flow or descent on L = E‖f(x) − y‖²",
    assumptions=(
        Assumption(
            sentence="The inputs lie on a line through the origin, for the closed form.",
            broken=lambda: LineData.from_samples([[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0]),
        ),
        Assumption(
            sentence="The three numbers of a state are those of two vectors: (u·w)² ≤ ‖u‖²‖w‖².",
            broken=lambda: LineState(uu=1.0, uw=2.0, ww=1.0),
        ),
        Assumption(
            sentence="The second moments are those of some data: E[ay]² ≤ E[a²]E[y²].",
            broken=lambda: LineData(mean_aa=1.0, mean_ay=2.0, mean_yy=1.0),
        ),
    ),
    quantities=KNOWN,
    example=_example,
    references=(XU2025, BEAGLEHOLE2024, DERIVED),
)
