"""Arrays put together from parts, so that no value changes where some are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazyrich._errors import InputError

Part = tuple[tuple[Any, ...], NDArray[Any]]
"""Where a part lies, an index, and its values."""


def gathered(shape: tuple[int, ...], parts: Sequence[Part]) -> NDArray[Any]:
    """One array that holds every part at its place.

    Where a place is empty, numbers, complex numbers and times are missing as NaN and NaT, text is
    empty, and booleans, and whole numbers that a float cannot hold, stand beside NaN in an array of
    objects. Floats are at least double; everything else keeps its type.

    Args:
        shape: shape of the array.
        parts: the parts that do not overlap, of one kind of values.

    Example:
        >>> gathered((3,), [((0,), np.array(True)), ((1,), np.array(False))])
        array([True, False, nan], dtype=object)
        >>> gathered((2,), [((0,), np.array(2**53 + 1)), ((1,), np.array(1))])
        array([9007199254740993,                1])
    """
    whole = sum(values.size for _, values in parts) == prod(shape)
    dtype, fill = _holder({values.dtype for _, values in parts}, whole)
    if dtype.kind == "f" and any(_is_lost(values, dtype) for _, values in parts):
        dtype, fill = np.dtype(object), np.nan
    table = np.full(shape, fill, dtype)
    for index, values in parts:
        check_times(values, dtype)
        single = values.item() if dtype.kind == "O" and not values.ndim else values[()]
        table[index] = single
    return table.astype(str) if fill == "" else table


def _holder(dtypes: Iterable[np.dtype[Any]], whole: bool) -> tuple[np.dtype[Any], Any]:
    """The type that holds all of some types, and what stands in empty places."""
    kinds = {dtype.kind for dtype in dtypes}
    if "U" in kinds:
        return np.dtype(object), ""
    if "O" in kinds:
        return np.dtype(object), np.nan
    dtype = np.result_type(*dtypes)
    if dtype.kind == "f":
        return np.result_type(dtype, np.float64), np.nan
    if dtype.kind == "c":
        return np.result_type(dtype, np.complex128), np.nan
    if dtype.kind in "mM":
        return dtype, np.array("NaT", dtype)
    if whole or dtype.kind == "S":
        return dtype, np.zeros((), dtype)[()]
    return (np.dtype(object) if dtype.kind == "b" else np.dtype(np.float64)), np.nan


def check_times(values: NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Refuse times that a finer unit, which others have, cannot hold.

    Args:
        values: any; what are no times pass.
        dtype: type of the array that will hold them.

    Raises:
        InputError: naming both units.

    Example:
        >>> check_times(np.array("3000-01-01", "M8[s]"), np.dtype("M8[ns]"))
        Traceback (most recent call last):
        ...
        lazyrich.InputError: times in one array must have units that hold all of them, got ...
    """
    if values.dtype.kind not in "mM" or values.dtype == dtype:
        return
    known = values[~np.isnat(values)]
    if not np.array_equal(known.astype(dtype).astype(values.dtype), known):
        raise InputError(
            f"times in one array must have units that hold all of them, got {values.dtype} beside "
            f"{dtype}. Let the experiment give all of them in one unit."
        )


def _is_lost(values: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether a float of this type cannot hold some whole numbers."""
    if values.dtype.kind not in "iu" or not values.size:
        return False
    exact = 2 ** (np.finfo(dtype).nmant + 1)
    return max(abs(int(values.max())), abs(int(values.min()))) > exact
