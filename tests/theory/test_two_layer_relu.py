"""The regimes of two-layer ReLU networks: the definitions, the abc table, trained networks."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.theory.abc import AbcParametrisation
from lazyrich.theory.two_layer_relu import MODEL, Condensation, ReluScaling, relu_phases
from lazyrich.vocabulary import CANNOT_TELL

MEASURED = {  # (γ, γ′): predicted exponent of RD, and that of trained networks
    (0.5, 0): (-0.5, -0.504),
    (0.75, 0): (-0.25, -0.253),
    (1, 0): (0, -0.015),
    (0.5, 0.5): (-1.5, -1.509),
    (1, 0.5): (-1, -1.010),
    (1.25, 0.5): (-0.5, -0.514),
    (1.25, 0.25): (0, -0.019),
    (1.5, 0): (0.25, 0.278),
    (1.75, 0): (0.375, 0.392),
    (1.5, 0.25): (0.125, 0.170),
    (1.5, -0.25): (0.375, 0.391),
    (1.5, -1): (0.5, 0.450),
    (0.75, -0.5): (-0.25, -0.251),
    (1.75, 1.5): (-1.5, -1.571),
    (2, 0.5): (0.25, 0.254),
    (0.25, 0): (-0.75, -0.768),
    (0.25, 0.25): (-1.25, -1.272),
}


@pytest.mark.parametrize(("place", "exponents"), MEASURED.items())
def test_the_exponents_are_those_of_trained_networks(place, exponents):
    predicted, measured = exponents
    found = relu_phases(*place, zero_output=True)
    one = ReluScaling.from_exponents(*place, zero_output=True)
    assert found.weight_movement_exponent.item() == predicted == one.weight_movement_exponent
    assert found.condensation.item() == one.condensation
    assert abs(predicted - measured) < 0.08


def regime_by_definition(g, p):
    """The paper's three regions."""
    if (g == 1 and p <= 0) or (p == g - 1 and g >= 1):
        return "critical"
    return "condensed" if g > 1 and p < g - 1 else "linear"


def test_the_regimes_are_the_regions_of_the_paper():
    grid = [Fraction(k, 8) for k in range(-16, 25)]
    found = relu_phases(grid, grid, zero_output=True)
    for g, p in product(grid, grid):
        at = found.sel(gamma=float(g), gamma_prime=float(p))
        word = regime_by_definition(g, p)
        assert at.condensation.item() == word
        assert at.phase.item() == ("kernel" if word == "linear" else "feature")
        sign = Condensation(word)
        assert np.sign(at.weight_movement_exponent.item()) == list(Condensation).index(sign) - 1
        assert np.sign(at.condensation_excess.item()) == list(Condensation).index(sign) - 1


def test_the_exponent_is_continuous():
    """It has five branches, and no jump between two of them."""
    step = 1 / 64
    line = np.arange(-1.5, 2.5, step)
    S = relu_phases(line, line, zero_output=True).weight_movement_exponent
    for dim in S.dims:
        assert abs(S.diff(dim)).max() <= 2 * step + 1e-12


def test_without_zero_output_nothing_is_known_below_one_half():
    found = relu_phases([0.49, 0.5], [-1.0, 1.0])
    assert found.condensation.sel(gamma=0.49).values.tolist() == [CANNOT_TELL] * 2
    assert found.phase.sel(gamma=0.49).values.tolist() == [CANNOT_TELL] * 2
    assert found.weight_movement_exponent.sel(gamma=0.49).isnull().all()
    assert "with zero output at the start it is linear" in found.status.values[0, 0]
    assert found.status.sel(gamma=0.5).values.tolist() == ["ok"] * 2
    one = ReluScaling.from_exponents("0.49", 0)
    assert (one.condensation, one.phase) == (CANNOT_TELL, CANNOT_TELL)
    assert one.weight_movement_exponent is None


def test_r_of_an_abc_parametrisation_is_minus_the_exponent():
    """All stable ones with one hidden layer that learn, on a lattice of quarters."""
    met = 0
    quarters = [Fraction(k, 4) for k in range(-6, 9)]
    for a1, a2, b2, c in product(quarters, quarters, quarters, quarters):
        # of cheap necessary conditions the first, so that the lattice takes a second
        if a2 + b2 < Fraction(1, 2) or 2 * a2 + c < 1:
            continue
        r = min(a2 + b2, 2 * a2 + c) + c + 2 * a1
        learns = a2 + b2 + r == 1 or 2 * a2 + c == 1
        if r < 0 or a2 + b2 + r < 1 or not learns:
            continue
        one = AbcParametrisation.from_exponents((a1, a2), (-a1, b2), c)
        scaling = ReluScaling.of_abc(one)
        assert one.feature_decay == r == -scaling.weight_movement_exponent
        assert one.phase == scaling.phase
        met += 1
    assert met > 200


def test_named_initialisations_are_named_parametrisations():
    assert ReluScaling.named("lecun") == ReluScaling.named("he")
    assert ReluScaling.named("xavier") == ReluScaling.named("mean_field")
    for abc, relu in (("ntk", "ntk"), ("mean_field", "mean_field"), ("standard", "he")):
        assert ReluScaling.of_abc(AbcParametrisation.named(abc, depth=1)) == ReluScaling.named(relu)


def test_labelled_axes_keep_their_names_and_order():
    g = xr.DataArray([0.5, 1.5], dims="run")
    found = relu_phases(g, g - 1)
    assert found.condensation.dims == ("run",)
    grid = relu_phases([0.5, 1.5], g)
    assert grid.weight_movement_exponent.dims == ("gamma", "run")
    for i, j in product(range(2), range(2)):
        alone = ReluScaling.from_exponents([0.5, 1.5][i], float(g[j]))
        assert grid.condensation.values[i, j] == alone.condensation
        assert grid.weight_movement_exponent.values[i, j] == alone.weight_movement_exponent


def test_extreme_exponents():
    found = relu_phases([-1000, 1000], ["-1000", "1000"], zero_output=True)
    assert found.weight_movement_exponent.values.tolist() == [[-1001, -3001], [999, -2]]
    with pytest.raises(InputError, match="at most 1000 in size, got 1001"):
        relu_phases(1001, 0)


def test_activations_are_checked():
    relu_phases(1, 0, activation=lambda z: np.maximum(z, 0.1 * z))
    with pytest.raises(InputError, match=r"`activation` must be homogeneous .* got a difference"):
        relu_phases(1, 0, activation=np.tanh)
    with pytest.raises(InputError, match="a difference of 1 of its size"):
        relu_phases(1, 0, activation=np.square)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="these networks have one hidden layer, got 3 of them"):
        ReluScaling.of_abc(AbcParametrisation.named("mup", depth=3))
    with pytest.raises(InputError, match="a_1 \\+ b_1 must be 0, got 1/3"):
        ReluScaling.of_abc(AbcParametrisation.from_exponents([0, 1], ["1/3", 0], 0))
    with pytest.raises(InputError, match="no initialisation 'mup'; choose from ntk, mean_field"):
        ReluScaling.named("mup")
    with pytest.raises(InputError, match=r"`gamma` must be an exponent or an axis .* \(1, 2\)"):
        relu_phases([[1, 2]], 0)
    with pytest.raises(InputError, match="an axis must not have the name of what the result holds"):
        relu_phases(xr.DataArray([1.0], dims="phase"), 0)


def test_as_it_is_typed():
    typed = MODEL.commands["phase"]
    assert typed(gamma="1/2", gamma_prime=0.0).condensation.item() == "linear"
    assert typed(gamma="1/2,1", gamma_prime=0.0).condensation.values.tolist() == [
        "linear",
        "critical",
    ]
    assert typed(name="xavier").condensation.item() == "critical"
    assert typed(gamma=0.0, gamma_prime=0.0).condensation.item() == CANNOT_TELL
    assert typed(gamma=0.0, gamma_prime=0.0, zero_output=1.0).condensation.item() == "linear"
    with pytest.raises(InputError, match="`zero_output` must be 0 or 1, got 'yes'"):
        typed(name="ntk", zero_output="yes")
    for wrong in ({}, {"gamma": 1.0}, {"name": "ntk", "gamma": 1.0, "gamma_prime": 0.0}):
        with pytest.raises(InputError, match="give either gamma and gamma_prime, such as"):
            typed(**wrong)


def moved(one, m, seed):
    """RD of the first layer, trained to a share of the loss, by its normalised gradient flow."""
    x = np.column_stack([np.linspace(-1, 1, 8), np.ones(8)])
    y = np.abs(x[:, 0]) - 0.3
    half = np.random.default_rng(seed)
    a, w = half.standard_normal(m // 2), half.standard_normal((m // 2, 2))
    a, w = np.concatenate([a, -a]), np.concatenate([w, w])  # zero output
    kappa, ratio = m ** -float(one.gamma), m ** -float(one.gamma_prime)
    start, goal = w.copy(), 0.15 * np.mean(y**2)
    for _ in range(20_000):
        active = x @ w.T
        hidden = np.maximum(active, 0)
        e = kappa * hidden @ a - y
        if np.mean(e**2) < goal:
            break
        da = -hidden.T @ e / len(y) / ratio
        dw = -ratio * ((e[:, None] * (active > 0)).T @ x) * a[:, None] / len(y)
        kernel = kappa * (np.sum(hidden**2) / ratio + ratio * np.sum(a**2 * np.sum(active > 0, 0)))
        dt = 0.2 * len(y) / kernel
        a, w = a + dt * da, w + dt * dw
    assert np.mean(e**2) < goal
    return np.linalg.norm(w - start) / np.linalg.norm(start)


@pytest.mark.parametrize("place", [("1/2", 0), (1, 0), ("1/2", "1/2"), ("3/2", 0)])
def test_trained_networks_move_as_the_exponent_says(place):
    one = ReluScaling.from_exponents(*place, zero_output=True)
    widths = [256, 1024, 4096]
    move = [np.mean([moved(one, m, seed) for seed in range(3)]) for m in widths]
    slope = np.polyfit(np.log(widths), np.log(move), 1)[0]
    assert slope == pytest.approx(float(one.weight_movement_exponent), abs=0.1)
