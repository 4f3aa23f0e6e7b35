"""The diagonal linear network as a model of the catalogue."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich.theory.diagonal_linear.limit import KNOWN, diagonal_limit
from lazyrich.theory.labels import ParameterLike
from lazyrich.theory.model import Assumption, Model
from lazyrich.vocabulary.quantity import DERIVED, WOODWORTH2020


def _example() -> xr.Dataset:
    x = np.array([[1.0, 2.0, -0.5], [0.3, -1.0, 1.0]])
    return diagonal_limit(x, [1.0, 0.5], factors=[2, 3], init_scale=[0.1, 1.0])


def _solve(
    *, x: ArrayLike, y: ArrayLike, factors: ParameterLike, init_scale: ParameterLike
) -> xr.Dataset:
    """Also of one sample, which a command has as a row and a number."""
    return diagonal_limit(
        np.atleast_2d(x), np.atleast_1d(y), factors=factors, init_scale=init_scale
    )


MODEL = Model(
    name="diagonal_linear",
    equation="f(x) = β·x with β = u^D − v^D, gradient flow on ‖Xβ − y‖² from u = v = α to its end",
    assumptions=(
        Assumption(
            sentence="Some coefficients fit the targets exactly.",
            broken=lambda: diagonal_limit([[1.0], [1.0]], [1.0, 1.1], factors=2, init_scale=1.0),
        ),
        Assumption(
            sentence="Both halves of the network start at one number that is not zero.",
            broken=lambda: diagonal_limit([[1.0]], [1.0], factors=2, init_scale=0.0),
        ),
        Assumption(
            sentence="At least two weights are multiplied: one alone is linear regression.",
            broken=lambda: diagonal_limit([[1.0]], [1.0], factors=1, init_scale=1.0),
        ),
    ),
    quantities=KNOWN,
    example=_example,
    references=(WOODWORTH2020, DERIVED),
    commands={"solve": _solve, "phase": _solve},
)
