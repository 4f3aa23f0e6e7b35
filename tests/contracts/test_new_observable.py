"""Adding an observable is one file: nothing else in the package has to know of it."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import lazyrich
import lazyrich.observables
from lazyrich.observables.catalogue import observables
from lazyrich.probe.history import scalars

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
FILE = CONTRIBUTING.read_text("utf-8").split("```python\n")[1].split("```")[0]


@pytest.fixture
def new_file(tmp_path, monkeypatch):
    (tmp_path / "largest_weight.py").write_text(FILE)
    monkeypatch.setattr(
        lazyrich.observables, "__path__", [*lazyrich.observables.__path__, str(tmp_path)]
    )
    yield
    sys.modules.pop("lazyrich.observables.largest_weight", None)
    vars(lazyrich.observables).pop("largest_weight", None)


def test_one_file_adds_an_observable(new_file):
    assert any("largest_weight" in observable.names for observable in observables())
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    probe = lazyrich.Probe(model, (torch.ones(4, 2), torch.zeros(4, 1)))
    probe.measure(0)
    found = probe.history.largest_weight
    assert found.dims == ("step", "layer")
    assert found.attrs["symbol"] == "max|W|"
    assert found.sel(layer="0").item() == float(model[0].weight.detach().abs().max())
    only = lazyrich.Probe(
        model, (torch.ones(4, 2), torch.zeros(4, 1)), observables=["largest_weight"]
    )
    only.measure(0)
    assert list(only.history.data_vars) == ["largest_weight"]
    assert "lazyrich/largest_weight/0" in scalars({"largest_weight": {"0": 1.0}})
    from docs.vocabulary import vocabulary

    assert vocabulary()["largest_weight"].low == 0


def test_without_the_file_there_is_none():
    assert not any("largest_weight" in observable.names for observable in observables())
