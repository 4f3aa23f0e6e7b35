"""The exponent table against Wishart sampling, presets against the paper's table."""

from fractions import Fraction
from math import inf, nan

import numpy as np
import pytest
import xarray as xr

from lazyrich import PRESETS, InputError, Power, ScalingLaw, order_parameters
from lazyrich.phases.scaling import FeatureKind
from lazyrich.theory.two_layer_linear import LineData, LineState, flow
from lazyrich.vocabulary.regimes import Phase

DATA = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
LOW, HIGH = 10**6, 10**8

# final |ζ| of the paper's six parametrisations at d = 1e2, 1e4, 1e6, 1e8, to the digits given
PAPER_TABLE = {
    "ntk": ("0.10", "0.010", "0.0010", "0.00010"),
    "mean_field": ("0.10", "0.099", "0.0995", "0.0995"),
    "kaiming": ("0.10", "0.010", "0.001", "0.0001"),
    "kaiming_plus": ("0.10", "0.71", "0.995", "1.0"),
    "xavier": ("0.71", "0.010", "1e-4", "1e-6"),
    "xavier_plus": ("0.72", "0.71", "0.71", "0.71"),
}
PHASES = {
    "ntk": ("kernel", None),
    "mean_field": ("feature", "critical"),
    "kaiming": ("kernel", None),
    "kaiming_plus": ("feature", "critical"),
    "xavier": ("kernel", None),
    "xavier_plus": ("feature", "critical"),
    "mup": ("feature", "critical"),
    "standard": ("unstable", None),
}


def random_exponents(count, seed):
    """Halves of integers, without the near-degenerate kernels that need wider networks."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        a, e_u, e_w, s_u, s_w = (Fraction(int(n), 2) for n in rng.integers(-4, 5, size=5))
        if abs(e_w + s_u - e_u - s_w) != Fraction(1, 2):
            found.append((a, e_u, e_w, s_u, s_w))
    return found


def slope(law, quantity):
    """The exponent between two widths, with the same normal draws at both."""
    low, high = (
        float(abs(quantity(law.sample(d, draws=400, seed=7), law.network(d))).median("draw"))
        for d in (LOW, HIGH)
    )
    return np.log(high / low) / np.log(HIGH / LOW)


@pytest.mark.parametrize("choice", random_exponents(60, seed=1), ids=str)
def test_exponents_are_the_slopes_of_sampled_networks(choice):
    law = ScalingLaw.from_exponents(*choice)
    predicted = law.exponents

    def kernel_rate(state, net):  # A(P + Q)/2 = 2 E[a²] Θ / ... ∝ Θ
        return net.output_scale**2 * (net.lr_w * state.uu + net.lr_u * state.ww)

    def output(state, net):
        return net.output_scale * state.uw

    assert slope(law, kernel_rate) == pytest.approx(float(predicted.kernel), abs=2e-3)
    assert slope(law, output) == pytest.approx(float(predicted.output), abs=2e-3)
    low, high = (
        float(net.output_scale * (net.lr_u * net.lr_w) ** 0.5)
        for net in (law.network(LOW), law.network(HIGH))
    )
    assert np.log(high / low) / np.log(HIGH / LOW) == pytest.approx(float(predicted.signal))
    assert predicted.rate == max(predicted.signal, predicted.kernel)


@pytest.mark.parametrize("choice", random_exponents(40, seed=2), ids=str)
def test_kernel_change_has_the_exponent_that_the_hyperbola_gives(choice):
    """`Θ² = Θ_0² + 4γ²X²(f² − f_0²)`: kernel phase `2(b − k) + 2 max(0, output)`, else `b − k`."""
    law = ScalingLaw.from_exponents(*choice)
    b, k, r, o = law.exponents
    expected = b - k if b > k else 0 if b == k else 2 * (b - k) + 2 * max(Fraction(0), o)

    def change(state, net):
        return order_parameters(state, net, DATA).ntk_change

    def rate(state, net):
        return 1 / order_parameters(state, net, DATA).time_constant

    assert slope(law, change) == pytest.approx(float(expected), abs=5e-3)
    assert slope(law, rate) == pytest.approx(float(r), abs=5e-3)
    learnable = law.at_unit_rate()
    phase = "kernel" if b < k else "feature"
    assert (learnable.phase, learnable.exponents.rate) == (phase, 0)
    assert learnable.exponents.signal - learnable.exponents.kernel == b - k


def test_wide_feature_learning_from_vanishing_initialisation_aligns():
    law = ScalingLaw.from_exponents(-2, 2, 2, 0, 0)
    assert law.feature_kind is FeatureKind.VANISHING_INIT
    state = law.sample([10**4, 10**12], draws=50, seed=0)
    zeta = abs(flow(state, law.network([10**4, 10**12]), DATA, inf).alignment).median("draw")
    assert zeta.values[1] > 1 - 1e-4
    assert zeta.values[0] < zeta.values[1]


def test_unbalanced_layers_align_fully_in_the_critical_regime_too():
    """Kaiming+: the kernel changes by a factor, but one layer is small beside the other."""
    law, widths = PRESETS["kaiming_plus"], [10**4, 10**12]
    assert law.feature_kind is FeatureKind.CRITICAL
    end = flow(law.sample(widths, draws=200, seed=0), law.network(widths), DATA, inf)
    assert abs(end.alignment).median("draw").values[1] > 1 - 1e-4
    change = end.ntk_change.median("draw").values
    assert change[1] == pytest.approx(change[0], rel=0.1)


def test_fractions_are_exact():
    law = ScalingLaw.from_exponents("1/3", "2/3", 0, "-1/3", "-1/3")
    assert law.exponents == (
        Fraction(2, 3),
        Fraction(2),
        Fraction(2),
        Fraction(1, 2),
    )
    assert all(isinstance(value, Fraction) for value in law.exponents)
    third = ScalingLaw.from_exponents("-1/3", 0, 0, "-1/3", "-1/3")  # k = −2/3 + 1 − 1/3 = 0
    assert third.exponents.kernel == 0
    assert third.phase is Phase.KERNEL
    assert Power(0.1).exponent == Fraction(1, 10)
    assert Power(1 / 3).exponent == Power("1/3").exponent == Fraction(1, 3)  # that is meant
    assert ScalingLaw.from_exponents(-1 / 3, 0, 0, -1 / 3, -1 / 3).exponents == third.exponents
    assert Power(0.123456789).exponent == Fraction("0.123456789")
    assert Power("0.33333333333").exponent != Fraction(1, 3)  # a text is taken by its word
    assert Power("1e-3").exponent == Fraction(1, 1000)
    assert third.named_exponents()["signal_exponent"] == Fraction(-1, 3)


@pytest.mark.parametrize(
    "bad", ["x", "1/0", "", nan, inf, "1/2/3", "1e999999999", "1e-999999999", 1001, None]
)
def test_exponents_that_are_no_numbers_are_refused(bad):
    with pytest.raises(InputError, match="must be a number or a fraction such as -1/2, at most"):
        Power(bad)


def test_constants_out_of_range_are_refused():
    one, zero = Power(0), Power(0, 0.0)
    rest = dict.fromkeys(("lr_u", "lr_w", "init_var_u", "init_var_w"), one)
    with pytest.raises(InputError, match="constant of `output_scale` must not be 0"):
        ScalingLaw(output_scale=zero, **rest)
    for name in rest:
        for constant in (0.0, -1.0):
            with pytest.raises(InputError, match=f"constant of `{name}` must be > 0"):
                ScalingLaw(output_scale=one, **{**rest, name: Power(0, constant)})
    with pytest.raises(InputError, match="`constant` must be finite, got nan"):
        Power(0, nan)


def test_width_beyond_float_integers_is_refused():
    with pytest.raises(InputError, match="`width` must be between 1 and"):
        PRESETS["ntk"].sample(2**60, seed=0)


def test_frozen_and_unstable_families_and_their_cure():
    frozen = ScalingLaw.from_exponents(-2, 0, 0, 0, 0)
    assert frozen.phase is Phase.FROZEN
    assert frozen.feature_kind is None
    cured = frozen.at_unit_rate()
    assert cured.phase is Phase.FEATURE
    assert cured.feature_kind is FeatureKind.VANISHING_INIT
    assert cured.lr_u.exponent == cured.lr_w.exponent == 2
    assert cured.init_var_u == frozen.init_var_u
    assert cured.output_scale == frozen.output_scale
    unstable = ScalingLaw.from_exponents(0, 0, 0, 0, 0)
    assert unstable.phase is Phase.UNSTABLE
    assert unstable.at_unit_rate().phase is Phase.KERNEL


def test_power_laws_print_as_people_write_them():
    assert [str(p) for p in (Power("-1/2"), Power(0, 0.05), Power(1, 2), Power(0))] == [
        "d^-1/2",
        "0.05",
        "2 d^1",
        "1",
    ]


@pytest.mark.parametrize("name", PHASES)
def test_presets_are_in_the_phases_of_the_paper(name):
    law = PRESETS[name]
    assert (law.phase, law.feature_kind) == PHASES[name]


def test_presets_are_all_named():
    assert set(PRESETS) == set(PHASES)


@pytest.mark.parametrize("name", PAPER_TABLE)
def test_paper_table_of_final_alignment(name):
    law, widths = PRESETS[name], [1e2, 1e4, 1e6, 1e8]
    state = law.sample(widths, draws=20_000, seed=3)
    zeta = abs(flow(state, law.network(widths), DATA, inf).alignment).median("draw")
    for measured, printed in zip(zeta.values, PAPER_TABLE[name], strict=True):
        digits = printed.partition("e")[0].replace(".", "").lstrip("0")
        unit = float(printed) / int(digits)
        # the table's own medians were drawn: two units in the last digit
        assert abs(measured - float(printed)) < 2 * unit, (measured, printed)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ntk", "mean_field"), ("kaiming", "kaiming_plus"), ("xavier", "xavier_plus")],
)
def test_pairs_are_one_network_at_width_100(one, other):
    runs = []
    for name in (one, other):
        law = PRESETS[name]
        state = law.sample(100, draws=20, seed=5)
        runs.append(flow(state, law.network(100), DATA, xr.DataArray([0.0, 1, 10], dims="time")))
    for quantity in ("end_to_end_map", "ntk_trace", "alignment", "uu", "ww"):
        np.testing.assert_allclose(runs[0][quantity], runs[1][quantity], rtol=1e-11)


def test_width_axis_gives_a_ladder_and_draws_are_reproducible():
    law = PRESETS["mup"]
    first, again = (law.sample([10, 100], draws=4, seed=9) for _ in range(2))
    assert set(first.uu.dims) == {"draw", "width"}
    xr.testing.assert_identical(first.uw, again.uw)
    assert law.network([10, 100]).lr_w.values == pytest.approx([0.005, 0.05])
    assert isinstance(law.sample(10, seed=0), LineState)
