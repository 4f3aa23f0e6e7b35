"""abc-parametrisations against the published table, their symmetry, and trained networks."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.theory.abc import MODEL, AbcParametrisation, abc_phases
from lazyrich.vocabulary import Phase

VECTORS = [  # name or (a, b), depth, c, r, phase
    ("standard_slow", 1, 1, Fraction(3, 2), "kernel"),
    ("standard_slow", 2, 1, Fraction(1, 2), "kernel"),
    ("standard_slow", 5, 1, Fraction(1, 2), "kernel"),
    ("standard", 2, 0, Fraction(-1), "unstable"),
    ("standard", 2, "1/2", Fraction(0), "unstable"),
    ("ntk", 1, 0, Fraction(1, 2), "kernel"),
    ("ntk", 2, 0, Fraction(1, 2), "kernel"),
    ("ntk", 7, 0, Fraction(1, 2), "kernel"),
    ("mup", 1, 0, Fraction(0), "feature"),
    ("mup", 2, 0, Fraction(0), "feature"),
    ("mup", 9, 0, Fraction(0), "feature"),
    ("mean_field", 1, -1, Fraction(0), "feature"),
]


def by_hand(a, b, c):
    """Theorem 3.3 once more, written as the reading note has it."""
    N = len(a)
    least = min(2 * a[i] + (1 if i == 0 else 0) for i in range(N - 1))
    r = min(a[-1] + b[-1], 2 * a[-1] + c) + c - 1 + least
    stable = (
        a[0] + b[0] == 0
        and all(a[i] + b[i] == Fraction(1, 2) for i in range(1, N - 1))
        and a[-1] + b[-1] >= Fraction(1, 2)
        and r >= 0
        and 2 * a[-1] + c >= 1
        and a[-1] + b[-1] + r >= 1
    )
    learns = a[-1] + b[-1] + r == 1 or 2 * a[-1] + c == 1
    if not stable:
        return r, "unstable"
    return r, ("kernel" if r > 0 else "feature") if learns else "frozen"


def drawn(seed, count=300):
    """Random parametrisations, most of them with a start that keeps its size."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        N = int(rng.integers(2, 5))
        a = [Fraction(int(k), 12) for k in rng.integers(-12, 13, N)]
        right = [
            Fraction(0),
            *[Fraction(1, 2)] * (N - 2),
            Fraction(int(rng.choice([5, 6, 9, 12, 15])), 12),
        ]
        b = [x - y for x, y in zip(right, a, strict=True)]
        b[0] += Fraction(int(rng.integers(0, 8) == 0), 12)
        yield a, b, Fraction(int(rng.integers(-24, 25)), 12)


@pytest.mark.parametrize(("name", "depth", "c", "r", "phase"), VECTORS)
def test_the_table(name, depth, c, r, phase):
    named = AbcParametrisation.named(name, depth=depth)
    one = AbcParametrisation.from_exponents(named.a, named.b, c)
    assert (one.feature_decay, one.phase, one.depth) == (r, phase, depth)
    assert bool(one.failures) == (phase == "unstable")
    grid = abc_phases(named.a, named.b, c)
    assert (float(grid.feature_decay), grid.phase.item()) == (float(r), phase)


def test_between_ntk_and_mup():
    half_way = AbcParametrisation.from_exponents((-0.25, 0.5), (0.25, 0.25), 0)
    assert (half_way.feature_decay, half_way.phase) == (Fraction(1, 4), "kernel")


def test_random_parametrisations_by_hand():
    seen = set()
    for a, b, c in drawn(0):
        one = AbcParametrisation.from_exponents(a, b, c)
        assert (one.feature_decay, one.phase) == by_hand(a, b, c)
        seen.add(one.phase)
    for depth in (1, 2, 4):
        for c in (Fraction(-1), Fraction(0), Fraction(1, 3), Fraction(1)):
            mup = AbcParametrisation.named("mup", depth=depth)
            one = AbcParametrisation.from_exponents(mup.a, mup.b, c)
            assert (one.feature_decay, one.phase) == by_hand(mup.a, mup.b, c)
            seen.add(one.phase)
    assert seen == set(Phase)


def test_a_shift_changes_the_words_and_not_the_networks():
    for a, b, c in drawn(1):
        one = AbcParametrisation.from_exponents(a, b, c)
        other = one.shifted("5/7")
        assert (other.a[0], other.b[0], other.c) == (
            a[0] + Fraction(5, 7),
            b[0] - Fraction(5, 7),
            c - Fraction(10, 7),
        )
        assert (other.excess, other.phase) == (one.excess, one.phase)


def test_the_largest_rate_is_stable_and_a_larger_one_is_not():
    tried = 0
    for a, b, c in drawn(2):
        one = AbcParametrisation.from_exponents(a, b, c)
        if by_hand(a, b, Fraction(1000))[1] == "unstable":
            with pytest.raises(InputError, match="no learning rate is stable here: a_"):
                one.at_largest_rate()
            continue
        best = one.at_largest_rate()
        assert by_hand(a, b, best.c)[1] != "unstable"
        assert by_hand(a, b, best.c - Fraction(1, 10**6))[1] == "unstable"
        tried += 1
    assert tried > 100
    assert AbcParametrisation.named("standard", depth=3).at_largest_rate().c == 1
    assert AbcParametrisation.named("mup", depth=3).at_largest_rate().c == 0


def test_it_says_which_condition_fails_and_by_how_much():
    one = AbcParametrisation.from_exponents([0, 0, 0], ["1/4", "1/2", "1/3"], 0)
    assert one.failures == (
        "a_1 + b_1 = 0 fails: the left side is 1/4",
        "a_3 + b_3 ≥ 1/2 fails: the left side is 1/3",
        "r ≥ 0 fails: the left side is -1",
        "2a_3 + c ≥ 1 fails: the left side is 0",
        "a_3 + b_3 + r ≥ 1 fails: the left side is -2/3",
    )
    assert abc_phases(one.a, one.b, one.c).status.item() == (
        "unstable: a_1 + b_1 = 0, a_3 + b_3 ≥ 1/2, r ≥ 0, 2a_3 + c ≥ 1, a_3 + b_3 + r ≥ 1 fail"
    )


@pytest.mark.parametrize("odd", [0.0, np.pi, 1e-9])
def test_a_grid_is_the_points_alone(odd):
    """Also where a common denominator does not fit 64 bits: there the integers are Python's."""
    a = xr.DataArray([-0.5, -1 / 3, 0.1 + 0.2 - 0.3 + odd], dims="a_1")
    b = xr.DataArray([0.5, 1 / 3, np.e], dims="b_1")
    c = xr.DataArray([0.0, 2 / 3, np.sqrt(2), 1.0], dims="c", coords={"c": range(4)})
    grid = abc_phases([a, 0.5], [b, "1/2"], c)
    assert dict(grid.feature_decay.sizes) == {"c": 4, "a_1": 3, "b_1": 3}
    for i, j, k in product(range(3), range(3), range(4)):
        at = grid.isel(a_1=i, b_1=j, c=k)
        one = AbcParametrisation.from_exponents((float(a[i]), 0.5), (float(b[j]), 0.5), float(c[k]))
        assert at.feature_decay.item() == float(one.feature_decay)
        assert at.stability_excess.values.tolist() == [float(x) for x in one.excess.values()]
        assert at.condition.values.tolist() == list(one.excess)
        assert at.phase.item() == one.phase
        assert (at.status.item() == "ok") == (one.phase != "unstable")


def test_what_lies_on_a_boundary_is_known_to_lie_on_it():
    """0.1 + 0.2 is not 0.3 and 1/3 not a third, and yet a line of a diagram is hit."""
    x = xr.DataArray(np.linspace(-1, 0, 31), dims="x")
    found = abc_phases([x, 0.5], [-x, 0.5], 0)
    assert (found.phase.values == "feature").sum() == 1
    assert found.phase.values[15] == "feature"
    assert found.feature_decay.values[20] == pytest.approx(1 / 3)


def test_axes_of_one_name_must_have_one_set_of_values():
    one = xr.DataArray([0.0, 1.0], dims="p", coords={"p": [0, 1]})
    with pytest.raises(InputError, match="share an axis but not its values"):
        abc_phases([one, 0], [one.assign_coords(p=[1, 2]), 0], 0)
    with pytest.raises(InputError, match="an axis must not have the name of what the result holds"):
        abc_phases([one.rename(p="status"), 0], [0, 0], 0)


def test_what_is_no_parametrisation_is_refused():
    with pytest.raises(InputError, match=r"one exponent for each layer of weights, .* got 1 and 1"):
        AbcParametrisation.from_exponents([0], [0], 0)
    with pytest.raises(InputError, match=r"one exponent for each layer .* got 3 and 2"):
        abc_phases([0, 0, 0], [0, 0], 0)
    with pytest.raises(InputError, match="an exponent must be a number or a fraction"):
        abc_phases([0, "x"], [0, 0], 0)
    with pytest.raises(InputError, match="an exponent must be a number or a fraction"):
        abc_phases([xr.DataArray([np.nan, 0.0], dims="p"), 0], [0, 0], 0)
    with pytest.raises(InputError, match="no abc-parametrisation 'muP'; choose from mup, ntk, "):
        AbcParametrisation.named("muP", depth=2)
    with pytest.raises(InputError, match="mean_field has one hidden layer, got `depth` 2"):
        AbcParametrisation.named("mean_field", depth=2)
    with pytest.raises(InputError, match="`depth` must be a whole number ≥ 1"):
        AbcParametrisation.named("mup", depth=0)


def test_as_it_is_typed():
    typed = MODEL.commands["phase"]
    for mup in (
        typed(a="-1/2,0,1/2", b="1/2,1/2,1/2", c=0.0),
        typed(a=[-0.5, 0.0, 0.5], b=[0.5, 0.5, 0.5], c="0"),
        typed(name="mup", depth=2.0),
    ):
        assert (mup.phase.item(), mup.feature_decay.item()) == ("feature", 0.0)
    rates = typed(name="standard", depth=2.0, c="0,1/2,1")
    assert rates.phase.values.tolist() == ["unstable", "unstable", "kernel"]
    for wrong in ({}, {"a": "0,1", "b": "0,0"}, {"name": "mup", "a": "0,1"}):
        with pytest.raises(InputError, match="give either a, b and c, such as a=-1/2,0,1/2"):
            typed(**wrong)


def feature_change(one, n, seed, steps=3):
    """‖Δx_L‖/√n of a tanh network after some steps on two samples, in NumPy."""
    rng = np.random.default_rng(seed)
    sizes = [2, *[n] * one.depth, 1]
    scale = [float(n) ** -float(a) for a in one.a]
    w = [
        rng.standard_normal((sizes[i + 1], sizes[i])) * float(n) ** -float(one.b[i])
        for i in range(one.depth + 1)
    ]
    x, y = np.array([[1.0, 0.5], [-0.4, 1.2]]), np.array([1.0, -1.0])

    def forward():
        layers = [x]
        for i in range(one.depth):
            layers.append(np.tanh(scale[i] * layers[-1] @ w[i].T))
        return layers, scale[-1] * (layers[-1] @ w[-1].T)[:, 0]

    start = forward()[0][-1]
    for _ in range(steps):
        layers, f = forward()
        back = ((f - y) / len(y))[:, None]
        for i in range(one.depth, -1, -1):
            if i < one.depth:
                back = back * (1 - layers[i + 1] ** 2)
            gradient = scale[i] * back.T @ layers[i]
            back = scale[i] * back @ w[i]
            w[i] -= 0.5 * float(n) ** -float(one.c) * gradient
    return np.linalg.norm(forward()[0][-1] - start) / np.sqrt(n)


@pytest.mark.parametrize(
    ("name", "depth"),
    [("ntk", 1), ("ntk", 2), ("mup", 1), ("mup", 2), ("mean_field", 1), ("standard_slow", 1)],
)
def test_gradient_descent_changes_the_features_as_r_says(name, depth):
    one = AbcParametrisation.named(name, depth=depth)
    widths = [128, 512, 2048]
    change = [np.mean([feature_change(one, n, seed) for seed in range(6)]) for n in widths]
    slope = np.polyfit(np.log(widths), np.log(change), 1)[0]
    assert slope == pytest.approx(-float(one.feature_decay), abs=0.12)
