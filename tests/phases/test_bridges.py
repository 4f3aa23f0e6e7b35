"""One network in three vocabularies has one phase, and where it has two the reason is known."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from lazyrich import PRESETS, InputError, ScalingLaw
from lazyrich.phases import abc_scaling_law, relu_scaling
from lazyrich.theory.abc import AbcParametrisation
from lazyrich.theory.two_layer_relu import ReluScaling
from lazyrich.vocabulary import Phase


def drawn(seed, count):
    """Abc-parametrisations with one hidden layer whose first layer does not scale."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        a1, a2, b2, c = (Fraction(int(k), 4) for k in rng.integers(-8, 9, 4))
        yield AbcParametrisation.from_exponents((a1, a2), (-a1, b2), c)


@pytest.mark.parametrize("name", ["ntk", "mean_field", "mup", "standard"])
def test_parametrisations_of_one_name_are_one(name):
    """Up to the units of the layers, which the exponents of a law do not know."""
    law, one = PRESETS[name], AbcParametrisation.named(name, depth=1)
    assert abc_scaling_law(one).exponents == law.exponents
    assert abc_scaling_law(one).phase == law.phase == one.phase
    assert relu_scaling(law) == ReluScaling.of_abc(one)


def test_the_way_over_the_scaling_law_is_the_direct_one():
    for one in drawn(0, 200):
        assert relu_scaling(abc_scaling_law(one)) == ReluScaling.of_abc(one)


def test_phases_agree_where_the_second_layer_counts():
    learning = {Phase.KERNEL, Phase.FEATURE}
    seen = set()
    for one in drawn(1, 15_000):
        if one.a[1] + one.b[1] < Fraction(1, 2) or 2 * one.a[1] + one.c < 1:
            continue
        if one.phase not in learning:
            continue
        law, second = abc_scaling_law(one), one.a[0] + one.b[1]  # γ′
        assert law.exponents.rate == 0
        seen.add((one.phase, bool(second < 0)))
        if second >= 0 or one.phase == Phase.KERNEL:
            assert law.phase == one.phase
        else:  # features move, and the kernel of a linear network does not
            assert law.phase == Phase.KERNEL
    assert len(seen) == 4


def test_regimes_of_relu_networks_are_phases_of_the_law():
    """At rates that learn in Θ(1) time; for γ′ < 0 features change before the linear kernel."""
    quarters = [Fraction(k, 4) for k in range(-8, 13)]
    for g, p in product(quarters, quarters):
        law = ScalingLaw.from_exponents(-g, g + p, g - p, 0, 0).at_unit_rate()
        one = relu_scaling(law, zero_output=True)
        assert (one.gamma, one.gamma_prime) == (g, p)
        if p >= 0:
            assert one.phase == law.phase
            if law.phase == Phase.FEATURE:
                assert (one.condensation == "critical") == (law.feature_kind == "critical")
        else:
            assert (law.phase == Phase.FEATURE) == (g >= 1 - p)
            assert one.phase == Phase.FEATURE or law.phase == Phase.KERNEL


def test_a_deep_network_has_no_scaling_law():
    with pytest.raises(InputError, match="a scaling law has one hidden layer, got 2 of them"):
        abc_scaling_law(AbcParametrisation.named("mup", depth=2))
