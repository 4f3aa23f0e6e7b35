"""`lazyrich transfer`: factors from the command line."""

import sys

import pytest
from torch.optim import SGD

from lazyrich import transfer

from .run import answer, refusal, run

NETS = """
import torch
from torch import nn

def model(width):
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2))

def digits(width):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

def data():
    x = torch.linspace(-1, 1, 36).reshape(12, 3)
    return x, x[:, :2]

def sgd(network):
    return torch.optim.SGD(network.parameters(), lr=0.1)

def both(network):
    first, *rest = network.parameters()
    return torch.optim.Muon([first], lr=0.1), torch.optim.Adam(rest)

def one_of_none(network):
    return torch.optim.Adam(network.parameters()), None

def nothing(width):
    return width
"""
SIZES = ("--small", 8, "--large", 32)


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "transfer_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("transfer_nets", None)


def test_it_prints_and_tells_what_the_library_finds(nets):
    given = (
        "transfer",
        "transfer_nets:model",
        *SIZES,
        "--data",
        "transfer_nets:data",
        "--loss",
        "mse",
    )
    told = answer(*given, "--optimizer", "transfer_nets:sgd")
    import transfer_nets

    found = transfer(
        transfer_nets.model, transfer_nets.data(), "mse", small=8, large=32,
        optimizer=lambda model, width: SGD(model.parameters(), lr=0.1),
    )  # fmt: skip
    lr, init = found.factors_at(32)
    assert {one["name"]: one["lr_factor"] for one in told["parameters"]} == pytest.approx(lr)
    assert {one["name"]: one["init_factor"] for one in told["parameters"]} == pytest.approx(init)
    assert [one["mup_lr_factor"] for one in told["parameters"]] == [4, 4, 0.25, 1]
    assert told["notes"] == list(found.notes)
    done = run(*given, "--optimizer", "transfer_nets:sgd")
    assert done.stdout == f"{found}\n"


def test_digits_and_adam_are_what_comes_with_it(nets):
    told = answer("transfer", "transfer_nets:digits", *SIZES, "--ladder", "16,32", "--seeds", 1)
    assert [one["mup_lr_factor"] for one in told["parameters"]] == [1, 1, 0.25, 1]
    assert (told["axis"], told["small"], told["large"]) == ("width", 8, 32)
    far = ("--small", 8, "--large", 128, "--ladder", "16,32", "--seeds", 1)
    told = answer("transfer", "transfer_nets:digits", *far)
    beside = [one["mup_lr_factor"] for one in told["parameters"]]
    assert beside == pytest.approx([1, 1, 1 / 16, 1])


def test_optimisers_that_share_the_parameters_out(nets):
    given = ("transfer", "transfer_nets:digits", *SIZES, "--seeds", 1)
    told = answer(*given, "--optimizer", "transfer_nets:both")
    assert [one["mup_lr_factor"] for one in told["parameters"]] == [None, 1, 0.25, 1]
    wrong = refusal(*given, "--optimizer", "transfer_nets:one_of_none")
    assert "must return a torch.optim.Optimizer, got NoneType" in wrong


def test_bad_input_is_one_sentence(nets):
    assert "must return a torch.nn.Module" in refusal("transfer", "transfer_nets:nothing", *SIZES)
    wrong = ("transfer", "transfer_nets:digits", "--small", 32, "--large", 8)
    assert "1 ≤ small < large" in refusal(*wrong)
    assert "--ladder takes numbers" in refusal(
        "transfer", "transfer_nets:digits", *SIZES, "--ladder", "a,b"
    )
