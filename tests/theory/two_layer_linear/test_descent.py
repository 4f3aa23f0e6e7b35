"""The recursion of gradient descent against networks of explicit weights."""

from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
import xarray as xr

from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
    neurons,
)
from lazyrich.theory.two_layer_linear._recursion import factor_steps
from tests.reference import Network

RULES = {
    "plain": {},
    "momentum": {"momentum": 0.8},
    "decay": {"weight_decay_u": 0.3, "weight_decay_w": 0.3},
    "unequal decay": {"weight_decay_u": 0.5, "weight_decay_w": 0.02},
    "all": {"momentum": 0.6, "weight_decay_u": 0.1, "weight_decay_w": 0.4},
}
RATES = {"both": (0.02, 0.05), "frozen u": (0.0, 0.05), "frozen w": (0.02, 0.0)}
STEPS = 120


def trained(network, samples, steps):
    """Step the weights, batch after batch; the Gram matrix at every step."""
    grams, weights = [network.gram()], [(network.u, network.w)]
    for step in range(steps):
        network.step(*samples[step % len(samples)])
        grams.append(network.gram())
        weights.append((network.u, network.w))
    return np.array(grams), weights


def brute_force(u, w, scale, rates, rule):
    names = {"weight_decay_u": "decay_u", "weight_decay_w": "decay_w"}
    options = {names.get(key, key): value for key, value in rule.items()}
    return Network(u, w, scale=scale, lr_u=rates[0], lr_w=rates[1], **options)


def draw(rng, k, d, m, n):
    """Weights `(k, d)`, `(d, m)`, and three batches of n samples."""
    weights = rng.normal(size=(k, d)) / d**0.5, rng.normal(size=(d, m)) / d**0.5
    batches = [(rng.normal(size=(n, m)), rng.normal(size=(n, k))) for _ in range(3)]
    return *weights, batches


@pytest.mark.parametrize("minibatches", [False, True])
@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("rule", RULES)
def test_on_a_line(rule, rates, minibatches, rng):
    """Line kernel, Gram kernel and stepped weights agree, with every option."""
    u, w, batches = draw(rng, 1, 9, 1, 4)
    if not minibatches:
        batches = batches[:1]
    grams, weights = trained(brute_force(u, w, 1.4, RATES[rates], RULES[rule]), batches, STEPS)
    network = LinearNetwork(output_scale=1.4, lr_u=RATES[rates][0], lr_w=RATES[rates][1])
    lines = [LineData.from_samples(*batch) for batch in batches]
    moments = [MomentData.from_samples(*batch) for batch in batches]
    options = {"steps": STEPS, **RULES[rule]}
    line = LineState.from_weights(u[0], w[:, 0])
    fast = descent(line, network, lines[0], batches=lines, **options)
    full = descent(line, network, lines[0], batches=lines, propagator=True, **options)
    general = descent(GramState.from_weights(u, w), network, moments[0], batches=moments, **options)
    for found in (fast, full):
        np.testing.assert_allclose(found.uu, grams[:, 0, 0], rtol=1e-12)
        np.testing.assert_allclose(found.uw, grams[:, 0, 1], rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(found.ww, grams[:, 1, 1], rtol=1e-12)
    np.testing.assert_allclose(general.uu, grams[:, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(general.ww, grams[:, 1, 1], rtol=1e-12)
    np.testing.assert_allclose(general.ntk_trace, fast.ntk_trace, rtol=1e-12)
    np.testing.assert_allclose(general.loss, fast.loss, rtol=1e-12)
    moved = neurons(full, u[0], w[:, 0])
    np.testing.assert_allclose(moved.u.values, [pair[0][0] for pair in weights], atol=1e-13)
    np.testing.assert_allclose(moved.w.values, [pair[1][:, 0] for pair in weights], atol=1e-13)


@pytest.mark.parametrize("minibatches", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("k", "d", "m"), [(3, 40, 6), (2, 3, 4), (1, 5, 3)])
def test_on_general_data(k, d, m, rule, minibatches, rng):
    u, w, batches = draw(rng, k, d, m, 8)
    if not minibatches:
        batches = batches[:1]
    grams, weights = trained(brute_force(u, w, 0.9, (0.01, 0.03), RULES[rule]), batches, STEPS)
    moments = [MomentData.from_samples(*batch) for batch in batches]
    found = descent(
        GramState.from_weights(u, w),
        LinearNetwork(output_scale=0.9, lr_u=0.01, lr_w=0.03),
        moments[0],
        steps=STEPS,
        every=7,
        batches=moments,
        propagator=True,
        **RULES[rule],
    )
    at = found.step.values
    assert list(at) == [*range(0, STEPS, 7), STEPS]
    np.testing.assert_allclose(found.uw, grams[at][:, :k, k:], atol=1e-12)
    np.testing.assert_allclose(found.nfm, grams[at][:, k:, k:], atol=1e-12)
    np.testing.assert_allclose(found.uu, np.trace(grams[at][:, :k, :k], axis1=1, axis2=2))
    moved = neurons(found, u, w)
    np.testing.assert_allclose(moved.u.values, [weights[i][0] for i in at], atol=1e-12)
    np.testing.assert_allclose(
        moved.w.transpose("step", "neuron", "m").values, [weights[i][1] for i in at], atol=1e-12
    )
    x, y = batches[0]
    final = Network(*weights[-1], scale=0.9, lr_u=0, lr_w=0)
    assert found.loss.values[-1] == pytest.approx(final.loss(x, y), rel=1e-12)


@pytest.mark.parametrize("rate", [0.5, 1.5, 2.2, 2.8, 3.4, 4.6])
def test_catapult(rate):
    """Lewkowycz et al., arXiv:2003.02218, one sample, any target: `g⁺`, `λ⁺`."""
    width, y, x = 30, 0.4, 1.3
    rng = np.random.default_rng(3)
    v, w = rng.normal(size=(2, width))
    f, kernel = v @ w * x / width**0.5, x**2 * (v @ v + w @ w) / width
    eta = rate / kernel  # their loss has ½, ours has not
    found = descent(
        LineState.from_weights(v, w),
        LinearNetwork(output_scale=width**-0.5, lr_u=eta / 2, lr_w=eta / 2),
        LineData.from_samples([x], [y]),
        steps=25,
    )
    for row in range(26):
        if abs(f) > 1e60:
            break
        scale = abs(f) + abs(y)
        assert abs(found.end_to_end_map.values[row] * x - f) < 1e-11 * scale
        assert found.ntk_trace.values[row] * x**2 == pytest.approx(eta / 2 * kernel, rel=1e-11)
        g, c = f - y, x**2 / width
        f, kernel = (
            y + g * (1 - eta * kernel) + eta**2 * c * g**2 * f,
            kernel + c * eta * g * (eta * g * kernel - 4 * f),
        )
    assert (found.status.item() == "ok") == (rate < 4)


def test_known_catapult_numbers():
    """(f₀, λ₀, y, η, c/n, T) → (f, λ), computed apart with 50 digits."""
    for f, kernel, y, eta, c, steps, f_end, kernel_end in (
        (0.1, 1, 0, 3, 0.01, 10, -0.16952978584192580401, 0.082708485204306052343),
        (0.2, 1.5, 1, 2, 0.02, 5, -0.013259601446612139654, 0.059265399113108373933),
    ):
        state = LineState(uu=kernel / (2 * c), uw=f / c**0.5, ww=kernel / (2 * c))
        network = LinearNetwork(output_scale=c**0.5, lr_u=eta / 2, lr_w=eta / 2)
        data = LineData(mean_aa=1.0, mean_ay=float(y), mean_yy=float(y**2))
        found = descent(state, network, data, steps=steps)
        assert found.end_to_end_map.values[-1] == pytest.approx(f_end, rel=1e-11)
        assert found.ntk_trace.values[-1] == pytest.approx(eta / 2 * kernel_end, rel=1e-11)


@pytest.mark.parametrize("line", [True, False])
def test_divergence_is_a_status(line):
    state = LineState(uu=1.0, uw=0.1, ww=1.0)
    network = LinearNetwork(output_scale=1.0, lr_u=xr.DataArray([0.1, 1.5], dims="run"), lr_w=1.5)
    data = LineData(mean_aa=1.0, mean_ay=0.0, mean_yy=0.0)
    if not line:
        state = state.gram()
        data = MomentData(sigma_xx=np.eye(1), sigma_yx=np.zeros((1, 1)), mean_yy=0.0)
    found = descent(state, network, data, steps=40)
    assert list(found.status.values) == ["ok", "diverged at step 8"]
    assert list(found.diverged_at.values) == [-1, 8]
    after = found.isel(run=1).sel(step=slice(8, None))
    for name in ("uu", "ww", "ntk_trace", "ntk_change", "loss"):
        assert np.isinf(after[name].values).all(), name
        assert np.isfinite(found[name].isel(run=0).values).all(), name
    for name in ("alignment", "nfa", "balancedness"):
        assert np.isfinite(after[name].values).all(), name
        assert (after[name] == found[name].isel(run=1).sel(step=7)).all(), name
    assert not [name for name in found if found[name].isnull().any()]


def test_momentum_may_diverge_too():
    state = LineState(uu=1.0, uw=0.1, ww=1.0)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    network = LinearNetwork(output_scale=1.0, lr_u=1.5, lr_w=1.5)
    found = descent(state, network, data, steps=60, momentum=[0.0, 0.9])
    assert all(status.startswith("diverged at step ") for status in found.status.values)


def test_zero_steps_and_the_last_step():
    state = LineState(uu=1.0, uw=0.1, ww=1.0)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
    assert list(descent(state, network, data, steps=0).step) == [0]
    assert list(descent(state, network, data, steps=10, every=4).step) == [0, 4, 8, 10]


@pytest.mark.parametrize("kind", ["line", "general"])
def test_descent_becomes_flow_at_first_order(kind, rng):
    """The error at a fixed time is proportional to the step."""
    u, w, batches = draw(rng, *((1, 20, 1) if kind == "line" else (2, 20, 3)), 10)
    if kind == "line":
        state, data = LineState.from_weights(u[0], w[:, 0]), LineData.from_samples(*batches[0])
    else:
        state, data = GramState.from_weights(u, w), MomentData.from_samples(*batches[0])

    def network(factor):
        return LinearNetwork(output_scale=1.0, lr_u=0.5 * factor, lr_w=0.8 * factor)

    exact = flow(state, network(1.0), data, 1.0)
    counts = np.array([200, 400, 800, 1600])
    errors = []
    for steps in counts:
        found = descent(state, network(1 / steps), data, steps=int(steps), every=int(steps))
        gap = found.isel(step=-1).end_to_end_map - exact.end_to_end_map
        errors.append(float(np.sqrt((gap**2).sum())))
    slope = np.polyfit(np.log(1 / counts), np.log(errors), 1)[0]
    assert 0.95 < slope < 1.05


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e-100, 1e100])
@pytest.mark.parametrize("lopsided", [1.0, 1e8])
def test_line_kernel_keeps_its_digits_at_every_scale(size, lopsided):
    """Against the recursion of the three numbers themselves with 60 digits."""
    uu, uw, ww = size * lopsided, 0.3 * size, size / lopsided
    scale, lr_u, lr_w = 0.7 * (size**-0.5 if size > 1 else 1), 0.01 / lopsided, 0.013 / lopsided
    best = 0.8
    found = descent(
        LineState(uu=uu, uw=uw, ww=ww),
        LinearNetwork(output_scale=scale, lr_u=lr_u, lr_w=lr_w),
        LineData(mean_aa=1.2, mean_ay=best, mean_yy=2.0),
        steps=200,
    )
    with mp.workdps(60):
        a, b, c, g, eu, ew, aa, ay = map(mp.mpf, (uu, uw, ww, scale, lr_u, lr_w, 1.2, best))
        for _ in range(200):
            h = 2 * g * (g * aa * b - ay)
            a, b, c = (
                a - 2 * eu * h * b + (eu * h) ** 2 * c,
                b - h * (eu * c + ew * a) + eu * ew * h**2 * b,
                c - 2 * ew * h * b + (ew * h) ** 2 * a,
            )
        for name, exact in (("uu", a), ("uw", b), ("ww", c)):
            assert found[name].values[-1] == pytest.approx(float(exact), rel=1e-11, abs=0), name


def test_steps_are_compiled_once_whatever_is_an_axis():
    """A first call that waits for the compiler once is enough."""
    state = LineState(uu=1.0, uw=0.2, ww=0.7)
    network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
    data = LineData(mean_aa=1.2, mean_ay=0.5, mean_yy=1.5)
    for axes in ({}, {"lr_u": [0.0, 0.1]}, {"output_scale": [1, 2]}):
        for rule in ({}, {"momentum": [0.0, 0.5]}, {"weight_decay_u": 1}):
            descent(state, replace(network, **axes), data, steps=2, propagator=True, **rule)
    assert len(factor_steps.signatures) == 1


def test_counts_may_be_written_as_floats():
    state = LineState(uu=1.0, uw=0.1, ww=1.0)
    net = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    path = descent(state, net, data, steps=1e2, every=5e1)
    assert path.step.values.tolist() == [0, 50, 100]
    assert path.step.dtype == np.int64


def test_excess_loss_of_a_trained_network_is_not_negative():
    rng = np.random.default_rng(0)
    for _ in range(20):
        state = GramState.sample(3, outputs=2, inputs=3, init_std_u=1, init_std_w=1, seed=rng)
        best = state.blocks.uw.values
        root = rng.normal(size=(3, 1))  # two directions are not seen
        xx = root @ root.T
        target = best @ xx
        data = MomentData(sigma_xx=xx, sigma_yx=target, mean_yy=float((best * target).sum()) + 1)
        net = LinearNetwork(output_scale=1.0, lr_u=0.0, lr_w=0.0)
        found = descent(state, net, data, steps=0)
        assert 0 <= found.excess_loss.item() <= 1e-12
