"""The schedule of plateaus of a loss that falls in steps, one for each mode.

From a small start a mode waits, and then takes its share off the loss at once. Which mode, when,
and what is left of the loss until then is the schedule: of deep linear networks with the times of
`aligned_modes.mode_times`, of embeddings with those of `barlow_twins.barlow_times`.
"""

from __future__ import annotations

from math import inf

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory.labels import along, apply, dataset, require_free, require_range
from lazyrich.vocabulary.quantity import DERIVED, Quantity, by_name

__all__ = ["plateau_schedule"]

QUANTITIES = (
    Quantity(
        name="plateau_end",
        dims=("plateau",),
        symbol="t_k",
        meaning="time at which a plateau of the loss ends, since a mode steps",
        units="time",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="plateau_loss",
        dims=("plateau",),
        symbol="L_k",
        meaning="loss on a plateau, what is left of it before a mode steps",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="plateau_mode",
        dims=("plateau",),
        symbol="j_k",
        meaning="place of the mode whose step ends a plateau",
        low=0.0,
        source=DERIVED,
    ),
)
KNOWN = by_name(QUANTITIES)


def plateau_schedule(
    times: ArrayLike | xr.DataArray, losses: ArrayLike | xr.DataArray, rest: float = 0.0
) -> xr.Dataset:
    """Sort the steps of modes: the plateaus of the loss, in the order in which they end.

    Args:
        times: times at which each mode steps, along `mode`; infinite if it never does.
        losses: ≥ 0, what each mode has in the loss before its step, one number or along `mode`.
        rest: ≥ 0, of the loss that no mode explains.

    Returns:
        Along `plateau`, over all other axes: `plateau_end`, infinite for the last one where modes
        are left, `plateau_loss` and `plateau_mode`.

    Raises:
        InputError: times or losses below 0.

    Example:
        >>> from lazyrich.theory.aligned_modes import mode_times
        >>> targets = np.array([1.0, 3.0, 2.0])
        >>> found = plateau_schedule(mode_times(targets, 1e-3, lr=0.5), targets**2)
        >>> found.plateau_end.values.round(2), found.plateau_loss.values
        (array([1.33, 1.9 , 3.45]), array([14.,  5.,  1.]))
        >>> found.plateau_mode.values
        array([1., 2., 0.])

    References:
        Derived in the documentation.
    """
    when, size = along("mode", "times", times, always=True), along("mode", "losses", losses)
    if bool((~(when >= 0)).any()):
        raise InputError(f"`times` must be ≥ 0, got {float(when.where(~(when >= 0)).min())}")
    require_range("losses", size, 0, inf)
    require_range("rest", xr.DataArray(float(rest)), 0, inf)
    require_free({*KNOWN, "plateau"}, when, size)
    when, size = xr.broadcast(when, size)
    names = ("plateau_end", "plateau_loss", "plateau_mode")
    found = apply(
        _sorted, when, size, input_core_dims=[("mode",)] * 2, output_core_dims=[("plateau",)] * 3
    )
    arrays = dict(zip(names, found, strict=True))
    arrays["plateau_loss"] = arrays["plateau_loss"] + float(rest)
    numbered = {"plateau": np.arange(when.sizes["mode"])}
    return dataset(arrays, KNOWN).assign_coords(numbered)


def _sorted(when: Array, size: Array) -> tuple[Array, Array, Array]:
    order = np.argsort(when, axis=-1, kind="stable")
    losses = np.take_along_axis(size, order, axis=-1)
    left = np.cumsum(losses[..., ::-1], axis=-1)[..., ::-1]
    return np.take_along_axis(when, order, axis=-1), left, order.astype(float)


def __dir__() -> list[str]:
    return __all__
