"""Labelled arrays as JSON, for programs that read neither netCDF nor zarr, such as a browser.

The object is that of `xarray.Dataset.to_dict`, with the `dtype` of each variable. Where JSON has no
number, in arrays of floats, stand the texts "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lazyrich._errors import InputError
from lazyrich._portable import portable

if TYPE_CHECKING:
    import xarray as xr


def to_json(data: xr.Dataset) -> str:
    """The arrays, labels and attributes as JSON.

    Args:
        data: the arrays; no complex numbers.

    Raises:
        InputError: complex numbers, which JSON does not have.

    Example:
        >>> import xarray
        >>> found = to_json(xarray.Dataset({"loss": ("step", [0.5, np.inf])}))
        >>> json.loads(found)["data_vars"]["loss"]["data"]
        [0.5, 'Infinity']
    """
    whole = portable(data)
    for name, variable in whole.variables.items():
        if variable.dtype.kind not in "biufUOT":
            raise InputError(
                f"arrays in JSON must be numbers or texts, got {str(name)!r} of type "
                f"{variable.dtype}. Choose another format, such as .nc."
            )
    written = whole.to_dict()
    for part in ("coords", "data_vars"):
        for name, variable in written[part].items():
            variable["dtype"] = str(whole[name].dtype)
    return json.dumps(_plain(written), ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> xr.Dataset:
    """The arrays of `to_json` again.

    Args:
        text: what `to_json` gave.

    Raises:
        ValueError: something else.

    Example:
        >>> import xarray
        >>> from_json(to_json(xarray.Dataset({"loss": ("step", [0.5, np.nan])}))).loss.values
        array([0.5, nan])
    """
    import xarray as xr

    found = json.loads(text)
    try:
        for part in ("coords", "data_vars"):
            for variable in found[part].values():
                kind = variable.pop("dtype", "object")
                variable["data"] = np.array(variable["data"], None if kind == "object" else kind)
        return xr.decode_cf(xr.Dataset.from_dict(found))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it holds no arrays with labels: {error!r}") from error


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a Dataset holds
    """The same in types that JSON has."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
