"""What neurons of power β see of their data, and weights that are drawn."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.theory.labels import (
    ParameterLike,
    dataset,
    labelled,
    real,
    require_range,
    require_whole,
)
from lazyrich.theory.two_layer_linear.data import LineData, coordinate_on_line
from lazyrich.theory.two_layer_linear.neurons import QUANTITIES as OF_NEURONS
from lazyrich.theory.two_layer_linear.wishart import SeedLike
from lazyrich.vocabulary.quantity import by_name


def signed_power(value: xr.DataArray, power: xr.DataArray) -> xr.DataArray:
    """`φ(z) = sgn(z)|z|^β`."""
    sign: xr.DataArray = xr.where(value < 0, -1.0, 1.0)
    return sign * abs(value) ** power


def require_power(power: ParameterLike) -> xr.DataArray:
    """β, labelled, at least 1."""
    beta = labelled("power", power)
    require_range("power", beta, 1, np.inf)
    return beta


def power_data(x: ArrayLike, y: ArrayLike, *, power: ParameterLike) -> LineData:
    """The moments of data on a line that neurons of power β see: `E φ(a)²`, `E φ(a)y`, `E y²`.

    Args:
        x: inputs, (n,), or (n, m) on a line through the origin.
        y: targets, (n,).
        power: β ≥ 1 of `φ(a) = sgn(a)|a|^β`; an axis gives the moments of each.

    Raises:
        InputError: inputs that leave the line, by how much; several outputs; β below 1.

    Example:
        >>> power_data([1.0, -2.0], [1.0, -3.0], power=[1, 2]).mean_ay.values
        array([3.5, 6.5])
    """
    beta = require_power(power)
    inputs, targets = real("x", x), np.squeeze(real("y", y))
    if targets.ndim > 1 or inputs.shape[:1] != np.atleast_1d(targets).shape:
        raise InputError(
            f"`x` must be (n,) or (n, m) and `y` (n,), got {inputs.shape} and {np.shape(y)}"
        )
    for name, values in (("x", inputs), ("y", targets)):
        require_range(name, xr.DataArray(values), -np.inf, np.inf)
    a = coordinate_on_line(inputs.reshape(len(inputs), -1))
    seen = signed_power(xr.DataArray(a, dims="sample"), beta)
    target = xr.DataArray(np.atleast_1d(targets), dims="sample")
    return LineData(
        mean_aa=(seen**2).mean("sample"),
        mean_ay=(seen * target).mean("sample"),
        mean_yy=(target**2).mean("sample"),
    )


def power_weights(
    width: int,
    *,
    init_std_u: ParameterLike,
    init_std_w: ParameterLike,
    draws: int | None = None,
    seed: SeedLike,
) -> xr.Dataset:
    """Draw both weights of every neuron, `u ~ N(0, σ_u²)` and `w ~ N(0, σ_w²)`.

    Args:
        width: number of neurons, one or more.
        init_std_u: σ_u ≥ 0.
        init_std_w: σ_w ≥ 0, of the input weight along the line.
        draws: number of independent networks (dim `draw`); None for one, without the dim.
        seed: a seed or a NumPy generator. Standard deviations share the draws.

    Returns:
        A Dataset of `u` and `w`, with the dim `neuron`.

    Raises:
        InputError: a width below 1, a standard deviation below 0.

    Example:
        >>> drawn = power_weights(3, init_std_u=[0.1, 1.0], init_std_w=1.0, seed=0)
        >>> drawn.u.dims, drawn.w.shape
        (('init_std_u', 'neuron'), (3,))
    """
    shape = [require_whole("width", width, 1)]
    dims = ["neuron"]
    if draws is not None:
        shape, dims = [require_whole("draws", draws, 1), *shape], ["draw", *dims]
    random, weights = np.random.default_rng(seed), {}
    for layer, name, std in (("u", "init_std_u", init_std_u), ("w", "init_std_w", init_std_w)):
        size = labelled(name, std)
        require_range(name, size, 0, np.inf)
        drawn = size * xr.DataArray(random.standard_normal(shape), dims=dims)
        weights[layer] = drawn.transpose(..., "neuron")
    return dataset(weights, by_name(OF_NEURONS))
