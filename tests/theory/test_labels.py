"""Numbers, axes and labelled arrays in; dims and attributes out."""

import numpy as np
import pytest
import xarray as xr
from docs.vocabulary import vocabulary

from lazyrich import InputError, parameter_diagram
from lazyrich.theory.quadratic_start import quadratic_network_prediction
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
    time_to_residual,
)
from lazyrich.vocabulary.losses import under

STATE = LineState(uu=1.0, uw=0.1, ww=2.0)
NETWORK = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
DATA = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
MOMENTS = MomentData(sigma_xx=np.eye(2), sigma_yx=np.ones((1, 2)), mean_yy=2.0)
GENERAL = GramState(matrix=np.eye(3), outputs=1)


def runs():
    """Every kind of result."""
    return {
        "flow on a line": flow(STATE, NETWORK, DATA, [0.0, 1.0]),
        "descent on a line": descent(STATE, NETWORK, DATA, steps=2),
        "descent with momentum": descent(STATE, NETWORK, DATA, steps=2, momentum=0.5),
        "flow": flow(GENERAL, NETWORK, MOMENTS, [0.0, 1.0]),
        "descent": descent(GENERAL, NETWORK, MOMENTS, steps=2),
    }


@pytest.mark.parametrize("name", runs())
def test_every_variable_says_what_it_is(name):
    found = runs()[name]
    assert found.attrs["references"]
    for variable in set(found) - {"status", "diverged_at", "propagator"}:
        attrs = found[variable].attrs
        known = vocabulary()[variable]
        is_loss = variable == "loss"
        assert attrs == (under("squared_error", known) if is_loss else known).attrs, variable
        assert attrs["long_name"]
        assert attrs["units"]
        assert attrs["references"]


@pytest.mark.parametrize("name", runs())
def test_numbers_give_no_dims(name):
    found = runs()[name]
    assert set(found.loss.dims) == {"time"} & set(found.dims) | {"step"} & set(found.dims)
    assert found.status.ndim == 0
    assert found.status == "ok"


def test_sequences_become_axes_named_after_the_parameter():
    network = LinearNetwork(output_scale=[0.5, 1.0, 2.0], lr_u=[0.1, 0.2], lr_w=0.1)
    for found in (flow(STATE, network, DATA, 1.0), descent(STATE, network, DATA, steps=3)):
        assert set(found.loss.dims) - {"step"} == {"output_scale", "lr_u"}
        assert list(found.output_scale) == [0.5, 1.0, 2.0]
        assert list(found.lr_u) == [0.1, 0.2]


def test_a_grid_is_its_cells():
    """Two axes, each cell equal to the same run alone."""
    network = LinearNetwork(output_scale=[0.5, 2.0], lr_u=[0.1, 0.4], lr_w=0.1)
    for run in (lambda n: flow(STATE, n, DATA, [1.0]), lambda n: descent(STATE, n, DATA, steps=5)):
        grid = run(network)
        for scale in (0.5, 2.0):
            for rate in (0.1, 0.4):
                alone = run(LinearNetwork(output_scale=scale, lr_u=rate, lr_w=0.1))
                cell = grid.sel(output_scale=scale, lr_u=rate)
                for name in ("loss", "uu", "ww", "ntk_trace", "alignment"):
                    np.testing.assert_array_equal(cell[name], alone[name], err_msg=name)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.5}, {"propagator": True}], ids=str)
def test_axes_of_state_and_data_are_their_cells(options):
    """Also E[y²], which nothing but the loss depends on, and the state as a matrix."""

    def run(state, data):
        return descent(state, NETWORK, data, steps=4, **options), flow(state, NETWORK, data, [1.0])

    state = LineState(uu=[1.0, 2.0], uw=0.5, ww=[1.0, 3.0])
    data = LineData(mean_aa=1.0, mean_ay=0.5, mean_yy=[1.0, 2.0])
    for grid, alone in zip(
        run(state, data),
        run(LineState(uu=2.0, uw=0.5, ww=1.0), LineData(mean_aa=1.0, mean_ay=0.5, mean_yy=2.0)),
        strict=True,
    ):
        cell = grid.sel(initial_uu=2.0, initial_ww=1.0, mean_yy=2.0)
        for name in ("loss", "uu", "ww", "ntk_trace", "alignment"):
            np.testing.assert_array_equal(cell[name], alone[name], err_msg=name)


def test_labelled_arrays_keep_their_dims_and_coordinates():
    scale = xr.DataArray([0.5, 1.0], dims="d", coords={"d": [100, 400]})
    rate = xr.DataArray([0.1, 0.2], dims="d", coords={"d": [100, 400]})
    found = flow(STATE, LinearNetwork(output_scale=scale, lr_u=rate, lr_w=0.1), DATA, [0.0, 1.0])
    assert dict(found.loss.sizes) == {"d": 2, "time": 2}
    assert list(found.d) == [100, 400]


def test_times():
    assert flow(STATE, NETWORK, DATA, 2.0).t == 2.0
    assert list(flow(STATE, NETWORK, DATA, np.array([2.0, 1.0])).time) == [2.0, 1.0]
    own = xr.DataArray([1.0, 2.0], dims="d", coords={"d": [10, 20]})
    found = flow(LineState(uu=own, uw=0.0, ww=1.0), NETWORK, DATA, own)
    assert found.loss.dims == ("d",)
    assert list(found.t) == [1.0, 2.0]


def test_repr():
    state = LineState(uu=[1.0, 2.0], uw=0.0, ww=1.0)
    assert repr(state) == "LineState(uu=<{'initial_uu': 2}>, uw=0, ww=1)"
    assert repr(GramState(matrix=np.eye(2), outputs=1)).startswith("GramState(matrix=<{'row': 2")


def test_parameters_are_frozen():
    with pytest.raises(AttributeError):
        STATE.uu = 2.0


def test_times_stay_with_the_result():
    """Also those whose dim came without labels: an index is not a time."""
    times = xr.DataArray([0.0, 0.5, 2.0], dims="time")
    np.testing.assert_array_equal(flow(STATE, NETWORK, DATA, times).time, times)
    assert flow(STATE, NETWORK, DATA, 3.0).t == 3.0


MASKED = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
DAYS = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="datetime64[D]")
DOORS = {
    "state": lambda value: LineState(uu=value, uw=0.0, ww=1.0),
    "network": lambda value: LinearNetwork(output_scale=value, lr_u=1.0, lr_w=1.0),
    "data": lambda value: LineData(mean_aa=value, mean_ay=0.0, mean_yy=1.0),
    "times": lambda value: flow(STATE, NETWORK, DATA, value),
    "momentum": lambda value: descent(STATE, NETWORK, DATA, steps=1, momentum=value),
    "inputs": lambda value: LineData.from_samples(value, [1.0, 2.0, 3.0]),
    "targets": lambda value: MomentData.from_samples([1.0, 2.0, 3.0], value),
    "weights": lambda value: LineState.from_weights(value, [1.0, 2.0, 3.0]),
    "matrix": lambda value: GramState(matrix=np.ma.outer(value, value), outputs=1),
    "axis": lambda value: parameter_diagram(("lr_u", value), ("lr_w", [1.0, 2.0])),
    "covariance": lambda value: quadratic_network_prediction(value, np.ones(3), width=2),
    "shares": lambda value: time_to_residual(STATE, NETWORK, DATA, value),
    "width": lambda value: LineState.sample(value, init_std_u=1.0, init_std_w=1.0, seed=0),
}


@pytest.mark.parametrize("door", list(DOORS))
def test_masked_values_are_no_numbers(door):
    with pytest.raises(InputError, match=r"` holds masked values, which have no number\. Leave"):
        DOORS[door](MASKED)


@pytest.mark.parametrize("door", [door for door in DOORS if door != "matrix"])
@pytest.mark.parametrize("value", [DAYS, DAYS - DAYS[0], xr.DataArray(DAYS, dims="day")])
def test_dates_are_no_numbers(door, value):
    with pytest.raises(InputError, match=r"` must be a number or an array of numbers, got "):
        DOORS[door](value)
