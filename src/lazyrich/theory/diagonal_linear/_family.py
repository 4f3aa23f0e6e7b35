"""How the coefficients of a diagonal network follow from its dual variable z.

`D = 2: β = 2α² sinh z`; `D > 2: β = α^D [(1 − z)^{−p} − (1 + z)^{−p}]` with `p = D/(D − 2)`. Powers
of α are kept as logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from lazyrich.numerics.exact import Array


@dataclass(frozen=True, kw_only=True)
class Family:
    """How the coefficients follow from z; both weights of each start at its own α.

    Attributes:
        factors: D ≥ 2.
        log_size: `ln α^D` in units of the coefficients, (m,).
    """

    factors: float
    log_size: Array

    @property
    def bound(self) -> float:
        """Of |z|."""
        return inf if self.factors == 2 else 1.0

    @property
    def reach(self) -> float:
        """By how much z may move in one step of Newton's method."""
        return 128.0 if self.factors == 2 else 2.0

    @property
    def power(self) -> float:
        """The p of the coefficients where D > 2."""
        return self.factors / (self.factors - 2)

    @property
    def pull(self) -> Array:
        """`a`, by which z moves with ν: `α^{D−2}` over the largest."""
        rest = (self.factors - 2) / self.factors
        pull: Array = np.exp(rest * (self.log_size - self.log_size.max()))
        return pull

    def coefficients(self, z: Array) -> Array:
        """β, infinite out of bounds."""
        a = np.abs(z)
        if self.factors == 2:
            return np.sign(z) * np.exp(self.log_size + a) * -np.expm1(-2 * a)
        inside = a < 1
        a = np.where(inside, a, 0.5)
        x = self.power * np.arctanh(a)
        with np.errstate(divide="ignore"):
            logarithm = x + np.log(-np.expm1(-2 * x)) - self.power / 2 * np.log1p(-a * a)
        return np.sign(z) * np.where(inside, np.exp(self.log_size + logarithm), inf)

    def growth(self, z: Array) -> Array:
        """Logarithm of what a weight of the kernel, `u^{2D−2} + v^{2D−2}`, has grown by."""
        a = np.abs(z)
        if self.factors == 2:
            return _log_cosh(a)
        x = np.arctanh(a)
        return (self.power + 1) * -np.log1p(-a * a) / 2 + _log_cosh((self.power + 1) * x)

    def log_slope(self, z: Array) -> Array:
        """`ln dβ/dz`."""
        if self.factors == 2:
            return self.log_size + np.logaddexp(z, -z)
        p, lower, upper = self.power, np.log1p(-z), np.log1p(z)
        return self.log_size + np.log(p) + np.logaddexp(-(p + 1) * lower, -(p + 1) * upper)

    def potential(self, z: Array, beta: Array) -> Array:
        """`Q = Σ βz − ∫β dz`, of which the integral is a multiple of β."""
        a = np.abs(z)
        if self.factors == 2:
            part = np.tanh(a / 2)
        else:
            q = 2 / (self.factors - 2)
            x, log_cosh = np.arctanh(a), -np.log1p(-a * a) / 2
            grown, flat = np.expm1(q * log_cosh), 2 * np.sinh(q * x / 2) ** 2
            size = np.exp(self.power * log_cosh) * np.sinh(self.power * x)
            total = (grown * np.cosh(q * x) + flat) * (self.factors - 2) / 2
            part = total / np.where(a > 0, size, 1.0)
        return np.abs(beta) * (a - part)


def _log_cosh(y: Array) -> Array:
    """Of y ≥ 0, with all digits where it is small and where it is large."""
    small = np.minimum(y, 1.0)
    return np.where(
        y < 1, np.log1p(2 * np.sinh(small / 2) ** 2), y + np.log1p(np.exp(-2 * y)) - np.log(2)
    )
