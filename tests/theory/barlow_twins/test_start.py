"""Where modes start, from weights of any direction, against the flow of all weights."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lazyrich import InputError
from lazyrich.theory.barlow_twins import (
    barlow_flow,
    barlow_start,
    barlow_times,
    kernel_views,
    view_correlation,
)


def eigenvalues(W, correlation, times):
    """Of C along the flow of all weights, in falling order."""
    d, m = W.shape

    def velocity(_, flat):
        now = flat.reshape(d, m)
        pulled = now @ correlation
        return -4 * ((pulled @ now.T - np.eye(d)) @ pulled).ravel()

    fine = {"rtol": 1e-9, "atol": 1e-12 * np.abs(W).max()}
    path = solve_ivp(velocity, (0, times[-1]), W.ravel(), "DOP853", times, **fine)
    every = [w.reshape(d, m) @ correlation @ w.reshape(d, m).T for w in path.y.T]
    return np.linalg.eigvalsh(every)[:, ::-1]


def generic(gamma, outputs, size, seed=0):
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(len(gamma),) * 2)).Q
    return size * rng.normal(size=(outputs, len(gamma))), axes @ np.diag(gamma) @ axes.T


@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("gamma", [(2.0, 1.0, 0.5, 0.25, -0.6), (2.0, 1.4, 0.9, 0.6, 0.4)])
def test_a_generic_start_by_qr(gamma, size):
    """The error of all eigenvalues at all times is about what is said, and falls with the size."""
    W, correlation = generic(gamma, 3, size)
    found = barlow_start(W, correlation, tolerance=1.0)
    np.testing.assert_allclose(found.view_eigenvalue, gamma[:3], rtol=1e-12)
    steps = barlow_times(found.view_eigenvalue, found.embedding_weight)
    times = np.linspace(0, 1.3 * steps.values.max(), 150)
    true = eigenvalues(W, correlation, times)
    path = barlow_flow(found.view_eigenvalue, found.embedding_weight, times)
    shown = np.sort(path.embedding_eigenvalue.transpose("time", "mode"))[:, ::-1]
    off = np.abs(true - shown).max()
    assert off / 2 < found.start_error.item() < 12 * off


def test_column_norms_would_be_wrong():
    """The last mode of a generic start steps later than the size of its column says."""
    W, correlation = generic((2.0, 1.0, 0.5), 3, 1e-4, seed=1)
    found = barlow_start(W, correlation)
    steps = barlow_times(found.view_eigenvalue, found.embedding_weight).values
    times = np.linspace(0, 1.2 * steps.max(), 4000)
    true = eigenvalues(W, correlation, times)
    seen = [times[np.argmax(true[:, j] > 0.5)] for j in range(3)]
    np.testing.assert_allclose(steps, seen, rtol=1e-3)
    columns = np.linalg.norm(W @ np.linalg.eigh(correlation)[1][:, ::-1], axis=0)
    by_columns = barlow_times(found.view_eigenvalue, columns).values
    assert steps[2] - by_columns[2] > 0.05


def test_eigenvalues_that_are_one_turn_into_each_other():
    """Only their subspace is defined: the modes are those of a singular value decomposition."""
    rng = np.random.default_rng(2)
    W, correlation = 0.5 * rng.normal(size=(2, 3)), np.diag([1.5, 1.5, 1.5])
    found = barlow_start(W, correlation)
    assert found.start_error.item() == 0.0
    np.testing.assert_allclose(found.embedding_weight, np.linalg.svd(W)[1], rtol=1e-12)
    true = eigenvalues(W, correlation, np.linspace(0, 0.6, 5))
    path = barlow_flow(found.view_eigenvalue, found.embedding_weight, np.linspace(0, 0.6, 5))
    shown = path.embedding_eigenvalue.transpose("time", "mode")
    np.testing.assert_allclose(np.sort(shown)[:, ::-1], true, atol=1e-8)


def test_an_aligned_start_may_be_large():
    rng = np.random.default_rng(3)
    turn, axes = np.linalg.qr(rng.normal(size=(3, 3))).Q, np.linalg.qr(rng.normal(size=(4, 4))).Q
    W = turn @ np.diag([2.0, 0.3, 0.7]) @ axes[:, :3].T
    found = barlow_start(W, axes @ np.diag([1.0, 0.5, -0.2, 0.0]) @ axes.T)
    assert found.start_error.item() == 0.0
    np.testing.assert_allclose(found.embedding_weight[:2], [2.0, 0.3], rtol=1e-12)


def test_degenerate_weights():
    """A column that adds nothing is no mode; fewer weights than outputs give fewer modes."""
    flat = barlow_start([[1e-5, 2e-5, 0.0], [1e-5, 2e-5, 1e-5]], np.diag([3.0, 2.0, 1.0]))
    assert flat.view_eigenvalue.values.tolist() == [3.0, 1.0]
    tall = barlow_start(1e-5 * np.ones((5, 1)), [[2.0]])
    assert tall.embedding_weight.values == pytest.approx([1e-5 * 5**0.5])
    negative = barlow_start(1e-6 * np.eye(2), np.diag([-1.0, -2.0]))
    assert negative.view_eigenvalue.values.tolist() == [-1.0, -2.0]
    none = barlow_start(np.zeros((2, 2)), np.eye(2))
    assert none.sizes["mode"] == 0


def test_a_kernel_is_its_features():
    """Outputs of a kernel machine that follows its flow step as its features say."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(6, 5))
    both = np.vstack([x, x + 0.3 * rng.normal(size=x.shape)])
    features = np.hstack([both, both[:, :3] ** 2])
    W = 1e-3 * rng.normal(size=(2, features.shape[1]))
    weights, correlation = kernel_views(features @ features.T, features @ W.T)
    assert weights.shape == (2, 8)
    direct = barlow_start(W, view_correlation(features[:6], features[6:]), tolerance=1.0)
    found = barlow_start(weights, correlation, tolerance=1.0)
    for name in ("view_eigenvalue", "embedding_weight", "start_error"):
        np.testing.assert_allclose(found[name], direct[name], rtol=1e-9)


def test_the_correlation_of_views():
    rng = np.random.default_rng(5)
    x, other = rng.normal(size=(2, 7, 3))
    expected = sum((np.outer(a, b) + np.outer(b, a)) / 14 for a, b in zip(x, other, strict=True))
    np.testing.assert_allclose(view_correlation(x, other), expected, rtol=1e-12)


def test_what_breaks_an_assumption_is_refused():
    with pytest.raises(
        InputError, match=r"would be off by about 0\.\d+, more than the `tolerance`"
    ):
        barlow_start([[0.5, 0.3], [-0.2, 0.4]], np.diag([2.0, 1.9]))
    with pytest.raises(InputError, match=r"`second_moment` must be symmetric, .* off by 0\.05 of"):
        barlow_start([[1e-4, 0.0]], [[2.0, 0.1], [0.0, 0.5]])
    with pytest.raises(InputError, match=r"`weights` must have shape \(d, m\)"):
        barlow_start([1.0, 2.0], np.eye(2))
    with pytest.raises(InputError, match=r"`x` and `other` must both have shape \(n, m\)"):
        view_correlation([[1.0]], [[1.0, 2.0]])
    with pytest.raises(InputError, match=r"`kernel` must have shape \(2n, 2n\)"):
        kernel_views(np.eye(3), np.ones((3, 1)))
    with pytest.raises(InputError, match="without negative eigenvalues, got one that is off by 1 "):
        kernel_views(-np.eye(2), np.ones((2, 1)))
    with pytest.raises(InputError, match=r"features of `kernel`: 0\.71 of them are not"):
        kernel_views(np.ones((2, 2)), [[1.0], [0.0]])
