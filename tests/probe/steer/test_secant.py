"""The search for the output scale, on curves whose answer is known."""

from __future__ import annotations

from math import log

import pytest

from lazyrich.probe.steer.secant import next_scale


def searched(curve, target, first, most=14):
    """Scales tried until the curve is within 5 % of the target, or no scale is left to try."""
    seen, scale = [], first
    while scale is not None and len(seen) < most:
        seen.append((scale, curve(scale)))
        if abs(log(seen[-1][1] / target)) < log(1.05):
            return seen, True
        scale = next_scale(seen, target)
    return seen, False


@pytest.mark.parametrize("first", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize(
    "curve",
    [
        lambda scale: 0.4 / scale,
        lambda scale: 3 / scale**2,
        lambda scale: 2 / scale**0.5,
        lambda scale: 0.3 / scale + 5 / scale**2,
        lambda scale: 0.01 + 1 / scale,  # a floor below the target
        lambda scale: 4 / (0.5 + scale),  # a ceiling above it
    ],
)
def test_finds_the_scale_in_few_rehearsals(curve, first):
    seen, found = searched(curve, 0.1, first)
    assert found
    assert len(seen) <= 9


@pytest.mark.parametrize(
    ("curve", "first"), [(lambda s: 0.2 + 1 / s, 1.0), (lambda s: 0.05 / (1 + s), 10.0)]
)
def test_gives_up_at_a_floor_and_at_a_ceiling(curve, first):
    seen, found = searched(curve, 0.1, first)
    assert not found
    assert len(seen) < 14


def test_closes_in_on_a_jump():
    seen, found = searched(lambda scale: 0.13 if scale < 7 else 0.06, 0.1, 1.0)
    assert not found
    assert min(abs(log(scale / 7)) for scale, _ in seen) < 0.05
