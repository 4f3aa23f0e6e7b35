"""Floating point without loss: exact products and numbers split into mantissa and exponent.

References:
    T. J. Dekker, A floating-point technique for extending the available precision, 1971.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SPLITTER = 2.0**27 + 1
_NO_EXPONENT = -100_000  # of zero: below every real exponent
_HALF_RANGE = 1_020  # exponents whose power of two is a float64
_LDEXP_LIMIT = 4_000  # beyond it every float64 overflows or underflows


def product_error(a: Array, b: Array) -> Array:
    """The rounding error of `a * b`, exactly (Dekker); needs |a|, |b| < 1e150."""

    def halves(x: Array) -> tuple[Array, Array]:
        high = _SPLITTER * x
        high = high - (high - x)
        return high, x - high

    a_high, a_low = halves(a)
    b_high, b_low = halves(b)
    error: Array = a_low * b_low - (((a * b - a_high * b_high) - a_low * b_high) - a_high * b_low)
    return error


def difference_of_products(a: Array, b: Array, c: Array, d: Array) -> Array:
    """`a b − c d` to a few units in the last place, however much cancels."""
    result: Array = (a * b - c * d) + (product_error(a, b) - product_error(c, d))
    return result


class Scaled(NamedTuple):
    """The number `mantissa · 2^exponent`: products neither overflow nor underflow."""

    mantissa: Array
    exponent: NDArray[np.int64]

    @classmethod
    def of(cls, value: Any) -> Scaled:  # noqa: ANN401 - anything that numpy takes
        """Split floats; zero gets an exponent below all others, infinity keeps its mantissa."""
        mantissa, exponent = np.frexp(np.asarray(value, dtype=float))
        return cls(mantissa, np.where(mantissa == 0, _NO_EXPONENT, exponent).astype(np.int64))

    def __mul__(self, other: Scaled) -> Scaled:  # type: ignore[override]
        return Scaled(self.mantissa * other.mantissa, self.exponent + other.exponent)

    def __truediv__(self, other: Scaled) -> Scaled:
        return Scaled(self.mantissa / other.mantissa, self.exponent - other.exponent)

    def plus(self, other: Scaled) -> Scaled:
        """The sum; terms that do not reach the last digit of the other are lost, as in floats."""
        top = np.maximum(self.exponent, other.exponent)
        return Scaled.of(self.over_power(top) + other.over_power(top)).shifted(top)

    def shifted(self, power: NDArray[np.int64]) -> Scaled:
        """`self · 2^power`."""
        nothing = self.mantissa == 0
        return Scaled(self.mantissa, np.where(nothing, _NO_EXPONENT, self.exponent + power))

    def log(self) -> Array:
        """The natural logarithm, −∞ of zero."""
        with np.errstate(divide="ignore"):
            logs: Array = np.log(self.mantissa) + self.exponent * np.log(2.0)
        return np.where(self.mantissa > 0, logs, -np.inf)

    def sqrt(self) -> Scaled:
        """The square root, exact in the exponent."""
        odd = self.exponent % 2
        return Scaled(np.sqrt(np.ldexp(self.mantissa, odd)), (self.exponent - odd) // 2)

    def over_power(self, exponent: NDArray[np.int64]) -> Array:
        """The float `self / 2^exponent`; saturates at 0 and infinity."""
        shift = np.clip(self.exponent - exponent, -_LDEXP_LIMIT, _LDEXP_LIMIT)
        with np.errstate(over="ignore", under="ignore"):
            scaled: Array = np.ldexp(self.mantissa, shift.astype(np.int32))
        return scaled

    def times(self, value: Array) -> Array:
        """The float `self · value`; in two factors, so that only the product may saturate."""
        first = np.clip(self.exponent // 2, -_HALF_RANGE, _HALF_RANGE)
        second = np.clip(self.exponent - first, -_HALF_RANGE, _HALF_RANGE)
        product: Array = (value * np.ldexp(self.mantissa, first.astype(np.int32))) * np.ldexp(
            1.0, second.astype(np.int32)
        )
        return product

    def value(self) -> Array:
        """The float itself; saturates at 0 and infinity."""
        return self.over_power(np.zeros((), dtype=np.int64))


def cauchy_schwarz_gap(a: Array, c: Array, b: Array) -> Array:
    """`1 − c²/(ab)` for a, b ≥ 0, accurate however close `c²` is to `ab`.

    Where `ab = 0` the gap is 1, or −infinity if `c` is not 0.
    """
    size = Scaled.of(a) * Scaled.of(b)
    inner = Scaled.of(c)
    odd = size.exponent % 2
    x, y = np.ldexp(np.frexp(a)[0], odd), np.frexp(b)[0]
    cosine = inner.over_power((size.exponent - odd) // 2)
    defined = size.mantissa > 0
    moderate = np.clip(cosine, -4, 4)  # beyond it the gap is negative whatever its size
    gap = difference_of_products(x, y, moderate, moderate) / np.where(defined, x * y, 1.0)
    return np.where(defined, gap, np.where(np.asarray(c) == 0, 1.0, -np.inf))


def cosines(gram: Array) -> Array:
    """`G_ij/√(G_ii G_jj)`, so that no row is too small to matter; ±2, which none is, for x/0."""
    norms = np.sqrt(np.clip(np.diagonal(gram, axis1=-2, axis2=-1), 0, None))
    sizes = norms[..., :, None] * norms[..., None, :]
    impossible = np.where(gram == 0, 0.0, np.copysign(2.0, gram))
    with np.errstate(over="ignore"):
        found: Array = np.clip(gram / np.where(sizes > 0, sizes, 1.0), -2.0, 2.0)
    return np.where(sizes > 0, found, impossible)
