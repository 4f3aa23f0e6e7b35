"""Results that do not fit together are refused by name and place; those that do are laid out."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.run.work import pack, run_packed
from lazyrich.sweeps.store import codec as arrays
from lazyrich.sweeps.store.codec import decode
from lazyrich.sweeps.store.results import assemble, results
from lazyrich.sweeps.store.store import Store

SQUARE = np.arange(4.0).reshape(2, 2)
A, B, C = (f"at width={width}, seed=0" for width in (8, 16, 32))


def one(variables, **labels):
    return Result(status="finished", sentence="", data=xr.Dataset(variables, labels))


def laid_out(*found):
    """Results at A, B, C, …"""
    pairs = [({"width": 8 * 2**i, "seed": 0}, single) for i, single in enumerate(found)]
    return assemble(pairs, {"width": [8, 16], "seed": [0]})


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 0, 1], "labels of `time` must differ from each other, got 0 twice. Number the places"),
     (["a", "b", "b"], "labels of `time` must differ from each other, got 'b' twice"),
     ([0, np.nan, 1], r"labels of `time` must be known, got \[ 0. nan  1.\]. Number the places"),
     (np.array([1, "NaT", 2], "m8[s]"), "labels of `time` must be known, got"),
     (("time", "layer"), "`time` is a dimension and must hold its labels, got .* time × layer")],
)  # fmt: skip
def test_labels_that_do_not_tell_places_apart_are_refused(labels, message):
    if isinstance(labels, tuple):
        odd = one({"time": (labels, [[0, 1]])})
    else:
        odd = one({"loss": ("time", [3.0, 2.0, 1.0])}, time=labels)
    fine = one({"loss": ("time", [3.0])}, time=odd.data.time.values.ravel()[:1])
    with pytest.raises(InputError, match=f"the result {B} does not fit: {message}"):
        laid_out(fine, odd)
    with pytest.raises(InputError, match=f"^{message}"):
        arrays.encode(odd)


LONG, NAMED = ("time", [3.0, 2.0]), {"time": [5, 6]}


@pytest.mark.parametrize(
    ("first", "odd", "message"),
    [(one({"a": LONG}), one({"a": 1.0}),
      f"`a` must be alike .* got numbers over time {A}, and numbers without a dimension {C}. Let"),
     (one({"a": (("x", "y"), SQUARE)}), one({"a": (("y", "x"), SQUARE)}),
      f"`a` must be alike .* got numbers over x × y {A}, and numbers over y × x {C}"),
     (one({"a": 1.0}), one({"a": "x"}), f"`a` .* and text without a dimension {C}. Let the exper"),
     (one({"a": "x"}), one({"a": 1}), f"`a` .* and numbers without a dimension {C}"),
     (one({"a": 1}), one({"a": True}), f"`a` .* and booleans without a dimension {C}"),
     (one({"a": 1}), one({"a": 1j}), f"`a` .* and complex numbers without a dimension {C}"),
     (one({"a": 1}), one({"a": np.datetime64(0, "ns")}), f"`a` .* and times without .* {C}"),
     (one({"a": LONG}, **NAMED), one({"a": LONG}),
      f"`time` .* numbers as labels {A}, and a dimension without labels {C}"),
     (one({"a": LONG}), one({"b": LONG}, **NAMED), f"`time` .* numbers as labels {C}"),
     (one({"a": LONG}, **NAMED), one({"a": LONG}, time=["u", "v"]),
      f"`time` .* and a dimension with text as labels {C}"),
     (one({"a": LONG}), one({"time": 1.0}), f"`time` .* numbers without a dimension {C}"),
     (one({"a": 1.0}), one({"b": ("width", [1.0, 2.0])}),
      f"`width` is an axis or an outcome of the study, and a dimension of the result {C}. Rename"),
     (one({"a": 1.0}), one({"b": ("status", [1.0])}), f"`status` is an axis or an outcome .* {C}")],
)  # fmt: skip
def test_what_cannot_stand_in_one_array_is_refused(first, odd, message):
    with pytest.raises(InputError, match=message):
        laid_out(first, first, odd)


def test_differences_that_fit_are_laid_out():
    failed = Result(status="failed", sentence="no memory")
    whole = one({"a": ("time", [3, 2]), "word": "lazy"}, layer=["u", "v"])
    longer = one({"a": ("time", np.ones(3, "f4")), "b": ("layer", [1.0])}, layer=["v"])
    data = laid_out(failed, whole, longer)
    np.testing.assert_array_equal(data.a.isel(seed=0), [[np.nan] * 3, [3, 2, np.nan], [1, 1, 1]])
    np.testing.assert_array_equal(data.b.sel(width=32, seed=0), [np.nan, 1])
    assert data.word.values.ravel().tolist() == ["", "lazy", ""]
    assert data.layer.values.tolist() == ["u", "v"]


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Names two moments alike."""

    seed: int = 0

    def run(self):
        return one({"loss": ("time", [3.0, 2.0, 1.0])}, time=[0, 0, 1])


def test_the_first_point_tells_of_repeated_labels():
    result = decode(run_packed(pack([Repeated()]), 0)[0])
    assert result.status == "failed"
    assert "cannot be stored: labels of `time` must differ from each other" in result.sentence


def test_a_result_may_not_have_a_dimension_of_the_study():
    for name in ("seed", "status"):
        with pytest.raises(InputError, match=f"`{name}` is something that every study has"):
            arrays.encode(one({"loss": (name, [2.0, 1.0])}))


def test_a_store_that_took_repeated_labels_names_the_point_and_stays_readable(
    tmp_path, monkeypatch
):
    study = Study(name="old", experiment=f"{__name__}:Repeated", seeds=2)
    points = list(study.points())
    with Store.open(tmp_path / "store", study) as store:
        store.write([(points[0], one({"loss": ("time", [1.0])}, time=[0]))])
        with pytest.raises(InputError, match="at seed=1 cannot be stored: labels of `time`"):
            store.write([(points[1], points[1].experiment.run())])
        monkeypatch.setattr(arrays, "check_labels", lambda *_: None)  # as it was once
        store.write([(points[1], points[1].experiment.run())])
    with pytest.raises(InputError, match="the result at seed=1 does not fit: labels of `time`"):
        results(tmp_path / "store")
    with Store.read_only(tmp_path / "store") as store:
        assert store.read(points[1].key).data.loss.values.tolist() == [3, 2, 1]
