"""Exponents as exact fractions, so that what lies on a boundary is known to lie on it."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

from lazyrich._errors import InputError

ExponentLike: TypeAlias = int | str | float | Fraction

LARGEST_EXPONENT = 1000
MEANT = 10_000
"""Largest denominator of a fraction that somebody means who gives a float."""
ROUNDING = 1e-9
"""How far a float may be from the fraction that is meant."""


def exact_exponent(value: ExponentLike) -> Fraction:
    """The fraction that an exponent is; texts, whole numbers and fractions are kept as they are.

    Args:
        value: the exponent. A float is the fraction with a denominator of at most 10 000 that lies
            within 1e-9 of it, if there is one, for 1/3 in Python is not a third.

    Raises:
        InputError: if it is no number, or larger than 1000 in size.

    Example:
        >>> exact_exponent("-1/2"), exact_exponent(1 / 3), exact_exponent("0.3333")
        (Fraction(-1, 2), Fraction(1, 3), Fraction(3333, 10000))
    """
    text = str(value)
    try:
        if len(text.lower().partition("e")[2]) > 4:  # "1e999999999" would take a day
            raise ValueError
        fraction = Fraction(text)
        if abs(fraction) > LARGEST_EXPONENT:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        raise InputError(
            f"an exponent must be a number or a fraction such as -1/2, "
            f"at most {LARGEST_EXPONENT} in size, got {value!r}"
        ) from None
    meant = fraction.limit_denominator(MEANT)
    rounded = not isinstance(value, int | str | Fraction) and abs(fraction - meant) <= ROUNDING
    return meant if rounded else fraction
