"""The units in which a problem on general data has numbers of order one.

Measure the layers in units of `2^u` and `2^w`, inputs in `2^x`, outputs in `2^y` and time in `2^t`.
The equations stay what they are if the parameters become

    γ' = γ 2^(u+w+x−y),    η_u' = η_u 2^(2y−2u+t),    η_w' = η_w 2^(2y−2w+t),

so that norms of 1e-300 and learning rates of 1e-170 are a change of units away from ordinary ones.
Powers of two make the change exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich.numerics.exact import Array, Scaled
from lazyrich.theory.labels import apply
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import GramState

Powers = NDArray[np.int64]

BELOW = 500  # powers of two that a start may lie below its unit: its squares are floats


class Units(NamedTuple):
    """The powers of two of layers, inputs, outputs and time, each a `DataArray`."""

    u: xr.DataArray
    w: xr.DataArray
    x: xr.DataArray
    y: xr.DataArray
    t: xr.DataArray

    def rows(self, outputs: int, inputs: int) -> xr.DataArray:
        """The power of each row of Θ."""
        return by_row(self.u, self.w, outputs, inputs)

    def of_steps(self) -> Units:
        """The same where time is counted in steps: rates may be beyond the range of floats."""
        return self._replace(t=xr.zeros_like(self.t))

    def network(
        self, gamma: xr.DataArray, lr_u: xr.DataArray, lr_w: xr.DataArray
    ) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
        """γ, η_u and η_w in these units."""
        of_time = 2 * self.y + self.t
        return (
            scaled(gamma, self.u + self.w + self.x - self.y),
            scaled(lr_u, of_time - 2 * self.u),
            scaled(lr_w, of_time - 2 * self.w),
        )


def units_for(
    state: GramState,
    network: LinearNetwork,
    best: xr.DataArray,
    power: xr.DataArray,
) -> Units:
    """Choose the units, for every network of its own.

    Args:
        state: where it starts.
        network: scale and learning rates.
        best: largest entry of the best map.
        power: largest entry of the inputs' second moments.
    """
    k = state.outputs
    sizes = (
        abs(state.factor.isel(row=rows)).max(("row", "neuron"))
        for rows in (slice(None, k), slice(k, None))
    )
    x = apply(_exponent, power) // 2
    u, w, y, t = apply(
        _choose,
        *(*sizes, network.output_scale, network.lr_u, network.lr_w, best, x),
        output_core_dims=[()] * 4,
    )
    return Units(u, w, x, y, t)


def by_row(u: xr.DataArray, w: xr.DataArray, outputs: int, inputs: int) -> xr.DataArray:
    """What is `u` for the rows of the second layer in Θ and `w` for those of the first."""
    is_u = xr.DataArray(np.arange(outputs + inputs) < outputs, dims="row")
    return xr.where(is_u, u, w)


def scaled(array: xr.DataArray, power: xr.DataArray) -> xr.DataArray:
    """`array · 2^power`, with the dims of `array` last."""
    result: xr.DataArray = apply(lambda a, p: _ldexp(a, p), array, power)
    rest = [dim for dim in result.dims if dim not in array.dims]
    return result.transpose(*rest, *array.dims)


def _ldexp(values: Array, power: Powers) -> Array:
    return Scaled.of(values).shifted(power).value()


def _choose(
    size_u: Array,
    size_w: Array,
    gamma: Array,
    eta_u: Array,
    eta_w: Array,
    best: Array,
    x: Powers,
) -> tuple[Powers, ...]:
    """Each layer's unit is what it starts with or, if that is more, what the data ask for."""
    u, w, scale, rate_u, rate_w = (_exponent(a) for a in (size_u, size_w, gamma, eta_u, eta_w))
    asked = (gamma != 0) & (best != 0) & (size_u + size_w > 0)
    goal = np.where(asked, _exponent(best) - scale, _LEAST)  # of the product of both layers
    learns_u, learns_w = (eta_u > 0) & (size_w > 0), (eta_w > 0) & (size_u > 0)
    both = (eta_u > 0) & (eta_w > 0)
    tilt = np.where(both, (rate_u - rate_w) // 2, 0)  # of the layers, as they grow
    start = np.maximum(
        np.where(size_u > 0, 2 * u - tilt, _LEAST), np.where(size_w > 0, 2 * w + tilt, _LEAST)
    )
    start = np.where(size_u + size_w > 0, start, 0)
    together = np.minimum(np.maximum(start, goal), start + 2 * BELOW)
    alone_u, alone_w = (
        np.where(learns, np.clip(goal - other, own, own + BELOW), own)
        for learns, own, other in ((learns_u, u, w), (learns_w, w, u))
    )
    u = np.where(both, (together + tilt) // 2, alone_u)
    w = np.where(both, (together - tilt) // 2, alone_w)
    reach = scale + u + w + x
    y = np.where(gamma != 0, reach, _exponent(best) + x)
    pull = np.maximum(np.where(asked, _exponent(best) + x - y, 0), 0)
    fastest = np.maximum(
        np.where(eta_u > 0, rate_u - 2 * u, _LEAST), np.where(eta_w > 0, rate_w - 2 * w, _LEAST)
    )
    still = (eta_u == 0) & (eta_w == 0)
    t = np.where(still, 0, -(fastest + 2 * y) - pull)
    return tuple(np.broadcast_arrays(u, w, y, t))


_LEAST = np.int64(-1_000_000)


def _exponent(value: Array) -> Powers:
    """The power of two of a number, 0 for zero."""
    return np.frexp(value)[1].astype(np.int64)
