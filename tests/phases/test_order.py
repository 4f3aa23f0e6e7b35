"""Order parameters against brute numbers, fitted phases against those of the exponents."""

from math import cosh, inf, sinh, sqrt

import mpmath as mp
import numpy as np
import pytest
import xarray as xr
from scipy.optimize import brentq

from lazyrich import ScalingLaw, fit_exponent, fitted_phase, order_parameters
from lazyrich.phases.order import fitted_feature_kind
from lazyrich.phases.scaling import FeatureKind
from lazyrich.theory.two_layer_linear import (
    LinearNetwork,
    LineData,
    LineState,
    flow,
    time_to_residual,
)
from lazyrich.vocabulary.regimes import CANNOT_TELL, Phase

DATA = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)


def problems(count, *, zero_output=False):
    rng, found = np.random.default_rng(11), []
    for _ in range(count):
        uu, ww = 10 ** rng.uniform(-3, 3, 2)
        uw = 0.0 if zero_output else rng.uniform(-0.95, 0.95) * sqrt(uu * ww)
        gamma, lr_u, lr_w = 10 ** rng.uniform(-2, 2, 3)
        aa, ay = 10 ** rng.uniform(-2, 2), rng.normal()
        found.append(((uu, uw, ww), (gamma, lr_u, lr_w), (aa, ay)))
    return found


def build(gram, net, moments):
    (uu, uw, ww), (gamma, lr_u, lr_w), (aa, ay) = gram, net, moments
    return (
        LineState(uu=uu, uw=uw, ww=ww),
        LinearNetwork(output_scale=gamma, lr_u=lr_u, lr_w=lr_w),
        LineData(mean_aa=aa, mean_ay=ay, mean_yy=2 * ay**2 / aa + 1),
    )


@pytest.mark.parametrize("numbers", problems(20))
def test_order_parameter_and_time_constant_by_formula(numbers):
    (uu, uw, ww), (gamma, lr_u, lr_w), (aa, ay) = numbers
    found = order_parameters(*build(*numbers))
    with mp.workdps(40):
        uu, uw, ww, gamma, lr_u, lr_w, aa, ay = map(mp.mpf, (uu, uw, ww, gamma, lr_u, lr_w, aa, ay))
        x = mp.sqrt(lr_u * lr_w)
        p = (uu / lr_u + ww / lr_w + 2 * uw / x) / 4
        q = (uu / lr_u + ww / lr_w - 2 * uw / x) / 4
        a, b = 4 * gamma**2 * x**2 * aa, 4 * gamma * x * ay
        f = abs(b) / (a * (p + q) / 2)
        d = mp.sqrt(b**2 + 4 * a**2 * p * q)
        chi = (b + d) / (2 * a * p)
        change = abs((p * chi + q / chi) / (p + q) - 1)
    assert found.order_parameter.item() == pytest.approx(float(f), rel=1e-12)
    assert found.time_constant.item() == pytest.approx(float(1 / d), rel=1e-12)
    assert found.ntk_change.item() == pytest.approx(float(change), rel=1e-10)


@pytest.mark.parametrize("numbers", problems(20, zero_output=True))
def test_closed_forms_from_zero_output(numbers):
    """`2 sinh s = F`: `Θ_∞/Θ_0 = cosh s`, `ζ_∞ = sinh s/√(cosh² s − (R/P)²)`."""
    (uu, _, ww), (_, lr_u, lr_w), (_, ay) = numbers
    found = order_parameters(*build(*numbers))
    f = found.order_parameter.item()
    s = np.arcsinh(f / 2)
    ratio = (uu / lr_u - ww / lr_w) / (uu / lr_u + ww / lr_w)
    one_minus = 4 * uu * ww / (lr_u * lr_w) / (uu / lr_u + ww / lr_w) ** 2  # 1 − (R/P)²
    assert found.ntk_change.item() == pytest.approx(2 * sinh(s / 2) ** 2, rel=1e-12)
    assert found.ntk_change.item() == pytest.approx(sqrt(1 + f**2 / 4) - 1, rel=1e-9, abs=1e-15)
    expected = np.sign(ay) * sinh(s) / sqrt(sinh(s) ** 2 + one_minus)
    assert abs(ratio) < 1
    assert found.alignment.item() == pytest.approx(expected, rel=1e-10)


def test_balanced_layers_align_by_tanh():
    state, net = LineState(uu=3.0, uw=0.0, ww=3.0), LinearNetwork(output_scale=0.2, lr_u=1, lr_w=1)
    found = order_parameters(state, net, DATA)
    s = np.arcsinh(found.order_parameter.item() / 2)
    assert found.alignment.item() == pytest.approx(np.tanh(s), rel=1e-13)
    assert cosh(s) - 1 == pytest.approx(found.ntk_change.item(), rel=1e-12)


@pytest.mark.parametrize("numbers", problems(12))
@pytest.mark.parametrize(("name", "left"), [("plateau_time", 0.9), ("learning_time", 0.1)])
def test_times_invert_the_trajectory(numbers, name, left):
    state, net, data = build(*numbers)
    expected = order_parameters(state, net, data)[name].item()
    best = data.mean_ay.item() / data.mean_aa.item()

    def residual(t):
        out = flow(state, net, data, float(t)).end_to_end_map.item()
        return (out - best) / (net.output_scale.item() * state.uw.item() - best) - left

    assert 0 < expected < inf
    root = brentq(residual, 0, 2 * expected, xtol=1e-13 * expected, rtol=1e-13)
    assert root == pytest.approx(expected, rel=1e-6)
    assert time_to_residual(state, net, data, left).item() == expected


def test_saddle_is_never_left():
    """Anti-aligned balanced layers fall into the saddle at 0: half of the residual stays."""
    state, net = LineState(uu=1.0, uw=-1.0, ww=1.0), LinearNetwork(output_scale=1, lr_u=1, lr_w=1)
    found = order_parameters(state, net, DATA)
    assert found.learning_time.item() == inf
    assert 0 < found.plateau_time.item() < inf
    assert flow(state, net, DATA, inf).end_to_end_map.item() == 0.0
    assert found.ntk_change.item() == 1.0


def test_plateau_grows_with_the_logarithm_of_a_small_start():
    size = xr.DataArray(10.0 ** np.arange(-12, -3), dims="size")
    state = LineState(uu=size, uw=0 * size, ww=size)
    found = order_parameters(state, LinearNetwork(output_scale=1, lr_u=1, lr_w=1), DATA)
    step = found.plateau_time.diff("size") / found.time_constant.isel(size=0)
    assert step.values == pytest.approx(-np.log(10) * np.ones(8), rel=1e-3)


def test_degenerate_networks_have_numbers_not_nan():
    zero = LineState(uu=[0.0, 1.0], uw=0.0, ww=0.0)
    for gamma, lr, ay in ((1, 1, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0)):
        net = LinearNetwork(output_scale=gamma, lr_u=lr, lr_w=lr)
        found = order_parameters(zero, net, LineData(mean_aa=1, mean_ay=ay, mean_yy=1))
        assert not any(bool(np.isnan(part).any()) for part in found.values())
    dead = order_parameters(zero, LinearNetwork(output_scale=1, lr_u=1, lr_w=1), DATA)
    assert dead.order_parameter.values[0] == 0
    assert dead.time_constant.values[0] == dead.learning_time.values[0] == inf
    assert [text.partition(":")[0] for text in dead.status.values] == ["frozen", "ok"]
    assert dead.learning_time.values[0] == inf


@pytest.mark.parametrize(
    ("choice", "phase"),
    [
        (("-1/2", 0, 0, 0, 0), (Phase.KERNEL, None)),
        ((-1, 1, 1, 0, 0), (Phase.FEATURE, FeatureKind.CRITICAL)),
        ((0, 0, 0, -1, -1), (Phase.FEATURE, FeatureKind.CRITICAL)),
        ((-1, 1, 1, -1, 0), (Phase.FEATURE, FeatureKind.CRITICAL)),
        ((-2, 2, 2, 0, 0), (Phase.FEATURE, FeatureKind.VANISHING_INIT)),
        ((0, 0, 0, 0, 0), (Phase.UNSTABLE, None)),
        ((-2, 0, 0, 0, 0), (Phase.FROZEN, None)),
        ((1, -2, -2, -1, -1), (Phase.KERNEL, None)),
    ],
)
def test_fitted_phase_is_that_of_the_exponents(choice, phase):
    law, widths = ScalingLaw.from_exponents(*choice), 2.0 ** np.arange(8, 24, 2)
    order = order_parameters(law.sample(widths, draws=40, seed=1), law.network(widths), DATA)
    change, rate = fit_exponent(order.ntk_change), fit_exponent(1 / order.time_constant)
    assert (law.phase, law.feature_kind) == phase
    assert fitted_phase(change, rate=rate).item() == law.phase
    if law.phase is Phase.FEATURE:
        assert fitted_feature_kind(change).item() == law.feature_kind


def test_fitted_phase_stays_open_where_the_ladder_is_too_short():
    law, widths = ScalingLaw.from_exponents("-1/2", 0, 0, 0, 0), [4.0, 5.0, 6.0]
    order = order_parameters(law.sample(widths, draws=3, seed=1), law.network(widths), DATA)
    change, rate = fit_exponent(order.ntk_change), fit_exponent(1 / order.time_constant)
    assert fitted_phase(change, rate=rate).item() == CANNOT_TELL


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (-0.05, 0.05, "critical"),
        (0.4, 0.6, "vanishing_init"),
        (0.05, 0.2, CANNOT_TELL),
        (np.nan, np.nan, CANNOT_TELL),
    ],
)
def test_kind_of_feature_learning_from_an_interval(low, high, kind):
    fit = xr.Dataset({"exponent_low": low, "exponent_high": high})
    assert fitted_feature_kind(fit).item() == kind
