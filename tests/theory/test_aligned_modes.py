"""Aligned modes against vectors, an integrator, trained matrices, and their limits."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.special import hyp2f1, lambertw

from lazyrich import InputError
from lazyrich.theory.aligned_modes import mode_flow, mode_times, modes_of
from lazyrich.theory.single_neuron import neuron_flow
from lazyrich.theory.two_layer_linear import LinearNetwork, MomentData

HALF = {"lr": 0.5}  # the flow of ½(u − s)²


def share_of(u, u0, s):
    return (u - u0) / (s - u0)


@pytest.mark.parametrize(
    ("layers", "u0", "s", "u", "t"),
    [
        (3, 0.001, 1.0, 0.5, 9.1447473066082622696),
        (3, 0.001, 1.0, 0.99, 10.772590413718749855),
        (4, 0.01, 2.5, 2.0, 2.0331749999260332616),
    ],
)
def test_vectors(layers, u0, s, u, t):
    depth = layers - 1
    found = mode_times([s], [u0], share_of(u, u0, s), depth=depth, **HALF)
    assert found.item() == pytest.approx(t, rel=1e-12)
    assert mode_flow([s], [u0], t, depth=depth, **HALF).mode_size.item() == pytest.approx(
        u, rel=1e-11
    )


def test_vector_of_infinite_depth():
    found = mode_flow([1.3], [0.05], 10.0, depth=np.inf, **HALF).mode_size.item()
    assert found == pytest.approx(0.12859125371920304681, rel=1e-12)
    y0 = np.log(0.05 / 1.25)
    T = 1.3**2 * 10.0 + y0 - np.exp(-y0)
    assert found == pytest.approx(1.3 / (1 + lambertw(np.exp(-T)).real), rel=1e-9)
    deep = mode_flow([1.3], [0.05], 10.0, depth=10**7 - 1, lr=0.5e-7).mode_size.item()
    assert deep == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("layers", [2, 3, 4, 6, 8, 50])
@pytest.mark.parametrize(("u0", "s"), [(1e-3, 1.0), (0.3, 2.0), (3.0, 1.2), (40.0, 0.5), (0.7, 0)])
def test_gradient_flow(layers, u0, s):
    """Above the target, below it, and without one."""

    def velocity(_, u):
        return layers * u ** (2 - 2 / layers) * (s - u)

    until = 1.5 * mode_times([s], [u0], 0.6, depth=layers - 1, **HALF).item()
    times = np.linspace(0, until, 9)
    path = solve_ivp(velocity, (0, until), [u0], "LSODA", times, rtol=1e-11, atol=1e-14).y[0]
    found = mode_flow([s], [u0], times, depth=layers - 1, **HALF).mode_size.isel(mode=0)
    np.testing.assert_allclose(found.values, path, rtol=2e-8)


@pytest.mark.parametrize("layers", [3, 5, 12])
def test_times_by_the_hypergeometric_function(layers):
    p, s, u0 = 2 - 2 / layers, 1.7, 0.02
    for u in (0.05, 0.6, 1.5):
        first, last = (
            x ** (1 - p) / ((1 - p) * s) * hyp2f1(1, 1 - p, 2 - p, x / s) for x in (u0, u)
        )
        found = mode_times([s], [u0], share_of(u, u0, s), depth=layers - 1, **HALF).item()
        assert found == pytest.approx((last - first) / layers, rel=1e-10)


def test_two_layers_are_the_logistic_curve_and_the_neuron():
    s, u0, times = 1.4, 0.03, np.linspace(0, 6, 13)
    found = mode_flow([s], [u0], times, **HALF).mode_size.isel(mode=0)
    np.testing.assert_allclose(found, s * u0 / (u0 + (s - u0) * np.exp(-2 * s * times)), rtol=1e-13)
    data = MomentData(sigma_xx=[[1.0]], sigma_yx=[[s]], mean_yy=3.0)
    network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
    neuron = neuron_flow(u0**0.5, [u0**0.5], network, data, times)
    np.testing.assert_allclose(found, neuron.end_to_end_map.values.ravel(), rtol=1e-12)


def test_escape_times():
    """ln(s/u₀)/2s for two layers, u₀^{−(1−2/L)}/((L−2)s) beyond; computed over asymptotic."""
    for layers, ratio in ((2, 1.00000), (3, 0.99150), (4, 0.99947), (6, 1.00003)):
        u0 = 1e-6
        found = mode_times([1.0], [u0], 0.5, depth=layers - 1, **HALF).item()
        limit = np.log(1 / u0) / 2 if layers == 2 else u0 ** -(1 - 2 / layers) / (layers - 2)
        assert found / limit == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize("layers", [3, 4, 7])
def test_many_digits(layers):
    with mp.workdps(40):
        q = mp.mpf(1) - mp.mpf(2) / layers
        for u0, u in (("1e-12", "1e-3"), ("1e-3", "0.999999"), ("0.4", "0.6")):
            low, high = mp.mpf(u0), mp.mpf(u)
            exact = mp.quad(
                lambda x, q=q: 1 / (layers * mp.exp(x * q) * (1 - mp.exp(x))),
                mp.linspace(mp.log(low), mp.log(high), 30),
            )
            share = float((high - low) / (1 - low))
            found = mode_times([1.0], [float(low)], share, depth=layers - 1, **HALF).item()
            assert found == pytest.approx(float(exact), rel=1e-10)


def trained(layers, data, rate, steps):
    """Gradient descent of all matrices with a small step."""
    layers = [one.copy() for one in layers]
    for _ in range(steps):
        before = [np.eye(data.sigma_xx.shape[0])]
        for one in layers:
            before.append(one @ before[-1])
        back = 2 * (before[-1] @ data.sigma_xx - data.sigma_yx)
        gradients = []
        for one, inner in zip(layers[::-1], before[-2::-1], strict=True):
            gradients.append(back @ inner.T)
            back = one.T @ back
        layers = [one - rate * g for one, g in zip(layers, gradients[::-1], strict=True)]
    product = np.eye(data.sigma_xx.shape[0])
    for one in layers:
        product = one @ product
    return product


def aligned(depth, sizes, seed=0):
    """Balanced layers with the singular vectors of a target of 3 outputs and 4 inputs."""
    rng = np.random.default_rng(seed)
    y, x = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (3, 4))
    best = y @ np.diag([2.0, 1.0, 0.4]) @ x[:3]
    data = MomentData(sigma_xx=1.5 * np.eye(4), sigma_yx=1.5 * best, mean_yy=9.0)
    root = np.diag(np.asarray(sizes) ** (1 / (depth + 1)))
    turn = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(depth)]
    ends = [x[:3], *turn]
    layers = [
        after @ root @ before
        for after, before in zip([*turn, y], [ends[0], *(t.T for t in turn)], strict=True)
    ]
    return layers, data


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_trained_matrices_follow_their_modes(depth):
    layers, data = aligned(depth, [0.02, 0.05, 0.3])
    modes = modes_of(layers, data)
    np.testing.assert_allclose(modes.mode_size, [0.02, 0.05, 0.3], rtol=1e-9)
    np.testing.assert_allclose(modes.mode_target, [2.0, 1.0, 0.4], rtol=1e-12)
    rate, steps = 2e-4, 4000
    found = mode_flow(modes.mode_target, modes.mode_size, rate * steps, depth=depth, mean_aa=1.5)
    product = trained(layers, data, rate, steps)
    y, _, x = np.linalg.svd(data.best_map, full_matrices=False)
    np.testing.assert_allclose(np.diag(y.T @ product @ x.T), found.mode_size, rtol=5e-3)
    excess = 1.5 * ((product - data.best_map) ** 2).sum()
    assert found.excess_loss.item() == pytest.approx(excess, rel=1e-2)


def test_axes_and_their_order():
    depth = [1, 2, np.inf]
    found = mode_flow([3.0, 1.0], 1e-3, [0.0, 1.0], depth=depth, lr=[0.1, 0.2])
    assert dict(found.mode_size.sizes) == {"mode": 2, "depth": 3, "lr": 2, "time": 2}
    for i, hidden in enumerate(depth):
        alone = mode_flow([3.0, 1.0], 1e-3, [0.0, 1.0], depth=hidden, lr=0.2)
        np.testing.assert_allclose(
            found.mode_size.isel(depth=i, lr=1).transpose("mode", "time"),
            alone.mode_size.transpose("mode", "time"),
            rtol=1e-13,
        )
    times = mode_times([3.0, 1.0], xr.DataArray([1e-3, 1e-6], dims="init"), depth=2)
    assert dict(times.sizes) == {"mode": 2, "init": 2}
    assert (times.isel(mode=1) > times.isel(mode=0)).all()


def test_degenerate_modes():
    found = mode_flow([1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 2.0, 1.0], [0.0, 1e6], depth=2)
    np.testing.assert_allclose(found.mode_size.isel(time=1), [0.0, 0.0, 2.0, 0.0], atol=1e-4)
    assert np.isfinite(found.mode_kernel_change).all()
    still = mode_flow([3.0, 0.1, 0.0], 1e-3 * np.arange(1, 4), 0.0, depth=[1, 2, 5, np.inf])
    assert not still.mode_kernel_change.any()
    assert (still.mode_size == 1e-3 * xr.DataArray(np.arange(1, 4), dims="mode")).all()
    times = mode_times([1.0, 0.0, 2.0], [0.0, 0.0, 2.0], depth=2).values
    assert times.tolist() == [np.inf, 0.0, 0.0]
    tiny = mode_flow([1.0], [1e-250], [0.0, 1e3], depth=1, **HALF).mode_size.values.ravel()
    np.testing.assert_allclose(tiny, [1e-250, 1.0], rtol=1e-12)
    close = mode_flow([1.0], [1 + 1e-15], 5.0, depth=3).mode_size.item()
    assert close == pytest.approx(1.0, rel=1e-14)


def test_what_breaks_an_assumption_is_refused():
    layers, data = aligned(2, [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match=r"must be balanced, .* a difference of 0.\d+ of the larg"):
        modes_of([layers[0], 1.1 * layers[1], layers[2]], data)
    other, _ = aligned(2, [0.1, 0.2, 0.3], seed=1)
    with pytest.raises(InputError, match=r"must be aligned with its data, .* off by"):
        modes_of(other, data)
    with pytest.raises(InputError, match="first layer first, from 4 inputs to 3 outputs"):
        modes_of(layers[:2][::-1], data)
    white = MomentData(
        sigma_xx=np.diag([1, 1, 1, 1.5]), sigma_yx=data.sigma_yx, mean_yy=data.mean_yy + 9
    )
    with pytest.raises(InputError, match=r"must be whitened, .* off by 0.33 of their mean"):
        modes_of(layers, white)
    with pytest.raises(InputError, match=r"`target` must be finite and ≥ 0, got -1\.0"):
        mode_flow([-1.0], [0.1], 1.0)
    with pytest.raises(InputError, match="`depth` must be ≥ 1 hidden layers, got 0"):
        mode_flow([1.0], [0.1], 1.0, depth=0)
    with pytest.raises(InputError, match="`times` must be finite"):
        mode_flow([1.0], [0.1], np.inf)
    with pytest.raises(InputError, match="`share` must be between 0 and 1, got 1"):
        mode_times([1.0], [0.1], 1)
    with pytest.raises(InputError, match=r"`start` must be a number or along `mode`, got shape"):
        mode_flow([1.0], [[0.1]], 1.0)
