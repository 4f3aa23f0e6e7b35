"""From the text of options to numbers, axes and data."""

from __future__ import annotations

import csv
from math import inf, isfinite
from typing import TYPE_CHECKING

from lazyrich._errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from lazyrich.numerics.exact import Array
    from lazyrich.theory.two_layer_linear.data import LineData


LARGEST_COUNT = 10_000


def numbers(text: str, option: str) -> list[float]:
    """Parse `0,1,5`."""
    return [number(part, option) for part in text.split(",")]


def number(text: str, option: str) -> float:
    """Parse one number."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option} takes numbers, got {text!r}") from None


def axis(text: str, option: str) -> tuple[str, Array]:
    """Parse `name=low:high:count`; a scale is spaced geometrically, an exponent or ζ evenly."""
    import numpy as np

    name, _, span = text.partition("=")
    try:
        low, high, count = span.split(":")
        start, stop, points = float(low), float(high), int(count)
    except ValueError:
        raise InputError(f"{option} must be NAME=LOW:HIGH:COUNT, got {text!r}") from None
    if not 2 <= points <= LARGEST_COUNT or not -inf < start < stop < inf:
        raise InputError(
            f"{option} needs finite LOW < HIGH and COUNT from 2 to {LARGEST_COUNT}, got {text!r}"
        )
    even = name.endswith("_exponent") or name in ("init_alignment", "mean_ay") or start <= 0
    return name, (np.linspace if even else np.geomspace)(start, stop, points)


def setting(pairs: list[str]) -> dict[str, str]:
    """Parse repeated `name=value`."""
    parsed: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name in parsed:
            raise InputError(f"--set must be NAME=VALUE, each name once, got {pair!r}")
        parsed[name] = value
    return parsed


def csv_data(path: Path, x: str, y: str) -> LineData:
    """Read two columns of a CSV file with a header."""
    from lazyrich.theory.two_layer_linear.data import LineData

    try:
        columns = _csv_columns(path, (x, y))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8: {error}") from None
    return LineData.from_samples(columns[x], columns[y])


def _csv_columns(path: Path, names: tuple[str, str]) -> dict[str, list[float]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        columns: dict[str, list[float]] = {name: [] for name in names}
        missing = [name for name in columns if name not in (rows.fieldnames or ())]
        if missing:
            have = ", ".join(rows.fieldnames or ()) or "no header"
            raise InputError(f"{path} has no column {missing[0]!r}; it has {have}")
        for row in rows:
            for name, values in columns.items():
                values.append(_csv_number(row[name] or "", name, f"{path}, line {rows.line_num}"))
    if not columns[names[0]]:
        raise InputError(f"{path} has a header and no rows")
    return columns


def _csv_number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = inf
    if not isfinite(value):
        raise InputError(f"{where}: column {name!r} must be a finite number, got {text!r}")
    return value
