"""The ends of the range of numbers, against the closed form with many digits."""

import warnings

import mpmath as mp
import numpy as np
import pytest

from lazyrich import mechanisms, order_parameters
from lazyrich.theory.two_layer_linear import (
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
    neurons,
    time_to_residual,
)

DATA = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)


def exact(size, scale, lr, t):
    """`u·w` and `‖u‖²` of equal orthogonal layers, target 1: χ by its own formula, 900 digits."""
    with mp.workdps(900):
        n, g, eta = map(mp.mpf, (size, scale, lr))
        p = eta * n / 2  # P = Q
        a, b = 4 * g**2, 4 * g * eta
        d = mp.sqrt(b**2 + 4 * a**2 * p**2)
        c, s = mp.cosh(d * t / 2), mp.sinh(d * t / 2) / d
        chi = (c + (b + 2 * a * p) * s) / (c + (2 * a * p - b) * s)
        inner, norm = (p * chi - p / chi) / eta, (p * chi + p / chi) / eta
        return float(g * inner), float(norm), float(inner / norm)


@pytest.mark.parametrize(
    ("size", "scale", "lr"),
    [(1e-300, 1e-30, 1.0), (1e-300, 1.0, 1e-10), (1e-290, 1e-150, 1.0), (1e-300, 1e-100, 1e-190)],
)
@pytest.mark.parametrize("units", [1e-3, 1.0, 600.0, 1300.0, 1500.0, 1600.0, 2500.0])
def test_tiny_layers_beside_a_distant_target(size, scale, lr, units):
    t = units / (4 * scale * lr)
    state = LineState(uu=size, uw=0.0, ww=size)
    network = LinearNetwork(output_scale=scale, lr_u=lr, lr_w=lr)
    found = flow(state, network, DATA, t)
    output, norm, zeta = exact(size, scale, lr, mp.mpf(t))
    assert found.status.item() == "ok"
    assert found.end_to_end_map.item() == pytest.approx(output, rel=1e-11, abs=1e-300)
    assert found.uu.item() == pytest.approx(norm, rel=1e-11)
    assert found.ww.item() == pytest.approx(norm, rel=1e-11)
    assert found.alignment.item() == pytest.approx(zeta, rel=1e-11)


def test_tiny_layers_reach_the_target():
    state = LineState(uu=1e-300, uw=0.0, ww=1e-300)
    network = LinearNetwork(output_scale=1e-30, lr_u=1.0, lr_w=1.0)
    end = flow(state, network, DATA, np.inf)
    assert (end.status.item(), end.end_to_end_map.item()) == ("ok", 1.0)
    assert end.alignment.item() == pytest.approx(1.0, abs=1e-15)
    found = order_parameters(state, network, DATA)
    share = flow(state, network, DATA, found.learning_time.item()).excess_loss.item() ** 0.5
    assert share == pytest.approx(0.1, rel=1e-9)
    u, w = [1e-150, 0.0], [0.0, 1e-150]
    path = flow(LineState.from_weights(u, w), network, DATA, [0.0, 1e34], propagator=True)
    moved = neurons(path, u, w).isel(time=1)
    assert float((moved.u * moved.w).sum()) == pytest.approx(1e30, rel=1e-9)


def test_descent_of_tiny_layers_reaches_the_target():
    state = LineState(uu=1e-300, uw=0.0, ww=2e-300)
    network = LinearNetwork(output_scale=1e-30, lr_u=1e29, lr_w=1e29)
    found = descent(state, network, DATA, steps=3000, every=500)
    with mp.workdps(60):
        a, b, c = mp.mpf("1e-300"), mp.mpf(0), mp.mpf("2e-300")
        a, c = mp.mpf(1e-300), mp.mpf(2e-300)
        g, eta = mp.mpf(1e-30), mp.mpf(1e29)
        for step in range(3001):
            if step % 500 == 0:
                now = found.sel(step=step)
                assert now.end_to_end_map.item() == pytest.approx(float(g * b), rel=1e-10)
                assert now.uu.item() == pytest.approx(float(a), rel=1e-10)
                assert now.ww.item() == pytest.approx(float(c), rel=1e-10)
            h = 2 * g * (g * b - 1)
            a, b, c = (
                a - 2 * eta * h * b + (eta * h) ** 2 * c,
                b - h * eta * (c + a) + (eta * h) ** 2 * b,
                c - 2 * eta * h * b + (eta * h) ** 2 * a,
            )


@pytest.mark.parametrize("share", [0.999, 0.1, 1e-100, 1e-154, 1e-156, 1e-160, 1e-300, 5e-324])
def test_time_to_any_share(share):
    """Of the README's network, from the residual's own formula with many digits."""
    state = LineState(uu=1.0, uw=0.5, ww=2.0)
    network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
    found = time_to_residual(state, network, DATA, share).item()
    with mp.workdps(700):
        eta = mp.mpf(0.1)
        p, q, b = eta * (3 + 1) / 4, eta * (3 - 1) / 4, eta
        d = mp.sqrt(b**2 + 4 * p * q)
        t = 4 * mp.mpf(found)  # A = 4
        c, s = mp.cosh(d * t / 2), mp.sinh(d * t / 2) / d
        left = 1 / ((c + (b + 2 * q) * s) * (c + (2 * p - b) * s))
        assert float(mp.log(left)) == pytest.approx(float(mp.log(mp.mpf(share))), rel=1e-11)
    if share == 1e-160:
        assert found == pytest.approx(531.994, abs=1e-3)


def test_a_learning_rate_of_minus_zero_is_zero():
    for rates in ({"lr_u": -0.0, "lr_w": 0.1}, {"lr_u": -0.0, "lr_w": -0.0}):
        plain = {name: abs(rate) for name, rate in rates.items()}
        runs = [
            flow(
                LineState(uu=1.0, uw=0.5, ww=2.0),
                LinearNetwork(output_scale=1.0, **some),
                DATA,
                [1.0, np.inf],
            )
            for some in (rates, plain)
        ]
        for name in runs[0].data_vars:
            np.testing.assert_array_equal(runs[0][name], runs[1][name])


def test_balancedness_of_a_small_start_is_conserved():
    state = LineState(uu=1e-17, uw=0.0, ww=2e-17)
    network = LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0)
    found = flow(state, network, DATA, [0.0, 10.0, 20.0, np.inf])
    np.testing.assert_allclose(found.balancedness, -1e-17, rtol=1e-14)
    network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
    steps = descent(state, network, DATA, steps=400, every=1)
    h = 2 * 0.1 * (steps.end_to_end_map.values[:-1] - 1)
    expected = -1e-18 * np.cumprod(1 - h**2)
    np.testing.assert_allclose(steps.balancedness[1:], expected, rtol=1e-9)


@pytest.mark.parametrize("lr_w", [0.1, 0.3])
def test_parallel_layers_only_rescale_also_at_infinity(lr_w):
    state = LineState.from_weights([1.0, 2.0], [2.0, 4.0])
    network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=lr_w)
    for goal in (0.0, 0.1, 30.0):
        data = LineData(mean_aa=1.0, mean_ay=goal, mean_yy=goal**2)
        found = flow(state, network, data, [0.0, 1.0, 10.0, np.inf])
        np.testing.assert_allclose(found.alignment, 1.0, rtol=1e-14)
        acts = mechanisms(found).mechanism_acts
        assert acts.values.tolist() == [False, False, True]


def test_no_warnings_leak_at_extremes():
    ends = [0.0, 1e-300, 1e-150, 1.0, 1e150, 1e300]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = LineState(uu=ends, uw=0.0, ww=ends)
        network = LinearNetwork(
            output_scale=[-1e300, 0.0, 1e-300, 1.0], lr_u=[0.0, 1e-300, 1.0, 1e300], lr_w=1.0
        )
        for data in (DATA, LineData(mean_aa=1e300, mean_ay=0.0, mean_yy=1e300)):
            found = flow(state, network, data, [0.0, 1e-300, 1.0, 1e300, np.inf])
            assert found.uu.notnull().all()
            assert found.alignment.notnull().all()
            order_parameters(state, network, data)
            mechanisms(found)
            descent(state, network, data, steps=3)
            descent(state, network, data, steps=3, momentum=0.5)


@pytest.mark.parametrize(
    ("norms", "zeta", "rates", "scale", "moments"),
    [
        ((1e-300, 1.0), -0.3, (1e300, 1.0), 0.0, (1.0, 1e150)),
        ((0.0, 0.0), 0.0, (1e300, 1e-300), 1e160, (1.0, -1e150)),
        ((1e160, 1.0), 0.5, (1e-160, 0.0), -1e300, (0.0, 0.0)),
        ((0.0, 1e-300), 0.0, (0.0, 1e160), 0.0, (1e300, 1e300)),
        ((1e-300, 0.0), 0.0, (1e-160, 1e300), 1e160, (1e300, -1.0)),
        ((0.0, 0.0), 0.0, (0.0, 1e160), 1e160, (1e300, 1e150)),
    ],
)
def test_no_descent_is_missing_numbers(norms, zeta, rates, scale, moments):
    """Rates beyond the range of floats in natural units gave NaN with status ok, and warnings."""
    uu, ww = norms
    state = LineState(uu=uu, uw=zeta * uu**0.5 * ww**0.5, ww=ww)
    network = LinearNetwork(output_scale=scale, lr_u=rates[0], lr_w=rates[1])
    line = LineData(mean_aa=moments[0], mean_ay=moments[1], mean_yy=1e300)
    data = MomentData(sigma_xx=[[moments[0]]], sigma_yx=[[moments[1]]], mean_yy=1e300)
    for found in (
        descent(state, network, line, steps=3),
        descent(state, network, line, steps=3, momentum=0.5, weight_decay_u=0.1),
        descent(state.gram(), network, data, steps=3),
    ):
        for name, values in found.data_vars.items():
            assert values.notnull().all(), (name, found.status.item())


def test_layers_that_leave_the_range_of_numbers_are_parallel():
    """At infinity `u·w` is 1e600; its sign is known, and the frozen one is not called frozen."""
    network = LinearNetwork(output_scale=1e-300, lr_u=1e-300, lr_w=1e-300)
    data = LineData(mean_aa=1e-300, mean_ay=-1.0, mean_yy=1e300)
    state = LineState(uu=1e160, uw=0.0, ww=1.0)
    assert flow(state, network, data, np.inf).alignment.item() == -1
    assert order_parameters(state, network, data).status.item() == "ok"
