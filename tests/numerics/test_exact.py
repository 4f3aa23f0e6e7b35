"""Exact arithmetic against rational numbers."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyrich.numerics.exact import (
    Scaled,
    cauchy_schwarz_gap,
    difference_of_products,
    product_error,
)

moderate = st.floats(-1e100, 1e100).filter(lambda x: x == 0 or abs(x) > 1e-100)
positive = st.floats(1e-300, 1e300)


@given(moderate, moderate)
def test_product_error_is_exact(a, b):
    exact = Fraction(a) * Fraction(b) - Fraction(a * b)
    assert Fraction(float(product_error(np.float64(a), np.float64(b)))) == exact


@given(moderate, moderate, st.integers(-8, 8))
def test_difference_of_products_of_neighbours(a, b, ulps):
    c, d = a, b + ulps * np.spacing(b)
    exact = float(Fraction(a) * Fraction(b) - Fraction(c) * Fraction(float(d)))
    found = difference_of_products(*map(np.float64, (a, b, c, d)))
    assert found == pytest.approx(exact, rel=1e-15)


@given(positive, positive)
def test_scaled_arithmetic(a, b):
    one, two = Scaled.of(a), Scaled.of(b)
    assert (one * two / two).value() == pytest.approx(a, rel=1e-15)
    assert ((one * one).sqrt()).value() == pytest.approx(a, rel=1e-15)
    assert (one / two * two).value() == pytest.approx(a, rel=1e-15)


def test_scaled_saturates():
    huge = Scaled.of(1e300) * Scaled.of(1e300)
    assert huge.value() == np.inf
    assert (Scaled.of(1.0) / huge).value() == 0
    assert Scaled.of(0.0).value() == 0


@given(positive, positive, st.floats(0, 1))
def test_cauchy_schwarz_gap(a, b, cosine):
    c = cosine * np.sqrt(a) * np.sqrt(b)
    exact = 1 - Fraction(c) ** 2 / (Fraction(a) * Fraction(b))
    found = float(cauchy_schwarz_gap(*map(np.float64, (a, c, b))))
    assert found == pytest.approx(float(exact), rel=1e-12, abs=4e-16)


def test_gap_of_nothing():
    assert cauchy_schwarz_gap(*map(np.float64, (0, 0, 1))) == 1
    assert cauchy_schwarz_gap(*map(np.float64, (0, 1, 1))) == -np.inf
