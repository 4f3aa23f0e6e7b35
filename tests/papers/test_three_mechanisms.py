"""The runs of the paper on three mechanisms: the theory's line, and steps of any size."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import torch
import xarray as xr
from papers.xu2025three import fig6, fig7, fig8, rehearsed
from papers.xu2025three.images import Images
from papers.xu2025three.large_steps import LargeSteps, _map, phase
from papers.xu2025three.two_layers import ACTIVATIONS, AT_ZERO, SLOPES, TwoLayers

import lazyrich as lr
from lazyrich import study


def _run(**more):
    size = {"width": 3000, "steps": 200, "start": "small", "task": "regression", "seed": 0}
    return TwoLayers(**(size | more)).run().data


def test_a_linear_network_is_on_the_line_to_rounding():
    assert float(_run(activation="linear").from_theory) < 1e-12


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "swish"])
def test_the_other_activations_are_near_it_at_their_slope(name, monkeypatch):
    assert float(_run(activation=name).from_theory) < 0.02
    monkeypatch.setitem(SLOPES, name, 2 * SLOPES[name])
    assert float(_run(activation=name).from_theory) > 0.1, "another slope is another line"


def test_slopes_and_offsets_are_those_of_the_activations():
    for name, make in ACTIVATIONS.items():
        z = torch.tensor([-1e-4, 0.0, 1e-4], dtype=torch.float64)
        low, middle, high = make()(z).tolist()
        assert middle == pytest.approx(AT_ZERO.get(name, 0.0))
        assert (high - low) / 2e-4 == pytest.approx(SLOPES[name], rel=1e-3)


def test_classification_has_no_line():
    assert np.isnan(_run(activation="linear", task="classification").theory_alignment).all()


def test_narrow_smooth_networks_leave_the_line():
    wide, narrow = (
        float(_run(activation="tanh", start="large", width=width).from_theory)
        for width in (3000, 10)
    )
    assert wide < 0.02 < narrow


@pytest.mark.parametrize("curvature", [0.5, 1.5, 2.5, 3.5, 4.5])
def test_uv_model_is_the_papers_network_and_the_map(curvature):
    found = LargeSteps(width=200, curvature=curvature, seed=0).run().data
    assert float(found.recursion_error) < 1e-8
    assert float(found.map_error) < 1e-8
    kind = phase(curvature)
    assert kind == ("lazy" if curvature < 2 else "catapult" if curvature < 4 else "divergent")
    assert bool(fig8.IN_PHASE[kind](found))
    assert [name for name, holds in fig8.IN_PHASE.items() if bool(holds(found))] == [kind]


def test_the_map_has_the_designs_vector():
    """z = 3, w = 9e-4 after 20 steps."""
    assert _map(3.0, 9e-4, 21)[-1] == pytest.approx(0.22505600971279010373, rel=1e-10)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-1.1, -0.9, "vanishes"),
        (-0.05, 0.05, "stays"),
        (0.5, 0.9, "grows"),
        (-0.3, 0.05, "is not decided"),
    ],
)
def test_the_fate_of_the_kernels_change(low, high, word):
    power = {"value": (low + high) / 2, "low": low, "high": high, "of": "95 % interval of"}
    assert fig8._fate(power) == word


@pytest.mark.parametrize(
    ("measurements", "steps"), [(1, [0, 20]), (2, [0, 1, 20]), (3, [0, 1, 4, 20])]
)
def test_the_last_measurement_of_a_run_is_at_its_end(measurements, steps):
    """One alone was after the first step, and read as what training does."""
    size = {"data": "digits", "samples": 100, "test_samples": 20, "width": 20, "steps": 20}
    run = Images(**size, parametrisation="ntk", measurements=measurements, seed=0)
    assert run.run().data.step.values.tolist() == steps


@pytest.mark.parametrize("parametrisation", ["mean_field", "kaiming"])
def test_the_rehearsal_is_the_training_where_that_is_by_the_same_images(
    parametrisation, monkeypatch
):
    """The oracle of figure 7, and why its training is by batches of other images."""
    digits = study.load("digits")
    same = replace(digits, train=digits.balanced(3, seed=0))
    monkeypatch.setattr(rehearsed, "_loaded", lambda name: same)
    monkeypatch.setattr(rehearsed, "DIRECTIONS", "all")
    monkeypatch.setattr(lr, "Probe", partial(lr.Probe, directions="all"))
    size = {"data": "digits", "samples": 30, "batch_size": 30, "width": 50, "steps": 10}
    run = rehearsed.Rehearsed(**size, parametrisation=parametrisation, seed=0).run().data
    measured = run.ntk_change.sel(step=10)
    assert float(run.rehearsed_ntk_change) == pytest.approx(float(measured), rel=1e-3)


def test_each_network_counts_once_over_all_parametrisations():
    """At the smallest width those of a pair are the same."""
    places = {"parametrisation": fig6.PRESETS, "width": [100, 200, 400], "seed": [0, 1]}
    shape = tuple(map(len, places.values()))
    change = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    data = {name: (tuple(places), change) for name in fig7.SHOWN}
    findings = fig7._across(xr.Dataset(data, places))
    assert findings[f"{fig7.ACROSS}: {fig7.OF_RHO}"].n == 6 * 3 * 2 - 3 * 2
    assert findings[f"feature phase: {fig7.RATIO}"].n == 3 * 3 * 2
    assert findings[f"kernel phase: {fig7.RATIO}"].n == 3 * 2 * 2
    assert findings[f"ntk, over widths: {fig7.OF_REHEARSAL}"].n == 3 * 2


@pytest.mark.parametrize(
    ("shown", "words"),
    [({}, "one step"), ({"steps": 1}, "one step"), ({"steps": 1600}, "1,600 steps")],
)
def test_a_record_says_after_how_many_steps_it_looked(shown, words):
    assert fig6.counted(shown) == words
