"""Datasets as files can hold them: each format knows fewer kinds of values than an array."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray


def portable(data: xr.Dataset) -> xr.Dataset:
    """The same data in types and attributes that every format of arrays has.

    Floats of other sizes than 4 and 8 bytes become double ones, complex numbers those of two
    doubles. Booleans and whole numbers beside NaN become integers with a `_FillValue`, which the
    formats read back as NaN. Attributes that are no text, number or list of them become JSON. Half
    of a surrogate pair, which no encoding has, becomes its escape, in names `_`.

    Args:
        data: any Dataset.

    Example:
        >>> import xarray
        >>> data = xarray.Dataset({"x": ("a", np.array([True, np.nan], object))}, attrs={"n": None})
        >>> portable(data).x.values, portable(data).n
        (array([ 1, -1], dtype=int8), 'null')
    """
    variables = {}
    for name, variable in data.variables.items():
        values, fill = _values(variable.values)
        attrs = {_name(key): _attribute(value) for key, value in variable.attrs.items()}
        made = type(variable.to_base_variable())(variable.dims, values, attrs | fill)
        variables[_name(name)] = made
    names = {_name(name) for name in data.coords}
    whole = data.drop_vars(list(data.variables)).assign(variables).set_coords(names)
    whole.attrs = {_name(name): _attribute(value) for name, value in data.attrs.items()}
    return whole


def escaped(data: xr.Dataset) -> xr.Dataset:
    r"""The same data with half surrogate pairs in its texts escaped.

    Args:
        data: any Dataset.

    Example:
        >>> import xarray
        >>> escaped(xarray.Dataset({"x": "\ud800"})).x.item()
        '\\ud800'
    """
    texts = {
        name: one.copy(data=_values(one.values)[0])
        for name, one in data.variables.items()
        if one.dtype.kind == "U"
    }
    return data.assign({n: v for n, v in texts.items() if n not in data.coords}).assign_coords(
        {n: v for n, v in texts.items() if n in data.coords}
    )


def _values(values: NDArray[Any]) -> tuple[NDArray[Any], dict[str, Any]]:
    """Values as files hold them, and the attribute that says which are missing."""
    kind = values.dtype.kind
    if kind == "f" and values.itemsize not in (4, 8):
        return values.astype(np.float64), {}
    if kind == "c" and values.itemsize not in (8, 16):
        return values.astype(np.complex128), {}
    if kind == "U":
        return np.vectorize(_text, otypes=[object])(values).astype(str), {}
    if kind != "O":
        return values, {}
    known = values == values  # NaN is not
    some = values[known].tolist()
    if some and all(isinstance(value, str) for value in values.ravel()):
        return np.vectorize(_text, otypes=[object])(values), {}
    dtype = whole_type(some) if some else None
    if dtype is None and some and all(isinstance(value, int) for value in some):
        return np.array([str(value) for value in values.ravel()]).reshape(values.shape), {}
    if dtype is None:
        numbers = all(isinstance(value, int | float) for value in some)
        return (values.astype(np.float64), {}) if numbers else (values, {})
    if dtype.kind == "b":
        dtype, fill = np.dtype(np.int8), -1
    else:
        taken, limits = set(some), np.iinfo(dtype)
        fill = next(n for n in range(limits.max, limits.min, -1) if n not in taken)
    table = np.full(values.shape, fill, dtype)
    table[known] = np.array(some, dtype)
    return table, {"_FillValue": dtype.type(fill)}


def whole_type(some: Sequence[Any]) -> np.dtype[Any] | None:
    """The type that holds all of some booleans or of some whole numbers; None if none does.

    Args:
        some: values of Python.

    Example:
        >>> whole_type([True, False]), whole_type([1, 2**63]), whole_type([-1, 2**63])
        (dtype('bool'), dtype('uint64'), None)
    """
    if all(isinstance(value, bool) for value in some):
        return np.dtype(bool)
    if not all(isinstance(value, int) for value in some):
        return None
    types = (np.dtype(np.int64), np.dtype(np.uint64))
    ends = {dtype: np.iinfo(dtype) for dtype in types}
    return next((d for d, e in ends.items() if e.min <= min(some) and max(some) <= e.max), None)


def _name(value: Any) -> Any:  # noqa: ANN401 - only text is changed
    """A name without halves of surrogate pairs; netCDF allows no backslash in one."""
    if not isinstance(value, str):
        return value
    return "".join("_" if "\ud800" <= letter <= "\udfff" else letter for letter in value)


def _text(value: Any) -> Any:  # noqa: ANN401 - only text is changed
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def _attribute(value: Any) -> Any:  # noqa: ANN401 - any attribute
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, np.ndarray | np.generic):
        if value.ndim > 1:
            return json.dumps(value.tolist())
        if value.dtype.kind in "iu" or (value.dtype.kind == "f" and value.itemsize in (4, 8)):
            return value
        value = value.tolist()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) < 2**63 or isinstance(value, float) else str(value)
    if isinstance(value, list | tuple) and value:
        kinds = {type(part) for part in value}
        if kinds in ({str}, {int}, {float}):
            return [_attribute(part) for part in value]
    return _text(json.dumps(value, ensure_ascii=False, default=str))
