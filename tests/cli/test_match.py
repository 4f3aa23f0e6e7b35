"""`lazyrich match`: a network and data from functions."""

import numpy as np

import lazyrich

from .run import answer, refusal, run

MINE = """
import torch
from torch import nn

def weights():
    return [[[0.3, -0.4]], [[0.5]]]

def module():
    return nn.Sequential(nn.Linear(2, 3, bias=False), nn.Linear(3, 1, bias=False)).double()

def data():
    return torch.eye(2).double(), torch.tensor([[1.0], [0.5]]).double()
"""


def test_it_says_what_the_library_says(tmp_path, monkeypatch):
    (tmp_path / "mine_to_match.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    names = ("mine_to_match:weights", "mine_to_match:data")
    expected = lazyrich.match([[[0.3, -0.4]], [[0.5]]], (np.eye(2), [[1.0], [0.5]]), steps=50)
    found = answer("match", *names, "--steps", "50")
    assert found["theory"] == [one.name for one in expected.theories]
    assert found["loss"][0] == expected.best.prediction.loss
    assert found["descent"]["loss"] == expected.descent.loss
    assert found["residuals"]["single_neuron"]["There is one hidden neuron."] == 0
    said = run("match", *names, "--steps", "50").stdout
    assert said.strip() == repr(expected)
    whole = run("match", "mine_to_match:module", names[1], "--steps", "5").stdout
    assert "single_neuron does not describe it. Broken: There is one hidden neuron" in whole
    assert "cannot import" in refusal("match", "nowhere:x", names[1])
