"""Every parameter of every function of the exact part may be an axis; a cell is the run alone."""

from dataclasses import fields

import numpy as np
import pytest
import xarray as xr

from lazyrich import mechanisms, order_parameters, parameter_diagram
from lazyrich.phases.setting import BOTH_LAYERS, Setting
from lazyrich.theory.labels import Parameter
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
from lazyrich.theory.two_layer_linear.descent import _Rule

PLAIN = {
    "uu": 1.3,
    "uw": 0.2,
    "ww": 0.7,
    "output_scale": 0.9,
    "lr_u": 0.2,
    "lr_w": 0.1,
    "mean_aa": 1.2,
    "mean_ay": 0.5,
    "mean_yy": 1.5,
    "momentum": 0.0,
    "weight_decay_u": 0.0,
    "weight_decay_w": 0.0,
}
OTHER = {
    "uu": 2.0,
    "uw": -0.3,
    "ww": 1.1,
    "output_scale": -2.0,
    "lr_u": 0.0,
    "lr_w": 0.3,
    "mean_aa": 0.8,
    "mean_ay": 0.0,
    "mean_yy": 2.5,
    "momentum": 0.5,
    "weight_decay_u": 0.2,
    "weight_decay_w": 0.1,
}
MOMENTS = MomentData(sigma_xx=np.diag([1.0, 0.5]), sigma_yx=np.array([[0.3, 1.0]]), mean_yy=4.0)


def build(kind, values):
    return kind(**{field.name: values[field.name] for field in fields(kind) if field.name in PLAIN})


def line(values):
    return build(LineState, values), build(LinearNetwork, values), build(LineData, values)


def rule(values):
    return {name: values[name] for name in ("momentum", "weight_decay_u", "weight_decay_w")}


def general(values):
    state = GramState.sample(
        5, outputs=1, inputs=2, init_std_u=values["uu"], init_std_w=values["ww"], draws=2, seed=0
    )
    return state, build(LinearNetwork, values), MOMENTS


FUNCTIONS = {
    "flow": lambda v: flow(*line(v), [0.0, 1.0, np.inf]),
    "flow, propagator": lambda v: flow(*line(v), [0.0, 1.0], propagator=True),
    "descent": lambda v: descent(*line(v), steps=4, **rule(v)),
    "descent, propagator": lambda v: descent(*line(v), steps=4, propagator=True, **rule(v)),
    "descent, momentum": lambda v: descent(*line(v | {"momentum": 0.8}), steps=4),
    "descent, minibatches": lambda v: descent(
        *line(v), steps=4, batches=[build(LineData, v), build(LineData, PLAIN)]
    ),
    "order_parameters": lambda v: order_parameters(*line(v)),
    "time_to_residual": lambda v: time_to_residual(*line(v), 0.5).to_dataset(),
    "mechanisms": lambda v: mechanisms(flow(*line(v), [0.0, 0.5, 4.0])),
    "gram": lambda v: build(LineState, v).gram().matrix.rename("matrix").to_dataset(),
    "flow, general": lambda v: flow(*general(v), [0.0, 1.0]),
    "descent, general": lambda v: descent(*general(v), steps=4, propagator=True, **rule(v)),
}


def parameters(*kinds):
    return {
        key: one.axis or key
        for kind in kinds
        for key, one in vars(kind).items()
        if isinstance(one, Parameter)
    }


AXES = parameters(LineState, LinearNetwork, LineData, _Rule)


def test_these_are_all():
    assert set(AXES) == set(PLAIN) == set(OTHER)


def at(values, names):
    """The cell of a grid; where a state is drawn its norms are those of single weights."""
    drawn = {"uu": "init_std_u", "ww": "init_std_w"}
    cell = {AXES[name]: values[name] for name in names}
    return cell | {drawn[name]: values[name] for name in names if name in drawn}


def compare(grid, alone, selection):
    known = {name: value for name, value in selection.items() if name in grid.dims}
    for name in alone.data_vars:
        cell = grid[name].sel({key: x for key, x in known.items() if key in grid[name].dims})
        np.testing.assert_allclose(
            cell.transpose(*alone[name].dims).values.astype(float),
            alone[name].values.astype(float),
            rtol=1e-9,
            atol=1e-12,
            err_msg=name,
        )


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_one_axis(function, axis):
    run = FUNCTIONS[function]
    grid = run(PLAIN | {axis: [PLAIN[axis], OTHER[axis]]})
    for values in (PLAIN, PLAIN | {axis: OTHER[axis]}):
        compare(grid, run(values), at(values, [axis]))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_all_axes_along_one_dim(function):
    """Labelled arrays, with a dim that is no parameter."""
    run = FUNCTIONS[function]
    points = {name: xr.DataArray([PLAIN[name], OTHER[name]], dims="point") for name in PLAIN}
    grid = run(points)
    for index, values in enumerate((PLAIN, OTHER)):
        compare(grid.isel(point=index), run(values), {})


@pytest.mark.parametrize("function", FUNCTIONS)
def test_all_axes_at_once(function):
    run = FUNCTIONS[function]
    some = ("uu", "output_scale", "mean_yy", "momentum", "weight_decay_w")
    grid = run(PLAIN | {name: [PLAIN[name], OTHER[name]] for name in some})
    compare(grid, run(PLAIN), at(PLAIN, some))


@pytest.mark.parametrize("name", [*parameters(Setting), *BOTH_LAYERS])
@pytest.mark.parametrize("across", ["width", "mean_yy", "init_alignment"])
def test_diagrams(name, across):
    if name == across:
        return
    span = {"width": [1.0, 10.0, 100.0], "init_alignment": [-0.5, 0.0, 0.5]}
    x, y = ((key, span.get(key, [1.0, 2.0, 3.0])) for key in (name, across))
    fixed = {"mean_yy": 9.0, "mean_aa": 9.0}
    made = parameter_diagram(x, y, **{k: v for k, v in fixed.items() if k not in (name, across)})
    assert dict(made.values.region.sizes) == {across: 3, name: 3}
    assert made.values.ntk_change.notnull().all()


def test_width_of_the_quadratic_network():
    grid = quadratic_network_prediction(np.ones(4), np.arange(4.0), width=[2, 8])
    assert grid.dims == ("width",)
