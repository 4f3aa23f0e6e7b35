"""Odd inputs are refused in words, or taken as what they mean; nothing raw, nothing silent."""

import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError, fit_exponent, order_parameters, parameter_diagram
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

STATE = LineState(uu=1.0, uw=0.0, ww=1.0)
NETWORK = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
DATA = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)


def along(dim):
    return LinearNetwork(output_scale=xr.DataArray([1.0, 2.0], dims=dim), lr_u=0.1, lr_w=0.1)


def test_plain_floats_stand_for_what_is_known_better():
    assert LineState(uu=1.0, uw=1.0, ww=1.0, sine_squared=0).sine_squared.item() == 0
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0, noise=0.0)
    found = flow(STATE, NETWORK, data, 1.0)
    xr.testing.assert_identical(found, flow(STATE, NETWORK, DATA, 1.0))


NOT_NUMBERS = r"must be a number or an array of numbers, got "
REFUSED = {
    "a number larger than any float": (
        rf"`output_scale` {NOT_NUMBERS}1000",
        lambda: LinearNetwork(output_scale=10**400, lr_u=0.1, lr_w=0.1),
    ),
    "an empty axis": (
        r"`momentum` must hold at least one number, got shape \(0,\)",
        lambda: descent(STATE, NETWORK, DATA, steps=1, momentum=[]),
    ),
    "an empty parameter": (
        r"`uu` must hold at least one number",
        lambda: LineState(uu=[], uw=0.0, ww=1.0),
    ),
    "no times": (r"`time` must hold at least one", lambda: flow(STATE, NETWORK, DATA, [])),
    "complex numbers": (
        rf"`uu` {NOT_NUMBERS}array\(\[1.\+0.j\]\)",
        lambda: LineState(uu=np.array([1 + 0j]), uw=0.0, ww=1.0),
    ),
    "a complex matrix": (
        rf"`matrix` {NOT_NUMBERS}",
        lambda: GramState(matrix=np.eye(2) * (1 + 0j), outputs=1),
    ),
    "a complex labelled matrix": (
        rf"`matrix` {NOT_NUMBERS}",
        lambda: GramState(matrix=xr.DataArray(np.eye(2) * 1j, dims=("row", "col")), outputs=1),
    ),
    "a matrix of three dimensions": (
        r"`matrix` must have two dimensions, .* got shape \(1, 2, 2\)",
        lambda: GramState(matrix=np.eye(2)[None], outputs=1),
    ),
    "half an output": (
        r"`outputs` must be a whole number ≥ 1, got 1.5",
        lambda: GramState(matrix=np.eye(3), outputs=1.5),
    ),
    "complex samples": (
        rf"`x` {NOT_NUMBERS}",
        lambda: MomentData.from_samples(np.array([[1j]]), [[1.0]]),
    ),
    "complex weights": (
        rf"`w` {NOT_NUMBERS}",
        lambda: neurons(flow(STATE, NETWORK, DATA, 1.0, propagator=True), [1.0], [1j]),
    ),
    "moments that are words": (
        rf"`mean_yy` {NOT_NUMBERS}'much'",
        lambda: MomentData(sigma_xx=np.eye(1), sigma_yx=np.eye(1), mean_yy="much"),
    ),
    "several E[y²] of a matrix": (
        r"`mean_yy` must be one number, got shape \(2,\)",
        lambda: MomentData(sigma_xx=np.eye(1), sigma_yx=np.eye(1), mean_yy=[1.0, 2.0]),
    ),
    "an odd seed": (
        r"`seed` must be a whole number ≥ 0 or a NumPy generator, got -1",
        lambda: LineState.sample(3, init_std_u=1.0, init_std_w=1.0, seed=-1),
    ),
    "a seed in words": (
        r"`seed` must be .* got 'one'",
        lambda: LineState.sample(3, init_std_u=1.0, init_std_w=1.0, seed="one"),
    ),
    "widths along the draws": (
        r"`width` has a dim `draw`",
        lambda: LineState.sample(
            xr.DataArray([3, 4], dims="draw"), init_std_u=1.0, init_std_w=1.0, draws=2, seed=0
        ),
    ),
    "words for an axis of a diagram": (
        rf"`lr` {NOT_NUMBERS}",
        lambda: parameter_diagram(("lr", ["a", "b"]), ("width", [1.0, 2.0])),
    ),
    "weights whose squares are no numbers": (
        r"`w` must be finite, with norms of 0 or from 1e-154 to 1e\+154, .* got 1e\+200",
        lambda: LineState.from_weights([1.0], [1e200]),
    ),
    "weights whose squares are zero": (
        r"`u` must be finite, with norms of 0 or from 1e-154 to 1e\+154, .* got 1e-200",
        lambda: LineState.from_weights([1e-200], [1.0]),
    ),
    "an output's weights whose squares are zero": (
        r"`u` must be finite, with norms of 0 or .* got 1e-200",
        lambda: GramState.from_weights([[1.0], [1e-200]], [[1.0]]),
    ),
    "an input's weights whose squares are zero": (
        r"`w` must be finite, with norms of 0 or .* got 1e-200",
        lambda: GramState.from_weights([[1.0]], [[1.0, 1e-200]]),
    ),
    "missing weights": (
        r"`u` must be finite, .* got nan",
        lambda: GramState.from_weights([[np.nan]], [[1.0]]),
    ),
    "samples whose squares are no numbers": (
        r"`mean_aa` must be finite and ≥ 0, got inf",
        lambda: LineData.from_samples([1e200, 1.0], [1.0, 1.0]),
    ),
    "a fit of an array": (
        r"`values` must be a DataArray with the coordinate `width`, got ndarray",
        lambda: fit_exponent(np.ones(3)),
    ),
    "identical widths": (
        r"`width` must have at least three different values, got \[5.\]",
        lambda: fit_exponent(xr.DataArray(np.ones(3), {"width": [5.0, 5.0, 5.0]})),
    ),
    "an infinite width": (
        r"`width` must hold numbers > 0, which have a logarithm",
        lambda: fit_exponent(xr.DataArray(np.ones(3), {"width": [1.0, 2.0, np.inf]})),
    ),
    "widths of zero": (
        r"`width` must hold numbers > 0, which have a logarithm",
        lambda: fit_exponent(xr.DataArray(np.ones(3), {"width": [0.0, 1.0, 2.0]})),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    message, call = REFUSED[name]
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("dim", ["row", "col", "status", "loss", "end_to_end_map", "neuron", "k"])
@pytest.mark.parametrize(
    "call",
    [
        lambda n: flow(STATE, n, DATA, 1.0),
        lambda n: flow(
            STATE.gram(), n, MomentData(sigma_xx=np.eye(1), sigma_yx=np.eye(1), mean_yy=1.0), 1.0
        ),
        lambda n: descent(STATE, n, DATA, steps=1),
        lambda n: order_parameters(STATE, n, DATA),
        lambda n: time_to_residual(STATE, n, DATA, 0.5),
    ],
)
def test_axes_with_the_name_of_a_result(call, dim):
    with pytest.raises(InputError, match=f"an axis must not have the name .* got {dim}. Rename"):
        call(along(dim))


@pytest.mark.parametrize("dim", ["row", "col", "neuron"])
@pytest.mark.parametrize(
    "call",
    [
        lambda axis: LineState(uu=axis, uw=0.0, ww=1.0).gram(),
        lambda axis: LineState.sample(axis, init_std_u=1.0, init_std_w=1.0, seed=0),
        lambda axis: LineState.sample(9, init_std_u=axis, init_std_w=1.0, seed=0),
        lambda axis: GramState.sample(
            9, outputs=1, inputs=1, init_std_u=1.0, init_std_w=axis, seed=0
        ),
    ],
)
def test_axes_with_the_name_of_those_of_a_matrix(call, dim):
    with pytest.raises(InputError, match=f"an axis must not have the name .* got {dim}. Rename"):
        call(along(dim).output_scale)


def test_steps_are_those_of_the_descent():
    with pytest.raises(InputError, match=r"got step. Rename it: array.rename\(step=...\)"):
        descent(STATE, along("step"), DATA, steps=1)


def test_lazy_arrays_are_computed():
    dask = pytest.importorskip("dask.array")
    values = np.array([0.5, 1.0])
    lazy = xr.DataArray(dask.from_array(values, chunks=1), dims="run")
    found, plain = (
        flow(STATE, LinearNetwork(output_scale=scale, lr_u=0.1, lr_w=0.1), DATA, [0.0, 1.0])
        for scale in (lazy, xr.DataArray(values, dims="run"))
    )
    xr.testing.assert_identical(found, plain)


def test_batches_may_be_a_generator():
    listed, made = (
        descent(STATE, NETWORK, DATA, steps=3, batches=batches)
        for batches in ([DATA, DATA], (DATA for _ in range(2)))
    )
    xr.testing.assert_identical(listed, made)
