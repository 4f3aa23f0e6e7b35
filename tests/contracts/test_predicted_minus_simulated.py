"""Comparing theory with training is a subtraction, for every quantity that both of them give."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from docs.vocabulary import vocabulary

from lazyrich.observables.catalogue import observables
from lazyrich.study import Training, exact_solution, line_problem, prepare
from lazyrich.sweeps.store.results import assemble
from lazyrich.theory.two_layer_linear import descent, flow
from lazyrich.vocabulary.losses import under

LINE = Training(
    data="line",
    activation="linear",
    width=12,
    steps=60,
    measurements=4,
    precision="float64",
    loss="squared_error",
    observables=tuple(name for observable in observables() for name in observable.names),
)
ROUNDING = 1e-12  # by which a value may lie outside of its range
UNEQUAL = {"network.layer1.weight": 0.01, "network.readout.weight": 0.2}


@pytest.fixture
def unequal(monkeypatch):
    """The second layer learns twenty times as fast as the first."""
    built = prepare.built
    monkeypatch.setattr(prepare, "built", lambda *point: replace(built(*point), lr_factors=UNEQUAL))


def study(axis, values, **fields):
    """Results over one axis, the last value of which was not trained."""
    pairs = [
        ({axis: value, "seed": 0}, replace(LINE, **{axis: value}, **fields).run())
        for value in values[:-1]
    ]
    return assemble(pairs, {axis: values, "seed": [0]})


def assert_alike(data, *dims):
    """Every number that theory and results share is the same, in kind and in value."""
    theory = exact_solution(data)
    gap = theory - data
    assert {"uu", "uw", "ww", "loss", "alignment", "ntk_change"} <= set(gap.data_vars)
    for name, values in gap.data_vars.items():
        by_layer = [dim for dim in data[name].dims if dim == "layer"]
        assert theory[name].dims == dims, name
        assert {*values.dims} == {*data[name].dims} == {*dims, *by_layer}, name
        assert values.sizes == data[name].sizes, name
        quantity = vocabulary()[name]
        quantity = under("squared_error", quantity) if name == "loss" else quantity
        assert theory[name].attrs == data[name].attrs == quantity.attrs, name
        known = data[name].notnull()
        assert known.any(), name
        assert bool((values.notnull() == known).all()), name
        assert float(abs(values).max()) < 1e-10, name
        for found in (theory[name], data[name]):
            assert float(found.min()) >= quantity.low - ROUNDING, name
            assert float(found.max()) <= quantity.high + ROUNDING, name


@pytest.mark.parametrize(
    "fields",
    [{}, {"parametrisation": "mup", "width": 20}, {"lr_scale": 30.0}, {"init_scale": (0.1, 3.0)}],
)
def test_of_one_network(fields):
    data = replace(LINE, **fields).run().data
    assert data.step.values.tolist() == [0, 1, 4, 15, 60]
    assert_alike(data, "step")


def test_with_unequal_learning_rates(unequal):
    data = replace(LINE, lr=1.0, output_scale=0.5).run().data
    assert (data.lr_u.item(), data.lr_w.item()) == (0.2, 0.01)
    assert_alike(data, "step")


def test_the_mean_over_one_output_is_their_sum():
    """`mse` is another convention, in name alone."""
    summed, mean = LINE.run().data, replace(LINE, loss="mse").run().data
    xr.testing.assert_equal(mean, summed)
    assert mean.loss.attrs == under("mse", vocabulary()["loss"]).attrs != summed.loss.attrs
    xr.testing.assert_equal(exact_solution(mean), exact_solution(summed))


def test_of_a_study_that_was_measured_at_the_same_steps():
    data = study("width", [8, 20, 40], parametrisation="mup")
    assert_alike(data, "width", "seed", "step")


def test_of_a_study_that_was_measured_at_different_steps():
    data = study("steps", [60, 30, 90])
    assert_alike(data, "steps", "seed", "record")


def test_of_a_study_over_the_output_scale():
    """The factor on the output is the product of this axis and what the parametrisation has."""
    data = study("output_scale", [0.5, 2.0, 4.0])
    expected = data.output_scale * 12**-0.5
    np.testing.assert_allclose(data.output_scale_of_result.squeeze()[:2], expected[:2], rtol=1e-12)
    assert_alike(data, "output_scale", "seed", "step")


def test_of_networks_trained_together():
    points = [replace(LINE, seed=seed) for seed in range(2)]
    found = Training.run_together(points)
    pairs = [({"seed": point.seed}, one) for point, one in zip(points, found, strict=True)]
    assert_alike(assemble(pairs, {"seed": [0, 1]}), "seed", "step")


def test_without_help():
    """The recursion at every step, from the problem alone: subtracting finds the common steps."""
    data = replace(LINE, parametrisation="mup", width=20).run().data
    gap = descent(*line_problem(data), steps=60) - data
    assert gap.step.values.tolist() == [0, 1, 4, 15, 60]
    for name, values in gap.data_vars.items():
        assert float(abs(values).max()) < 1e-10, name
    alone = exact_solution(data) - data
    xr.testing.assert_allclose(gap.drop_vars("status"), alone, atol=1e-12)


def test_whole_datasets_of_a_study_without_help():
    """Texts are coordinates: nothing is dropped before `descent - results` and back."""
    data = study("width", [6, 9, 12])
    predicted = descent(*line_problem(data.isel(width=slice(2), seed=0)), steps=60)
    results = data.isel(width=slice(2), seed=0)
    for gap in (predicted - results, results - predicted, results - results):
        assert {"loss", "alignment", "ntk_change", "uu", "uw", "ww"} <= set(gap.data_vars)
        assert float(abs(gap.loss).max()) < 1e-10
    flowed = flow(*line_problem(results), [0.0, 60.0])
    assert (flowed - flowed).loss.dims == flowed.loss.dims
    assert {"time", "step"} <= set((flowed - results).loss.dims)  # a time is not a step
