"""Measuring is exact where training is not."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich as lr
from lazyrich.capture.arithmetic import exact_arithmetic, tf32
from lazyrich.study import DataSet, Samples, accuracy
from lazyrich.study.training.task import mean_loss, task_of

SWITCHES = ("cuda.matmul", "cudnn.conv", "cudnn.rnn")


def switches():
    """The precision of products on CUDA, as PyTorch has it now."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        return [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
    owners = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    return [owner.fp32_precision for owner in owners]


EXACT = {False, "ieee"}
SEEN = []


class Witness(nn.Module):
    """A network that tells under which switches it ran."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, x):
        SEEN.extend(switches())
        return self.net(x)


def measured(model, x, y):
    probe = lr.Probe(model, (x, y), samples=6)
    probe.measure(0)
    return probe.history.loss.values


def looked_at(model, x):
    samples = Samples(x=x, y=torch.arange(len(x)) % 2)
    return accuracy(model, samples)


def mean_of(model, x, y):
    part = Samples(x=x, y=y)
    task = task_of(model, DataSet(name="", train=part, test=part, classes=0), "mse")
    SEEN.clear()
    return mean_loss(model, task)


def check(width, x, y):
    found = lr.coordinate_check(
        lambda width: nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)),
        *((x, y), "mse"),
        **{"widths": [4, 6, 8], "optimizer": 0.1, "steps": 1, "seeds": 2, "kernel": True},
    )
    return found.data.richness.values


CALLS = {
    "measure": measured,
    "forecast": lambda m, x, y: lr.forecast(m, (x, y), max_steps=3).predicted_ntk_change,
    "first_step": lambda m, x, y: lr.first_step(m, (x, y)).time_to_fit,
    "richness": lambda m, x, y: lr.richness(m, (x, y)),
    "dial": lambda m, x, y: (
        lr.dial(
            m, (x, y), optimizer=torch.optim.SGD(m.parameters(), lr=0.1), richness=0.5
        ).output_scale
    ),
    "coordinate_check": check,
    "nfa": lambda m, x, y: lr.nfa(m, x).nfa.values,
    "ntk": lambda m, x, y: lr.ntk(m, x),
    "initial_cnfa": lambda m, x, y: lr.initial_cnfa(m, (x, y)).cnfa.values,
    "cka": lambda m, x, y: lr.cka(m, m, x).cka.values,
    "mean_loss": mean_of,
    "accuracy": lambda m, x, y: looked_at(m, x),
}


@pytest.fixture
def task():
    torch.manual_seed(0)
    return Witness(), torch.randn(8, 3), torch.randn(8, 2)


@pytest.mark.parametrize("name", CALLS)
def test_the_users_autocast_does_not_reach_what_is_measured(name, task):
    exact = CALLS[name](copy.deepcopy(task[0]), *task[1:])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(CALLS[name](*task), exact)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "coordinate_check"])
def test_no_tf32_in_what_is_measured(name, task):
    SEEN.clear()
    with tf32(True):
        CALLS[name](*task)
        assert not set(switches()) & EXACT
    assert SEEN
    assert set(SEEN) <= EXACT


def test_the_switches_are_put_back():
    before = switches(), torch.get_float32_matmul_precision()
    with pytest.raises(KeyError), exact_arithmetic():
        raise KeyError(*(set(switches()) - EXACT))
    assert (switches(), torch.get_float32_matmul_precision()) == before
    torch.set_float32_matmul_precision("high")
    try:
        with exact_arithmetic():
            assert set(switches()) <= EXACT
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="PyTorch before 2.9"
)
def test_switches_of_both_kinds_may_be_used_around_and_inside():
    """Old: an LSTM could not be measured at all, for its old switch could no longer be read."""

    class Reader(nn.LSTM):
        def forward(self, x):
            assert torch.backends.cudnn.allow_tf32 is False
            return super().forward(x)[0][:, -1]

    x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    lr.first_step(Reader(2, 4, batch_first=True), (x, x[:, 0, :1].expand(4, 4)))
    assert torch.backends.cudnn.allow_tf32 is True
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # now the old one cannot be read
    try:
        plain = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
        for model in (nn.LSTM(2, 4, batch_first=True), plain):
            with exact_arithmetic():
                assert set(switches()) <= EXACT
            last = model if model is plain else nn.Sequential(model, Last())
            assert lr.ntk(last, x).shape == (4, 4, 4, 4)
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
    finally:
        torch.backends.cudnn.conv.fp32_precision = before


class Last(nn.Module):
    def forward(self, found):
        return found[0][:, -1]
