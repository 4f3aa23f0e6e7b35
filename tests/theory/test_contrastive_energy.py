"""The contrastive energy of a neuron against an integrator, brute force on a circle, and limits."""

import mpmath as mp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lazyrich import InputError
from lazyrich.theory.contrastive_energy import MODEL, contrastive_flow, contrastive_maxima

RNG = np.random.default_rng(0)
SAMPLES, PAIRS = RNG.normal(size=(6, 4)), RNG.uniform(-0.5, 1, size=(6, 6))
PAIRS = (PAIRS + PAIRS.T) / 2


def energy(w, x, alpha, h):
    """By its definition, of many w at once."""
    outputs = h(w @ x.T)
    return np.einsum("ij,...ij->...", alpha, (outputs[..., None] - outputs[..., None, :]) ** 2) / 4


def relu(z):
    return np.maximum(z, 0)


def leaky(z):
    return np.where(z < 0, 0.2, 1.0) * z


@pytest.mark.parametrize("alpha", [None, PAIRS])
def test_gradient_flow(alpha):
    """Of the energy itself, its gradient by differences, on the sphere."""
    weights = np.full((6, 6), 1 / 36) if alpha is None else alpha
    start, eta = np.array([0.3, -0.5, 0.2, 0.9]), 0.7

    def velocity(_, w):
        steps = 1e-6 * np.eye(4)
        up, down = (energy(w + s * steps, SAMPLES, weights, lambda z: z) for s in (1, -1))
        gradient = (up - down) / 2e-6
        return eta * (gradient - (w @ gradient) * w)

    first = start / np.linalg.norm(start)
    path = solve_ivp(velocity, (0, 1.5), first, "DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    found = contrastive_flow(SAMPLES, start, [0.0, 1.5], pair_weights=alpha, lr=eta)
    np.testing.assert_allclose(found.unit_weight.isel(time=0), first, rtol=1e-13)
    np.testing.assert_allclose(found.unit_weight.isel(time=1), path, atol=1e-8)
    expected = energy(path, SAMPLES, weights, lambda z: z)
    assert found.contrastive_energy.values[1] == pytest.approx(expected, rel=1e-8)


def test_uniform_pairs_are_half_the_variance():
    w = np.array([0.6, 0.0, 0.8, 0.0])
    found = contrastive_flow(SAMPLES, w, 0.0)
    assert found.contrastive_energy.item() == pytest.approx(np.var(SAMPLES @ w) / 2, rel=1e-13)


def test_long_and_large():
    """No exponential overflows; a start without the largest direction stays without it."""
    found = contrastive_flow(1e3 * SAMPLES, [1.0, 0, 0, 0], [0.0, 1e6], lr=[0.0, 1e3])
    assert found.pattern_overlap.sel(lr=1e3).values[1] == pytest.approx(1.0)
    np.testing.assert_allclose(found.unit_weight.sel(lr=0.0).values[1], [1, 0, 0, 0], atol=1e-15)
    without = contrastive_flow(np.diag([2.0, 1.0, 0.5]), [0.0, 1e-300, 1e-300], 0.0)
    np.testing.assert_allclose(without.unit_weight, [0, 0.5**0.5, 0.5**0.5], rtol=1e-14)
    pair = contrastive_flow([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0, -1.0]], [0.0, 1.0], [0.0, 99])
    assert pair.pattern_overlap.values.tolist() == [0.0, 0.0]


def test_many_digits():
    with mp.workdps(50):
        x = mp.matrix(SAMPLES.tolist())
        laplacian = mp.eye(6) / 6 - mp.ones(6) / 36
        grown = mp.expm(x.T * laplacian * x * 3) * mp.matrix([0.1, 0.2, -0.3, 0.4])
        exact = [float(v / mp.norm(grown)) for v in grown]
    found = contrastive_flow(SAMPLES, [0.1, 0.2, -0.3, 0.4], 3.0)
    np.testing.assert_allclose(found.unit_weight, exact, rtol=1e-12)


@pytest.mark.parametrize("h", [relu, leaky, lambda z: z], ids=["relu", "leaky", "linear"])
@pytest.mark.parametrize("seed", range(4))
def test_on_a_circle(h, seed):
    """The local maxima of a fine grid of directions, also those at a bend, and no other.

    One of these, with a basin of few starts, is missed: their number is a lower bound.
    """
    rng = np.random.default_rng(seed)
    x, alpha = rng.normal(size=(7, 2)), rng.uniform(0, 1, size=(7, 7))
    alpha = alpha + alpha.T
    angle = np.linspace(0, 2 * np.pi, 200_001)[:-1]
    grid = energy(np.array([np.cos(angle), np.sin(angle)]).T, x, alpha, h)
    top = (grid > np.roll(grid, 1)) & (grid > np.roll(grid, -1))
    found = contrastive_maxima(x, pair_weights=alpha, activation=h, starts=60, seed=1)
    shown = found.unit_weight.values
    angles = np.arctan2(shown[:, 1], shown[:, 0]) % (2 * np.pi)
    nearest = np.abs(angles[:, None] - angle[top]).argmin(1)
    np.testing.assert_allclose(angles, angle[top][nearest], atol=5e-5)
    np.testing.assert_allclose(found.contrastive_energy, grid[top][nearest], rtol=1e-5)
    assert len(set(nearest)) == len(angles) == top.sum() - (seed == 1 and h is relu)
    assert found.open_share.item() == 0.0


def test_patterns_of_one_hot_samples():
    """A linear neuron learns one pattern, a ReLU neuron any, or nothing if it starts off all."""
    x = np.diag([1.0, 0.9, 0.8, 0.7, 0.6])
    found = contrastive_maxima(x)
    np.testing.assert_allclose(found.unit_weight, np.eye(5), atol=1e-9)
    np.testing.assert_allclose(found.contrastive_energy, np.diag(x) ** 2 * 0.08, rtol=1e-12)
    assert (np.diff(found.basin_share) < 0).all()
    assert 0 < found.dead_share.item() < 0.08  # all weights below 0: 1/32
    assert found.basin_share.sum().item() + found.dead_share.item() == pytest.approx(1.0)
    linear = contrastive_maxima(x, activation=np.positive)
    assert linear.sizes["maximum"] == 2
    np.testing.assert_allclose(*linear.unit_weight.values * [[1], [-1]], atol=1e-12)
    end = contrastive_flow(x, np.ones(5) + 0.1 * np.arange(5), 1e4)
    assert abs(end.unit_weight.values @ linear.unit_weight.values[0]) == pytest.approx(1.0)


def test_every_maximum_is_one():
    """In many dimensions: no small move leads up, also from those at bends."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 5))
    found = contrastive_maxima(x, starts=150)
    assert found.sizes["maximum"] >= 3
    assert found.open_share.item() < 0.05
    uniform = np.full((30, 30), 1 / 900)
    bends = 0
    for w, top in zip(found.unit_weight.values, found.contrastive_energy.values, strict=True):
        near = w + 1e-4 * rng.normal(size=(2000, 5))
        near = near / np.linalg.norm(near, axis=1, keepdims=True)
        assert (energy(near, x, uniform, relu) < top).all()
        bends += bool((np.abs(x @ w) < 1e-9).any())
    assert bends > 0


def test_degenerate_samples():
    """Equal samples have no energy; directions of one energy are no maximum of their own."""
    same = contrastive_maxima(np.ones((3, 2)), starts=20)
    assert same.sizes["maximum"] == 0
    round_about = contrastive_maxima(np.vstack([np.eye(2), -np.eye(2)]), activation=np.positive)
    assert round_about.sizes["maximum"] == 0
    assert round_about.open_share.item() == 1.0
    padded = contrastive_maxima([[1.0, 0.0], [0.0, 0.5], [0.0, 0.0]], starts=50)
    assert padded.sizes["maximum"] == 2
    assert padded.open_share.item() == 0.0


def test_seeds():
    one, again = (contrastive_maxima(SAMPLES, starts=30, seed=3) for _ in range(2))
    assert one.identical(again)


def test_as_it_is_typed():
    judged = MODEL.commands["phase"](x=[[1.0, 0.0], [0.0, 0.5]], starts=40)
    assert judged.sizes["maximum"] == 2
    assert MODEL.commands["phase"](x=[[1.0, 0.0], [0.0, 0.5]], linear=1).sizes["maximum"] == 2
    with pytest.raises(InputError, match="`linear` must be 0 or 1, got 2"):
        MODEL.commands["phase"](x=[[1.0]], linear=2)


def test_what_is_refused():
    with pytest.raises(InputError, match=r"must be homogeneous, .* off by 0\.9\d+ of its size"):
        contrastive_maxima(SAMPLES, activation=np.tanh)
    with pytest.raises(InputError, match=r"`pair_weights` must be symmetric, .* off by 1 of the"):
        contrastive_maxima(SAMPLES, pair_weights=np.triu(np.ones((6, 6))))
    with pytest.raises(InputError, match=r"`pair_weights` must have shape \(6, 6\), got \(2, 2\)"):
        contrastive_maxima(SAMPLES, pair_weights=np.eye(2))
    with pytest.raises(InputError, match=r"`x` must have shape \(n, m\), got \(2,\)"):
        contrastive_maxima([1.0, 2.0])
    with pytest.raises(InputError, match="one weight for each of the 4 inputs"):
        contrastive_flow(SAMPLES, [1.0], 1.0)
    with pytest.raises(InputError, match="`start` must not be 0: the weights have norm 1"):
        contrastive_flow(SAMPLES, np.zeros(4), 1.0)
    with pytest.raises(InputError, match="`starts` must be a whole number ≥ 1"):
        contrastive_maxima(SAMPLES, starts=0)
