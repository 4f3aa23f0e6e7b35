"""Stores that outlive the code that made them: read without it, and never mixed in silence."""

import sys
import warnings

import numpy as np
import pytest

from lazyrich import StoreError, StoreWarning, Study, results
from lazyrich.sweeps.store.store import Store

MODULE = """
from dataclasses import dataclass
import xarray as xr
from lazyrich.sweeps import Result
print("imported")

@dataclass(frozen=True, kw_only=True)
class Square:
    x: float = 1.0
    {field}
    seed: int = 0
    def run(self):
        return Result(status="finished", sentence="", data=xr.Dataset({{"y": {formula}}}))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the experiment's module, and forgets the one that was imported before."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def write(field="", formula="self.x**2"):
        sys.modules.pop("squares", None)
        if field is None:
            (folder / "squares.py").unlink()
        else:
            (folder / "squares.py").write_text(MODULE.format(field=field, formula=formula))
        sys.path_importer_cache.clear()

    yield write
    sys.modules.pop("squares", None)


def run(folder, xs=(1.0, 2.0, 3.0), **options):
    study = Study(name="squares", experiment="squares:Square", axes={"x": xs}, seeds=2)
    with Store.open(folder, study, **options) as store:
        return store.write((p, p.experiment.run()) for p in study.points())


@pytest.mark.parametrize("field", ["more: int = 3", "seeds: int = 1", None, "def broken("])
def test_a_store_opens_whatever_became_of_its_experiment(tmp_path, module, capsys, field):
    module()
    run(tmp_path / "out")
    before = results(tmp_path / "out")
    capsys.readouterr()
    module(field)
    after = results(tmp_path / "out")
    assert after.identical(before)
    assert after.y.dims == ("x", "seed")
    np.testing.assert_array_equal(after.y[:, 0], [1, 4, 9])
    assert capsys.readouterr().out == ""  # nothing was imported


def test_points_of_another_default_are_told_apart(tmp_path, module):
    """The old points have the old default; after the new ones are made only those are shown."""
    module("power: int = 2", "self.x**self.power")
    run(tmp_path / "out")
    module("power: int = 3", "self.x**self.power")
    with pytest.raises(StoreError, match=r"default\.power: was 2; is 3"):
        run(tmp_path / "out")
    np.testing.assert_array_equal(results(tmp_path / "out").y[:, 0], [1, 4, 9])
    with pytest.warns(StoreWarning, match="the experiment's own files have changed since points"):
        assert run(tmp_path / "out", extend=True) == 6
    data = results(tmp_path / "out")
    np.testing.assert_array_equal(data.y[:, 0], [1, 8, 27])
    assert data.points_of_earlier_descriptions == 6


def test_results_of_changed_code_are_not_mixed_in_silence(tmp_path, module):
    module()
    run(tmp_path / "out", xs=(1.0, 2.0))
    module(formula="self.x**3")
    with pytest.warns(StoreWarning, match="the experiment's own files have changed since points"):
        run(tmp_path / "out", extend=True)
    said = "the experiment's own files have changed while these points were computed: old and new"
    with pytest.warns(StoreWarning, match=said):
        data = results(tmp_path / "out")
    np.testing.assert_array_equal(data.y[:, 0], [1, 4, 27])  # the mix that the warning is for
    module(formula="self.x**4")
    with pytest.warns(StoreWarning, match="since points"):
        run(tmp_path / "out")  # nothing new is computed by it
    with pytest.warns(StoreWarning, match="own files have changed while"):
        results(tmp_path / "out")


def test_one_code_alone_is_silent(tmp_path, module):
    module()
    for xs in ((1.0,), (1.0, 2.0), (1.0, 2.0, 3.0)):
        run(tmp_path / "out", xs=xs, extend=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results(tmp_path / "out")
