"""Gradient flow on general data for any time: ill-conditioned data, other units, infinity."""

import time

import mpmath as mp
import numpy as np
import pytest

from lazyrich import InputError
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    _integrator,
    flow,
    neurons,
)

NETWORK = LinearNetwork(output_scale=0.9, lr_u=0.1, lr_w=0.3)
U, W = np.diag([0.5, -0.8]), np.diag([0.7, 0.9])
FINAL = (1.0, 2.0)


def turned(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def two_lines(condition, at):
    """Two neurons, each on a direction of its own: two problems in closed form."""
    found = []
    for i, (power, goal) in enumerate(zip((1.0, condition), FINAL, strict=True)):
        state = LineState.from_weights([U[i, i]], [W[i, i]])
        data = LineData(mean_aa=power, mean_ay=goal * power, mean_yy=goal**2 * power)
        found.append(flow(state, NETWORK, data, at))
    return found


@pytest.mark.parametrize("angle", [0.0, 0.7])
@pytest.mark.parametrize(
    ("condition", "tolerance"), [(0.5, 1e-10), (1e-3, 1e-10), (1e-6, 1e-9), (1e-9, 1e-6)]
)
def test_ill_conditioned_data_are_two_lines(condition, tolerance, angle):
    """The tolerance of turned data is that of their moments: rounding over the condition."""
    at = [0.0, 1.0, 30.0, 0.3 / condition, 3 / condition, 1e3 / condition, np.inf]
    basis = turned(angle)
    powers, goals = np.diag([1.0, condition]), np.diag(FINAL)
    data = MomentData(
        sigma_xx=basis @ powers @ basis.T, sigma_yx=goals @ powers @ basis.T, mean_yy=9.0
    )
    began = time.perf_counter()
    found = flow(GramState.from_weights(U, W @ basis.T), NETWORK, data, at)
    assert time.perf_counter() - began < 60
    exact = two_lines(condition, at)
    assert found.status.item() == "ok"
    maps = found.end_to_end_map.values @ basis
    expected = np.stack([line.end_to_end_map.values for line in exact], -1)
    np.testing.assert_allclose(np.diagonal(maps, axis1=1, axis2=2), expected, atol=tolerance)
    np.testing.assert_allclose(maps[:, [0, 1], [1, 0]], 0, atol=tolerance)
    np.testing.assert_allclose(found.uu, exact[0].uu + exact[1].uu, rtol=tolerance)
    np.testing.assert_allclose(found.ww, exact[0].ww + exact[1].ww, rtol=tolerance)


def test_a_direction_of_a_millionth_of_a_millionth():
    """Was called done, with status ok, half of the way."""
    data = MomentData(
        sigma_xx=np.diag([1.0, 1e-12]), sigma_yx=np.array([[1.0, 1e-12]]), mean_yy=2.0
    )
    rng = np.random.default_rng(0)
    state = GramState.from_weights(rng.normal(size=(1, 4)), rng.normal(size=(4, 2)))
    network = LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0)
    for end in (1e14, 1e20, np.inf):
        found = flow(state, network, data, end)
        np.testing.assert_allclose(found.end_to_end_map, [[1.0, 1.0]], rtol=1e-12)


def exact_small_problem(end):
    """Explicit weights with 40 digits, by Taylor series: one output, two inputs, two neurons."""
    with mp.workdps(40):
        xx, yx = mp.matrix([[1, "0.02"], ["0.02", "0.01"]]), mp.matrix([["0.5", "0.03"]])

        def velocity(_, flat):
            u, w = mp.matrix([flat[:2]]), mp.matrix([flat[2:4], flat[4:6]])
            residual = u * w * xx - yx
            du, dw = -2 * residual * w.T, -2 * u.T * residual
            return [*du, *dw]

        solve = mp.odefun(
            velocity,
            0,
            [mp.mpf(v) for v in ("0.5", "0.2", "0.1", "0.3", "0.4", "-0.2")],
            tol=mp.mpf("1e-25"),
        )
        flat = solve(end)
        u, w = mp.matrix([flat[:2]]), mp.matrix([flat[2:4], flat[4:6]])
        return [float(x) for x in u * w], float(sum(x**2 for x in flat[:2]))


def test_explicit_weights_with_many_digits():
    data = MomentData(
        sigma_xx=np.array([[1.0, 0.02], [0.02, 0.01]]),
        sigma_yx=np.array([[0.5, 0.03]]),
        mean_yy=2.0,
    )
    state = GramState.from_weights([[0.5, 0.2]], [[0.1, 0.3], [0.4, -0.2]])
    found = flow(state, LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0), data, 20.0)
    product, uu = exact_small_problem(20)
    np.testing.assert_allclose(found.uw.values.ravel(), product, rtol=1e-10)
    assert found.uu.item() == pytest.approx(uu, rel=1e-10)


@pytest.mark.parametrize("ratio", [1e-6, 3e6, 1e9])
def test_features_of_different_units(ratio):
    """The best map, the noise and the end of training do not know the units of a feature."""
    rng = np.random.default_rng(0)
    mix = np.array([[1.0, 0.3, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 1.0]])
    x = rng.normal(size=(50, 3)) @ mix
    y = x @ np.array([1.0, 2.0, -1.0]) + 0.1 * rng.normal(size=50)
    units = np.array([1.0, ratio, 1.0])
    plain, scaled = MomentData.from_samples(x, y), MomentData.from_samples(x * units, y)
    np.testing.assert_allclose(scaled.best_map * units, plain.best_map, rtol=1e-10)
    assert scaled.noise == pytest.approx(plain.noise, rel=1e-8)
    fast = max(1.0, ratio**2)
    network = LinearNetwork(output_scale=1.0, lr_u=0.1 / fast, lr_w=0.1 / fast)
    state = GramState.sample(20, outputs=1, inputs=3, init_std_u=0.3, init_std_w=0.3, seed=0)
    end = flow(state, network, scaled, np.inf)
    np.testing.assert_allclose(end.end_to_end_map * units, plain.best_map, rtol=1e-6)
    assert 0 <= end.excess_loss < 1e-10 * plain.noise


def test_units_do_not_hide_moments_that_no_data_have():
    with pytest.raises(InputError, match="`sigma_xx` must be positive semidefinite"):
        MomentData(
            sigma_xx=np.array([[1e12, 2.0], [2.0, 1e-12]]), sigma_yx=np.zeros((1, 2)), mean_yy=1.0
        )
    with pytest.raises(InputError, match="a part in a direction where the inputs do not vary"):
        MomentData(sigma_xx=np.diag([1e12, 0.0]), sigma_yx=np.array([[0.0, 1e-3]]), mean_yy=1.0)


@pytest.mark.parametrize("neurons_", [1, 2])
def test_the_best_of_low_rank_at_infinity(neurons_):
    rng = np.random.default_rng(1)
    u, w = 0.3 * rng.normal(size=(3, neurons_)), 0.3 * rng.normal(size=(neurons_, 3))
    target = rng.normal(size=(3, 3))
    data = MomentData(sigma_xx=np.eye(3), sigma_yx=target, mean_yy=float(np.sum(target**2)))
    network = LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0)
    found = flow(GramState.from_weights(u, w), network, data, [1e3, 1e12, np.inf], propagator=True)
    left, sizes, right = np.linalg.svd(target)
    best = left[:, :neurons_] * sizes[:neurons_] @ right[:neurons_]
    assert found.status.item() == "ok"
    for row in found.end_to_end_map.values:
        np.testing.assert_allclose(row, best, atol=1e-9)
    moved = neurons(found, u, w).transpose("time", "k", "neuron", "m")
    np.testing.assert_allclose(moved.u[1].values @ moved.w[1].values, best, atol=1e-8)


@pytest.mark.parametrize("size", [1e-300, 1e-20, 1.0])
def test_line_and_matrix_agree_at_all_times(size):
    state = LineState(uu=size, uw=-0.5 * size, ww=2 * size)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    moments = MomentData(sigma_xx=np.eye(1), sigma_yx=np.eye(1), mean_yy=1.0)
    at = [0.0, 10.0, 1e3, 1e6, 1e12, np.inf]
    exact, found = flow(state, NETWORK, data, at), flow(state.gram(), NETWORK, moments, at)
    for name in ("uu", "ww", "ntk_trace"):
        np.testing.assert_allclose(found[name], exact[name], rtol=1e-8, atol=0)
    np.testing.assert_allclose(found.uw.values.ravel(), exact.uw, rtol=1e-8, atol=0)


def test_times_in_any_order_with_infinity_between():
    data = MomentData(sigma_xx=np.diag([1.0, 1e-5]), sigma_yx=np.ones((1, 2)) * 1e-5, mean_yy=2.0)
    state = GramState.from_weights([[0.5, 0.2]], [[0.1, 0.3], [0.4, -0.2]])
    found = flow(state, NETWORK, data, [np.inf, 0.0, 1e6, np.inf])
    np.testing.assert_array_equal(found.uw[0], found.uw[3])
    assert found.ntk_change[1] == 0


@pytest.mark.parametrize("rate", [1e-300, 1e-3, 1e300])
def test_any_learning_rate_is_a_unit_of_time(rate):
    data = MomentData(sigma_xx=np.diag([1.0, 0.5]), sigma_yx=np.ones((1, 2)), mean_yy=9.0)
    state = GramState.from_weights([[0.5, 0.2]], [[0.1, 0.3], [0.4, -0.2]])
    plain = flow(state, LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=0.5), data, [0.3, np.inf])
    network = LinearNetwork(output_scale=1.0, lr_u=rate, lr_w=0.5 * rate)
    found = flow(state, network, data, [0.3 / rate, np.inf])
    np.testing.assert_allclose(found.uw.values, plain.uw.values, rtol=1e-11)


def test_infinity_costs_some_hundred_steps(monkeypatch):
    """Took 5414 steps, a minute; directions that are at rest must not hold up the slow ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)) @ np.diag(10.0 ** -np.linspace(0, 3, 4))
    data = MomentData.from_samples(x, rng.normal(size=(200, 4)))
    state = GramState.sample(100, outputs=4, inputs=4, init_std_u=0.1, init_std_w=0.1, seed=0)
    network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
    steps, known = [], _integrator._extrapolated
    monkeypatch.setattr(_integrator, "_extrapolated", lambda *args: steps.append(1) or known(*args))
    found = flow(state, network, data, np.inf)
    assert 0 < len(steps) < 800
    np.testing.assert_allclose(found.end_to_end_map, data.best_map, rtol=1e-10, atol=1e-10)
    start = state.blocks.uu.values.trace() - state.blocks.ww.values.trace()
    assert found.uu.item() - found.ww.item() == pytest.approx(start, abs=1e-10 * found.uu.item())
