"""A model that solves a flow or descent is where explicit weights come to, moved by themselves."""

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from lazyrich.theory.aligned_modes import mode_flow, modes_of
from lazyrich.theory.balanced_linear import balanced_flow, balanced_state
from lazyrich.theory.barlow_twins import barlow_flow, barlow_start
from lazyrich.theory.catalogue import models
from lazyrich.theory.catapult import catapult_descent, catapult_start
from lazyrich.theory.contrastive_energy import contrastive_flow
from lazyrich.theory.diagonal_linear import diagonal_limit
from lazyrich.theory.power_neurons import power_flow
from lazyrich.theory.single_neuron import neuron_flow
from lazyrich.theory.two_layer_linear import GramState, LinearNetwork, LineData, LineState, flow
from lazyrich.theory.two_layer_linear import MomentData as Moments
from lazyrich.theory.weight_decay_chain import chain_modes

GAMMA, LR_U, LR_W, TIME = 0.7, 0.3, 0.1, 2.5
NETWORK = LinearNetwork(output_scale=GAMMA, lr_u=LR_U, lr_w=LR_W)
U, W = np.array([[0.4, -0.3, 0.8]]), np.array([[-0.2], [0.9], [0.1]])
X, Y = np.array([[1.0, 2.0, -0.5], [0.3, -1.0, 1.0]]), np.array([1.0, 0.5])


def integrated(velocity, start, time):
    """Arrays of weights after a time; `velocity` takes and gives them."""
    shapes, ends = [w.shape for w in start], np.cumsum([w.size for w in start])[:-1]

    def apart(flat):
        return [part.reshape(s) for part, s in zip(np.split(flat, ends), shapes, strict=True)]

    def flat(_, state):
        return np.concatenate([w.ravel() for w in velocity(*apart(state))])

    begin = np.concatenate([w.ravel() for w in start])
    found = solve_ivp(flat, (0, time), begin, method="DOP853", rtol=1e-12, atol=1e-14)
    return apart(found.y[:, -1])


def linear_weights(u, w, xx, yx):
    """Both layers under `θ̇ = −η ∇L`, `L = E‖γUWx − y‖²`."""

    def velocity(u, w):
        residual = 2 * GAMMA * (GAMMA * u @ w @ xx - yx)
        return -LR_U * residual @ w.T, -LR_W * u.T @ residual

    return integrated(velocity, (u, w), TIME)


def two_layer_linear():
    data = LineData(mean_aa=1.3, mean_ay=0.9, mean_yy=2.0)
    found = flow(LineState.from_weights(U[0], W[:, 0]), NETWORK, data, TIME)
    u, w = linear_weights(U, W, np.array([[1.3]]), np.array([[0.9]]))
    yield found.end_to_end_map, GAMMA * (u @ w).item()
    yield found.uu, (u @ u.T).item()
    yield found.loss, 2.0 - 2 * 0.9 * GAMMA * (u @ w).item() + 1.3 * (GAMMA * (u @ w).item()) ** 2


def balanced_linear():
    tilt = (LR_W / LR_U) ** 0.25
    units = xr.DataArray([1 / tilt] * 3 + [tilt] * 2, dims="row") / GAMMA**0.5
    for scale in (-0.6, 0.0, 0.9):
        drawn = balanced_state(
            outputs=3, inputs=2, width=2, init_relative_scale=scale, init_std=0.5, seed=0
        )
        u, w = (drawn.factor * units).values[:3], (drawn.factor * units).values[3:].T
        best = np.random.default_rng(1).standard_normal((3, 2))
        data = Moments(sigma_xx=np.eye(2), sigma_yx=best, mean_yy=float(np.sum(best**2)))
        found = balanced_flow(GramState.from_weights(u, w), NETWORK, data, TIME)
        u, w = linear_weights(u, w, np.eye(2), best)
        yield found.end_to_end_map, GAMMA * u @ w
        yield found.readout_gram, u @ u.T
        yield found.nfm, w.T @ w
        yield found.loss, np.sum((GAMMA * u @ w - best) ** 2)


def diagonal_linear():
    for factors, alpha in ((2, 0.2), (3, 0.4), (5, 0.9)):

        def velocity(u, v, d=factors):
            pull = 2 * d * X.T @ (X @ (u**d - v**d) - Y)
            return -pull * u ** (d - 1), pull * v ** (d - 1)

        u, v = integrated(velocity, (np.full(3, alpha),) * 2, 60.0)
        found = diagonal_limit(X, Y, factors=factors, init_scale=alpha)
        yield found.end_to_end_map, u**factors - v**factors
        power = 2 * factors - 2
        kernel = (X * (u**power + v**power)) @ X.T
        first = 2 * alpha**power * X @ X.T
        yield found.ntk_change, np.linalg.norm(kernel - first) / np.linalg.norm(first)


def single_neuron():
    best = np.array([[1.0, 0.5, -0.7]])
    for power, u, w in ((1.0, 0.4, 0.9), (1.7, 3.0, 0.1), (0.6, -0.05, 2.0)):
        white = power * np.eye(3)
        data = Moments(sigma_xx=white, sigma_yx=power * best, mean_yy=power * np.sum(best**2))
        first = w * np.array([-0.2, 0.9, 0.4])
        found = neuron_flow(u, first, NETWORK, data, TIME)
        now_u, now_w = linear_weights(np.array([[u]]), first[None], white, power * best)
        yield found.u, now_u.item()
        yield found.w, now_w[0]
        yield found.end_to_end_map, GAMMA * now_u @ now_w
        yield found.loss, power * np.sum((GAMMA * now_u @ now_w - best) ** 2)


def aligned_modes():
    """Matrices that are turned against each other, in networks of two, three and five layers."""
    targets, power = np.array([2.0, 0.9, 0.4]), 1.4
    for depth in (1, 2, 4):
        rng = np.random.default_rng(depth)
        turns = [np.linalg.qr(rng.standard_normal((3, 3))).Q for _ in range(depth + 2)]
        root = np.diag(np.array([0.05, 0.2, 0.7]) ** (1 / (depth + 1)))
        layers = [after @ root @ before.T for before, after in pairwise(turns)]
        best = turns[-1] @ np.diag(targets) @ turns[0].T
        data = Moments(sigma_xx=power * np.eye(3), sigma_yx=power * best, mean_yy=9.0)
        modes = modes_of(layers, data)
        found = mode_flow(
            modes.mode_target, modes.mode_size, TIME, depth=depth, lr=LR_W, mean_aa=power
        )

        def velocity(*layers, best=best):
            off = 2 * power * (product(layers) - best)
            after = [product(layers[at + 1 :]) for at in range(len(layers))]
            before = [product(layers[:at]) for at in range(len(layers))]
            return [-LR_W * a.T @ off @ b.T for a, b in zip(after, before, strict=True)]

        now = product(integrated(velocity, layers, TIME))
        yield found.mode_size, np.diag(turns[-1].T @ now @ turns[0])
        yield found.excess_loss, power * np.sum((now - best) ** 2)


def catapult():
    """Steps of explicit weights on one sample, lazy, at a large step, and with a target."""
    x = np.array([0.8, -0.3])
    for lr, y in ((0.2, 0.0), (2.6, 0.0), (0.9, 0.5)):
        network = LinearNetwork(output_scale=GAMMA, lr_u=lr, lr_w=0.7 * lr)
        u, w = U, W * np.array([[1.0, -0.4]])
        data = Moments.from_samples([x], [y])
        start = catapult_start(GramState.from_weights(u, w), network, data)
        first = GAMMA**2 * (lr * np.sum((w @ x) ** 2) + 0.7 * lr * np.sum(u**2) * x @ x)
        found = catapult_descent(
            *(start.init_sharpness, start.init_output),
            target_output=start.target_output,
            steps=8,
        ).isel(step=-1)
        for _ in range(8):
            pull = 2 * GAMMA * (GAMMA * (u @ w @ x).item() - y)
            u, w = u - lr * pull * (w @ x), w - 0.7 * lr * pull * u.T * x
        kernel = GAMMA**2 * (lr * np.sum((w @ x) ** 2) + 0.7 * lr * np.sum(u**2) * x @ x)
        yield found.sharpness, 2 * kernel
        yield found.ntk_change, abs(kernel / first - 1)
        unit = 2 * GAMMA * lr * 0.7**0.5 * np.linalg.norm(x)
        yield found.end_to_end_map / unit, GAMMA * (u @ w @ x).item()
        yield found.loss / unit**2, (GAMMA * (u @ w @ x).item() - y) ** 2


def barlow_twins():
    """All weights of an embedding whose start is aligned, also with views that disagree."""
    rng = np.random.default_rng(6)
    turn, axes = (np.linalg.qr(rng.standard_normal((3, 3))).Q for _ in range(2))
    correlation = axes @ np.diag([1.2, 0.5, -0.3]) @ axes.T
    start = turn @ np.diag([0.05, 0.4, 1.1]) @ axes.T

    def velocity(w):
        return (-4 * LR_W * (w @ correlation @ w.T - np.eye(3)) @ w @ correlation,)

    (w,) = integrated(velocity, (start,), TIME)
    modes = barlow_start(start, correlation)
    found = barlow_flow(modes.view_eigenvalue, modes.embedding_weight, TIME, lr=LR_W)
    of_views = w @ correlation @ w.T
    yield (
        found.embedding_eigenvalue.sortby(found.embedding_eigenvalue),
        np.linalg.eigvalsh(of_views),
    )
    yield found.embedding_weight, np.diag(turn.T @ w @ axes)
    yield found.barlow_loss, np.sum((of_views - np.eye(3)) ** 2)


def weight_decay_chain():
    """Matrices that decay while they learn, from large weights, until they rest."""
    best = np.array([[2.0, 0.3], [-0.4, 1.1]])
    data = Moments(sigma_xx=np.eye(2), sigma_yx=best, mean_yy=float(np.sum(best**2)))
    left, _, right = np.linalg.svd(best)
    for factors, decay in ((1, 0.4), (2, 0.7), (3, 0.5)):

        def velocity(*layers, decay=decay):
            off = 2 * (two_by_two(layers) - best)
            after = [two_by_two(layers[at + 1 :]) for at in range(len(layers))]
            before = [two_by_two(layers[:at]) for at in range(len(layers))]
            parts = zip(after, before, layers, strict=True)
            return [-a.T @ off @ b.T - decay * w for a, b, w in parts]

        start = [right, *[np.eye(2)] * (factors - 2), left] if factors > 1 else [np.eye(2)]
        layers = integrated(velocity, start, 40.0)
        found = chain_modes(data, factors=factors, weight_decay=decay)
        yield found.end_to_end_map, two_by_two(layers)
        yield found.mode_size, np.linalg.svd(two_by_two(layers))[1]


def contrastive_energy():
    """A linear neuron on the sphere, with pairs that are driven apart or held together."""
    rng = np.random.default_rng(8)
    x, alpha = rng.standard_normal((5, 3)), rng.uniform(-0.3, 0.5, (5, 5))
    alpha = (alpha + alpha.T) / 2

    def climb(w):
        outputs = x @ w
        pull = (alpha * (outputs[:, None] - outputs)).sum(1) @ x  # of ¼ Σ α (h_i − h_j)²
        return (LR_U * (pull - (w @ pull) * w),)

    first = np.array([0.6, 0.0, -0.8])
    (w,) = integrated(climb, (first,), TIME)
    found = contrastive_flow(x, first, TIME, pair_weights=alpha, lr=LR_U)
    yield found.unit_weight, w
    outputs = x @ w
    yield found.contrastive_energy, np.sum(alpha * (outputs[:, None] - outputs) ** 2) / 4


def two_by_two(layers):
    """What layers do one after the other, all of them 2 by 2."""
    return reduce(lambda before, layer: layer @ before, layers, np.eye(2))


def power_neurons():
    data = LineData(mean_aa=1.3, mean_ay=0.9, mean_yy=2.0)
    for power in (1.4, 2.0, 3.5):  # at 1.4 a neuron passes w = 0

        def phi(w, p):
            return np.sign(w) * np.abs(w) ** p

        def velocity(u, w, p=power):
            gap = 2 * GAMMA * (1.3 * GAMMA * u @ phi(w, p) - 0.9)
            return -LR_U * gap * phi(w, p), -LR_W * gap * p * u * np.abs(w) ** (p - 1)

        u, w = integrated(velocity, (U[0], W[:, 0]), TIME)
        found = power_flow(U[0], W[:, 0], NETWORK, data, TIME, power=power)
        yield found.amplitude, GAMMA * u @ phi(w, power)
        yield found.u, u
        yield found.w, w


def product(layers):
    """What layers do one after the other, all of them 3 by 3."""
    return reduce(lambda before, layer: layer @ before, layers, np.eye(3))


FLOWS = (
    two_layer_linear,
    balanced_linear,
    diagonal_linear,
    single_neuron,
    aligned_modes,
    catapult,
    barlow_twins,
    weight_decay_chain,
    contrastive_energy,
    power_neurons,
)
ELSEWHERE = {"abc", "two_layer_relu", "quadratic_start"}  # exponents and a start: nothing flows


def test_every_model_of_a_flow_is_integrated():
    assert {pairs.__name__ for pairs in FLOWS} == set(models()) - ELSEWHERE


@pytest.mark.parametrize("pairs", FLOWS, ids=lambda one: one.__name__)
def test_the_solution_is_where_the_weights_are(pairs):
    for exact, weights in pairs():
        np.testing.assert_allclose(exact.values, weights, rtol=2e-9, atol=2e-9)
