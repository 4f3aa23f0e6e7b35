"""The closed form's identities, as properties of random problems."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyrich.theory.two_layer_linear import (
    LinearNetwork,
    LineData,
    LineState,
    flow,
    neurons,
    time_to_residual,
)
from tests.theory.two_layer_linear.problems import inputs, problem, random_problem, solved, times

TIMES = (0.1, 1.0, 10.0, np.inf)


@st.composite
def problems(draw):
    """Any kind of random problem."""
    kind = draw(st.sampled_from(["generic", "small", "kernel", "orthogonal", "near", "exact"]))
    return random_problem(kind, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))


quick = settings(max_examples=40, deadline=None, derandomize=True)


def largest(*arrays):
    return np.max([np.abs(array).max() for array in arrays])


@quick
@given(problems())
def test_balancedness_is_conserved(case):
    found = solved(case, times(case, TIMES))
    scale = case["ew"] * found.uu.values + case["eu"] * found.ww.values
    drift = found.balancedness.values - found.balancedness.values[0]
    np.testing.assert_array_less(np.abs(drift), 1e-13 * np.maximum(scale, scale[0]))


@quick
@given(problems())
def test_kernel_is_a_hyperbola_in_the_output(case):
    """`Θ = 2γX √(f² + (2γX)² PQ)`: the kernel knows the output alone, not R."""
    found = solved(case, times(case, TIMES))
    x = np.sqrt(case["eu"] * case["ew"])
    first, second = case["ew"] * case["uu"], case["eu"] * case["ww"]
    squared_sine = inputs(case)[0].sine_squared.item()
    pq = ((first - second) / 4) ** 2 + first * second * squared_sine / 4  # X⁴ times the paper's
    scale = 2 * abs(case["g"])
    hyperbola = scale * np.hypot(x * found.end_to_end_map.values, scale * np.sqrt(pq))
    np.testing.assert_allclose(found.ntk_trace.values, hyperbola, rtol=1e-12)


@quick
@given(problems())
def test_gram_matrix_stays_positive_semidefinite(case):
    found = solved(case, times(case, TIMES))
    size = found.uu * found.ww
    assert (found.uu >= 0).all()
    assert (found.ww >= 0).all()
    assert (found.uw**2 <= size * (1 + 1e-13)).all()
    assert (abs(found.alignment) <= 1).all()


@quick
@given(problems(), st.floats(0.01, 10), st.floats(0.01, 10))
def test_flow_is_a_semigroup(case, first, second):
    """Solving for s and then for t is solving for s + t."""
    unit = times(case, (1.0,))[1]
    state, network, data = inputs(case)
    middle = flow(state, network, data, first * unit)
    at = LineState(uu=middle.uu, uw=middle.uw, ww=middle.ww)
    twice = flow(at, network, data, second * unit)
    once = flow(state, network, data, (first + second) * unit)
    scale = np.sqrt(case["uu"] * case["ww"]) + once.uu.item() + once.ww.item()
    for name in ("uu", "uw", "ww"):  # the middle has lost digits of 1 − ζ²
        assert abs(twice[name] - once[name]).item() <= 1e-9 * scale
    assert twice.ntk_trace.item() == pytest.approx(once.ntk_trace.item(), rel=1e-9)


@quick
@given(problems(), st.floats(1e-3, 1e3))
def test_learning_rates_are_a_unit_of_time(case, factor):
    """`η → cη` is `t → t/c`."""
    faster = case | {"eu": case["eu"] * factor, "ew": case["ew"] * factor}
    at = np.array(times(case, TIMES))
    slow, fast = solved(case, at), solved(faster, at / factor)
    for name in ("uu", "ww", "loss"):
        np.testing.assert_allclose(fast[name].values, slow[name].values, rtol=1e-11)


@quick
@given(problems())
def test_mirror_images(case):
    """`u → −u` with `γ → −γ`, and `y → −y`, change signs only; so does swapping the layers."""
    at = times(case, TIMES)
    found = solved(case, at)
    turned = solved(case | {"uw": -case["uw"], "g": -case["g"]}, at)
    flipped = solved(case | {"uw": -case["uw"], "Eay": -case["Eay"]}, at)
    swapped = {"uu": case["ww"], "ww": case["uu"], "eu": case["ew"], "ew": case["eu"]}
    swapped = solved(case | swapped, at)
    np.testing.assert_allclose(turned.end_to_end_map, found.end_to_end_map, rtol=1e-14)
    np.testing.assert_allclose(flipped.end_to_end_map, -found.end_to_end_map, rtol=1e-14)
    np.testing.assert_allclose(swapped.uu, found.ww, rtol=1e-12)
    np.testing.assert_allclose(swapped.ntk_trace, found.ntk_trace, rtol=1e-12)


@pytest.mark.parametrize("width", [1, 2, 5, 40])
def test_rotations_and_permutations_of_neurons_change_nothing(width, rng):
    u, w = rng.normal(size=(2, width))
    rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]
    order = rng.permutation(width)
    states = [LineState.from_weights(a, b) for a, b in ((u, w), (rotation @ u, rotation @ w))] + [
        LineState.from_weights(u[order], w[order])
    ]
    network, data = inputs(problem(1, 0, 1))[1:]
    results = [flow(state, network, data, [0.0, 1.0, np.inf]) for state in states]
    for other in results[1:]:
        for name in ("end_to_end_map", "uu", "ww", "ntk_trace", "alignment"):
            np.testing.assert_allclose(other[name], results[0][name], rtol=1e-12)
    shuffled = states[2]
    assert (shuffled.uu, shuffled.uw, shuffled.ww) == (states[0].uu, states[0].uw, states[0].ww)


def test_nearly_parallel_weights_keep_their_angle():
    """`1 − ζ²` comes from the weights: 1e-20 survives where `(u·w)²` has lost it."""
    u = np.array([1.0, 0.0, 0.0])
    w = np.array([1.0, 1e-10, 0.0])
    assert LineState.from_weights(u, w).sine_squared.item() == pytest.approx(1e-20, rel=1e-12)
    assert LineState.from_weights(u, 3 * u).sine_squared.item() == 0


def test_first_layer_is_projected_on_the_line(rng):
    u, w, n = rng.normal(size=7), rng.normal(size=(7, 3)), np.array([3.0, 0.0, 4.0])
    whole = LineState.from_weights(u, w, direction=n)
    alone = LineState.from_weights(u, w @ n / 5)
    np.testing.assert_allclose([whole.uw, whole.ww], [alone.uw, alone.ww], rtol=1e-14)


@quick
@given(problems(), st.floats(0.001, 0.999))
def test_learning_time_inverts_the_flow(case, remaining):
    state, network, data = inputs(case)
    best = case["Eay"] / case["Eaa"]
    at = time_to_residual(state, network, data, remaining)
    if np.isfinite(at):
        found = flow(state, network, data, at)
        start = case["g"] * case["uw"] - best
        share = np.sqrt(found.excess_loss.item() / case["Eaa"]) / abs(start)
        assert share == pytest.approx(remaining, rel=1e-9)


def test_learning_time_of_what_never_learns():
    state, network, data = inputs(problem(1, -1, 1, eu=0.3, ew=0.3))
    f0, best = -0.7, 0.9 / 1.3
    reached = best / (best - f0)  # at the saddle the output is 0
    found = time_to_residual(state, network, data, [reached * 1.001, reached * 0.999, 1.0])
    assert np.isfinite(found[0])
    assert np.isinf(found[1])
    assert found[2] == 0
    frozen = LinearNetwork(output_scale=0.0, lr_u=0.3, lr_w=0.3)
    assert np.isinf(time_to_residual(state, frozen, data, 0.5))


def test_balanced_start_ends_where_the_order_parameter_says():
    """With `P = Q`: `2 sinh s = F`, `Θ_∞/Θ_0 = cosh s`, `ζ_∞ = tanh s` for layers of equal norm."""
    signal = np.geomspace(1e-3, 1e3, 25)
    state = LineState(uu=1.0, uw=0.0, ww=1.0)
    network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
    data = LineData(mean_aa=1.0, mean_ay=signal, mean_yy=xr.DataArray(signal**2, dims="mean_ay"))
    found = flow(state, network, data, np.inf)
    s = np.arcsinh(signal)  # F = B/(AP) = 2 E[ay] here
    np.testing.assert_allclose(found.ntk_trace, 0.2 * np.cosh(s), rtol=1e-13)
    np.testing.assert_allclose(found.ntk_change, 2 * np.sinh(s / 2) ** 2, rtol=1e-13)
    np.testing.assert_allclose(found.alignment, np.tanh(s), rtol=1e-13)


@pytest.mark.parametrize(("lr_u", "lr_w"), [(0.3, 0.5), (0.0, 0.5), (0.3, 0.0), (0.0, 0.0)])
def test_propagated_neurons_are_the_state(lr_u, lr_w, rng):
    """`Φ` moves each neuron; the norms of what comes out are the closed form's."""
    u, w = rng.normal(size=(2, 6))
    network, data = inputs(problem(1, 0, 1, eu=lr_u, ew=lr_w))[1:]
    found = flow(
        LineState.from_weights(u, w), network, data, [0.0, 0.3, 2.0, 30.0], propagator=True
    )
    moved = neurons(found, u, w)
    for name, pair in (("uu", (moved.u, moved.u)), ("uw", (moved.u, moved.w))):
        np.testing.assert_allclose((pair[0] * pair[1]).sum("neuron"), found[name], rtol=1e-12)
    np.testing.assert_allclose((moved.w**2).sum("neuron"), found.ww, rtol=1e-12)
    np.testing.assert_array_equal(moved.u.isel(time=0), u)


def test_kernel_change_keeps_its_digits_when_tiny():
    """Deep in the kernel phase `ΔΘ/Θ` is 1e-13, and still has 9 digits."""
    state, network, data = inputs(problem(1e12, 0.0, 1e12, g=1e-6, eu=1, ew=1, Eaa=1, Eay=1))
    found = flow(state, network, data, np.inf)
    s = np.arcsinh(1.0 / (1e-6 * 1e12))
    assert found.ntk_change.item() == pytest.approx(2 * np.sinh(s / 2) ** 2, rel=1e-9)
