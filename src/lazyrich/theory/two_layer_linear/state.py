"""The state of a two-layer linear network: the Gram matrix of its neurons.

The network is `f(x) = γ U W x` with `U ∈ R^{k×d}` and `W ∈ R^{d×m}`. Stack `Θ = [U; Wᵀ]`; then
`G = ΘΘᵀ`, of size k + m whatever the width d, determines all that is asked, at all times.
A `GramState` holds `G`; on a line three numbers are enough, a `LineState`: `‖u‖²`, `u·w`, `‖w‖²`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import fsum
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array, cauchy_schwarz_gap, cosines
from lazyrich.theory.labels import (
    Labelled,
    Parameter,
    ParameterLike,
    apply,
    first_where,
    labelled,
    real,
    require_free,
    require_range,
    require_whole,
)
from lazyrich.theory.two_layer_linear.wishart import OF_MATRICES, SeedLike, bartlett_factor

PSD_TOLERANCE = 1e-12  # relative: rounding of the numbers that a user types or computes
LARGEST_NORM, SMALLEST_NORM = 1e154, 1e-154
SMALLEST = 1e-290  # squared norms whose products with cosines have all their digits
SINGULAR = 1e-14  # eigenvalues of the cosines between rows of Θ: no neuron points there


@dataclass(frozen=True, kw_only=True, repr=False)
class LineState(Labelled):
    """State on one-dimensional data: the Gram matrix of two vectors of length d.

    Args:
        uu: `‖u‖²` of the second layer, ≥ 0.
        uw: `u·w`, at most `‖u‖‖w‖` in size.
        ww: `‖w‖²` of the first layer along the data's direction, ≥ 0.
        sine_squared: `1 − ζ²` where it is known better than from the three numbers, in [0, 1].

    Each is a number, an axis (a sequence; its name is `initial_uu` …) or a labelled `DataArray`.

    Raises:
        InputError: if the matrix [[uu, uw], [uw, ww]] is not positive semidefinite.

    Example:
        >>> LineState(uu=1.0, uw=-0.5, ww=2.0)
        LineState(uu=1, uw=-0.5, ww=2)

    References:
        Xu & Ziyin, arXiv:2401.07085, for the network; the state is derived here.
    """

    uu: Parameter = Parameter(low=0, axis="initial_uu")  # `uu` is a quantity of results
    uw: Parameter = Parameter(axis="initial_uw")
    ww: Parameter = Parameter(low=0, axis="initial_ww")
    sine_squared: xr.DataArray = field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        known = apply(_sine_squared, self.uu, self.uw, self.ww)
        sine = known if self.sine_squared is None else labelled("sine_squared", self.sine_squared)
        require_range("sine_squared", sine, 0, 1)
        apply(_require_sine, self.uu, self.uw, self.ww, known, sine)
        object.__setattr__(self, "sine_squared", sine)

    @classmethod
    def from_weights(
        cls, u: ArrayLike, w: ArrayLike, *, direction: ArrayLike | None = None
    ) -> LineState:
        """Reduce the weights of a concrete network of any width.

        Args:
            u: second layer, shape (d,).
            w: first layer, shape (d,), or (d, m) together with `direction`.
            direction: the line `n` that the inputs lie on, shape (m,); only `W n` ever moves.
        """
        us, ws = real("u", u), real("w", w)
        if direction is not None:
            n = real("direction", direction)
            if ws.ndim != 2 or n.shape != ws.shape[1:] or not np.linalg.norm(n) > 0:
                raise InputError(
                    f"`direction` must be a nonzero vector of shape (m,) for `w` of shape (d, m), "
                    f"got {n.shape} for {ws.shape}"
                )
            ws = ws @ (n / np.linalg.norm(n))
        if us.ndim != 1 or us.shape != ws.shape:
            raise InputError(
                f"`u` and `w` must be vectors of one length, got shapes {us.shape} and {ws.shape}"
            )
        _require_squares(us, ws)
        uu, uw, ww = fsum(us * us), fsum(us * ws), fsum(ws * ws)
        across = ws - (uw / uu) * us if uu > 0 else ws
        sine = min(1.0, fsum(across * across) / ww) if uu > 0 and ww > 0 else 1.0
        return cls(uu=uu, uw=uw, ww=ww, sine_squared=xr.DataArray(sine))

    @classmethod
    def sample(
        cls,
        width: ParameterLike,
        *,
        init_std_u: ParameterLike,
        init_std_w: ParameterLike,
        draws: int | None = None,
        seed: SeedLike,
    ) -> LineState:
        """Draw the state of Gaussian layers `u ~ N(0, σ_u²)`, `w ~ N(0, σ_w²)` at any width.

        Args:
            width: hidden width d, whole numbers from 1 to 2^53.
            init_std_u: standard deviation σ_u, ≥ 0.
            init_std_w: standard deviation σ_w, ≥ 0.
            draws: number of independent networks (dim `draw`); None for one, without the dim.
            seed: a seed or a NumPy generator. Standard deviations share the draws.

        Example:
            >>> LineState.sample(10**12, init_std_u=1e-6, init_std_w=1e-6, draws=3, seed=0)
            LineState(uu=<{'draw': 3}>, uw=<{'draw': 3}>, ww=<{'draw': 3}>)
        """
        factor = bartlett_factor(width, size=2, draws=draws, seed=seed)
        along, across = factor.isel(row=1, col=0), factor.isel(row=1, col=1)
        first = factor.isel(row=0, col=0)
        unit_ww = along**2 + across**2
        su, sw = _checked_std("init_std_u", init_std_u), _checked_std("init_std_w", init_std_w)
        return cls(
            uu=su**2 * first**2,
            uw=su * sw * first * along,
            ww=sw**2 * unit_ww,
            sine_squared=across**2 / unit_ww,
        )

    def gram(self) -> GramState:
        """The same state as a 2 × 2 Gram matrix; its factor keeps `1 − ζ²`.

        Raises:
            InputError: if an axis is called as those of a matrix are.
        """
        numbers = (self.uu, self.uw, self.ww, self.sine_squared)
        require_free(OF_MATRICES, *numbers)
        matrix, factor = apply(
            _gram_and_factor,
            *numbers,
            output_core_dims=[("row", "col"), ("row", "neuron")],
        )
        return GramState(matrix=matrix, outputs=1, factor=factor)


@dataclass(frozen=True, kw_only=True, repr=False)
class GramState(Labelled):
    """State on general data: the Gram matrix of the rows of `Θ = [U; Wᵀ]`.

    Args:
        matrix: `G = ΘΘᵀ`, shape (k + m, k + m), or a `DataArray` whose last two dims are
            `row` and `col`.
        outputs: the number k of outputs.
        factor: weights Θ of a network of at most k + m neurons with this `G`, where they are known
            better than from the matrix; last dims `row` and `neuron`. It is what moves, so that
            the Gram matrix stays positive semidefinite and keeps its rank.

    Raises:
        InputError: if `G` is not symmetric and positive semidefinite, or `factor` not one of it.

    Example:
        >>> state = GramState.from_weights([[1.0, 0.0]], [[2.0, 0.0], [0.0, 1.0]])
        >>> state.blocks.uw.values
        array([[2., 0.]])
    """

    matrix: xr.DataArray
    outputs: int
    factor: xr.DataArray = field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _checked_gram(self.matrix))
        object.__setattr__(self, "factor", _checked_factor(self.factor, self.matrix))
        size = self.matrix.sizes["row"]
        object.__setattr__(self, "outputs", require_whole("outputs", self.outputs, 1))
        if not self.outputs < size:
            raise InputError(
                f"`outputs` must be between 1 and {size - 1} for a matrix of size {size}, "
                f"got {self.outputs}"
            )

    @classmethod
    def from_weights(cls, u: ArrayLike, w: ArrayLike) -> GramState:
        """Reduce concrete weights: `u` of shape (k, d), `w` of shape (d, m)."""
        us, ws = real("u", u), real("w", w)
        if us.ndim != 2 or ws.ndim != 2 or us.shape[1] != ws.shape[0]:
            raise InputError(
                f"`u` must have shape (k, d) and `w` (d, m), got {us.shape} and {ws.shape}"
            )
        _require_squares(us, ws.T)
        theta = np.concatenate([us, ws.T])
        surplus = theta.shape[1] - len(theta)
        if surplus > 0:  # as many neurons as rows are enough: a rotation of all neurons
            factor = np.linalg.qr(theta.T).R.T
        else:
            factor = np.pad(theta, ((0, 0), (0, -surplus)))
        return cls(
            matrix=xr.DataArray(theta @ theta.T, dims=("row", "col")),
            outputs=len(us),
            factor=xr.DataArray(factor, dims=("row", "neuron")),
        )

    @classmethod
    def sample(
        cls,
        width: ParameterLike,
        *,
        outputs: int,
        inputs: int,
        init_std_u: ParameterLike,
        init_std_w: ParameterLike,
        draws: int | None = None,
        seed: SeedLike,
    ) -> GramState:
        """Draw `G ~ Wishart_{k+m}(d, diag(σ_u² I_k, σ_w² I_m))`; arguments as `LineState.sample`.

        Example:
            >>> GramState.sample(
            ...     10**9, outputs=2, inputs=3, init_std_u=1e-4, init_std_w=1e-4, seed=0
            ... ).matrix.shape
            (5, 5)
        """
        outputs, inputs = (
            require_whole(name, count, 1)
            for name, count in (("outputs", outputs), ("inputs", inputs))
        )
        factor = bartlett_factor(width, size=outputs + inputs, draws=draws, seed=seed)
        is_u = xr.DataArray(np.arange(outputs + inputs) < outputs, dims="row")
        su, sw = _checked_std("init_std_u", init_std_u), _checked_std("init_std_w", init_std_w)
        theta = (factor * xr.where(is_u, su, sw)).rename(col="neuron")
        theta = theta.transpose(..., "row", "neuron")
        return cls(matrix=gram_of(theta), outputs=outputs, factor=theta)

    @property
    def inputs(self) -> int:
        """The number m of inputs."""
        return int(self.matrix.sizes["row"]) - self.outputs

    @property
    def blocks(self) -> Blocks:
        """The blocks `U Uᵀ`, `U W` and `Wᵀ W`."""
        return Blocks.of(self.matrix, self.outputs)


class Blocks(NamedTuple):
    """The blocks of a Gram matrix, any leading dims."""

    uu: xr.DataArray  # U Uᵀ, dims (k, k_)
    uw: xr.DataArray  # U W, dims (k, m)
    ww: xr.DataArray  # Wᵀ W, the neural feature matrix, dims (m, m_)

    @classmethod
    def of(cls, gram: xr.DataArray, outputs: int) -> Blocks:
        """Cut a matrix with dims (..., row, col) after its first `outputs` rows and columns."""
        u, w = slice(None, outputs), slice(outputs, None)
        return cls(
            gram.isel(row=u, col=u).rename(row="k", col="k_"),
            gram.isel(row=u, col=w).rename(row="k", col="m"),
            gram.isel(row=w, col=w).rename(row="m", col="m_"),
        )


def gram_of(theta: xr.DataArray) -> xr.DataArray:
    """`ΘΘᵀ` over all leading dims."""
    gram = xr.dot(theta, theta.rename(row="col"), dim="neuron")
    return gram.transpose(..., "row", "col")


def _require_squares(u: Array, w: Array) -> None:
    """Refuse vectors, along the last axis, whose squared norms are no numbers."""
    for name, vectors in (("u", u), ("w", w)):
        sizes = np.abs(vectors).max(-1)
        most, least = float(sizes.max()), float(sizes[sizes > 0].min(initial=1.0))
        fits = most * np.sqrt(vectors.size) < LARGEST_NORM
        if not (fits and least > SMALLEST_NORM):
            raise InputError(
                f"`{name}` must be finite, with norms of 0 or from {SMALLEST_NORM:g} to "
                f"{LARGEST_NORM:g}, whose squares are numbers; got {least if fits else most:g}"
            )


def _checked_std(name: str, value: ParameterLike) -> xr.DataArray:
    array = labelled(name, value)
    require_free(OF_MATRICES, array)
    if bool((array < 0).any()):
        raise InputError(f"`{name}` is a standard deviation and must be ≥ 0, got {array.values}")
    return array


def _sine_squared(uu: Array, uw: Array, ww: Array) -> Array:
    """`1 − ζ²`, refusing three numbers that no two vectors have; 1 where a layer is zero."""
    gap = cauchy_schwarz_gap(uu, uw, ww)
    if (gap < -PSD_TOLERANCE).any():
        u, x, w = first_where(gap < -PSD_TOLERANCE, uu, uw, ww)
        raise InputError(
            f"no two vectors have ‖u‖² = {u:g}, u·w = {x:g}, ‖w‖² = {w:g}: "
            f"(u·w)² must be ≤ ‖u‖²‖w‖². LineState.from_weights computes all three"
        )
    return np.clip(gap, 0, 1)


def _require_sine(uu: Array, uw: Array, ww: Array, known: Array, given: Array) -> NDArray[np.bool_]:
    """Refuse a given `1 − ζ²` that is not the one of the three numbers."""
    exact = (uu > SMALLEST) & (ww > SMALLEST)  # fewer digits are left below
    wrong: NDArray[np.bool_] = exact & (np.abs(known - given) > PSD_TOLERANCE)
    if wrong.any():
        u, x, w, sine = first_where(wrong, uu, uw, ww, given)
        raise InputError(
            f"`sine_squared` must be 1 - (u·w)²/(‖u‖²‖w‖²), got {sine:g} for "
            f"‖u‖² = {u:g}, u·w = {x:g}, ‖w‖² = {w:g}. Leave it out, and it is computed"
        )
    return wrong


def _checked_gram(matrix: ArrayLike | xr.DataArray) -> xr.DataArray:
    if not isinstance(matrix, xr.DataArray):
        square = real("matrix", matrix)
        if square.ndim != 2:
            raise InputError(
                f"`matrix` must have two dimensions, or be a DataArray whose last dims are "
                f"('row', 'col'), got shape {square.shape}"
            )
        matrix = xr.DataArray(square, dims=("row", "col"))
    if matrix.dims[-2:] != ("row", "col") or matrix.shape[-1] != matrix.shape[-2]:
        raise InputError(
            f"`matrix` must be square with last dims ('row', 'col'), got {dict(matrix.sizes)}"
        )
    values = real("matrix", matrix.values)
    if not np.isfinite(values).all():
        raise InputError("`matrix` must be finite, got NaN or infinity")
    scaled = cosines(values)
    asymmetry = float(np.abs(scaled - np.swapaxes(scaled, -1, -2)).max())
    if asymmetry > PSD_TOLERANCE:
        raise InputError(f"`matrix` must be symmetric, is off by {asymmetry:.2g}. Take (G + Gᵀ)/2")
    lowest = float(np.linalg.eigvalsh(scaled).min())
    if lowest < -PSD_TOLERANCE * values.shape[-1]:
        raise InputError(
            f"`matrix` must be positive semidefinite, its lowest eigenvalue is {lowest:.2g} "
            f"after scaling its diagonal to 1. GramState.from_weights makes one"
        )
    return matrix.copy(data=(values + np.swapaxes(values, -1, -2)) / 2)


def _checked_factor(factor: xr.DataArray | None, matrix: xr.DataArray) -> xr.DataArray:
    """`Θ` with `ΘΘᵀ = G`: the one that is given, else the root of the matrix."""
    if factor is None:
        found: xr.DataArray = apply(
            _square_root,
            matrix,
            input_core_dims=[("row", "col")],
            output_core_dims=[("row", "neuron")],
        )
        return found
    if factor.dims[-2:] != ("row", "neuron") or factor.sizes["row"] != matrix.sizes["row"]:
        raise InputError(
            f"`factor` must have the last dims ('row', 'neuron') and a row for every row of "
            f"`matrix`, got {dict(factor.sizes)}"
        )
    product = gram_of(factor).transpose(*matrix.dims).values
    norms = np.sqrt(np.diagonal(matrix.values, axis1=-2, axis2=-1))
    off = np.abs(product - matrix.values)
    rounding = 10 * PSD_TOLERANCE * norms[..., :, None] * norms[..., None, :]
    if bool((off > rounding + np.finfo(float).tiny).any()):
        raise InputError(f"`factor` must give ΘΘᵀ = `matrix`, is off by {off.max():.2g}. Omit it")
    return factor


def _square_root(gram: Array) -> Array:
    """`V √Λ` of the cosines, scaled back; eigenvalues that are rounding are zero."""
    norms = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))
    values, vectors = np.linalg.eigh(cosines(gram))
    kept = np.where(values > SINGULAR, values, 0.0)
    root: Array = norms[..., :, None] * vectors * np.sqrt(kept)[..., None, :]
    return root


def _gram_and_factor(uu: Array, uw: Array, ww: Array, sine_squared: Array) -> tuple[Array, Array]:
    """The Gram matrix of two vectors, and two vectors in a plane that have it."""
    u, w = np.sqrt(uu), np.sqrt(ww)
    with np.errstate(divide="ignore", invalid="ignore"):
        along = np.where(u > 0, uw / u, 0.0)
    across = w * np.sqrt(sine_squared)
    matrix = [[uu, uw], [uw, ww]]
    factor = [[u, np.zeros(())], [along, across]]

    def stacked(rows: list[list[Array]]) -> Array:
        entries = np.broadcast_arrays(*(entry for row in rows for entry in row))
        return np.stack(entries, -1).reshape(*entries[0].shape, 2, 2)

    return stacked(matrix), stacked(factor)
