"""The centred neural feature ansatz of a quadratic network at the start, in closed form.

With `f = Σ_i a_i (w_i·x)²`, `M = Wᵀdiag(a)²W` and the first step Ẇ of gradient flow:
`ẆᵀẆ ∝ S_y M S_y` and `ẆᵀKẆ ∝ S_y M S M S_y`. For random W the matrix M is free of the data's
matrices, so that the traces follow from its free cumulants `κ_j = (k/d) E[a^{2j}]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Scaled
from lazyrich.theory.labels import ParameterLike, dataset, labelled, real, require_range
from lazyrich.theory.model import Assumption, Model
from lazyrich.vocabulary.quantity import BEAGLEHOLE2024, DERIVED
from lazyrich.vocabulary.shared import CNFA

__all__ = ["quadratic_network_prediction"]

Matrix = NDArray[np.float64]

ROUNDING = 1e-9  # of covariances and moments that were computed in float32 or typed


def quadratic_network_prediction(
    input_covariance: ArrayLike,
    label_covariance: ArrayLike,
    *,
    width: ParameterLike,
    readout_moments: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> xr.DataArray:
    """Centred correlation (cosine) of a quadratic network at the start, from its data alone.

    `lim_{t→0} C-NFA = N/√(D₁D₂)` for `f = Σ_i a_i (w_i·x)²`, with N, D₁ and D₂ the traces of
    `FG`, `F²` and `G²`, `F = S_y M S_y`, `G = S_y M S M S_y`. Exact for large d, k and n.

    Args:
        input_covariance: `S = XᵀX/n`, (inputs, inputs); or its eigenvalues, (inputs,).
        label_covariance: `S_y = (1/n) Σ r x xᵀ`, symmetric, of the residual `r = y − f`, which is y
            where the initial output is small or taken away; or its eigenvalues in the same order,
            if both matrices have the same eigenvectors.
        width: k ≥ 1, the number of neurons, with `w_i ~ N(0, I/d)`; any parameter that broadcasts.
        readout_moments: `E[a²], E[a⁴], E[a⁶], E[a⁸]`; ones for `a = ±1`; 1, 3, 15, 105 for
            `a ~ N(0, 1)`.

    Returns:
        `cnfa` between 0 and 1, with the dims of `width`; NaN where `S` or `S_y` is zero.

    Raises:
        InputError: matrices that are not square, symmetric, finite and of one size; an `S` that is
            negative somewhere; a width below 1; moments that no readout has.

    Example:
        >>> identity = np.ones(64)
        >>> prediction = quadratic_network_prediction(identity, identity, width=[64, 6400])
        >>> prediction.round(4).values  # 5/√28 at k = d
        array([0.9449, 0.9953])

    References:
        Derived for this library; the network is that of Beaglehole, Mitliagkas & Agarwala,
        arXiv:2402.05271.
    """
    S = _symmetric("input_covariance", input_covariance)
    S_y = _symmetric("label_covariance", label_covariance)
    if S.shape != S_y.shape:
        raise InputError(
            f"`label_covariance` must have the shape of `input_covariance`, got {S_y.shape} and "
            f"{S.shape}. Pass both as matrices, or both as eigenvalues."
        )
    k = labelled("width", width)
    require_range("width", k, 1, inf)
    moments = real("readout_moments", readout_moments)
    if moments.shape != (4,) or not (np.isfinite(moments) & (moments > 0)).all():
        raise InputError(
            f"`readout_moments` must be four positive numbers E[a²], E[a⁴], E[a⁶], E[a⁸], got "
            f"{readout_moments!r}."
        )
    _require_moments(moments)
    S, S_y = _scaled(S), _scaled(S_y)
    _require_positive(S)
    cosine = _cosine(S, S_y, _cumulants(moments, len(S), k)) if S.any() and S_y.any() else k * nan
    return dataset({CNFA.name: xr.DataArray(cosine)}, {CNFA.name: CNFA})[CNFA.name]


def _cosine(S: Matrix, S_y: Matrix, cumulants: Any) -> xr.DataArray:  # noqa: ANN401 - four arrays
    """`N/√(D₁D₂)`; with `P = S_y²`, `τ = tr/d`, every moment of M is a sum over partitions."""
    product = np.multiply if S.ndim == 1 else np.matmul
    P = product(S_y, S_y)
    SP = product(S, P)
    t_S, t_P, t_PP, t_PS = (_tau(a) for a in (S, P, product(P, P), SP))
    t_SS, t_PPS, t_SSP, t_SPSP = (
        _tau(product(a, b)) for a, b in ((S, S), (SP, P), (S, SP), (SP, SP))
    )
    k1, k2, k3, k4 = cumulants
    N = k1**3 * t_PPS + k1 * k2 * (2 * t_P * t_PS + t_S * t_PP) + k3 * t_P**2 * t_S
    D1 = k1**2 * t_PP + k2 * t_P**2
    D2 = (
        k1**4 * t_SPSP
        + k2 * k1**2 * (2 * t_S * t_PPS + 2 * t_P * t_SSP + 2 * t_PS**2)
        + k2**2 * (t_S**2 * t_PP + t_P**2 * t_SS)
        + 4 * k3 * k1 * t_S * t_P * t_PS
        + k4 * t_S**2 * t_P**2
    )
    cosine: xr.DataArray = N / D1**0.5 / D2**0.5
    return cosine


def _cumulants(moments: Matrix, inputs: int, width: xr.DataArray) -> list[xr.DataArray]:
    """`κ_j = (d/k)^{j−1} E[a^{2j}]` of `c M`, with the c that makes the largest of order one."""
    ratio, power = Scaled.of(inputs) / Scaled.of(width.values), Scaled.of(np.ones(width.shape))
    found = []
    for moment in moments:
        found.append(Scaled.of(moment) * power)
        power = power * ratio
    found = [Scaled.of(each.mantissa).shifted(each.exponent) for each in found]
    unit = np.max([-(-each.exponent // (j + 1)) for j, each in enumerate(found)], axis=0)
    return [
        width.copy(data=each.over_power((j + 1) * unit)).drop_attrs()
        for j, each in enumerate(found)
    ]


def _scaled(matrix: Matrix) -> Matrix:
    """The same in units of its largest entry: the cosine does not see the size."""
    size = float(np.abs(matrix).max())
    return matrix / size if size else matrix


def _require_positive(S: Matrix) -> None:
    lowest = float(S.min() if S.ndim == 1 else np.linalg.eigvalsh(S).min())
    if lowest < -ROUNDING * len(S):
        raise InputError(
            f"`input_covariance` must be positive semidefinite, its lowest eigenvalue is "
            f"{lowest:.2g} of its largest entry. Is it XᵀX/n?"
        )


def _require_moments(moments: Matrix) -> None:
    """`E[a^{2i}] E[a^{2i+4}] ≥ E[a^{2i+2}]²`, which every readout obeys."""
    logs = np.log([1.0, *moments])
    if (logs[:-2] + logs[2:] < 2 * logs[1:-1] - ROUNDING * (1 + np.abs(logs[1:-1]))).any():
        raise InputError(
            f"`readout_moments` must be E[a²], E[a⁴], E[a⁶], E[a⁸] of some a, got "
            f"{[float(m) for m in moments]}: no a has E[a²]² > E[a⁴], nor the like of higher ones"
        )


def _tau(matrix: Matrix) -> float:
    """`tr/d`, of a matrix or of its eigenvalues."""
    return float(matrix.mean() if matrix.ndim == 1 else np.trace(matrix) / len(matrix))


def _symmetric(name: str, value: ArrayLike) -> Matrix:
    matrix = real(name, value) if np.size(value) else np.zeros((0, 1))
    square = matrix.ndim == 1 or (matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1])
    if not square or not matrix.size:
        raise InputError(
            f"`{name}` must be a square matrix or its eigenvalues, got shape {matrix.shape}."
        )
    if not np.isfinite(matrix).all():
        raise InputError(f"`{name}` must be finite, got NaN or infinity.")
    if matrix.ndim == 2 and not np.allclose(matrix, matrix.T, atol=1e-6 * np.abs(matrix).max()):
        raise InputError(f"`{name}` must be symmetric, got one that is not. Is it XᵀX/n?")
    return matrix


def _solve(
    input_covariance: ArrayLike,
    label_covariance: ArrayLike,
    width: ParameterLike,
    readout_moments: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
) -> xr.Dataset:
    """Also of one input, which a command has as a number."""
    S, S_y = np.atleast_1d(input_covariance), np.atleast_1d(label_covariance)
    found = quadratic_network_prediction(S, S_y, width=width, readout_moments=readout_moments)
    return found.to_dataset()


def _broken_symmetry() -> xr.DataArray:
    return quadratic_network_prediction(np.eye(2), np.array([[0.0, 1.0], [0.0, 0.0]]), width=2)


def _example() -> xr.Dataset:
    spectrum = 1 / np.arange(1.0, 9.0)
    return quadratic_network_prediction(spectrum, spectrum, width=[4, 64]).to_dataset()


MODEL = Model(
    name="quadratic_start",
    equation="lim ρ(W̄ᵀW̄, W̄ᵀKW̄) at t → 0 of f(x) = Σ_i a_i (w_i·x)²",
    assumptions=(
        Assumption(
            sentence="The label covariance S_y is symmetric, as one of samples is.",
            broken=_broken_symmetry,
        ),
    ),
    quantities={CNFA.name: CNFA},
    example=_example,
    references=(BEAGLEHOLE2024, DERIVED),
    commands={"solve": _solve},
)


def __dir__() -> list[str]:
    return __all__
