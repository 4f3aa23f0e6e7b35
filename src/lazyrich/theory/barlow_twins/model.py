"""Linearised Barlow Twins as a model of the catalogue."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.theory.barlow_twins.flow import KNOWN, barlow_flow, barlow_times
from lazyrich.theory.barlow_twins.start import TOLERANCE, barlow_start, kernel_views
from lazyrich.theory.labels import ParameterLike, real
from lazyrich.theory.model import Assumption, Model
from lazyrich.vocabulary.quantity import DERIVED, SIMON2023


def _of_two(weights: ArrayLike, correlation: ArrayLike) -> xr.Dataset:
    found = barlow_start(weights, correlation)
    return barlow_flow(found.view_eigenvalue, found.embedding_weight, [0.0, 1.0, 3.0])


def _solve(
    start: ArrayLike,
    times: ParameterLike,
    view_eigenvalue: ArrayLike | None = None,
    second_moment: ArrayLike | None = None,
    outputs: float | None = None,
    lr: ParameterLike = 1.0,
    tolerance: float = TOLERANCE,
) -> xr.Dataset:
    """As typed: modes, or a matrix Γ with the weights W as start; the times of the steps too."""
    if (view_eigenvalue is None) == (second_moment is None):
        raise InputError(
            "give either view_eigenvalue, such as 2,1, with start=0.01, or the matrix "
            "second_moment, such as 2,0;0,1, with the weights as start"
        )
    gamma, s = view_eigenvalue, start
    if second_moment is not None:
        W = np.atleast_2d(real("start", start))
        modes = barlow_start(
            W, np.atleast_2d(real("second_moment", second_moment)), tolerance=tolerance
        )
        gamma, s, outputs = modes.view_eigenvalue, modes.embedding_weight, outputs or len(W)
    found = barlow_flow(gamma, s, times, outputs=outputs, lr=lr)  # type: ignore[arg-type]
    return found.assign(embedding_step_time=barlow_times(gamma, s, lr=lr))  # type: ignore[arg-type]


_GAMMA = np.diag([2.0, 0.5])

MODEL = Model(
    name="barlow_twins",
    equation="Ẇ = −η ∇‖W Γ Wᵀ − I‖², ċ_j = 8ηγ_j c_j(1 − c_j)",
    assumptions=(
        Assumption(
            sentence="The start is small, or aligned with the eigenvectors of Γ.",
            broken=lambda: _of_two([[0.5, 0.3], [-0.2, 0.4]], _GAMMA),
        ),
        Assumption(
            sentence="Γ is symmetric.",
            broken=lambda: _of_two([[1e-4, 0.0]], [[2.0, 0.1], [0.0, 0.5]]),
        ),
        Assumption(
            sentence="Outputs at the start are those of some weights in the kernel's features.",
            broken=lambda: barlow_start(*kernel_views(np.ones((2, 2)), [[1e-4], [0.0]])),
        ),
    ),
    quantities=KNOWN,
    example=lambda: _of_two([[1e-4, 2e-4], [-1e-4, 1e-4]], _GAMMA),
    references=(SIMON2023, DERIVED),
    commands={"solve": _solve},
)
