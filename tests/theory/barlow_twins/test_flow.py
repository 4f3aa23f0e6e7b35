"""The modes of an embedding against vectors, many digits, an integrator, and their limits."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from lazyrich import InputError
from lazyrich.theory.barlow_twins import barlow_flow, barlow_times
from lazyrich.theory.barlow_twins.model import MODEL


@pytest.mark.parametrize(
    ("s", "gamma", "t", "end"),
    [
        (0.01, 2.0, 0.5, 0.43217797210759487484),
        (0.01, 2.0, 0.6, 0.61117206083205943697),
        (3.0, 1.0, 0.1, 1.2903532204230629855),
    ],
)
def test_vectors(s, gamma, t, end):
    assert barlow_flow([gamma], s, t).embedding_weight.item() == pytest.approx(end, rel=1e-12)


def test_vector_of_the_step():
    found = barlow_times([2.0], 0.01)
    assert found.item() == pytest.approx(0.5323120732133481475, rel=1e-12)
    half = barlow_flow([2.0], 0.01, found.item())
    assert half.embedding_eigenvalue.item() == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize("gamma", [2.0, 1e-3, 0.0, -0.7, -40.0])
@pytest.mark.parametrize("s", [1e-200, 1e-3, 0.9, 50.0])
def test_many_digits(gamma, s):
    """Also where γs² underflows, above the end, and for modes of negative γ, which vanish."""
    for t in (0.0, 0.3, 30.0):
        with mp.workdps(60):
            g, s0 = mp.mpf(gamma), mp.mpf(s)
            grown = s0 / mp.sqrt(mp.exp(-8 * g * t) - g * s0**2 * mp.expm1(-8 * g * t))
        found = barlow_flow([gamma], s, t).embedding_weight.item()
        assert found == pytest.approx(float(grown), rel=1e-12)


def test_gradient_flow_of_an_aligned_start():
    gamma, s, lr = np.array([2.0, 0.6, 0.0, -0.5]), np.array([0.05, 2.0, 0.3, 1.1]), 0.3
    rng = np.random.default_rng(0)
    turn, axes = (np.linalg.qr(rng.normal(size=(4, 4))).Q for _ in range(2))
    correlation = axes @ np.diag(gamma) @ axes.T

    def velocity(_, flat):
        W = flat.reshape(4, 4)
        return -lr * 4 * ((W @ correlation @ W.T - np.eye(4)) @ W @ correlation).ravel()

    start = turn @ np.diag(s) @ axes.T
    path = solve_ivp(velocity, (0, 2), start.ravel(), "DOP853", rtol=1e-12, atol=1e-14)
    W = path.y[:, -1].reshape(4, 4)
    found = barlow_flow(gamma, s, 2.0, lr=lr)
    np.testing.assert_allclose(found.embedding_weight, np.diag(turn.T @ W @ axes), rtol=1e-9)
    loss = np.sum((W @ correlation @ W.T - np.eye(4)) ** 2)
    assert found.barlow_loss.item() == pytest.approx(loss, rel=1e-9)


def test_plateaus_and_what_is_missing():
    """Between two steps the loss is a whole number; without enough γ > 0 some of it stays."""
    gamma = [4.0, 1.0, 0.25, -1.0]
    times = barlow_times(gamma, 1e-6)
    assert (np.diff(times.values[:3]) > 0).all()
    assert times.values[3] == np.inf
    between = (times.values[:2] + times.values[1:3]) / 2
    loss = barlow_flow(gamma, 1e-6, [*between, 1e3]).barlow_loss
    np.testing.assert_allclose(loss, [3, 2, 1], atol=1e-3)
    more = barlow_flow(gamma, 1e-6, 1e3, outputs=7).barlow_loss
    assert more.item() == pytest.approx(4.0, rel=1e-12)


def test_times_where_nothing_steps():
    found = barlow_times([1.0, 1.0, 0.0, -1.0], [0.0, 0.9, 0.1, 0.1])
    assert found.values.tolist() == [np.inf, 0.0, np.inf, np.inf]
    early = barlow_times([2.0], 1e-180).item()  # γs² is no float
    assert early == pytest.approx(-np.log(2.0) / 16 + 360 * np.log(10) / 16, rel=1e-12)


def test_axes_are_runs_alone():
    start = xr.DataArray([[1e-3, 1e-2], [0.1, 0.2]], dims=("draw", "mode"))
    grid = barlow_flow([2.0, 1.0], start, [0.0, 0.5], lr=[0.5, 1.0])
    alone = barlow_flow([2.0, 1.0], [0.1, 0.2], 0.5, lr=0.5)
    cell = grid.sel(lr=0.5, time=0.5).isel(draw=1)
    np.testing.assert_array_equal(cell.embedding_eigenvalue, alone.embedding_eigenvalue)
    half = barlow_times([2.0, 1.0], start, lr=[0.5, 1.0])
    np.testing.assert_allclose(half.sel(lr=0.5), 2 * half.sel(lr=1.0))


def test_as_it_is_typed():
    solve = MODEL.commands["solve"]
    modes = solve(view_eigenvalue=[2.0, 1.0], start=0.01, times=[0.0, 1.0])
    assert modes.embedding_step_time.values[0] == pytest.approx(0.5323120732, rel=1e-9)
    matrix = solve(
        second_moment=[[2.0, 0.0], [0.0, 1.0]], start=[[0.01, 0.0], [0.0, 0.01]], times=[0.0, 1.0]
    )
    np.testing.assert_allclose(matrix.embedding_eigenvalue, modes.embedding_eigenvalue, rtol=1e-14)
    with pytest.raises(InputError, match="give either view_eigenvalue, such as 2,1"):
        solve(start=0.01, times=1.0)


def test_what_is_refused():
    with pytest.raises(InputError, match="of 1 `outputs` has at most 1 modes, got 2"):
        barlow_flow([1.0, 2.0], 0.1, 1.0, outputs=1)
    with pytest.raises(InputError, match=r"`start` must be finite and ≥ 0, got -0\.1"):
        barlow_flow([1.0], -0.1, 1.0)
    with pytest.raises(InputError, match="`times` must be finite"):
        barlow_flow([1.0], 0.1, np.inf)
    with pytest.raises(InputError, match="`lr` must be > 0, or nothing is learned"):
        barlow_times([1.0], 0.1, lr=0.0)
    with pytest.raises(InputError, match="`share` must be between 0 and 1, got 1"):
        barlow_times([1.0], 0.1, 1.0)
    with pytest.raises(InputError, match="must be a number or along `mode`"):
        barlow_flow(np.eye(2), 0.1, 1.0)
