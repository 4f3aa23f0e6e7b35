"""What the network sees of its data: second moments, nothing else.

The loss `L = E‖f(x) − y‖²` of a linear network needs only `E[x xᵀ]`, `E[y xᵀ]` and `E‖y‖²`. On a
line, `x = a n` with a unit vector `n`, these are the three numbers `E[a²]`, `E[a y]`, `E[y²]`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.linalg import lapack

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array, cauchy_schwarz_gap, cosines
from lazyrich.theory.labels import (
    Labelled,
    Parameter,
    apply,
    first_where,
    labelled,
    real,
    require_range,
)

LINE_TOLERANCE = 1e-9  # share of the inputs' norm that may lie off the line
MOMENT_TOLERANCE = 1e-12
FROM_SAMPLES = "MomentData.from_samples computes all three from x and y"
UNRESOLVED = 1e-13  # of the power that the features of a direction have: it is rounding


@dataclass(frozen=True, kw_only=True, repr=False)
class LineData(Labelled):
    """Data on a line through the origin, one output.

    Args:
        mean_aa: `E[a²]` of the coordinate along the line, ≥ 0.
        mean_ay: `E[a y]`.
        mean_yy: `E[y²]`, ≥ 0.
        noise: smallest reachable loss `E[y²] − E[a y]²/E[a²]`, where it is known better than
            from the moments.

    Raises:
        InputError: if `E[a y]² > E[a²] E[y²]`, which no data can have.

    Example:
        >>> LineData.from_samples([1.0, 2.0, -1.0], [2.0, 4.0, -2.0])
        LineData(mean_aa=2, mean_ay=4, mean_yy=8)

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """

    mean_aa: Parameter = Parameter(low=0)
    mean_ay: Parameter = Parameter()
    mean_yy: Parameter = Parameter(low=0)
    noise: xr.DataArray = field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        known = apply(_noise_floor, self.mean_aa, self.mean_ay, self.mean_yy)
        noise = known if self.noise is None else labelled("noise", self.noise)
        require_range("noise", noise, 0, np.inf)
        object.__setattr__(self, "noise", noise)

    @classmethod
    def from_samples(cls, x: ArrayLike, y: ArrayLike) -> LineData:
        """Reduce samples: `x` of shape (n,) or (n, m) on a line, `y` of shape (n,).

        Raises:
            InputError: if the inputs leave the line; the message says how far.
        """
        x, y = _checked_samples(x, y)
        a = coordinate_on_line(x)
        if y.shape[1] != 1:
            raise InputError(f"`y` must have one output, got shape {y.shape}; use MomentData")
        target = y[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            mean_aa, mean_ay = np.mean(a * a), np.mean(a * target)
            slope = mean_ay / mean_aa if mean_aa > 0 else 0.0
            mean_yy, noise = np.mean(target**2), np.mean((target - slope * a) ** 2)
        return cls(
            mean_aa=float(mean_aa),
            mean_ay=float(mean_ay),
            mean_yy=float(mean_yy),
            noise=xr.DataArray(noise),
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class MomentData(Labelled):
    """Data of any dimension, m inputs and k outputs.

    Args:
        sigma_xx: `E[x xᵀ]`, shape (m, m), symmetric and positive semidefinite.
        sigma_yx: `E[y xᵀ]`, shape (k, m).
        mean_yy: `E‖y‖²`, at least what the best linear map explains.

    Raises:
        InputError: if shapes do not fit or no data can have these moments.

    Example:
        >>> data = MomentData.from_samples([[1.0, 0.0], [0.0, 2.0]], [1.0, 2.0])
        >>> data.best_map
        array([[1., 1.]])
    """

    sigma_xx: Array
    sigma_yx: Array
    mean_yy: float

    def __post_init__(self) -> None:
        xx, yx = real("sigma_xx", self.sigma_xx), real("sigma_yx", self.sigma_yx)
        yy = real("mean_yy", self.mean_yy)
        if yy.ndim > 0:
            raise InputError(f"`mean_yy` must be one number, got shape {yy.shape}")
        object.__setattr__(self, "mean_yy", float(yy))
        if xx.ndim != 2 or yx.ndim != 2 or xx.shape != (yx.shape[1], yx.shape[1]):
            raise InputError(
                f"`sigma_xx` must be (m, m) and `sigma_yx` (k, m), got {xx.shape} and {yx.shape}"
            )
        if not (np.isfinite(xx).all() and np.isfinite(yx).all() and np.isfinite(self.mean_yy)):
            raise InputError("`sigma_xx`, `sigma_yx` and `mean_yy` must be finite")
        scaled = cosines(xx)
        if (off := np.abs(scaled - scaled.T).max()) > MOMENT_TOLERANCE:
            raise InputError(f"`sigma_xx` must be symmetric, is off by {off:.2g}. Take (Σ + Σᵀ)/2")
        if (lowest := np.linalg.eigvalsh(scaled).min()) < -MOMENT_TOLERANCE * len(xx):
            raise InputError(
                f"`sigma_xx` must be positive semidefinite, its lowest eigenvalue is {lowest:.2g} "
                f"after scaling its diagonal to 1. {FROM_SAMPLES}"
            )
        object.__setattr__(self, "sigma_xx", (xx + xx.T) / 2)
        object.__setattr__(self, "sigma_yx", yx)
        explained = float(np.sum(self.best_map * yx))
        units = _feature_units(xx)
        unseen = float(np.abs((self.best_map @ xx - yx) / units).max())
        if unseen > 1e-6 * float(np.abs(yx / units).max()):
            raise InputError(
                f"`sigma_yx` has a part in a direction where the inputs do not vary. {FROM_SAMPLES}"
            )
        if self.mean_yy < explained * (1 - 1e-9):
            raise InputError(
                f"`mean_yy` must be at least what the best linear map explains, "
                f"{explained:g}, got {self.mean_yy:g}. {FROM_SAMPLES}"
            )

    @classmethod
    def from_samples(cls, x: ArrayLike, y: ArrayLike) -> MomentData:
        """Reduce samples: `x` of shape (n, m), `y` of shape (n,) or (n, k)."""
        x, y = _checked_samples(x, y)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            xx, yx, yy = x.T @ x / len(x), y.T @ x / len(x), float(np.sum(y**2)) / len(x)
        return cls(sigma_xx=xx, sigma_yx=yx, mean_yy=yy)

    @cached_property
    def best_map(self) -> Array:
        """The least-squares map `Σ_yx Σ_xx⁺`, shape (k, m), whatever the units of the features."""
        units = _feature_units(self.sigma_xx)
        values, vectors = np.linalg.eigh(cosines(self.sigma_xx))
        seen = values > UNRESOLVED * values.max()
        shares = (self.sigma_yx / units) @ vectors / np.where(seen, values, np.inf)
        best: Array = shares @ vectors.T / units  # any error of a share stays in its direction
        return best

    @cached_property
    def spectrum(self) -> Spectrum:
        """The principal directions of the inputs, each with the digits that its own size has."""
        units = _feature_units(self.sigma_xx)
        values, vectors = np.linalg.eigh(cosines(self.sigma_xx))
        root = np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T * (units / units.max())
        sizes, _, directions, scaling, *_ = lapack.dgejsv(root, joba=2, jobu=3, jobv=0)
        powers = (sizes * (scaling[0] / scaling[1])) ** 2
        expected = (directions**2 * (units / units.max())[:, None] ** 2).sum(0)
        powers = np.where(powers > UNRESOLVED * expected, powers, 0.0)
        return Spectrum(powers * units.max() ** 2, directions)

    @property
    def noise(self) -> float:
        """The smallest loss of any linear map."""
        return max(0.0, self.mean_yy - float(np.sum(self.best_map * self.sigma_yx)))


class Spectrum(NamedTuple):
    """`Σ_xx = Q diag(λ) Qᵀ`."""

    powers: Array  # λ, shape (m,); zero where the inputs do not vary
    directions: Array  # Q, a direction in each column


def _feature_units(xx: Array) -> Array:
    """Root mean square of each feature; 1 where it is zero."""
    sizes = np.sqrt(np.diag(xx))
    return np.where(sizes > 0, sizes, 1.0)


def _checked_samples(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    if _is_empty(x) or _is_empty(y):
        raise InputError(
            f"`x` and `y` must hold samples with one n ≥ 1, got {np.shape(x)} and {np.shape(y)}"
        )
    xs, ys = real("x", x), real("y", y)
    xs = xs[:, None] if xs.ndim == 1 else xs
    ys = ys[:, None] if ys.ndim == 1 else ys
    if xs.ndim != 2 or ys.ndim != 2 or len(xs) != len(ys) or len(xs) == 0:
        raise InputError(
            f"`x` must be (n,) or (n, m) and `y` (n,) or (n, k) with one n ≥ 1, "
            f"got {np.shape(x)} and {np.shape(y)}"
        )
    for name, values in (("x", xs), ("y", ys)):
        if not np.isfinite(values).all():
            row = int(np.argmax(~np.isfinite(values).all(axis=1)))
            raise InputError(f"`{name}` must be finite, got {values[row]} in sample {row}")
    return xs, ys


def _is_empty(value: ArrayLike) -> bool:
    try:
        return not np.size(value)
    except TypeError:  # no array at all
        return False


def coordinate_on_line(x: Array) -> Array:
    """The signed coordinate `a` of inputs `x = a n`, refusing inputs off the line."""
    if x.shape[1] == 1:
        return x[:, 0]
    _, _, directions = np.linalg.svd(x, full_matrices=False)
    n = directions[0] * (1 if directions[0][np.argmax(np.abs(directions[0]))] > 0 else -1)
    a: Array = x @ n
    off = np.linalg.norm(x - np.outer(a, n), axis=1)
    share = float(np.linalg.norm(off) / (np.linalg.norm(x) or 1.0))
    if share > LINE_TOLERANCE:
        raise InputError(
            f"the inputs do not lie on a line through the origin: a share {share:.3g} of their "
            f"norm is off the best line, sample {int(np.argmax(off))} by {off.max():.3g}. "
            f"Use MomentData.from_samples for general inputs"
        )
    return a


def _noise_floor(aa: Array, ay: Array, yy: Array) -> Array:
    """`E[y²] − E[ay]²/E[a²]`, refusing moments that no data have."""
    gap = cauchy_schwarz_gap(aa, ay, yy)
    if (gap < -MOMENT_TOLERANCE).any():
        a, c, y = first_where(gap < -MOMENT_TOLERANCE, aa, ay, yy)
        raise InputError(
            f"no data have E[a²] = {a:g}, E[ay] = {c:g}, E[y²] = {y:g}: E[ay]² must be ≤ "
            f"E[a²]E[y²]. LineData.from_samples computes all three from x and y"
        )
    return yy * np.clip(gap, 0, 1)
