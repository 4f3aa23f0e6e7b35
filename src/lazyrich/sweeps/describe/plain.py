"""Plain values: what a field of an experiment may hold, and its canonical text."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

import numpy as np

Plain: TypeAlias = Any  # None, bool, int, float, str, tuple or list of these, dict by text


class MismatchError(ValueError):
    """A value does not fit its field; the text says what would."""


def plain(value: object) -> Plain:
    """The value in its plain form: Python's own numbers, sequences as tuples, no negative zero.

    Args:
        value: None, bool, number, text, sequence, NumPy array or number, mapping by text.

    Raises:
        MismatchError: if it is, or holds, anything else, or a number that is not finite.

    Example:
        >>> plain([np.float64(1.5), {"a": -0.0}])
        (1.5, {'a': 0.0})
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not value.isascii():
            _encodable(value)
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not isfinite(value):
            raise MismatchError("a finite number")
        return float(value) + 0.0
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise MismatchError("a table whose names are text")
        return {plain(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return tuple(plain(entry) for entry in value)
    raise MismatchError("a plain value (None, bool, number, text, list or table)")


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MismatchError("text that UTF-8 can hold") from None


def conform(value: object, kind: Any) -> Plain:  # noqa: ANN401 - an annotation
    """The plain value as its field wants it: 1 becomes 1.0 where the field is float.

    A whole float becomes an int where the field is int. Where a field takes int and float, numbers
    become float.

    Args:
        value: what was given.
        kind: the annotation of the field.

    Raises:
        MismatchError: if the value does not fit.

    Example:
        >>> conform(1, float), conform(64.0, int | None), conform([1, 2], tuple[float, ...])
        (1.0, 64, (1.0, 2.0))
    """
    value = plain(value)
    origin = get_origin(kind)
    if kind is Any or kind is object:
        return value
    if origin in (Union, types.UnionType):
        return _member(value, kind)
    if origin is Literal:
        return _literal(value, kind)
    if kind is None or kind is type(None):
        return _if(value is None, value, "None")
    if kind in (bool, str):
        return _if(isinstance(value, kind), value, kind.__name__)
    if kind is int:
        return _integer(value)
    if kind is float:
        return _float(value)
    return _container(value, origin or kind, get_args(kind))


def _if(fits: bool, value: Plain, expected: str) -> Plain:
    if not fits:
        raise MismatchError(expected)
    return value


def _is_number(value: Plain) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(value: Plain) -> int:
    if not _is_number(value) or value != int(value):
        raise MismatchError("int")
    return int(value)


def _float(value: Plain) -> float:
    if not _is_number(value):
        raise MismatchError("float")
    try:
        return float(value)
    except OverflowError:
        raise MismatchError("a float (this number is too large)") from None


def _member(value: Plain, kind: Any) -> Plain:  # noqa: ANN401
    members = sorted(get_args(kind), key=lambda member: member is int)  # after float
    expected = []
    for member in members:
        try:
            return conform(value, member)
        except MismatchError as error:
            expected.append(str(error))
    raise MismatchError(" or ".join(dict.fromkeys(expected)))


def _literal(value: Plain, kind: Any) -> Plain:  # noqa: ANN401
    for choice in get_args(kind):
        if type(choice) is type(value) and choice == value:
            return value
    raise MismatchError("one of " + ", ".join(repr(choice) for choice in get_args(kind)))


def _container(value: Plain, origin: Any, args: tuple[Any, ...]) -> Plain:  # noqa: ANN401
    if not isinstance(origin, type):
        raise MismatchError(f"plain, and {origin} is no kind of plain value")
    if issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise MismatchError("a table")
        return {name: conform(entry, args[1] if args else Any) for name, entry in value.items()}
    if not issubclass(origin, Sequence):
        raise MismatchError(f"plain, and {origin.__name__} is no kind of plain value")
    if not isinstance(value, tuple):
        raise MismatchError("a list")
    if origin is tuple and args and args[-1] is not Ellipsis:
        if len(value) != len(args):
            raise MismatchError(f"a list of {len(args)}")
        return tuple(conform(entry, kind) for entry, kind in zip(value, args, strict=True))
    entries = tuple(conform(entry, args[0] if args else Any) for entry in value)
    return list(entries) if origin is list else entries


def canonical(value: Plain) -> str:
    """The one text of a plain value: JSON with sorted names, whole numbers without a point.

    Values that are equal in Python have the same text, except that True is not 1.

    Args:
        value: a plain value.

    Example:
        >>> canonical({"b": 1.0, "a": (True, None)}), canonical(0.1)
        ('{"a":[true,null],"b":1}', '0.1')
    """
    return json.dumps(_numbers(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _numbers(value: Plain) -> Plain:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, tuple | list):
        return [_numbers(entry) for entry in value]
    if isinstance(value, dict):
        return {name: _numbers(entry) for name, entry in value.items()}
    return value
