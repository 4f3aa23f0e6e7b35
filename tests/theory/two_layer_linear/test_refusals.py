"""What is refused, and in which words."""

import numpy as np
import pytest
import xarray as xr

from lazyrich import PRESETS, InputError, order_parameters
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
    neurons,
    time_to_residual,
)

NAN, INF = float("nan"), float("inf")
STATE = LineState(uu=1.0, uw=0.0, ww=1.0)
NETWORK = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
DATA = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
MOMENTS = MomentData(sigma_xx=np.eye(2), sigma_yx=np.zeros((1, 2)), mean_yy=1.0)
SAMPLE = {"init_std_u": 1.0, "init_std_w": 1.0, "seed": 0}
OFF_LINE = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.2]])


def state(**changes):
    return LineState(**({"uu": 1.0, "uw": 0.0, "ww": 1.0} | changes))


def network(**changes):
    return LinearNetwork(**({"output_scale": 1.0, "lr_u": 0.1, "lr_w": 0.1} | changes))


def moments(**changes):
    plain = {"sigma_xx": np.eye(2), "sigma_yx": np.zeros((1, 2)), "mean_yy": 1.0}
    return MomentData(**(plain | changes))


def gram(matrix, outputs=1):
    return GramState(matrix=np.asarray(matrix, dtype=float), outputs=outputs)


REFUSED = {
    r"`uu` must be finite and ≥ 0, got -1.0$": lambda: state(uu=-1.0),
    r"`uu` must be finite and ≥ 0, got nan at index 1$": lambda: state(uu=[1.0, NAN]),
    r"`uw` must be finite, got inf$": lambda: state(uw=INF),
    r"`uu` must be a number or an array of numbers, got 'one'": lambda: state(uu="one"),
    r"`ww` has 2 unnamed dimensions; name them: xarray.DataArray": lambda: state(ww=np.eye(2)),
    r"no two vectors have ‖u‖² = 1, u·w = 2, ‖w‖² = 1: \(u·w\)²": lambda: state(uw=2.0),
    r"no two vectors have ‖u‖² = 0, u·w = 1": lambda: state(uu=0.0, uw=1.0),
    r"no two vectors have ‖u‖² = 1, u·w = 3, ‖w‖² = 4": lambda: state(uw=[0.0, 3.0], ww=4.0),
    r"vectors of one length, got shapes \(2,\) and \(3,\)": lambda: LineState.from_weights(
        [1.0, 2.0], [1.0, 2.0, 3.0]
    ),
    r"`direction` must be a nonzero vector of shape \(m,\).*\(3,\) for \(2, 2\)": lambda: (
        LineState.from_weights([1.0, 2.0], np.eye(2), direction=[1.0, 0.0, 0.0])
    ),
    r"`direction` must be a nonzero vector": lambda: LineState.from_weights(
        [1.0, 2.0], np.eye(2), direction=[0.0, 0.0]
    ),
    r"`lr_u` must be finite and ≥ 0, got -0.1": lambda: network(lr_u=-0.1),
    r"`output_scale` must be finite, got nan": lambda: network(output_scale=NAN),
    r"no data have E\[a²\] = 1, E\[ay\] = 2, E\[y²\] = 1": lambda: LineData(
        mean_aa=1.0, mean_ay=2.0, mean_yy=1.0
    ),
    r"`x` must be finite, got \[nan\] in sample 1": lambda: LineData.from_samples(
        [1.0, NAN], [1.0, 1.0]
    ),
    r"with one n ≥ 1, got \(2,\) and \(3,\)": lambda: LineData.from_samples([1, 2], [1, 2, 3]),
    r"with one n ≥ 1, got \(0,\) and \(0,\)": lambda: LineData.from_samples([], []),
    r"do not lie on a line through the origin: a share 0.0\d+ of their norm is off the best "
    r"line, sample 1 by 0.0\d+. Use MomentData": lambda: LineData.from_samples(OFF_LINE, [1, 2, 3]),
    r"`y` must have one output, got shape \(2, 2\); use MomentData": lambda: LineData.from_samples(
        [1.0, 2.0], np.eye(2)
    ),
    r"`sigma_xx` must be \(m, m\) and `sigma_yx` \(k, m\), got \(3, 3\) and \(1, 2\)": lambda: (
        moments(sigma_xx=np.eye(3))
    ),
    r"`sigma_xx`, `sigma_yx` and `mean_yy` must be finite": lambda: moments(mean_yy=NAN),
    r"`sigma_xx` must be symmetric": lambda: moments(sigma_xx=np.array([[1, 0.1], [0, 1]])),
    r"`sigma_xx` must be positive semidefinite": lambda: moments(sigma_xx=np.diag([1.0, -1.0])),
    r"`sigma_yx` has a part in a direction where the inputs do not vary": lambda: moments(
        sigma_xx=np.diag([1.0, 0.0]), sigma_yx=np.ones((1, 2)), mean_yy=9.0
    ),
    r"at least what the best linear map explains, 8, got 1": lambda: moments(
        sigma_yx=np.full((1, 2), 2.0)
    ),
    r"positive semidefinite, its lowest eigenvalue is -1 after scaling": lambda: gram(
        [[0.5, 1.0], [1.0, 0.5]]
    ),
    r"must be positive semidefinite, its lowest eigenvalue is -1 ": lambda: gram(
        [[1e-16, 2e-8], [2e-8, 1.0]]
    ),
    r"must be positive semidefinite, its lowest eigenvalue is -2 ": lambda: gram(
        [[-1e-13, 0.0], [0.0, 1.0]]
    ),
    r"must be positive semidefinite, its lowest eigenvalue is -1.6 ": lambda: gram(
        [[0.0, 1e-9], [1e-9, 1.0]]
    ),
    r"`sine_squared` must be between 0 and 1, got 5.0": lambda: state(
        sine_squared=xr.DataArray(5.0)
    ),
    r"`noise` must be finite and ≥ 0, got -1.0": lambda: LineData(
        mean_aa=1.0, mean_ay=1.0, mean_yy=1.0, noise=xr.DataArray(-1.0)
    ),
    r"`matrix` must be symmetric, is off by 0.5": lambda: gram([[1, 0.5], [0, 1]]),
    r"`matrix` must be finite": lambda: gram([[1, NAN], [NAN, 1]]),
    r"`matrix` must be square with last dims \('row', 'col'\)": lambda: gram(np.ones((2, 3))),
    r"`outputs` must be between 1 and 1 for a matrix of size 2, got 2": lambda: gram(np.eye(2), 2),
    r"`u` must have shape \(k, d\) and `w` \(d, m\), got \(2, 3\)": lambda: GramState.from_weights(
        np.ones((2, 3)), np.ones((2, 3))
    ),
    r"`init_std_u` is a standard deviation and must be ≥ 0": lambda: LineState.sample(
        5, **SAMPLE | {"init_std_u": -1.0}
    ),
    r"`width` must be a whole number, got 2.5": lambda: LineState.sample(2.5, **SAMPLE),
    r"`width` must be between 1 and 9": lambda: LineState.sample(0, **SAMPLE),
    r"`draws` must be a whole number ≥ 1, got 0": lambda: LineState.sample(5, **SAMPLE, draws=0),
    r"a LineState needs LineData and a GramState needs MomentData, got LineState with Mo": lambda: (
        flow(STATE, NETWORK, MOMENTS, 1.0)
    ),
    r"got GramState with LineData": lambda: flow(STATE.gram(), NETWORK, DATA, 1.0),
    r"the state has \(outputs, inputs\) = \(1, 1\), the data have \(1, 2\)": lambda: flow(
        STATE.gram(), NETWORK, MOMENTS, 1.0
    ),
    r"`times` must be ≥ 0, got -1.0 at index 2": lambda: flow(STATE, NETWORK, DATA, [0, 1, -1.0]),
    r"`times` must be ≥ 0, got nan": lambda: flow(STATE, NETWORK, DATA, NAN),
    r"on MomentData `times` must be a number or one-dimensional, .* got {'a': 1, 'b': 2}": lambda: (
        flow(gram(np.eye(3)), NETWORK, MOMENTS, xr.DataArray(np.ones((1, 2)), dims=("a", "b")))
    ),
    r"arguments share an axis but not its values": lambda: flow(
        state(uu=xr.DataArray([1.0, 2.0], dims="p", coords={"p": [0, 1]})),
        network(lr_u=xr.DataArray([1.0, 2.0], dims="p", coords={"p": [0, 2]})),
        DATA,
        1.0,
    ),
    r"`draws` must be a whole number ≥ 1, got 2.5": lambda: LineState.sample(
        5, **SAMPLE, draws=2.5
    ),
    r"`steps` must be a whole number ≥ 0, got 1.5": lambda: descent(
        STATE, NETWORK, DATA, steps=1.5
    ),
    r"`steps` must be a whole number ≥ 0, got inf": lambda: descent(
        STATE, NETWORK, DATA, steps=INF
    ),
    r"`batches` must hold at least one batch": lambda: descent(
        STATE, NETWORK, DATA, steps=1, batches=[]
    ),
    r"closed form needs a LineState and LineData, got GramState and MomentData": lambda: (
        time_to_residual(GramState.sample(5, outputs=1, inputs=2, **SAMPLE), NETWORK, MOMENTS, 0.5)
    ),
    r"closed form needs a LineState and LineData, got GramState and LineData": lambda: (
        order_parameters(GramState.sample(5, outputs=1, inputs=2, **SAMPLE), NETWORK, DATA)
    ),
    r"`width` must be finite and ≥ 1, got 0.5": lambda: PRESETS["ntk"].network(0.5),
    r"`remaining` must be between 0 \(excluded\) and 1": lambda: time_to_residual(
        STATE, NETWORK, DATA, 0.0
    ),
    r"`steps` must be a whole number ≥ 0, got -1": lambda: descent(STATE, NETWORK, DATA, steps=-1),
    r"`every` must be a whole number ≥ 1, got 0": lambda: descent(
        STATE, NETWORK, DATA, steps=3, every=0
    ),
    r"`momentum` must be between 0 and 1 \(excluded\), got 1": lambda: descent(
        STATE, NETWORK, DATA, steps=1, momentum=1.0
    ),
    r"`weight_decay_w` must be finite and ≥ 0": lambda: descent(
        STATE, NETWORK, DATA, steps=1, weight_decay_w=-1.0
    ),
    r"got LineState with MomentData. Make the state with GramState.from_weights": lambda: descent(
        STATE, NETWORK, DATA, steps=1, batches=[MOMENTS]
    ),
    r"`trajectory` must have its propagator, got none. Call flow or descent with": lambda: neurons(
        flow(STATE, NETWORK, DATA, 1.0), [1.0], [0.0]
    ),
    r"the trajectory has k \+ m = 2, got weights with k \+ m = 3": lambda: neurons(
        flow(STATE, NETWORK, DATA, 1.0, propagator=True), np.ones((1, 2)), np.ones((2, 2))
    ),
    r"`u` and `w` must be \(d,\) and \(d,\), or \(k, d\) and \(d, m\); got \(2,\)": lambda: neurons(
        flow(STATE, NETWORK, DATA, 1.0, propagator=True), np.ones(2), np.ones(3)
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused(message):
    with pytest.raises(InputError, match=message):
        REFUSED[message]()


def test_rounding_is_not_refused():
    """An aligned state, rounded: `(u·w)²` may exceed `‖u‖²‖w‖²` in the last digit."""
    for uu, ww in np.random.default_rng(0).uniform(0.1, 10, size=(200, 2)):
        aligned = LineState(uu=uu, uw=np.sqrt(uu * ww), ww=ww)
        assert aligned.sine_squared.item() < 1e-15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 10**20}, r"`steps` must be at most 1e\+15, got 100000000000000000000"),
        ({"steps": 10**12}, r"`steps` and `every` must give at most 1e\+08 records"),
    ],
)
def test_more_steps_than_a_machine_takes(options, message):
    state, network = LineState(uu=1, uw=0, ww=1), LinearNetwork(output_scale=1, lr_u=0.1, lr_w=0.1)
    data = LineData(mean_aa=1, mean_ay=1, mean_yy=1)
    with pytest.raises(InputError, match=message):
        descent(state, network, data, **options)
    assert descent(state, network, data, steps=3, every=10**20).step.values.tolist() == [0, 3]


@pytest.mark.parametrize("value", ["1", None, xr.Dataset({"a": 1})])
def test_samples_and_moments_that_are_no_arrays(value):
    if value != "1":
        with pytest.raises(InputError, match=r"`mean_yy` must be (a number|finite)|`sigma_xx`"):
            MomentData(sigma_xx=[[1.0]], sigma_yx=[[0.5]], mean_yy=value)
        with pytest.raises(InputError, match=r"`x` must be"):
            MomentData.from_samples(value, [1.0])
    else:
        assert MomentData(sigma_xx=[[1.0]], sigma_yx=[[0.5]], mean_yy=value).mean_yy == 1.0
