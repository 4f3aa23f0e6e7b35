"""Any units on general data: tiny and huge layers, rates and data, and far-off targets."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr
from scipy.linalg import expm

from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
)
from tests import reference

U, W = (
    np.array([[0.6, -0.3, 0.2], [0.1, 0.4, 0.7]]),
    np.array([[0.3, -0.5], [0.8, 0.1], [0.2, 0.4]]),
)
XX, YX = np.array([[1.0, 0.3], [0.3, 0.5]]), np.array([[0.7, -0.2], [0.4, 0.3]])


def run(motion, layers=(0, 0), inputs=0, outputs=0, time=0, propagator=False):
    """The same problem in units of powers of two."""
    u, w = layers
    network = LinearNetwork(
        output_scale=np.ldexp(0.9, outputs - inputs - u - w),
        lr_u=np.ldexp(0.1, 2 * u - 2 * outputs - time),
        lr_w=np.ldexp(0.3, 2 * w - 2 * outputs - time),
    )
    state = GramState.from_weights(np.ldexp(U, u), np.ldexp(W, w))
    data = MomentData(
        sigma_xx=np.ldexp(XX, 2 * inputs),
        sigma_yx=np.ldexp(YX, inputs + outputs),
        mean_yy=float(np.ldexp(3.0, 2 * outputs)),
    )
    if motion == "flow":
        times = np.ldexp([0.0, 0.3, 5.0, np.inf], time)
        return flow(state, network, data, times, propagator=propagator)
    return descent(
        state, network, data, steps=20, every=5, momentum=0.5 * (motion == "momentum"),
        propagator=propagator,
    )  # fmt: skip


@pytest.mark.parametrize("motion", ["flow", "descent", "momentum"])
@pytest.mark.parametrize(
    "units",
    [
        {"layers": (-500, -500)},
        {"layers": (490, 490)},
        {"layers": (-490, 300)},
        {"inputs": 450, "outputs": -20},
        {"inputs": -300, "outputs": 200},
        {"layers": (-265, -265), "outputs": -260},
        {"layers": (20, -30), "inputs": 10, "outputs": 40},
    ],
    ids=str,
)
def test_units_are_a_matter_of_taste(motion, units):
    """Powers of two: all digits are the same, whatever the size of the numbers."""
    plain, found = run(motion, propagator=True), run(motion, **units, propagator=True)
    (u, w), x, y = units.get("layers", (0, 0)), units.get("inputs", 0), units.get("outputs", 0)
    powers = {
        "end_to_end_map": y - x, "loss": 2 * y, "excess_loss": 2 * y, "uu": 2 * u, "uw": u + w,
        "ww": 2 * w, "nfm": 2 * w, "agop": 2 * (y - x), "balancedness": 2 * (u + w - y),
        "ntk_trace": -2 * x,
    }  # fmt: skip
    for name in plain.data_vars:
        if name in ("propagator", "ntk_trace_plain"):
            continue
        shift = powers.get(name, 0)
        with np.errstate(over="ignore"):
            expected = np.ldexp(plain[name].values, shift)
        seen = np.isfinite(expected) & ((np.abs(expected) > 1e-290) | (plain[name].values == 0))
        assert seen.any() or abs(shift) > 900
        np.testing.assert_allclose(found[name].values[seen], expected[seen], rtol=1e-13)
    shifts = np.array([u, u, w, w])
    expected = np.ldexp(plain.propagator.values, shifts[:, None] - shifts)
    np.testing.assert_allclose(found.propagator, expected, rtol=1e-13)
    if u == w and abs(y - x - u) < 400:
        expected = np.ldexp(plain.ntk_trace_plain.values, 2 * (y - x - u))
        np.testing.assert_allclose(found.ntk_trace_plain, expected, rtol=1e-13)


@pytest.mark.parametrize("time", [-900, -560, 560, 1000])
def test_learning_rates_are_a_unit_of_time(time):
    plain, found = run("flow"), run("flow", time=time)
    for name in ("ntk_change", "alignment", "loss", "uw"):
        np.testing.assert_allclose(found[name], plain[name], rtol=1e-13)
    np.testing.assert_allclose(found.ntk_trace, np.ldexp(plain.ntk_trace, -time), rtol=1e-13)


@pytest.mark.parametrize(
    ("size", "scale"),
    [
        (size, scale)
        for size in (1e-300, 1e-160, 1e-20, 1.0, 1e16, 1e20, 1e100)
        for scale in (1e-150, 1e-30, 1e-16, 1e-8, 1.0, 1e16)
        if size > 1e-300
        or scale > 1e-17  # smaller ones take some seconds each: one is the next test
    ],
)
@pytest.mark.parametrize("zeta", [0.0, 0.3, -0.96])
def test_the_matrix_route_is_the_line(size, scale, zeta):
    """Against mpmath: from layers far below what the data ask for to layers that hardly move."""
    rate = 4 * scale**2 * size * 0.1 + 4 * scale * 0.1
    times = [0.0, 0.1 / rate, 1 / rate, 30 / rate, 1e4 / rate]
    state = LineState(uu=size, uw=zeta * size, ww=size)
    network = LinearNetwork(output_scale=scale, lr_u=0.1, lr_w=0.1)
    data = MomentData(sigma_xx=[[1.0]], sigma_yx=[[1.0]], mean_yy=1.0)
    found = flow(state.gram(), network, data, times)
    problem = {
        "uu": size, "uw": zeta * size, "ww": size, "g": scale, "eu": 0.1, "ew": 0.1,
        "Eaa": 1.0, "Eay": 1.0, "Eyy": 1.0,
    }  # fmt: skip
    assert found.status.item() == "ok"
    start = reference.line(problem, 0.0)["ntk_trace"]
    for i, time in enumerate(times):
        exact, now = reference.line(problem, time), found.isel(time=i)
        assert now.end_to_end_map.item() == pytest.approx(float(scale * exact["uw"]), rel=1e-8)
        assert now.uu.item() == pytest.approx(float(exact["uu"]), rel=1e-8)
        assert now.alignment.item() == pytest.approx(float(exact["zeta"]), rel=1e-8, abs=1e-300)
        change = abs(exact["ntk_trace"] - start) / start
        if change < 1e290:
            assert now.ntk_change.item() == pytest.approx(float(change), rel=1e-7, abs=1e-250)


def test_a_growth_by_600_powers_of_ten():
    state = LineState(uu=1e-300, uw=0.0, ww=1e-300)
    network = LinearNetwork(output_scale=1e-300, lr_u=0.1, lr_w=0.1)
    data = MomentData(sigma_xx=[[1.0]], sigma_yx=[[1.0]], mean_yy=1.0)
    end = flow(state.gram(), network, data, np.inf)
    assert end.status.item() == "ok"
    assert end.end_to_end_map.item() == pytest.approx(1.0, rel=1e-12)
    assert end.uu.item() == pytest.approx(1e300, rel=1e-12)
    assert end.ntk_change.item() == np.inf


def wide(size):
    """Layers of three neurons, large and across each other, exact in binary."""
    u = np.array([[size, 0.0, 1.0]])
    w = np.array([[0.0, 0.5], [size, 0.25 * size], [2.0, -1.0]])
    return u, w


def product_of(u, w, residual_of, steps, rate):
    """`U W` of explicit weights with many digits, step by step."""
    with mp.workdps(120):
        u, w = mp.matrix(u.tolist()), mp.matrix(w.tolist())
        for _ in range(steps):
            residual = residual_of(u * w)
            u, w = u - rate * residual * w.T, w - rate * u.T * residual
        return [float(x) for x in u * w]


@pytest.mark.parametrize("size", [2.0**27, 2.0**60, 2.0**200])
@pytest.mark.parametrize("momentum", [0.0, 1e-200])
def test_descent_of_layers_that_hardly_move(size, momentum):
    """Wide layers in the lazy limit: their map must move by a tiny part of their sizes."""
    u, w = wide(size)
    scale, lr = 1.0 / size, 0.2
    network = LinearNetwork(output_scale=scale, lr_u=lr, lr_w=lr)
    data = MomentData(sigma_xx=XX, sigma_yx=YX[:1], mean_yy=3.0)
    state = GramState(
        matrix=xr.DataArray(gram(u, w), dims=("row", "col")),
        outputs=1,
        factor=xr.DataArray(np.concatenate([u, w.T]), dims=("row", "neuron")),
    )
    found = descent(state, network, data, steps=40, every=40, momentum=momentum).isel(step=-1)
    xx, yx = mp.matrix(XX.tolist()), mp.matrix(YX[:1].tolist())
    rate = 2 * mp.mpf(scale) * mp.mpf(lr)
    product = product_of(u, w, lambda p: mp.mpf(scale) * p * xx - yx, 40, rate)
    np.testing.assert_allclose(found.uw.values.ravel(), product, rtol=1e-11)


def gram(u, w):
    """Of exact sums: the cross terms are small numbers beside squares."""
    theta = [[mp.mpf(x) for x in row] for row in np.concatenate([u, w.T])]
    with mp.workdps(200):
        return [[float(mp.fdot(a, b)) for b in theta] for a in theta]


@pytest.mark.parametrize("size", [1.0, 2.0**27, 2.0**60, 2.0**200])
def test_flow_of_layers_that_hardly_move(size):
    """At infinity the map is the best one; the way is linear regression where layers stay."""
    u, w = wide(size)
    network = LinearNetwork(output_scale=1 / size, lr_u=0.2, lr_w=0.2)
    data = MomentData(sigma_xx=XX, sigma_yx=YX[:1], mean_yy=3.0)
    state = GramState(
        matrix=xr.DataArray(gram(u, w), dims=("row", "col")),
        outputs=1,
        factor=xr.DataArray(np.concatenate([u, w.T]), dims=("row", "neuron")),
    )
    found = flow(state, network, data, [0.0, 1.0, np.inf])
    np.testing.assert_allclose(found.end_to_end_map[-1], data.best_map, rtol=1e-10)
    if size > 1e15:
        kernel = 0.4 * (np.eye(2) + np.array([[1.0, 0.25], [0.25, 0.0625]]))
        gap = u @ w / size - data.best_map
        values = gap @ expm(-XX @ kernel) + data.best_map  # ġ = −2γ²(η_u g Σ WᵀW + η_w UUᵀ g Σ)
        np.testing.assert_allclose(found.end_to_end_map[1], values, rtol=1e-9)


def test_descent_of_tiny_layers_by_the_matrix():
    """Was half a per cent off at norms of 1e-160."""
    for size in (1e-160, 1e-300):
        state = LineState(uu=size, uw=0.2 * size, ww=2 * size)
        network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
        line = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
        data = MomentData(sigma_xx=[[1.0]], sigma_yx=[[1.0]], mean_yy=1.0)
        exact = descent(state, network, line, steps=50, every=10)
        for found in (
            descent(state.gram(), network, data, steps=50, every=10),
            descent(state, network, line, steps=50, every=10, propagator=True),
        ):
            for name in ("uu", "ww", "ntk_change", "alignment", "ntk_trace"):
                np.testing.assert_allclose(found[name], exact[name], rtol=1e-9)


def test_a_start_at_rest_in_any_units():
    """What stops early is missing, also where it is summed."""
    state = GramState.from_weights(np.zeros((1, 2)), np.zeros((2, 2)))
    network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
    data = MomentData(sigma_xx=XX * 1e200, sigma_yx=YX[:1] * 1e200, mean_yy=3e200)
    for found in (
        flow(state, network, data, [1.0, np.inf]),
        descent(state, network, data, steps=3),
    ):
        assert (found.uu == 0).all()
        assert (found.ntk_change == 0).all()
        assert found.loss.notnull().all()


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-9, 1e-30])
@pytest.mark.parametrize("options", [{}, {"propagator": True}, {"weight_decay_u": 0.1}])
def test_a_small_change_of_the_kernel_keeps_its_digits(scale, options):
    """In the lazy limit; was the rounding error of a difference, and not 0 where nothing moved."""
    size = float(np.float64(1 / scale**2))
    network = LinearNetwork(output_scale=scale, lr_u=0.1, lr_w=0.2)
    state, data = LineState(uu=size, uw=0.0, ww=2 * size), LineData(
        mean_aa=1.0, mean_ay=1.0, mean_yy=1.0
    )  # fmt: skip
    found = descent(state, network, data, steps=30, every=10, **options)
    assert found.ntk_change[0] == 0
    with mp.workdps(120):
        g, eu, ew = mp.mpf(scale), mp.mpf(0.1), mp.mpf(0.2)
        keep = 1 - eu * mp.mpf(options.get("weight_decay_u", 0))
        a, b, c = mp.mpf(size), mp.mpf(0), mp.mpf(2 * size)
        start = ew * a + eu * c
        for step in range(31):
            if step % 10 == 0:
                change = abs((ew * a + eu * c) / start - 1)
                assert found.ntk_change.sel(step=step).item() == pytest.approx(
                    float(change), rel=1e-11, abs=0
                )
            h = 2 * g * (g * b - 1)
            a, b, c = (
                keep**2 * a - 2 * keep * eu * h * b + (eu * h) ** 2 * c,
                keep * b - h * (keep * ew * a + eu * c) + eu * ew * h**2 * b,
                c - 2 * ew * h * b + (ew * h) ** 2 * a,
            )
    frozen = LinearNetwork(output_scale=scale, lr_u=1e-300, lr_w=1e-300)
    assert (descent(state, frozen, data, steps=50).ntk_change < 1e-280).all()
