"""Axes of a study: their values, and the fields that each value sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import Any, Union, get_args, get_origin

import numpy as np

from lazyrich._errors import InputError
from lazyrich.sweeps.describe.experiment import nearest
from lazyrich.sweeps.describe.plain import MismatchError, Plain, canonical, conform, plain

DIGITS = 12  # of the values of a range, so that every machine gets the same ones
SPACINGS = ("log", "linear")
Kinds = Mapping[str, Any]  # annotation of every field


@dataclass(frozen=True, kw_only=True)
class AxisValue:
    """One value of an axis.

    Attributes:
        label: the coordinate on the axis.
        fields: what it sets.
        plain: whether the label is the value of the field with the name of the axis.
    """

    label: Plain
    fields: Mapping[str, Plain]
    plain: bool = False

    @cached_property
    def texts(self) -> dict[str, str]:
        """The canonical text of every field that it sets."""
        return {
            name: f"{json.dumps(name)}:{canonical(value)}" for name, value in self.fields.items()
        }

    @property
    def value(self) -> Plain:
        """How it is written on the axis."""
        return self.label if self.plain else {"label": self.label, **self.fields}


def conformed(where: str, name: str, value: object, kinds: Kinds) -> Plain:
    """The value as the field of this name wants it.

    Args:
        where: the argument, for the message.
        name: name of the field.
        value: value to give it.
        kinds: the annotation of every field.

    Raises:
        InputError: if there is no such field, or the value does not fit.

    Example:
        >>> conformed("base", "width", 64.0, {"width": int})
        64
    """
    if name not in kinds:
        raise InputError(
            f"`{where}` must name fields of the experiment, got {name!r}. "
            + nearest(name, sorted(kinds))
        )
    if name == "seed":
        raise InputError(f"`{where}` must leave the seed alone, got {name!r}. Use `seeds`.")
    try:
        return conform(value, kinds[name])
    except MismatchError as error:
        raise InputError(
            f"`{where}`: the field `{name}` must be {error}, got {value!r}. Change the value."
        ) from error


def values_of(axis: str, given: object, kinds: Kinds) -> tuple[Plain, ...]:
    """The values of an axis written out: a list as it is, a range as its numbers.

    Args:
        axis: its name.
        given: a list, an array, {"log": [low, high, count]} or {"linear": [low, high, count]}.
        kinds: the annotation of every field; numbers of a range are rounded where it is int, or a
            union with int and without float.

    Raises:
        InputError: if it is neither, is empty, or the range is impossible.

    Example:
        >>> values_of("width", {"log": [64, 1024, 5]}, {"width": int})
        (64, 128, 256, 512, 1024)
    """
    if isinstance(given, Mapping):
        given = _range(axis, given, whole=_is_whole(kinds.get(axis)))
    if isinstance(given, str | bytes) or not isinstance(given, Sequence | np.ndarray):
        raise InputError(
            f"`axes.{axis}` must be a list or a range, got {given!r}. "
            "Write [1, 2], {log = [low, high, count]} or {linear = [low, high, count]}."
        )
    if len(given) == 0:
        raise InputError(f"`axes.{axis}` must have a value, got none. Add one or remove the axis.")
    try:
        return tuple(plain(value) for value in given)
    except MismatchError as error:
        raise InputError(
            f"`axes.{axis}` must hold plain values ({error}), got {given!r}. "
            "Write numbers, texts, true or false; for anything else name it in a text."
        ) from error


def _is_whole(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    """Whether the numbers that a field takes are whole ones."""
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return int in members and float not in members


def _range(axis: str, given: Mapping[Any, Any], *, whole: bool) -> list[float] | list[int]:
    spacing = next(iter(given), None)
    limits = given.get(spacing)
    if len(given) != 1 or spacing not in SPACINGS or not isinstance(limits, Sequence):
        raise InputError(
            f"`axes.{axis}` must be a list or a range, got {dict(given)!r}. "
            "Write [1, 2], {log = [low, high, count]} or {linear = [low, high, count]}."
        )
    try:
        low, high, count = conform(limits, tuple[float, float, int])
    except MismatchError as error:
        raise InputError(
            f"`axes.{axis}.{spacing}` must be low, high and count ({error}), got {limits!r}. "
            "An example: {log = [0.01, 100, 9]}."
        ) from error
    if count < 2 or low == high or (spacing == "log" and min(low, high) <= 0):
        raise InputError(
            f"`axes.{axis}.{spacing}` must have two different limits (> 0 for log) and a count of "
            f"2 or more, got {limits!r}. Change them, or write a list."
        )
    space = np.geomspace if spacing == "log" else np.linspace
    numbers = [float(f"{number:.{DIGITS}g}") for number in space(low, high, count)]
    return [round(number) for number in numbers] if whole else numbers


def settings(axis: str, values: Sequence[Plain], kinds: Kinds) -> tuple[AxisValue, ...]:
    """What each value of an axis sets: the field of this name, or the fields of its table.

    Args:
        axis: its name: of a field, unless its values are tables.
        values: plain values, or tables with a `label`.
        kinds: the annotation of every field.

    Raises:
        InputError: if a name or value does not fit, or tables and other values are mixed.

    Example:
        >>> settings("regime", [{"label": "wide", "width": 512.0}], {"width": int})
        (AxisValue(label='wide', fields={'width': 512}, plain=False),)
    """
    tables = [is_table(value) for value in values]
    if any(tables) and not all(tables):
        raise InputError(
            f"`axes.{axis}` must hold tables with a label or plain values, got both. "
            "Write every value as a table."
        )
    if not all(tables) and axis not in kinds:
        raise InputError(
            f"`axes` must name fields of the experiment, got {axis!r}. "
            + nearest(axis, sorted(kinds))
            + " An axis of another name needs tables: {label = …, field = …}."
        )
    if axis == "seed":
        raise InputError("`axes` must leave the seed alone, got 'seed'. Use `seeds`.")
    return tuple(_setting(axis, value, kinds) for value in values)


def is_table(value: Plain) -> bool:
    """Whether the value of an axis sets fields by their names.

    Args:
        value: plain.

    Example:
        >>> is_table({"label": "wide", "width": 512}), is_table(512)
        (True, False)
    """
    return isinstance(value, dict) and "label" in value


def _setting(axis: str, value: Plain, kinds: Kinds) -> AxisValue:
    where = f"axes.{axis}"
    if not is_table(value):
        fitted = conformed(where, axis, value, kinds)
        return AxisValue(label=fitted, fields={axis: fitted}, plain=True)
    label = value["label"]
    if not isinstance(label, str | int | float) or isinstance(label, bool):
        raise InputError(
            f'`{where}.label` must be text or a number, got {label!r}. Write label = "a name".'
        )
    fields = {
        name: conformed(where, name, entry, kinds)
        for name, entry in value.items()
        if name != "label"
    }
    return AxisValue(label=label, fields=fields)


def check_distinct(axis: str, on_axis: Sequence[AxisValue], base: Mapping[str, Plain]) -> None:
    """Refuse labels that come twice, and values that set the same.

    Args:
        axis: its name.
        on_axis: its settings.
        base: value of every field, for those that a setting leaves alone.

    Raises:
        InputError: if a point would stand at two places of the axis.

    Example:
        >>> check_distinct("width", settings("width", [1, 2], {"width": int}), {"width": 4})
    """
    names = sorted(set().union(*(setting.fields for setting in on_axis)))
    in_words = any(not _is_number(setting.label) for setting in on_axis)
    in_floats = any(isinstance(setting.label, float) for setting in on_axis)
    seen: dict[str, Plain] = {}
    for setting in on_axis:
        filled = {**base, **setting.fields}
        effect = canonical({name: filled.get(name) for name in names})
        label = "label " + _as_in_results(setting.label, in_words, in_floats)
        if effect in seen or label in seen:
            twin = seen.get(effect, seen.get(label))
            raise InputError(
                f"`axes.{axis}` must have values that differ, got {twin!r} and "
                f"{setting.label!r}. "
                "Remove one: equal points would be run once."
            )
        seen[effect] = seen[label] = setting.label


def _is_number(label: Plain) -> bool:
    return isinstance(label, int | float) and not isinstance(label, bool)


def _as_in_results(label: Plain, in_words: bool, in_floats: bool) -> str:
    """What tells a label from others where all of an axis are texts, or floats."""
    if in_words:
        return str(label).rstrip("\0")  # NumPy drops them
    return canonical(float(label) if in_floats and abs(label) < 2**1000 else label)


def check_apart(axes: Mapping[str, Sequence[AxisValue]]) -> None:
    """Refuse two axes that set the same field.

    Args:
        axes: the settings of every axis.

    Raises:
        InputError: naming the field and both axes.

    Example:
        >>> check_apart({"width": settings("width", [1, 2], {"width": int})})
    """
    owner: dict[str, str] = {}
    for axis, on_axis in axes.items():
        for name in set().union(*(setting.fields for setting in on_axis)):
            if name in owner:
                raise InputError(
                    f"`axes` must set every field once, got `{name}` in {owner[name]!r} and in "
                    f"{axis!r}. Take it out of one."
                )
            owner[name] = axis
