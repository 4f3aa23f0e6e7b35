"""The single neuron against vectors, an integrator, the network that it is, and its limits."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from lazyrich import InputError
from lazyrich.theory.single_neuron import MODEL, SADDLE, neuron_flow
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    flow,
)

UNIT = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)  # the flow of ½(f − β)²
VECTORS = [  # u, w, target, t, u(t), w(t)
    (
        0.5, [0.3, -0.4], [1.0, 0.5], 2.0,
        0.96799536857228734558, [0.92875104755455104419, 0.2728305797445046089],
    ),
    (
        0.1, [-2.0, 1.5], [1.0, 0.5], 3.0,
        -0.28404086476251061446, [-2.3163126490597799574, 0.97743282360513118799],
    ),
    (
        2.0, [-0.1, 0.2, 0.3], [0.5, -1.0, 0.25], 1.0,
        2.0405513688425204096,
        [0.23998694554022934228, -0.47997389108045868456, 0.12602070756998134125],
    ),
]  # fmt: skip


def moments(target, power=1.0, noise=0.7):
    best = np.atleast_2d(np.asarray(target, dtype=float))
    return MomentData(
        sigma_xx=power * np.eye(best.shape[1]),
        sigma_yx=power * best,
        mean_yy=power * (best**2).sum() + noise,
    )


@pytest.mark.parametrize("vector", VECTORS)
def test_vectors(vector):
    u, w, target, t, end_u, end_w = vector
    found = neuron_flow(u, w, UNIT, moments(target), t)
    assert found.u.item() == pytest.approx(end_u, rel=1e-12)
    np.testing.assert_allclose(found.w.values, end_w, rtol=1e-12)


def integrated(u, w, gamma, rates, power, target, t):
    """Gradient flow of the loss, by DOP853."""
    target, w = np.asarray(target, dtype=float), np.asarray(w, dtype=float)

    def velocity(_, theta):
        a, b = theta[0], theta[1:]
        error = 2 * power * (gamma * a * b - target)
        return np.concatenate([[-rates[0] * gamma * b @ error], -rates[1] * gamma * a * error])

    start = np.concatenate([[u], w])
    return solve_ivp(velocity, (0, t), start, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]


def cases():
    rng = np.random.default_rng(3)
    for _ in range(24):
        m = int(rng.integers(1, 6))
        u, w = rng.normal() * 10 ** rng.uniform(-2, 0.5), rng.normal(size=m)
        yield u, w, rng.choice([-1, 1]) * rng.uniform(0.3, 2), rng.uniform(0.05, 0.5, 2), m
    yield 0.0, np.array([0.4, -0.1]), 1.0, np.array([0.2, 0.1]), 2  # u = 0
    yield 1.0, np.zeros(3), 1.0, np.array([0.2, 0.1]), 3  # w = 0
    yield 0.5, np.array([0.3, -0.4]), 1.0, np.array([0.2, 0.2]), 2  # λ = 0
    yield 0.5 + 1e-10, np.array([0.3, -0.4]), 1.0, np.array([0.2, 0.2]), 2  # nearly


@pytest.mark.parametrize("case", list(cases()))
def test_gradient_flow(case):
    u, w, gamma, rates, m = case
    target = np.random.default_rng(m).normal(size=m)
    network = LinearNetwork(output_scale=gamma, lr_u=rates[0], lr_w=rates[1])
    found = neuron_flow(u, w, network, moments(target, 1.3), [0.4, 3.0])
    for at, t in enumerate((0.4, 3.0)):
        theta = integrated(u, w, gamma, rates, 1.3, target, t)
        assert found.u.isel(time=at).item() == pytest.approx(theta[0], rel=1e-8, abs=1e-9)
        np.testing.assert_allclose(found.w.isel(time=at), theta[1:], rtol=1e-8, atol=1e-9)


def test_without_a_target_it_decays():
    theta = integrated(0.7, [0.5, -0.2], 1.0, (0.3, 0.1), 1.0, [0.0, 0.0], 4.0)
    network = LinearNetwork(output_scale=1.0, lr_u=0.3, lr_w=0.1)
    found = neuron_flow(0.7, [0.5, -0.2], network, moments([0.0, 0.0]), 4.0)
    np.testing.assert_allclose([found.u.item(), *found.w.values], theta, rtol=1e-9)


def test_it_is_a_two_layer_linear_network():
    """Predicted minus integrated is zero without renaming, over an axis of rates too."""
    u, w, data = 0.4, [0.2, -0.5, 0.1], moments([0.9, 0.3, -0.4])
    network = LinearNetwork(output_scale=-0.8, lr_u=[0.1, 0.4], lr_w=0.2)
    times = [0.0, 1.0, 4.0]
    here = neuron_flow(u, w, network, data, times)
    there = flow(GramState.from_weights([[u]], [w]), network, data, times)
    assert set(there.data_vars) <= set(here.data_vars)
    for name in there.data_vars:
        assert here[name].attrs == there[name].attrs
        assert set(here[name].dims) == set(there[name].dims), name
        assert float(abs(here[name] - there[name]).max()) < 1e-8, name
    start = here.balancedness.isel(time=0)
    assert float(abs(here.balancedness - start).max()) < 1e-14  # δ, to rounding


def test_on_a_line_it_is_the_line():
    network = LinearNetwork(output_scale=0.7, lr_u=0.3, lr_w=0.2)
    line = LineData(mean_aa=1.5, mean_ay=-1.2, mean_yy=2.0)
    data = MomentData(sigma_xx=[[1.5]], sigma_yx=[[-1.2]], mean_yy=2.0)
    here = neuron_flow(0.3, [0.8], network, data, [0.5, 8.0])
    there = flow(LineState.from_weights([0.3], [0.8]), network, line, [0.5, 8.0])
    for name in ("loss", "alignment", "ntk_change", "ntk_trace", "uu", "ww"):
        np.testing.assert_allclose(here[name].values, there[name].values, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("u", "w", "target", "t"),
    [
        (1e-8, [1e-8, -2e-8], [1.0, 0.5], 19.0),
        (30.0, [0.1, -0.2], [1.0, 0.5], 0.02),
        (0.02, [-20.0, 15.0], [1.0, 0.5], 0.7),
        (1e-4, [-0.3, 0.6], [1.0, 0.5], 30.0),
        (1.0, [2.0, 1.0], [1e-9, 0.0], 1e3),
    ],
)
def test_many_digits(u, w, target, t):
    """The formula as it stands, with 60 digits, against the form without growing exponentials."""
    with mp.workdps(60):
        a, b, g = mp.mpf(u), mp.matrix(w), mp.matrix(target)
        s = mp.norm(g)
        along = sum(b[i] * g[i] for i in range(len(w))) / s
        across = b - g * (along / s)
        lam = a**2 - mp.norm(b) ** 2
        omega = mp.sqrt(s**2 + lam**2 / 4)
        wide = mp.norm(across) ** 2
        sinh, cosh = mp.sinh(omega * t) / omega, mp.cosh(omega * t)
        n = 1 + (along**2 + a**2) * mp.sinh(2 * omega * t) / (2 * omega)
        n += (2 * s * along * a + lam / 2 * (a**2 - along**2)) * sinh**2
        n += wide * (-mp.expm1(-lam * t) / lam)
        end = (a * cosh + (s * along + lam * a / 2) * sinh) / mp.sqrt(n)
        first = (along * cosh + (s * a - lam * along / 2) * sinh) / mp.sqrt(n)
        second = across * (mp.exp(-lam * t / 2) / mp.sqrt(n)) + g * (first / s)
        exact = [float(end), *map(float, second)]
    found = neuron_flow(u, w, UNIT, moments(target), t)
    np.testing.assert_allclose([found.u.item(), *found.w.values], exact, rtol=2e-12, atol=1e-15)


def test_long_times_end_at_the_target():
    for u, w in ((0.3, [0.1, -0.2]), (-5.0, [0.1, 9.0]), (1e-6, [-7.0, 2.0])):
        found = neuron_flow(u, w, UNIT, moments([1.0, -2.0]), 1e6)
        np.testing.assert_allclose(found.end_to_end_map.values.ravel(), [1.0, -2.0], rtol=1e-12)
        assert found.status.item() == "ok"
        assert found.excess_loss.item() < 1e-24


def test_the_stable_manifold_of_the_origin():
    """w·β* = −u(δ + √(δ² + 4s²))/2 leads to a saddle; beside it u takes the side it was put on."""
    target, u, across = np.array([0.6, 0.8]), 0.7, np.array([-0.8, 0.6]) * 0.4
    delta = 0.0
    for _ in range(200):  # δ depends on w itself
        along = -u / 2 * (delta + np.sqrt(delta**2 + 4))
        delta = u**2 - along**2 - 0.16
    w = along * target + across
    ends = [
        neuron_flow(u + shift, w, UNIT, moments(target), 60.0).u.item() for shift in (-1e-6, 1e-6)
    ]
    assert ends[0] < -0.1 < 0.1 < ends[1]
    origin = neuron_flow(0.5, [-0.5, 0.0], UNIT, moments([1.0, 0.0]), [0.0, 5.0, 1e5])
    assert origin.status.item() == SADDLE
    theta = integrated(0.5, [-0.5, 0.0], 1.0, (0.5, 0.5), 1.0, [1.0, 0.0], 5.0)
    assert origin.u.values[1] == pytest.approx(theta[0], rel=1e-9)
    assert abs(origin.u.values[2]) < 1e-100
    assert neuron_flow(0.0, [0.0, 0.0], UNIT, moments([1.0, 0.0]), 9.0).u.item() == 0.0


def test_regimes():
    data = moments([1.0, 0.0])
    sizes = xr.DataArray([100.0, 1.0, 0.0, 0.0], dims="start")
    first = xr.DataArray([[0.0, 0.0], [0.0, 1.0], [0.3, 0.3], [0.0, 100.0]], dims=("start", "m"))
    found = neuron_flow(sizes, first, UNIT, data, [0.0, 1e3])
    assert found.regime.values.tolist() == ["lazy", "rich", "rich", "rich"]
    assert found.delayed.values.tolist() == [False, False, False, True]
    change = found.ntk_change.isel(time=-1).values
    assert change[0] < 0.1
    assert (change[[1, 2]] > 0.3).all()
    one = neuron_flow(0.0, [100.0], UNIT, moments([1.0]), 0.0)  # on a line both sides are lazy
    assert (one.regime.item(), one.delayed.item()) == ("lazy", False)


@pytest.mark.parametrize(
    ("u", "w"), [(0.0, [0.7, -0.3]), (1e-25, [0.7, -0.3]), (-1.5, [0.0, 0.0]), (2.0, [1e-30, 0.0])]
)
@pytest.mark.parametrize("target", [[1.2, 0.5], [1e-9, 0.0], [0.0, 0.0]])
def test_a_small_layer_keeps_its_digits_at_the_start(u, w, target):
    """Rounding of the large layer made a weight, and an alignment, where there is none."""
    data = moments(target)
    found = neuron_flow(u, w, UNIT, data, [0.0, 1e-40])
    np.testing.assert_allclose(found.u, u + np.array([0, 1e-40]) * np.dot(w, target), rtol=1e-14)
    np.testing.assert_allclose(found.w[..., 0], w[0] + np.array([0, 1e-40]) * u * target[0], 1e-14)
    map_now = found.u.values[0] * np.array(w)
    assert (found.alignment.values[0] == 0.0) == (not map_now.any())


def test_extreme_units():
    """The same problem in units of 1e60: every length scales, and nothing overflows."""
    plain = neuron_flow(0.5, [0.3, -0.4], UNIT, moments([1.0, 0.5]), 2.0)
    big = neuron_flow(0.5e60, [0.3e60, -0.4e60], UNIT, moments([1e120, 0.5e120]), 2e-120)
    assert big.u.item() == pytest.approx(plain.u.item() * 1e60, rel=1e-12)
    np.testing.assert_allclose(big.w.values, plain.w.values * 1e60, rtol=1e-12)


def test_what_breaks_an_assumption_is_refused():
    data = moments([1.0, 0.5])
    with pytest.raises(InputError, match=r"must be whitened, .* off by 0.091 of their mean"):
        neuron_flow(
            0.1, [1.0, 0.0], UNIT,
            MomentData(sigma_xx=np.diag([1.0, 1.2]), sigma_yx=[[1.0, 0.0]], mean_yy=2.0), 1.0,
        )  # fmt: skip
    with pytest.raises(InputError, match="one output, got data with 2"):
        neuron_flow(
            0.1, [1.0, 0.0], UNIT,
            MomentData(sigma_xx=np.eye(2), sigma_yx=np.eye(2), mean_yy=2.0), 1.0,
        )  # fmt: skip
    with pytest.raises(InputError, match="one weight for each of the 2 inputs"):
        neuron_flow(0.1, [1.0], UNIT, data, 1.0)
    with pytest.raises(InputError, match="`lr_w` must be > 0, or the neuron cannot learn"):
        neuron_flow(0.1, [1, 0], LinearNetwork(output_scale=1, lr_u=1, lr_w=0), data, 1.0)
    with pytest.raises(InputError, match="`output_scale` must not be 0"):
        neuron_flow(0.1, [1, 0], LinearNetwork(output_scale=0, lr_u=1, lr_w=1), data, 1.0)
    with pytest.raises(InputError, match="`times` must be finite and ≥ 0"):
        neuron_flow(0.1, [1, 0], UNIT, data, np.inf)
    with pytest.raises(InputError, match="`u` must be finite"):
        neuron_flow(np.nan, [1, 0], UNIT, data, 1.0)


def test_as_it_is_typed():
    typed = MODEL.commands["solve"](u=0.5, w=[0.3, -0.4], target=[1.0, 0.5], times=4.0, lr_u=0.25,
                                    lr_w=0.25)  # fmt: skip
    assert typed.u.item() == pytest.approx(VECTORS[0][4], rel=1e-12)
    judged = MODEL.commands["phase"](u=100.0, w=0.0, target=1.0)
    assert set(judged.data_vars) == {"neuron_imbalance"}
    assert judged.regime.item() == "lazy"
    assert judged.neuron_imbalance.item() == 5000.0
