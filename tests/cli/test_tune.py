"""`lazyrich tune`: the best richness from the command line."""

import sys

import pytest
from torch.optim import SGD

from lazyrich import best_richness

from .run import answer, refusal, run

NETS = """
import torch
from torch import nn

def model(width):
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))

def digits(width):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

def numbers(seed):
    x = torch.randn(24, 3, generator=torch.Generator().manual_seed(seed))
    return x, x[:, :1] * x[:, 1:2]

def data():
    return numbers(0)

def held_out():
    return numbers(1)

def sgd(network):
    return torch.optim.SGD(network.parameters(), lr=0.1)
"""
SMALL = ("--width", 8, "--steps", 2, "--richness", "0.1,1,10", "--seeds", 2)
OWN = ("--data", "tune_nets:data", "--loss", "mse", "--optimizer", "tune_nets:sgd")


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "tune_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("tune_nets", None)


def test_it_prints_and_tells_what_the_library_finds(nets, tmp_path):
    given = ("tune", "tune_nets:model", *SMALL, *OWN, "--test", "tune_nets:held_out")
    told = answer(*given, "--out", "kept")
    import tune_nets

    found = best_richness(
        tune_nets.model, tune_nets.data(), width=8, steps=2, test=tune_nets.held_out(),
        optimizer=lambda model, width: SGD(model.parameters(), lr=0.1),
        richness=(0.1, 1, 10), seeds=2, progress=False,
    )  # fmt: skip
    for name in ("mean_test_loss", "mean_test_loss_low", "test_loss"):
        assert told["curve"][name] == pytest.approx(found.best[name].values, rel=1e-4)
    assert told["advice"] == found.advice
    assert told["richness"] == found.richness
    assert told["gain"]["mean"] == pytest.approx(found.gain.mean, rel=1e-3)
    assert (told["trainings"], told["curve"]["richness"]) == (8, [0.1, 1.0, 10.0])
    again = run(*given, "--out", "kept", "--plot", "curve.png")
    assert "8 trainings, 8 of them from the store" in again.stdout
    assert again.stdout.startswith(told["sentence"].partition(".")[0])
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_digits_come_with_their_test_samples(nets):
    told = answer("tune", "tune_nets:digits", *SMALL)
    assert told["curve"]["mean_test_loss"] == pytest.approx([2.3] * 3, abs=0.3)
    assert told["as_it_stands"]["lr_scale"] == 1


def test_bad_input_is_one_sentence(nets):
    asked = ("tune", "tune_nets:model", *SMALL, *OWN)
    assert "--test must be given with data of your own" in refusal(*asked)
    tested = (*asked, "--test", "tune_nets:held_out")
    assert "--richness takes numbers" in refusal(*tested, "--richness", "a,b")
    assert "at least 3 different numbers > 0" in refusal(*tested, "--richness", "1,2")
    assert "has no function 'nothing'" in refusal(*asked, "--test", "tune_nets:nothing")


def test_ctrl_c_says_how_to_go_on(nets, monkeypatch):
    from lazyrich.study.tuning import trainings

    def stop(task, trial):
        raise KeyboardInterrupt

    monkeypatch.setattr(trainings, "trained", stop)
    done = run("tune", "tune_nets:digits", *SMALL, "--out", "kept")
    assert done.exit_code == 130
    assert "0 of 8 trainings are done, and stored in kept. Run the same again" in done.stderr
