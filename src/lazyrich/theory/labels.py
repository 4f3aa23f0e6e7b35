"""Parameters that broadcast: floats, axes and labelled arrays become `xarray.DataArray`s once.

A frozen dataclass declares a field as `uu: Parameter = Parameter(low=0)`. Whoever builds it may
pass a number, a one-dimensional sequence (which becomes an axis named after the field), or a
`DataArray`; whoever reads it gets a float64 `DataArray`. Range and finiteness are checked here and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from math import inf
from typing import Any, TypeAlias, overload

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.vocabulary.parameters import axis_attrs
from lazyrich.vocabulary.quantity import Quantity

ParameterLike: TypeAlias = float | Sequence[float] | np.ndarray[Any, Any] | xr.DataArray


def labelled(name: str, value: ParameterLike) -> xr.DataArray:
    """Turn a number, an axis or a labelled array into a float64 `DataArray`.

    Raises:
        InputError: if `value` is not numeric, or has two or more dimensions without names.
    """
    if isinstance(value, xr.DataArray):
        numbers = real(name, value.values) + 0.0  # no −0; what is computed lazily is computed here
        found = value.copy(data=numbers).rename(name)
        return found
    array = real(name, value) + 0.0
    if array.ndim == 0:
        return xr.DataArray(array, name=name)
    if array.ndim == 1:
        return xr.DataArray(array, dims=name, coords={name: array}, name=name)
    raise InputError(
        f"`{name}` has {array.ndim} unnamed dimensions; name them: "
        f"xarray.DataArray(values, dims=[...])"
    )


def along(dim: str, name: str, value: object, *, always: bool = False) -> xr.DataArray:
    """One number for all, or one for each place of a dim, which are numbered from 0.

    Args:
        dim: what a sequence lies along.
        name: name of the argument, for a message.
        value: a number, a sequence or a labelled array.
        always: give a number the dim as well.

    Raises:
        InputError: if `value` is not numeric, or has two or more dimensions without names.
    """
    array = value if isinstance(value, xr.DataArray) else real(name, value)  # type: ignore[arg-type]
    if not isinstance(array, xr.DataArray):
        if array.ndim > 1:
            raise InputError(f"`{name}` must be a number or along `{dim}`, got shape {array.shape}")
        array = xr.DataArray(array, dims=dim if array.ndim else ())
    shown: xr.DataArray = array.astype(float).rename(None)
    if always and dim not in shown.dims:
        shown = shown.expand_dims(dim)
    numbered = {dim: np.arange(shown.sizes[dim])} if dim in shown.dims else {}
    return shown if dim in shown.coords else shown.assign_coords(numbered)


def real(name: str, value: ArrayLike) -> Array:
    """A float64 array of real numbers, at least one.

    Raises:
        InputError: if `value` is not numeric, complex, a date, larger than any float, empty, or
            partly masked.
    """
    if np.ma.is_masked(value):
        raise InputError(
            f"`{name}` holds masked values, which have no number. Leave them out, as "
            f"values.compressed() does, or fill them: values.filled(...)"
        )
    try:
        if np.iscomplexobj(value) or np.asarray(value).dtype.kind in "mM":
            raise TypeError
        array: Array = np.asarray(value, dtype=float)
    except (TypeError, ValueError, OverflowError):
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise InputError(f"`{name}` must be a number or an array of numbers, got {shown}") from None
    if not array.size:
        raise InputError(f"`{name}` must hold at least one number, got shape {array.shape}")
    return array


def require_free(names: Collection[str], *arrays: xr.DataArray) -> None:
    """Refuse axes that have the name of something in the result."""
    taken = sorted({str(dim) for array in arrays for dim in array.dims} & set(names))
    if taken:
        raise InputError(
            f"an axis must not have the name of what the result holds, got {', '.join(taken)}. "
            f"Rename it: array.rename({taken[0]}=...)"
        )


def require_range(name: str, array: xr.DataArray, low: float, high: float) -> None:
    """Refuse values that are not finite or lie outside `[low, high]`, naming the first one."""
    values = array.values
    bad = ~(np.isfinite(values) & (values >= low) & (values <= high))
    if not bad.any():
        return
    index = np.unravel_index(int(np.argmax(bad)), values.shape)
    where = f" at index {', '.join(str(int(i)) for i in index)}" if index else ""
    bounds = f"between {low:g} and {high:g}"
    if high == inf:
        bounds = "finite" if low == -inf else f"finite and ≥ {low:g}"
    raise InputError(f"`{name}` must be {bounds}, got {values[index]}{where}")


def require_whole(name: str, value: float, low: int, high: int | None = None) -> int:
    """The whole number `value`, which may be written as 1e3, from `low` to `high`."""
    try:
        number = int(value)
        refused = number != value or number < low
    except (TypeError, ValueError, OverflowError):
        refused = True
    if refused:
        raise InputError(f"`{name}` must be a whole number ≥ {low}, got {value!r}")
    if high is not None and number > high:
        raise InputError(f"`{name}` must be at most {high:g}, got {value!r}")
    return number


def apply(function: Callable[..., Any], *arrays: xr.DataArray, **options: Any) -> Any:  # noqa: ANN401
    """`xarray.apply_ufunc` that refuses axes of one name and different values."""
    try:
        return xr.apply_ufunc(function, *arrays, join="exact", **options)
    except xr.AlignmentError as error:
        raise InputError(
            f"arguments share an axis but not its values: {error}. Give it the same values in "
            "both, or another name in one: array.rename(...)"
        ) from None


def first_where(mask: NDArray[np.bool_], *arrays: Array) -> list[float]:
    """The values of broadcast `arrays` where `mask` is first true, for a message."""
    at = np.unravel_index(int(np.argmax(mask)), mask.shape)
    return [float(np.broadcast_to(array, mask.shape)[at]) for array in arrays]


class Parameter:
    """A dataclass field that takes numbers, axes or `DataArray`s and gives `DataArray`s.

    Args:
        default: the value if none is given; None makes the field required.
        low: smallest value allowed.
        high: largest value allowed.
        axis: name of the axis that a sequence becomes, if not that of the field.
    """

    def __init__(
        self,
        default: float | None = None,
        *,
        low: float = -inf,
        high: float = inf,
        axis: str | None = None,
    ) -> None:
        self.default, self.low, self.high, self.axis = default, low, high, axis

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> float: ...
    @overload
    def __get__(self, instance: object, owner: type) -> xr.DataArray: ...
    def __get__(self, instance: object | None, owner: type) -> xr.DataArray | float:
        if instance is None:  # dataclasses ask for the default
            if self.default is None:
                raise AttributeError(self.name)
            return self.default
        array: xr.DataArray = vars(instance)[self.name]
        return array

    def __set__(self, instance: object, value: ParameterLike) -> None:
        array = labelled(self.name, value)
        require_range(self.name, array, self.low, self.high)
        if self.axis and array.ndim and not isinstance(value, xr.DataArray):
            array = array.rename({self.name: self.axis})
        vars(instance)[self.name] = array


class Labelled:
    """A dataclass of parameters, printed by value (numbers) or by shape (axes)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._shown())})"

    def _shown(self) -> list[str]:
        shown = []
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            if not field.repr:
                continue
            value = getattr(self, field.name)
            if isinstance(value, xr.DataArray):
                value = f"{value.item():g}" if value.ndim == 0 else f"<{dict(value.sizes)}>"
            shown.append(f"{field.name}={value}")
        return shown


def dataset(
    variables: Mapping[str, xr.DataArray], quantities: Mapping[str, Quantity]
) -> xr.Dataset:
    """Collect quantities in a Dataset; they and its axes have the attributes of the vocabulary."""
    described = {name: array.copy(deep=False) for name, array in variables.items()}
    for name, array in described.items():
        array.attrs = quantities[name].attrs if name in quantities else {}
    return with_axis_attrs(xr.Dataset(described))


def with_attrs(data: xr.Dataset, quantities: Mapping[str, Quantity]) -> xr.Dataset:
    """The same data; variables that are quantities say so in their attributes."""
    known = [name for name in map(str, data.data_vars) if name in quantities]
    return data.assign({name: data[name].assign_attrs(quantities[name].attrs) for name in known})


def with_axis_attrs(data: xr.Dataset) -> xr.Dataset:
    """The same data; coordinates that are parameters say so in their attributes."""
    known = {name: axis_attrs(str(name)) for name in data.coords}
    return data.assign_coords(
        {name: data[name].assign_attrs(attrs) for name, attrs in known.items() if attrs}
    )
