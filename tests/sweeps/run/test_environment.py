"""Variables that points find, and what they were computed on."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import xarray as xr

import lazyrich as lr
from lazyrich import StoreWarning
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.store.codec import Packed, decode, encode
from lazyrich.sweeps.store.results import assemble
from tests.sweeps.experiments import Walk

NAME = "LAZYRICH_TEST_PLACE"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Says where it ran, as the environment has it."""

    width: int = 0
    seed: int = 0

    def run(self) -> Result:
        place = os.environ.get(NAME, "")
        data = xr.Dataset({"x": float(self.width)})
        return Result(status="finished", sentence=place, data=data, computed_on=place)


def plan(*widths):
    return lr.Study(name="s", experiment=Place, axes={"width": list(widths)})


def run(study, out, place, **options):
    with ThreadPoolExecutor(1) as executor:
        options = {"executor": executor, "environment": {NAME: place}, "progress": False, **options}
        return lr.sweep(study, out, **options)


@pytest.mark.parametrize("processes", [False, True])
def test_points_find_the_variables_and_nobody_else(tmp_path, processes):
    options = {"executor": None, "workers": 1} if processes else {}
    run(plan(1, 2), tmp_path, "cuda (card), full", **options)
    found = lr.results(tmp_path)
    assert found.sentence.values.ravel().tolist() == ["cuda (card), full"] * 2
    assert found.computed_on.dims == found.status.dims
    assert found.computed_on.values.ravel().tolist() == ["cuda (card), full"] * 2
    assert NAME not in os.environ


def test_the_variables_are_no_part_of_the_study(tmp_path):
    run(plan(1, 2), tmp_path, "cpu, full")
    assert run(plan(1, 2), tmp_path, "cuda (card), full").ran == 0  # and without a warning


def test_a_study_that_goes_on_elsewhere_says_so(tmp_path):
    run(plan(1), tmp_path, "cpu, full")
    said = (
        r"points of this study were computed on different devices: on cpu, full; on cuda \(card\)"
    )
    with pytest.warns(StoreWarning, match=said):
        run(plan(1, 2), tmp_path, "cuda (card), full", extend=True)
    with pytest.warns(StoreWarning, match=said):
        found = lr.results(tmp_path)
    assert found.computed_on.values.ravel().tolist() == ["cpu, full", "cuda (card), full"]


def test_experiments_without_a_choice_say_nothing(tmp_path):
    study = lr.Study(name="s", experiment=Walk, seeds=2)
    with ThreadPoolExecutor(1) as executor:
        lr.sweep(study, tmp_path, executor=executor, progress=False)
    assert "computed_on" not in lr.results(tmp_path).coords


def test_results_of_earlier_versions_are_read():
    """Their headers have no place."""
    packed = encode(Result(status="finished", sentence="", data=xr.Dataset({"x": 1.0})))
    old = Packed(packed.status, packed.header.replace(b'"computed_on":"",', b""), packed.payload)
    assert b"computed_on" in packed.header
    assert b"computed_on" not in old.header
    assert decode(old).computed_on == ""


def test_one_place_is_no_mixture():
    made = Result(status="finished", sentence="", computed_on="cpu, full")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = assemble(
            [({"a": 1}, made), ({"a": 2}, Result(status="failed", sentence=""))], {"a": [1, 2]}
        )
    assert found.computed_on.values.tolist() == ["cpu, full", ""]
