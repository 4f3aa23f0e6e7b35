"""Neurons of power β on a line as a model of the catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.theory.labels import ParameterLike, labelled, real, require_whole
from lazyrich.theory.model import Assumption, Model
from lazyrich.theory.power_neurons.flow import KNOWN, power_flow
from lazyrich.theory.power_neurons.start import power_data, power_weights
from lazyrich.theory.two_layer_linear.data import LineData
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.vocabulary.quantity import DERIVED, XU2025


def _solve(
    *,
    power: ParameterLike,
    times: ParameterLike,
    u: ArrayLike | None = None,
    w: ArrayLike | None = None,
    width: float = 1,
    init_std_u: ParameterLike = 1.0,
    init_std_w: ParameterLike = 1.0,
    seed: float = 0,
    mean_aa: ParameterLike = 1.0,
    mean_ay: ParameterLike = 1.0,
    mean_yy: ParameterLike | None = None,
    output_scale: ParameterLike = 1.0,
    lr_u: ParameterLike = 1.0,
    lr_w: ParameterLike = 1.0,
) -> xr.Dataset:
    """From the weights u and w, or from ones that are drawn; moments are those of φ(a) and y."""
    if (u is None) != (w is None):
        raise InputError("give both layers, u and w, or none to draw them")
    if u is not None and w is not None:
        layers: tuple[Any, Any] = (np.atleast_1d(real("u", u)), np.atleast_1d(real("w", w)))
    else:
        drawn = power_weights(
            require_whole("width", width, 1),
            init_std_u=init_std_u,
            init_std_w=init_std_w,
            seed=require_whole("seed", seed, 0),
        )
        layers = (drawn.u, drawn.w)
    seen, signal = labelled("mean_aa", mean_aa), labelled("mean_ay", mean_ay)
    least = signal**2 / seen.where(seen > 0, 1.0)
    whole = least if mean_yy is None else labelled("mean_yy", mean_yy)
    data = LineData(mean_aa=mean_aa, mean_ay=mean_ay, mean_yy=whole)
    network = LinearNetwork(output_scale=output_scale, lr_u=lr_u, lr_w=lr_w)
    return power_flow(*layers, network, data, times, power=power)


def _phase(
    *,
    power: ParameterLike,
    u: ArrayLike | None = None,
    w: ArrayLike | None = None,
    width: float = 1,
    init_std_u: ParameterLike = 1.0,
    init_std_w: ParameterLike = 1.0,
    seed: float = 0,
    mean_aa: ParameterLike = 1.0,
    mean_ay: ParameterLike = 1.0,
    output_scale: ParameterLike = 1.0,
    lr_u: ParameterLike = 1.0,
    lr_w: ParameterLike = 1.0,
) -> xr.Dataset:
    """As typed: the regime, by the change of the kernel at the end."""
    end = _solve(
        power=power,
        times=np.inf,
        u=u,
        w=w,
        width=width,
        init_std_u=init_std_u,
        init_std_w=init_std_w,
        seed=seed,
        mean_aa=mean_aa,
        mean_ay=mean_ay,
        output_scale=output_scale,
        lr_u=lr_u,
        lr_w=lr_w,
    )
    return end[["ntk_change"]].drop_vars("t")


def _problem(power: ParameterLike = (1.0, 1.7, 2.0)) -> xr.Dataset:
    network = LinearNetwork(output_scale=0.8, lr_u=0.3, lr_w=0.1)
    data = LineData(mean_aa=1.5, mean_ay=0.9, mean_yy=1.0)
    times = [0.0, 1.0, 4.0, np.inf]
    return power_flow([0.5, -0.3], [0.7, 0.4], network, data, times, power=power)


MODEL = Model(
    name="power_neurons",
    equation="f(a) = γ Σ_i u_i sgn(w_i a)|w_i a|^β under gradient flow on L = E(f(a) − y)²",
    assumptions=(
        Assumption(
            sentence="The inputs lie on a line through the origin.",
            broken=lambda: power_data([[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0], power=2.0),
        ),
        Assumption(
            sentence="The power is at least 1: below it the output has no derivative at w = 0.",
            broken=lambda: _problem(power=0.5),
        ),
    ),
    quantities=KNOWN,
    example=_problem,
    references=(XU2025, DERIVED),
    commands={"solve": _solve, "phase": _phase},
)
