"""The neurons themselves, recovered from the propagator: `Θ(t) = Φ(t) Θ(0)`."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory.labels import dataset, real
from lazyrich.vocabulary.quantity import Quantity, by_name

QUANTITIES = (
    Quantity(
        name="u",
        dims=("k", "neuron"),
        symbol="u",
        meaning="weights of the second layer, one of each neuron for every output",
    ),
    Quantity(
        name="w",
        dims=("neuron", "m"),
        symbol="w",
        meaning="weights of the first layer, one of each neuron for every input",
    ),
)


def neurons(trajectory: xr.Dataset, u: ArrayLike, w: ArrayLike) -> xr.Dataset:
    """The weights of every neuron along a solution.

    Args:
        trajectory: a trajectory from `flow` or `descent` with `propagator=True`.
        u: second layer at the start, shape (d,) on a line, (k, d) in general.
        w: first layer at the start, shape (d,) on a line (along the data), (d, m) in general.

    Returns:
        `u` and `w` with dims (..., time or step, neuron), and `k` or `m` on general data.

    Raises:
        InputError: if the trajectory has no propagator, or the shapes do not fit it.

    Example:
        >>> from lazyrich.theory.two_layer_linear import LineData, LineState, LinearNetwork, flow
        >>> u, w = [1.0, 0.0], [0.0, 1.0]
        >>> network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
        >>> data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
        >>> result = flow(LineState.from_weights(u, w), network, data, [0.0, 9.0], propagator=True)
        >>> neurons(result, u, w).u.values.round(3)
        array([[1.   , 0.   ],
               [1.097, 0.451]])
    """
    if "propagator" not in trajectory:
        raise InputError(
            "`trajectory` must have its propagator, got none. Call flow or descent with "
            "`propagator=True`."
        )
    phi = trajectory.propagator
    us, ws = real("u", u), real("w", w)
    on_line = us.ndim == 1
    theta = np.stack([us, ws]) if on_line and us.shape == ws.shape else _stacked(us, ws)
    if len(theta) != phi.sizes["row"]:
        raise InputError(
            f"the trajectory has k + m = {phi.sizes['row']}, got weights with k + m = "
            f"{len(theta)}. Pass the weights that its state was made from"
        )
    moved = xr.dot(phi, xr.DataArray(theta, dims=("col", "neuron")), dim="col")
    if on_line:
        layers = {"u": moved.isel(row=0), "w": moved.isel(row=1)}
    else:
        first, second = moved.isel(row=slice(len(us))), moved.isel(row=slice(len(us), None))
        layers = {"u": first.rename(row="k"), "w": second.rename(row="m")}
    return dataset(layers, by_name(QUANTITIES))


def _stacked(u: Array, w: Array) -> Array:
    if u.ndim != 2 or w.ndim != 2 or u.shape[1] != w.shape[0]:
        raise InputError(
            f"`u` and `w` must be (d,) and (d,), or (k, d) and (d, m); got {u.shape} and {w.shape}"
        )
    return np.concatenate([u, w.T])
