"""From the text of options to numbers, axes and data."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from lazyrich._errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from lazyrich.numerics.exact import Array
    from lazyrich.theory.two_layer_linear.data import LineData


LARGEST_COUNT = 10_000
MOST_NUMBERS = 10**8  # that a command keeps of one quantity


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


def setting(pairs: list[str], *, of: str = "--set") -> dict[str, str]:
    """Parse repeated `name=value`; `of` is what an error calls them."""
    parsed: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name in parsed:
            raise InputError(f"{of} must be NAME=VALUE, each name once, got {pair!r}")
        parsed[name] = value
    return parsed


def check_size(count: float, what: str) -> None:
    """Refuse more numbers of one quantity than a machine holds, before it tries."""
    if count > MOST_NUMBERS:
        raise InputError(
            f"{what} is too large for the memory: at most {MOST_NUMBERS:,} numbers, got {count:,}"
        )


def csv_data(path: Path, x: str, y: str) -> LineData:
    """Read two columns of a CSV file with a header."""
    from lazyrich._tables import read_table
    from lazyrich.theory.two_layer_linear.data import LineData

    inputs, targets = read_table(path).numbers((x, y)).T
    return LineData.from_samples(inputs, targets)
