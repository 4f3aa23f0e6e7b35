"""Neurons of power β against a vector, mpmath, gradient descent, the line, and their limits."""

import mpmath as mp
import numpy as np
import pytest

from lazyrich import InputError
from lazyrich.theory.power_neurons import power_data, power_flow, power_weights
from lazyrich.theory.power_neurons.flow import CROSSED, SADDLE
from lazyrich.theory.power_neurons.model import MODEL
from lazyrich.theory.two_layer_linear import LinearNetwork, LineData, LineState, flow

U, W = [0.5, -0.3], [0.7, 0.4]
NETWORK = LinearNetwork(output_scale=0.8, lr_u=0.3, lr_w=0.1)
DATA = LineData(mean_aa=1.5, mean_ay=0.9, mean_yy=1.0)
UNIT = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)


def test_vector():
    found = power_flow(U, W, NETWORK, DATA, [4.0, 1.0], power=1.7)
    first = found.isel(time=1)
    np.testing.assert_allclose(first.u, [0.655988641671270514, -0.246859999705060495], rtol=1e-12)
    np.testing.assert_allclose(first.w, [0.769533596105009035, 0.378856947968689186], rtol=1e-12)
    np.testing.assert_allclose(
        found.amplitude, [0.555209951955592878, 0.29825401456997405], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("u", "w", "power", "gamma", "ay", "time"),
    [
        ([0.5], [0.3], 1.3, -0.7, 0.9, 0.4),
        ([0.1], [-0.2], 2.0, 1.3, -2.0, 3.0),
        ([-0.9, 0.3], [0.2, 0.5], 3.0, 1.0, 0.8, 2.0),  # one dies
    ],
)
def test_many_digits(u, w, power, gamma, ay, time):
    """The weights themselves, by Taylor series with 20 digits."""
    n = len(u)
    with mp.workdps(20):

        def velocity(_, y):
            f = sum(
                gamma * a * mp.sign(b) * abs(b) ** power for a, b in zip(y[:n], y[n:], strict=True)
            )
            gap = -2 * gamma * (mp.mpf(1.5) * f - mp.mpf(ay))
            rates = (mp.mpf(0.3), mp.mpf(0.1))
            of_u = [rates[0] * gap * mp.sign(b) * abs(b) ** power for b in y[n:]]
            of_w = [
                rates[1] * gap * power * a * abs(b) ** (mp.mpf(power) - 1)
                for a, b in zip(y[:n], y[n:], strict=True)
            ]
            return of_u + of_w

        exact = [float(x) for x in mp.odefun(velocity, 0, [*map(mp.mpf, u), *map(mp.mpf, w)])(time)]
    network = LinearNetwork(output_scale=gamma, lr_u=0.3, lr_w=0.1)
    data = LineData(mean_aa=1.5, mean_ay=ay, mean_yy=9.0)
    found = power_flow(u, w, network, data, time, power=power)
    np.testing.assert_allclose([*found.u.values, *found.w.values], exact, rtol=1e-12)


def test_power_one_is_the_line():
    network = LinearNetwork(output_scale=[0.8, -2.0], lr_u=0.3, lr_w=[0.1, 0.9])
    times = [0.0, 0.3, 2.0, 40.0, np.inf]
    here = power_flow(U, W, network, DATA, times, power=1.0)
    there = flow(LineState.from_weights(U, W), network, DATA, times)
    for name in ("loss", "excess_loss", "ntk_change", "uu", "ww"):
        assert here[name].attrs == there[name].attrs
        np.testing.assert_allclose(
            here[name].transpose(*there[name].dims), there[name], rtol=1e-11, atol=1e-13
        )
    np.testing.assert_allclose(
        here.amplitude, there.end_to_end_map.transpose(*here.amplitude.dims), rtol=1e-12
    )


def test_power_two_is_elementary():
    """`w = dw/ds` of all neurons integrates to the same s, and each keeps 2u² − w²."""
    u, w = np.array([0.9, -0.2, 0.6]), np.array([0.4, 0.8, 0.1])
    found = power_flow(u, w, UNIT, LineData(mean_aa=1, mean_ay=3, mean_yy=9), [0.5, 9], power=2)
    C = 2 * u**2 - w**2
    np.testing.assert_allclose(2 * found.u**2 - found.w**2, [C, C], rtol=1e-11)

    def primitive(u, w, c):  # of 1/(w √(2(C + w²)))
        root = np.sqrt(2) * u
        if c > 0:
            return -np.arctanh(np.sqrt(c) / root) / np.sqrt(2 * c)
        return np.arctan(root / np.sqrt(-c)) / np.sqrt(-2 * c)

    for at in range(2):
        end = found.isel(time=at)
        s = [
            primitive(end.u.values[i], end.w.values[i], C[i]) - primitive(u[i], w[i], C[i])
            for i in range(3)
        ]
        np.testing.assert_allclose(s, s[0], rtol=1e-9)


def test_descent_passes_zero_as_the_solution_does():
    """Below the power 2 a neuron gets to w = 0 in finite time, and beyond."""
    u0, w0, power = np.array([-0.9, 0.4]), np.array([0.1, 0.7]), 1.5
    data = LineData(mean_aa=1.0, mean_ay=3.0, mean_yy=9.0)
    found = power_flow(u0, w0, UNIT, data, 3.0, power=power)
    assert found.status.item() == CROSSED
    assert found.w.values[0] < -0.05
    off = []
    for steps in (3000, 6000):
        u, w, lr = u0, w0, 1.5 / steps
        for _ in range(steps):
            phi, slope = np.sign(w) * abs(w) ** power, power * abs(w) ** (power - 1)
            gap = 2 * (u @ phi - 3.0)
            u, w = u - lr * gap * phi, w - lr * gap * u * slope
        off.append(abs(np.concatenate([u - found.u.values, w - found.w.values])).max())
    assert off[0] < 5e-3
    assert off[1] < 0.7 * off[0]  # of first order, but where w passes zero


def test_the_end():
    """F = B/A to rounding, from either side, also after a plateau of tiny weights."""
    drawn = power_weights(20, init_std_u=0.3, init_std_w=1.0, seed=1)
    for power in (1.0, 1.5, 3.0):
        for ay in (2.0, -2.0):
            data = LineData(mean_aa=1.0, mean_ay=ay, mean_yy=4.0)
            end = power_flow(drawn.u, drawn.w, UNIT, data, [1e9, np.inf], power=power)
            np.testing.assert_allclose(end.amplitude, ay, rtol=1e-14)
            assert end.status.item() in ("ok", CROSSED)
            tiny = power_flow([1e-9], [2e-9], UNIT, data, np.inf, power=power)
            np.testing.assert_allclose(tiny.amplitude, ay, rtol=1e-13)
            assert tiny.regime.item() == "rich"
    crosses = power_flow([-1.0], [0.3], UNIT, DATA, [1e9, np.inf], power=[1.0, 1.2, 1.5, 1.9])
    np.testing.assert_allclose(crosses.amplitude, 0.6, rtol=1e-13)
    lazy = power_flow([0.0, 0.0], [50.0, 50.0], UNIT, data, np.inf, power=1.5)
    assert lazy.regime.item() == "lazy"


def test_a_neuron_at_zero_stays():
    """It has no gradient above the power 1, and at 1 it moves."""
    stays = power_flow([1.0, 0.5], [0.0, 0.5], UNIT, DATA, [0.0, 5.0, np.inf], power=[1.0, 1.5])
    above, at_one = stays.sel(power=1.5), stays.sel(power=1.0)
    assert (above.w.isel(neuron=0) == 0).all()
    assert (above.u.isel(neuron=0) == 1).all()
    assert abs(at_one.w.isel(neuron=0)[1:]).min() > 0.05
    alone = power_flow([1.0], [0.0], UNIT, DATA, [0.0, np.inf], power=2.0)
    assert alone.status.item() == SADDLE
    assert (alone.amplitude == 0).all()
    origin = power_flow([0.0], [0.0], UNIT, DATA, [0.0, 7.0], power=[1.0, 3.0])
    assert (origin.u == 0).all()


def test_a_neuron_that_dies_is_a_saddle():
    """From power 2 on u < 0 pulls w to zero, and no further."""
    found = power_flow([-1.0], [0.3], UNIT, DATA, [1.0, 30.0, 1e4, np.inf], power=2.0)
    assert found.status.item() == SADDLE
    assert (np.diff(found.amplitude) >= 0).all()
    assert found.amplitude.values[-1] == 0
    np.testing.assert_allclose(found.u.values[-1], -np.sqrt((2 - 0.09) / 2), rtol=1e-12)
    assert 0 < found.w.values[1, 0] < 1e-4


def test_a_target_near_the_blow_up():
    """s ends before every neuron's own end, however large the target."""
    data = LineData(mean_aa=1.0, mean_ay=1e12, mean_yy=1e24)
    found = power_flow([0.1, -0.1], [0.1, 0.2], UNIT, data, np.inf, power=3.0)
    np.testing.assert_allclose(found.amplitude, 1e12, rtol=1e-12)


def test_extreme_units():
    """Weights in units of 1e40, outputs of 1e108."""
    plain = power_flow(U, W, UNIT, DATA, 1.0, power=1.7)
    unit = 1e40
    output = unit**2.7
    data = LineData(mean_aa=1.5, mean_ay=0.9 * output, mean_yy=1.0 * output**2)
    big = power_flow(np.array(U) * unit, np.array(W) * unit, UNIT, data, 1.0 / unit**3.4, power=1.7)
    np.testing.assert_allclose(big.w.values, plain.w.values * unit, rtol=1e-12)


def test_data_of_a_power():
    rng = np.random.default_rng(0)
    a, y, n = rng.standard_normal(30), rng.standard_normal(30), np.array([0.6, -0.8])
    phi = np.sign(a) * abs(a) ** 1.7
    for x in (a, np.outer(a, n)):
        found = power_data(x, y, power=1.7)
        np.testing.assert_allclose(
            [found.mean_aa, abs(found.mean_ay), found.mean_yy],
            [(phi**2).mean(), abs((phi * y).mean()), (y**2).mean()],
        )
    still = power_flow(U, W, UNIT, power_data([0.0, 0.0], [1.0, 2.0], power=2), 9.0, power=2)
    np.testing.assert_array_equal(still.u, U)


def test_a_grid_is_its_cells():
    drawn = power_weights(6, init_std_u=[0.1, 1.0], init_std_w=1.0, draws=2, seed=3)
    network = LinearNetwork(output_scale=[0.5, 1.5], lr_u=0.2, lr_w=0.4)
    grid = power_flow(drawn.u, drawn.w, network, DATA, [0.0, 1.0], power=[1.5, 2.5])
    cell = grid.sel(init_std_u=1.0, output_scale=1.5, power=2.5).isel(draw=1)
    alone = power_flow(
        drawn.u.sel(init_std_u=1.0).isel(draw=1).values, drawn.w.isel(draw=1).values,
        LinearNetwork(output_scale=1.5, lr_u=0.2, lr_w=0.4), DATA, [0.0, 1.0], power=2.5,
    )  # fmt: skip
    for name in alone.data_vars:
        np.testing.assert_allclose(cell[name], alone[name], rtol=1e-11, atol=1e-15)


def test_what_is_refused():
    with pytest.raises(InputError, match=r"`power` must be finite and ≥ 1, got 0\.5"):
        power_flow(U, W, UNIT, DATA, 1.0, power=0.5)
    with pytest.raises(InputError, match="one weight a neuron each, got 2 and 3"):
        power_flow(U, [1, 2, 3], UNIT, DATA, 1.0, power=2)
    with pytest.raises(InputError, match=r"`u` must be \(neurons,\), got shape"):
        power_flow([U], W, UNIT, DATA, 1.0, power=2)
    with pytest.raises(InputError, match="must have the dim `neuron`"):
        power_flow(DATA.mean_aa, W, UNIT, DATA, 1.0, power=2)
    with pytest.raises(InputError, match="`w` must be finite"):
        power_flow(U, [1, np.nan], UNIT, DATA, 1.0, power=2)
    with pytest.raises(InputError, match="`times` must be ≥ 0, got"):
        power_flow(U, W, UNIT, DATA, [-1.0], power=2)
    with pytest.raises(InputError, match="`times` must be a number or one-dimensional"):
        power_flow(U, W, UNIT, DATA, power_grid(), power=2)
    with pytest.raises(InputError, match="`lr_w` must be > 0, or the neurons cannot learn"):
        power_flow(U, W, LinearNetwork(output_scale=1, lr_u=1, lr_w=0), DATA, 1.0, power=2)
    with pytest.raises(InputError, match=r"share 0\.\d+ of their norm is off the best line"):
        power_data(np.eye(2), [1.0, 2.0], power=2)
    with pytest.raises(InputError, match=r"`x` must be \(n,\) or \(n, m\) and `y` \(n,\)"):
        power_data([1.0, 2.0], [[1.0, 2.0], [2.0, 1.0]], power=2)
    with pytest.raises(InputError, match="give both layers, u and w"):
        MODEL.commands["solve"](u=[1.0], power=2, times=1)


def power_grid():
    return power_weights(2, init_std_u=1, init_std_w=1, draws=2, seed=0).u ** 2


def test_as_it_is_typed():
    typed = MODEL.commands["solve"](u=U, w=W, power=1.7, times=[1.0, 4.0], output_scale=0.8,
                                    lr_u=0.3, lr_w=0.1, mean_aa=1.5, mean_ay=0.9)  # fmt: skip
    np.testing.assert_allclose(typed.amplitude[1], 0.555209951955592878, rtol=1e-12)
    judged = MODEL.commands["phase"](width=100.0, power=[1.0, 2.0], init_std_u=0.1)
    assert set(judged.data_vars) == {"ntk_change"}
    assert judged.regime.dims == ("power",)
