"""A result as bytes and back, bit for bit: names in JSON, arrays as they lie in memory."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.sweeps.result import OUTCOME, Result, Status
from lazyrich.sweeps.store.inner import check_labels

RAW = "biufcSUmM"  # kinds of NumPy that are stored as they lie in memory
Json = Any


class Packed(NamedTuple):
    """A result as bytes.

    Attributes:
        status: how it ended.
        header: JSON: the words of the result, and what lies in the payload.
        payload: the arrays, one after the other.
    """

    status: Status
    header: bytes
    payload: bytes


def encode(result: Result) -> Packed:
    """A result as bytes.

    Args:
        result: the result, with arrays of numbers, booleans, times or text.

    Raises:
        InputError: if the data holds what cannot be stored without pickle, labels that are
            repeated or missing, or a dimension with a name that every study uses.

    Example:
        >>> result = Result(status="finished", sentence="", data=xr.Dataset({"x": 1.5}))
        >>> encode(result).payload == np.float64(1.5).tobytes()
        True
    """
    for taken in ("seed", *OUTCOME):
        if taken in result.data.dims:
            raise InputError(
                f"`{taken}` is something that every study has, and a dimension of this result. "
                "Rename the dimension."
            )
    variables, blocks = [], []
    coordinates = set(result.data.coords)
    for name, variable in result.data.variables.items():
        entry, block = _variable(name, variable)
        if name in variable.dims:
            check_labels(entry["name"], variable.dims, variable.values)
        entry["coordinate"] = name in coordinates
        variables.append(entry)
        blocks.append(block)
    header = {
        "sentence": result.sentence,
        "traceback": result.traceback,
        "seconds": float(result.seconds),
        "computed_on": result.computed_on,
        "attributes": _packed(dict(result.data.attrs), "data"),
        "variables": variables,
    }
    text = json.dumps(header, separators=(",", ":"))
    return Packed(result.status, text.encode(), b"".join(blocks))


def decode(packed: Packed) -> Result:
    """The result that `encode` made bytes of.

    Args:
        packed: its bytes.

    Example:
        >>> result = Result(status="finished", sentence="", data=xr.Dataset({"x": 1.5}))
        >>> decode(encode(result)).data.x.item()
        1.5
    """
    parts, variables = parts_and_variables(packed)
    named = {entry["name"]: entry["coordinate"] for entry in parts["variables"]}
    data = {name: values for name, values in variables.items() if not named[name]}
    coordinates = {name: values for name, values in variables.items() if named[name]}
    dataset = xr.Dataset(data, coordinates, _unpacked(parts["attributes"]))
    texts = {name: parts[name] for name in ("sentence", "traceback", "seconds")}
    where = parts.get("computed_on", "")  # which earlier versions did not know
    return Result(status=packed.status, data=dataset, computed_on=where, **texts)


def parts_and_variables(packed: Packed) -> tuple[dict[str, Json], dict[str, xr.Variable]]:
    """Header and variables of a result; a Dataset of them costs ten times as much.

    Args:
        packed: its bytes.

    Example:
        >>> result = Result(status="finished", sentence="", data=xr.Dataset({"x": 1.5}))
        >>> parts, variables = parts_and_variables(encode(result))
        >>> parts["sentence"], variables["x"].item()
        ('', 1.5)
    """
    parts = json.loads(packed.header)
    variables: dict[str, xr.Variable] = {}
    start = 0
    for entry in parts["variables"]:
        values = _array(entry, packed.payload, start)
        start += entry["bytes"]
        variables[entry["name"]] = xr.Variable(
            entry["dims"], values, _unpacked(entry["attributes"]), fastpath=True
        )
    return parts, variables


def _variable(name: Hashable, variable: xr.Variable) -> tuple[dict[str, Json], bytes]:
    if not all(isinstance(word, str) for word in (name, *variable.dims)):
        raise InputError(
            f"`data` must have names of text, got {name!r} {variable.dims}. Rename variable and "
            "dims "
            "to strings with .rename."
        )
    values = variable.values
    entry: dict[str, Json] = {
        "name": name,
        "dims": list(variable.dims),
        "shape": list(values.shape),
        "attributes": _packed(dict(variable.attrs), str(name)),
    }
    if isinstance(variable.dtype, np.dtype) and values.dtype.kind in RAW:
        block = values.tobytes()
        return entry | {"dtype": values.dtype.str, "bytes": len(block)}, block
    texts = values.ravel().tolist()
    if values.dtype.kind not in "OT" or not all(isinstance(text, str) for text in texts):
        raise InputError(
            f"`data` must hold numbers, booleans, times or text, got {name!r} of {variable.dtype}. "
            "Convert it with .astype(float) or .astype(str)."
        )
    block = json.dumps(texts).encode()
    return entry | {"dtype": values.dtype.kind, "bytes": len(block)}, block


def _array(entry: Mapping[str, Json], payload: bytes, start: int) -> NDArray[Any]:
    block = payload[start : start + entry["bytes"]]
    shape, name = tuple(entry["shape"]), entry["dtype"]
    if name in ("O", "T"):
        dtype: Any = object if name == "O" else np.dtypes.StringDType()
        values = np.empty(math.prod(shape), dtype)
        values[:] = json.loads(block)
        return values.reshape(shape)
    kind = np.dtype(name)
    if not block:
        return np.zeros(shape, kind)
    return np.frombuffer(block, kind).reshape(shape).copy()


def _packed(value: Any, where: str) -> Json:  # noqa: ANN401 - any attribute
    """An attribute as JSON; what JSON does not know becomes a table with one reserved name."""
    if type(value) in (str, int, bool, type(None)):
        return value
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in RAW:
        block = base64.b64encode(value.tobytes()).decode()
        scalar = isinstance(value, np.generic)
        return {"array": [value.dtype.str, list(value.shape), block, scalar]}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": struct.pack("<d", value).hex()}
    if isinstance(value, list):
        return [_packed(entry, where) for entry in value]
    if isinstance(value, tuple):
        return {"tuple": [_packed(entry, where) for entry in value]}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {"dict": {name: _packed(entry, where) for name, entry in value.items()}}
    raise InputError(
        f"attributes of `data` must be plain values, got {value!r} in {where!r}. "
        "Remove it from `attrs`, or write it as text."
    )


def _unpacked(value: Json) -> Any:  # noqa: ANN401 - any attribute
    if isinstance(value, list):
        return [_unpacked(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "dict":
        return {name: _unpacked(entry) for name, entry in inner.items()}
    if kind == "tuple":
        return tuple(_unpacked(entry) for entry in inner)
    if kind == "float":
        return struct.unpack("<d", bytes.fromhex(inner))[0]
    name, shape, block, scalar = inner
    raw = base64.b64decode(block)
    values = np.frombuffer(raw, name) if raw else np.zeros(math.prod(shape), name)
    values = values.reshape(shape).copy()
    return values[()] if scalar else values
