"""Numbers as they stand in sentences."""

from __future__ import annotations

from math import isnan

_LARGE = ("", "", " million", " billion", " trillion")  # by powers of a thousand
_LEAST, _MOST = -4, 15  # powers of ten between which a number is spelled without one
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def in_words(number: float, digits: int = 2) -> str:
    """A number as people read it: no `7.2e+01`, no digits that nobody asked for.

    Args:
        number: any.
        digits: digits to keep, at least; below a million all of those before the point.

    Returns:
        Its text, which a sentence can go on from.

    Example:
        >>> [in_words(x) for x in (72.4, 0.0312, 99.7, 12345.6, 4.93e13, 2.5e-9, -0.5, 0.0)]
        ['72', '0.031', '100', '12,346', '49 trillion', '2.5 × 10⁻⁹', '−0.5', '0']
    """
    if isnan(number):
        return "an unknown number"
    sign, size = "−" if number < 0 else "", abs(number)
    if size in (0, float("inf")):
        return "0" if size == 0 else f"{sign}infinity"
    mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
    power = int(exponent)
    if not _LEAST <= power < _MOST:
        return f"{sign}{_short(mantissa)} × 10{str(power).translate(_RAISED)}"
    thousands = power // 3 if power >= 6 else 0
    scaled = size / 1000**thousands
    decimals = max(0, digits - 1 - power + 3 * thousands)
    return f"{sign}{_short(f'{scaled:,.{decimals}f}')}{_LARGE[thousands]}"


def _short(text: str) -> str:
    """Without zeros at the end that say nothing."""
    return text.rstrip("0").rstrip(".") if "." in text else text
