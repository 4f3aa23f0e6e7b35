"""Which device, which precision: what is asked for, what is there, and what it changes."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lazyrich import InputError, study
from lazyrich.study.compute import DEVICE, PRECISION, Compute, computing
from lazyrich.study.experiment import Training
from tests.capture.test_arithmetic import EXACT, switches

SMALL = Training(samples=48, test_samples=20, width=8, steps=4, measurements=2, lr=0.1)
NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("gpu", "must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        ("meta", "must be auto, cpu, cuda or cuda:N, got 'meta'"),
        ("mps", "must have numbers of double precision, .* got 'mps'"),
        pytest.param(
            "cuda", r"must be a device that is here, got 'cuda': .* Take cpu\.", marks=NO_CUDA
        ),
        pytest.param("cuda:1", "must be a device that is here, got 'cuda:1'", marks=NO_CUDA),
    ],
)
def test_a_device_that_is_not_here_is_refused(device, said):
    with pytest.raises(InputError, match=said):
        Compute(device=device)


def test_the_number_of_a_card_is_checked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Compute(device="cuda").torch_device == torch.device("cuda", 0)
    assert Compute(device="cuda:1").torch_device == torch.device("cuda", 1)
    assert Compute(device="auto").torch_device == torch.device("cuda", 0)
    with pytest.raises(InputError, match=r"must be one of cuda:0 to cuda:1, got 'cuda:2'"):
        Compute(device="cuda:2")


def test_another_precision_is_refused():
    with pytest.raises(InputError, match="must be one of full, tf32, bfloat16-mixed, got 'half'"):
        Compute(precision="half")


@NO_CUDA
def test_auto_is_the_cpu_where_there_is_nothing_else():
    assert Compute(device="auto").torch_device == torch.device("cpu")


def test_the_environment_is_read_and_what_is_asked_for_comes_first(monkeypatch):
    monkeypatch.setenv(PRECISION, "tf32")
    with computing() as compute:
        assert str(compute) == "cpu, tf32"
        assert not set(switches()) & EXACT
    assert Compute.chosen(precision="full").precision == "full"
    monkeypatch.setenv(DEVICE, "nowhere")
    with pytest.raises(InputError, match="got 'nowhere'"), computing():
        pass


def test_steps_are_exact_unless_something_else_is_asked_for():
    with computing():
        assert set(switches()) <= EXACT


def test_mixed_precision_trains_in_bfloat16_and_measures_in_float32(monkeypatch):
    full = SMALL.run()
    monkeypatch.setenv(PRECISION, "bfloat16-mixed")
    mixed = SMALL.run()
    assert (full.computed_on, mixed.computed_on) == ("cpu, full", "cpu, bfloat16-mixed")
    first, last = {"step": 0}, {"step": -1}
    for name in ("loss", "ntk_change", "test_accuracy"):  # before the first step all is the same
        np.testing.assert_array_equal(mixed.data[name][first], full.data[name][first])
    assert mixed.data.loss[last] != full.data.loss[last]
    np.testing.assert_allclose(mixed.data.loss[last], full.data.loss[last], rtol=0.02)


def test_mixed_precision_together_is_as_alone(monkeypatch):
    monkeypatch.setenv(PRECISION, "bfloat16-mixed")
    points = [replace(SMALL, seed=seed) for seed in range(8)]
    together = [result.data.loss.values for result in Training.run_together(points)]
    alone = [point.run().data.loss.values for point in points]
    np.testing.assert_allclose(together, alone, rtol=2e-3)


def test_forward_passes_are_cast_and_nothing_else():
    kinds = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, x):
            z = self.layer(x.flatten(1))
            kinds.append(z.dtype)
            return z

    data, net = study.digits().take(40, 10, seed=0), Net()
    recipe = study.Recipe(lr=0.1, steps=2, mixed=True, loss="cross_entropy")
    study.train(net, data, recipe, seed=0)
    assert kinds == [torch.float32, torch.bfloat16, torch.bfloat16, torch.float32]
    assert net.layer.weight.dtype == torch.float32


def test_the_random_generators_of_other_devices_are_not_touched(monkeypatch):
    """`torch.manual_seed` would seed all of them."""
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("CUDA was seeded"))
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("everything was seeded"))
    SMALL.run()


def test_moving_data_keeps_them():
    data = study.digits().take(40, 10, seed=0)
    moved = data.to(torch.device("cpu"))
    assert moved.digest == data.digest
    assert re.fullmatch("[0-9a-f]{16}", moved.digest)
