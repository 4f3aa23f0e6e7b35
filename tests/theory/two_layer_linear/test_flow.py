"""The matrix differential equation, against the closed form and against integrated weights."""

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    flow,
    neurons,
)
from tests.reference import Network
from tests.theory.two_layer_linear.problems import inputs, random_problem, solved, times

TIMES = [0.0, 0.3, 1.0, 4.0, 60.0]


def general(case):
    """A problem on a line as one on general data with k = m = 1."""
    state, network, data = inputs(case)
    moments = MomentData(
        sigma_xx=data.mean_aa.values.reshape(1, 1),
        sigma_yx=data.mean_ay.values.reshape(1, 1),
        mean_yy=data.mean_yy.item(),
    )
    return state.gram(), network, moments


def task(rng, k=2, d=12, m=3, n=9):
    weights = rng.normal(size=(k, d)) / d**0.5, rng.normal(size=(d, m)) / d**0.5
    return *weights, rng.normal(size=(n, m)), rng.normal(size=(n, k))


def integrated(u, w, x, y, scale, lr_u, lr_w, at):
    """The weights themselves under gradient flow."""

    def velocity(_, flat):
        net = Network(flat[: u.size].reshape(u.shape), flat[u.size :].reshape(w.shape), scale, 0, 0)
        of_u, of_w = net.gradients(x, y)
        return np.concatenate([-lr_u * of_u.ravel(), -lr_w * of_w.ravel()])

    start = np.concatenate([u.ravel(), w.ravel()])
    found = solve_ivp(velocity, (0, at[-1]), start, "DOP853", t_eval=at, rtol=1e-12, atol=1e-13)
    return [(y[: u.size].reshape(u.shape), y[u.size :].reshape(w.shape)) for y in found.y.T]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["generic", "orthogonal", "exact"])
def test_matrix_equation_is_the_closed_form(kind, seed):
    case = random_problem(kind, np.random.default_rng(seed))
    at = times(case, (0.01, 0.1, 1.0, 3.0))
    exact, found = solved(case, at), flow(*general(case), np.array(at))
    assert found.status.item() == "ok"
    for name in ("uu", "ww", "ntk_trace", "loss"):
        np.testing.assert_allclose(found[name], exact[name], rtol=1e-9)
    scale = np.sqrt(exact.uu * exact.ww).values
    np.testing.assert_array_less(np.abs(found.uw.values[:, 0, 0] - exact.uw.values), 1e-9 * scale)
    np.testing.assert_allclose(found.alignment, exact.alignment, atol=1e-9)


@pytest.mark.parametrize("size", [0.0, 1e-145])
@pytest.mark.parametrize("layer", ["readout", "one output", "first layer"])
def test_a_layer_may_start_at_zero(layer, size, rng):
    """Its step size has no scale to begin with; warnings are errors."""
    u, w, x, y = task(rng)
    (w if layer == "first layer" else u[:1] if layer == "one output" else u)[...] *= size
    expected = integrated(u, w, x, y, 1.1, 0.2, 0.3, TIMES)
    network = LinearNetwork(output_scale=1.1, lr_u=0.2, lr_w=0.3)
    found = flow(GramState.from_weights(u, w), network, MomentData.from_samples(x, y), TIMES)
    maps = [1.1 * second @ first for second, first in expected]
    np.testing.assert_allclose(found.end_to_end_map, maps, atol=1e-9)


@pytest.mark.parametrize(("lr_u", "lr_w"), [(0.2, 0.3), (0.0, 0.3), (0.2, 0.0)])
@pytest.mark.parametrize(("k", "m"), [(2, 3), (3, 1), (1, 4)])
def test_matrix_equation_moves_the_weights(k, m, lr_u, lr_w, rng):
    u, w, x, y = task(rng, k=k, m=m)
    weights = integrated(u, w, x, y, 1.1, lr_u, lr_w, TIMES)
    network = LinearNetwork(output_scale=1.1, lr_u=lr_u, lr_w=lr_w)
    data = MomentData.from_samples(x, y)
    found = flow(GramState.from_weights(u, w), network, data, TIMES, propagator=True)
    moved = neurons(found, u, w).transpose("time", "k", "neuron", "m")
    np.testing.assert_allclose(moved.u, [pair[0] for pair in weights], atol=1e-9)
    np.testing.assert_allclose(moved.w, [pair[1] for pair in weights], atol=1e-9)
    losses = [Network(*pair, 1.1, 0, 0).loss(x, y) for pair in weights]
    np.testing.assert_allclose(found.loss, losses, rtol=1e-9)


def test_what_is_conserved(rng):
    """`η_w UᵀU − η_u WWᵀ` does not move; the Gram matrix stays positive semidefinite."""
    u, w, x, y = task(rng)
    network = LinearNetwork(output_scale=1.1, lr_u=0.2, lr_w=0.3)
    data = MomentData.from_samples(x, y)
    found = flow(GramState.from_weights(u, w), network, data, TIMES, propagator=True)
    np.testing.assert_allclose(found.balancedness, found.balancedness[0], rtol=1e-11)
    moved = neurons(found, u, w).transpose("time", "k", "neuron", "m")
    balance = [
        0.3 * a.values.T @ a.values - 0.2 * b.values @ b.values.T
        for a, b in zip(moved.u, moved.w, strict=True)
    ]
    np.testing.assert_allclose(balance, np.broadcast_to(balance[0], np.shape(balance)), atol=1e-11)
    for now in found.propagator:
        gram = now.values @ GramState.from_weights(u, w).matrix.values @ now.values.T
        assert np.linalg.eigvalsh(gram).min() > -1e-12


def test_rotations_of_neurons_and_of_inputs(rng):
    u, w, x, y = task(rng)
    network = LinearNetwork(output_scale=1.1, lr_u=0.2, lr_w=0.3)
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    turn_x = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    plain = flow(GramState.from_weights(u, w), network, MomentData.from_samples(x, y), TIMES)
    inside = GramState.from_weights(u @ turn.T, turn @ w)
    hidden = flow(inside, network, MomentData.from_samples(x, y), TIMES)
    outside = GramState.from_weights(u, w @ turn_x.T)
    turned = flow(outside, network, MomentData.from_samples(x @ turn_x.T, y), TIMES)
    for name in ("loss", "alignment", "ntk_trace", "ntk_change", "nfa", "uu", "ww"):
        np.testing.assert_allclose(hidden[name], plain[name], atol=1e-10)
        np.testing.assert_allclose(turned[name], plain[name], atol=1e-10)


def test_time_and_rates(rng):
    u, w, x, y = task(rng)
    state, data = GramState.from_weights(u, w), MomentData.from_samples(x, y)
    slow = flow(state, LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.2), data, TIMES)
    fast = LinearNetwork(output_scale=1.0, lr_u=0.4, lr_w=0.8)
    fast = flow(state, fast, data, np.array(TIMES) / 4)
    np.testing.assert_allclose(fast.uw.values, slow.uw.values, atol=1e-10)


def test_any_times(rng):
    """One time, a number, zero alone, unsorted and repeated times, and long after the rest."""
    u, w, x, y = task(rng)
    state, data = GramState.from_weights(u, w), MomentData.from_samples(x, y)
    network = LinearNetwork(output_scale=1.0, lr_u=0.3, lr_w=0.3)
    many = flow(state, network, data, [5.0, 0.0, 0.5, 5.0, 1e6])
    assert list(many.time) == [5.0, 0.0, 0.5, 5.0, 1e6]
    assert many.status.item() == "ok"
    np.testing.assert_array_equal(many.uw[0], many.uw[3])
    for row, t in enumerate([5.0, 0.0, 0.5]):
        alone, listed = flow(state, network, data, t), flow(state, network, data, [t])
        assert "time" not in alone.dims
        assert alone.t == t
        np.testing.assert_allclose(alone.uw, many.uw[row], atol=1e-10)
        np.testing.assert_allclose(listed.uw[0], many.uw[row], atol=1e-10)
    np.testing.assert_allclose(many.end_to_end_map[-1], data.best_map, atol=1e-9)
    assert many.excess_loss[-1] < 1e-12 * many.excess_loss[1]


@pytest.mark.parametrize("size", [1.0, 1e-3])
def test_best_reachable_map_is_of_low_rank(size, rng):
    """Two neurons cannot represent a map of rank three: the flow ends at the best of rank two."""
    m = 3
    u, w = 1e-2 * size * rng.normal(size=(m, 2)), 1e-2 * rng.normal(size=(2, m))
    left, right = (np.linalg.qr(rng.normal(size=(m, m)))[0] for _ in range(2))
    target = left @ np.diag([3.0, 2.0, 1.0]) @ right.T
    data = MomentData(sigma_xx=np.eye(m), sigma_yx=target, mean_yy=14.0)
    network = LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0)
    found = flow(GramState.from_weights(u, w), network, data, [0.0, 30.0], propagator=True)
    best = left @ np.diag([3.0, 2.0, 0.0]) @ right.T
    np.testing.assert_allclose(found.end_to_end_map[-1], best, atol=1e-8)
    assert found.loss[-1] == pytest.approx(1.0, rel=1e-9)
    moved = neurons(found, u, w).transpose("time", "k", "neuron", "m")
    np.testing.assert_allclose(moved.u[0], u, atol=1e-14)
    np.testing.assert_allclose(moved.u[-1].values @ moved.w[-1].values, best, atol=1e-8)


def test_runs_side_by_side_are_runs_alone(rng):
    u, w, x, y = task(rng)
    state, data = GramState.from_weights(u, w), MomentData.from_samples(x, y)
    scales = [0.5, 1.0, 2.0]
    network = LinearNetwork(output_scale=scales, lr_u=0.1, lr_w=0.2)
    grid = flow(state, network, data, [0.0, 1.0])
    for scale in scales:
        network = LinearNetwork(output_scale=scale, lr_u=0.1, lr_w=0.2)
        alone = flow(state, network, data, [0.0, 1.0])
        xr.testing.assert_allclose(
            grid.sel(output_scale=scale, drop=True).transpose(*alone.dims),
            alone.drop_vars(["status", "output_scale"], errors="ignore"),
        )


def test_line_data_from_samples_is_general_data(rng):
    """Samples on a slanted line, m = 3: closed form and matrix equation agree."""
    u, w = rng.normal(size=8) / 3, rng.normal(size=(8, 3)) / 3
    n = np.array([2.0, -1.0, 2.0]) / 3
    a = rng.normal(size=15)
    x, y = np.outer(a, n), 0.7 * a + 0.1 * rng.normal(size=15)
    network = LinearNetwork(output_scale=1.2, lr_u=0.1, lr_w=0.2)
    line = flow(
        LineState.from_weights(u, w, direction=n), network, LineData.from_samples(x, y), TIMES
    )
    state = GramState.from_weights(u[None], w)
    full = flow(state, network, MomentData.from_samples(x, y), TIMES)
    np.testing.assert_allclose(full.end_to_end_map.values[:, 0] @ n, line.end_to_end_map, rtol=1e-9)
    np.testing.assert_allclose(full.loss, line.loss, rtol=1e-9)
    np.testing.assert_allclose(full.ntk_trace, line.ntk_trace, rtol=1e-9)
    np.testing.assert_allclose(full.ntk_change, line.ntk_change, atol=1e-9)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_saddle_has_a_status_per_run(side):
    """Balanced layers that are exactly opposed to the data never learn; their neighbours do."""
    zeta = xr.DataArray([-1.0, -1 + 1e-15, 0.0, 1.0], dims="run") * side
    net = LinearNetwork(output_scale=0.5, lr_u=4.0, lr_w=1.0)
    data = LineData(mean_aa=1.0, mean_ay=side, mean_yy=1.0)
    found = flow(LineState(uu=4.0, uw=2 * zeta, ww=1.0), net, data, [0.0, 1.0, np.inf])
    assert found.status.dims == ("run",)
    assert found.status[0].item().startswith("stays at a saddle: the layers are zero, or")
    assert (found.status[1:] == "ok").all()
    stuck = found.isel(run=0)
    assert (stuck.uu[-1], stuck.uw[-1], stuck.ww[-1]) == (0, 0, 0)
    np.testing.assert_array_equal(stuck.alignment, -side)
    np.testing.assert_allclose(found.end_to_end_map[1:, -1], side, rtol=1e-12)
    zero = flow(LineState(uu=0.0, uw=0.0, ww=0.0), net, data, 1.0)
    assert (zero.status.item() == found.status[0], zero.alignment) == (True, 0)
