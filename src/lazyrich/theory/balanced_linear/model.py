"""The λ-balanced two-layer linear network as a model of the catalogue."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.theory.balanced_linear.flow import KNOWN, balanced_flow
from lazyrich.theory.balanced_linear.rule import balanced_regime
from lazyrich.theory.balanced_linear.start import balanced_state
from lazyrich.theory.labels import ParameterLike, real, require_whole
from lazyrich.theory.model import Assumption, Model
from lazyrich.theory.two_layer_linear.data import MomentData
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import GramState
from lazyrich.vocabulary.quantity import DERIVED, DOMINE2024

TARGET = np.array([[1.0, 0.5, 0.0], [-0.25, 0.75, 0.3]])
NETWORK = LinearNetwork(output_scale=0.5, lr_u=0.2, lr_w=0.2)


def _data(*powers: float) -> MomentData:
    xx = np.diag(powers)
    return MomentData(
        sigma_xx=xx, sigma_yx=TARGET @ xx, mean_yy=float(np.sum(TARGET**2 @ xx)) + 0.1
    )


def _start(**changed: int) -> GramState:
    chosen = {"outputs": 2, "inputs": 3, "width": 2} | changed
    return balanced_state(**chosen, init_relative_scale=[-1.0, 0.0, 1.0], init_std=0.1, seed=0)


def _unbalanced() -> xr.Dataset:
    state = GramState.from_weights([[1.0, 0.0], [0.0, 2.0]], [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    return balanced_flow(state, NETWORK, _data(1.0, 1.0, 1.0), 1.0)


def _solve(
    *,
    target: ArrayLike,
    times: ParameterLike,
    u: ArrayLike | None = None,
    w: ArrayLike | None = None,
    width: int = 1,
    init_relative_scale: ParameterLike = 0.0,
    init_std: ParameterLike = 0.1,
    seed: float = 0,
    output_scale: ParameterLike = 1.0,
    lr_u: ParameterLike = 1.0,
    lr_w: ParameterLike = 1.0,
) -> xr.Dataset:
    """On noiseless data with Σ_xx = I: from the weights u and w, or from ones that are drawn."""
    best = np.atleast_2d(real("target", target))
    if (u is None) != (w is None):
        raise InputError("give both layers, u and w, or none to draw them")
    if u is not None and w is not None:
        state = GramState.from_weights(np.atleast_2d(u), np.atleast_2d(w))
    else:
        state = balanced_state(
            outputs=best.shape[0],
            inputs=best.shape[1],
            width=width,
            init_relative_scale=init_relative_scale,
            init_std=init_std,
            seed=require_whole("seed", seed, 0),
        )
    data = MomentData(sigma_xx=np.eye(best.shape[1]), sigma_yx=best, mean_yy=float(np.sum(best**2)))
    network = LinearNetwork(output_scale=output_scale, lr_u=lr_u, lr_w=lr_w)
    return balanced_flow(state, network, data, times)


MODEL = Model(
    name="balanced_linear",
    equation="f(x) = γ U W x under gradient flow on L = E‖f(x) − y‖², with UᵀU − WWᵀ = λI",
    assumptions=(
        Assumption(
            sentence="The inputs are whitened: E[x xᵀ] is a multiple of the identity.",
            broken=lambda: balanced_flow(_start(), NETWORK, _data(1.0, 1.01, 1.0), 1.0),
        ),
        Assumption(
            sentence="The layers are λ-balanced, in the units in which they learn at one rate.",
            broken=_unbalanced,
        ),
        Assumption(
            sentence="At most k neurons where λ > 0 and at most m where λ < 0: no others exist.",
            broken=lambda: _start(width=4),
        ),
    ),
    quantities=KNOWN,
    example=lambda: balanced_flow(_start(), NETWORK, _data(1.0, 1.0, 1.0), [0.0, 1.0, 10.0]),
    references=(
        DOMINE2024,
        "Braun et al., Exact learning dynamics of deep linear networks with prior knowledge, "
        "NeurIPS 2022",
        "Fukumizu, Effect of batch learning in multilayer neural networks, ICONIP 1998",
        DERIVED,
    ),
    commands={"solve": _solve, "phase": balanced_regime},
)
