"""Exponents that broadcast and stay exact: labelled axes of fractions, and integers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.fractions import ExponentLike, exact_exponent

ExponentAxis: TypeAlias = ExponentLike | Sequence[ExponentLike] | NDArray[Any] | xr.DataArray

FITS = 2**55  # sums of a few of them fit 64 bits


def fractions_of(name: str, value: ExponentAxis) -> xr.DataArray:
    """A labelled array of fractions.

    Args:
        name: name of the exponent, and of the axis that a sequence becomes.
        value: a number, a fraction, its text, a sequence of such, or a labelled array; in a text
            commas part the values of an axis.

    Raises:
        InputError: if one of them is no number, or the array has dimensions without names.

    Example:
        >>> fractions_of("gamma", [0.5, "1/3"]).values.tolist()
        [Fraction(1, 2), Fraction(1, 3)]
    """
    if isinstance(value, xr.DataArray):
        return value.copy(data=_exact(value.values)).drop_attrs(deep=False).rename(name)
    value = parted(value)
    if isinstance(value, int | str | float | Fraction):
        return xr.DataArray(np.array(exact_exponent(value), dtype=object), name=name)
    array = _exact(value)
    if array.ndim > 1 or not array.size:
        raise InputError(
            f"`{name}` must be an exponent or an axis of exponents, got shape {array.shape}. Name "
            f"more dimensions: xarray.DataArray(values, dims=[...])"
        )
    if array.ndim == 0:
        return xr.DataArray(array, name=name)
    return xr.DataArray(array, dims=name, coords={name: array.astype(float)}, name=name)


def parted(value: Any) -> Any:  # noqa: ANN401 - whatever is no text stays as it is
    """The parts of a text with commas.

    Args:
        value: anything.

    Example:
        >>> parted("-1/2,0,1/2"), parted("1/2"), parted(2)
        (['-1/2', '0', '1/2'], '1/2', 2)
    """
    return value.split(",") if isinstance(value, str) and "," in value else value


def over_common_denominator(arrays: Sequence[xr.DataArray]) -> tuple[int, list[xr.DataArray]]:
    """Fractions as integers in one unit, exactly; of 64 bits where they fit, else Python's.

    Args:
        arrays: arrays of fractions.

    Returns:
        The number of units in 1, a multiple of 4 so that a half is even, and the integers, all of
        which are even, so that half of a sum of them is an integer.

    Example:
        >>> unit, (third,) = over_common_denominator([fractions_of("gamma", "1/3")])
        >>> unit, int(third)
        (12, 4)
    """
    flat = [array.values.ravel().tolist() for array in arrays]
    unit = 4 * lcm(*(x.denominator for each in flat for x in each))
    whole = [[int(x * unit) for x in each] for each in flat]
    largest = max(unit, *(abs(x) for each in whole for x in each))
    kind: Any = np.int64 if largest < FITS else object
    return unit, [
        array.copy(data=np.array(each, dtype=kind).reshape(array.shape))
        for array, each in zip(arrays, whole, strict=True)
    ]


def _exact(values: Any) -> NDArray[Any]:  # noqa: ANN401
    """The fractions, in the shape of the values."""
    given = np.asarray(values, dtype=object)
    flat = [exact_exponent(each) for each in given.ravel()]
    return np.fromiter(flat, dtype=object, count=len(flat)).reshape(given.shape)
