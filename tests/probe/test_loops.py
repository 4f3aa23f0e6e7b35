"""Loops and wrappers that people have: they work, or one sentence says why not."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich
from lazyrich._errors import InputError

STEPS = 4


def network(dtype=torch.float32):
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)


def batch(dtype=torch.float32):
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    return x, x[:, :1] ** 2


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), lr=0.1, **options)


def train(model, optimizer, x, y, step=None, backward=torch.Tensor.backward):
    for _ in range(STEPS):
        optimizer.zero_grad()
        backward((model(x) - y).square().mean())
        (step or optimizer.step)()


def watched(model, optimizer, x, y, **options):
    probe = lazyrich.Probe(model, (x, y))
    with probe.watch(optimizer, when=2):
        train(model, optimizer, x, y, **options)
    return probe


def numbers(probe):
    return [probe.history[name].values for name in probe.history.data_vars]


def plain():
    model = network()
    return watched(model, sgd(model), *batch())


def agree(probe, expected, rtol=1e-6):
    assert probe.history.step.values.tolist() == expected.history.step.values.tolist()
    for found, right in zip(numbers(probe), numbers(expected), strict=True):
        np.testing.assert_allclose(found, right, rtol=rtol, atol=1e-7)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_accelerate_is_a_plain_loop():
    accelerate = pytest.importorskip("accelerate", reason="needs accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = network()
    model, optimizer = accelerator.prepare(model, sgd(model))
    agree(watched(model, optimizer, *batch(), backward=accelerator.backward), plain())
    model = network()
    given = sgd(model)
    wrapped = accelerator.prepare(given)
    one, two = (lazyrich.forecast(model, batch(), optimizer=o, steps=3) for o in (given, wrapped))
    assert one.predicted_ntk_change == pytest.approx(two.predicted_ntk_change)
    assert lazyrich.richness(model, batch(), optimizer=wrapped) == pytest.approx(one.richness)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_accelerate_in_bf16_is_measured_in_full_precision():
    accelerate = pytest.importorskip("accelerate", reason="needs accelerate")
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    model = network()
    model, optimizer = accelerator.prepare(model, sgd(model))
    probe = watched(model, optimizer, *batch(), backward=accelerator.backward)
    for name in ("loss", "ntk_change", "weight_movement"):
        found, right = (one.history[name].values for one in (probe, plain()))
        np.testing.assert_array_equal(found[0], right[0])  # before training: the very same
        np.testing.assert_allclose(found, right, rtol=0.03)


@pytest.mark.parametrize("whole", [True, False])
def test_a_step_inside_a_compiled_function_is_seen(whole):
    model, (x, y) = network(), batch()
    optimizer = sgd(model)

    @torch.compile(backend="eager")
    def step():
        optimizer.step()

    @torch.compile(backend="eager")
    def everything():
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()

    probe = lazyrich.Probe(model, (x, y))
    with probe.watch(optimizer, when=2):
        if whole:
            for _ in range(STEPS):
                everything()
        else:
            train(model, optimizer, x, y, step=step)
    agree(probe, plain())


def test_a_batch_follows_a_model_in_float64():
    model = network()
    probe = lazyrich.Probe(model, batch())
    model.double()  # as a trainer does
    probe.measure(0)
    expected = lazyrich.Probe(network(torch.float64), batch(torch.float64))
    expected.measure(0)
    assert probe.history.loss.dtype == np.float64
    agree(probe, expected, rtol=1e-6)


@pytest.mark.parametrize("call", ["probe", "ntk"])
def test_weights_that_cannot_be_copied_are_refused(call):
    calls = {
        "probe": lambda model: lazyrich.Probe(model, batch()),
        "ntk": lambda model: lazyrich.ntk(model, batch()[0]),
    }
    with pytest.raises(InputError, match=r"got `0.weight` of a lazy module that was never called"):
        calls[call](nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(1)))
    with pytest.raises(InputError, match=r"got `0.weight` on the device `meta`. Move the model"):
        calls[call](network().to("meta"))
    spread = network()
    spread[0].weight.ds_id = 3  # as DeepSpeed marks what it spreads
    with pytest.raises(InputError, match=r"got `0.weight`, which is spread over processes"):
        calls[call](spread)


class Takes(nn.Module):
    """Takes its batch as one mapping."""

    def __init__(self):
        super().__init__()
        self.network = network()

    def forward(self, batch):
        return self.network(batch["x"])


def test_a_mapping_may_be_the_one_argument():
    (x, y), model = batch(), Takes()
    expected = lazyrich.ntk(network(), x)
    assert np.array_equal(lazyrich.ntk(model, {"x": x}), expected)
    assert np.array_equal(lazyrich.ntk(model, {"batch": {"x": x}}), expected)
    probe = lazyrich.Probe(model, ({"x": x}, y), samples=5)
    probe.measure(0)
    assert probe.history.attrs["samples"] == 5
    dialled, right = (
        lazyrich.dial(net, (given, y), optimizer=sgd(net), richness=0.5, dry_run=True, max_steps=9)
        for net, given in [(model, {"x": x}), (network(), x)]
    )
    assert dialled.output_scale == right.output_scale


@dataclass(frozen=True)
class Output:
    """What a model gives."""

    logits: torch.Tensor
    hidden: torch.Tensor | None = None


class Named(NamedTuple):
    """The same as a tuple."""

    hidden: torch.Tensor | None = None
    logits: torch.Tensor | None = None


class Gives(nn.Module):
    """Gives a dataclass or a named tuple."""

    def __init__(self, kind=Output, **more):
        super().__init__()
        self.network, self.kind, self.more = network(), kind, more

    def forward(self, x):
        more = {"hidden": x + 1} if self.more else {}
        return self.kind(logits=self.network(x), **more)


@pytest.mark.parametrize("kind", [Output, Named])
@pytest.mark.parametrize("more", [{}, {"hidden": True}])
def test_a_model_may_give_a_dataclass(more, kind):
    model = Gives(kind, **more)
    agree_with = lazyrich.ntk(network(), batch()[0])
    assert np.array_equal(lazyrich.ntk(model, batch()[0]), agree_with)
    forecast, expected = (
        lazyrich.forecast(net, batch(), optimizer=sgd(net), steps=3) for net in (model, network())
    )
    assert forecast.richness == expected.richness


def test_a_batch_may_hold_a_dataclass():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network()

        def forward(self, given):
            return self.network(given.logits)

    x, y = batch()
    probe, expected = (
        lazyrich.Probe(net, (given, y), samples=5)
        for net, given in [(Model(), (Output(x),)), (network(), x)]
    )
    for one in (probe, expected):
        one.measure(0)
    assert probe.history.loss.equals(expected.history.loss)


def two_groups(model, first, second):
    groups = [{"params": model[i].parameters(), "lr": lr} for i, lr in [(0, first), (2, second)]]
    return torch.optim.SGD(groups)


def test_a_warm_up_from_rate_0_takes_the_rates_that_come():
    model, (x, y) = network(), batch()
    optimizer = two_groups(model, 0.0, 0.0)
    probe, expected = (lazyrich.Probe(model, (x, y)) for _ in range(2))
    expected.measure(0, optimizer=two_groups(model, 0.1, 0.05))
    probe.measure(0, optimizer=optimizer)
    assert "until one is not, all count alike" in probe.history.notes
    for group, lr in zip(optimizer.param_groups, (0.1, 0.05), strict=True):
        group["lr"] = lr
    train(model, optimizer, x, y)
    for one in (probe, expected):
        one.measure(STEPS, optimizer=optimizer)
    assert "Learning rates inside the kernel are those of step 4." in probe.verdict().notes
    last, right = (one.history.isel(step=-1) for one in (probe, expected))
    for name in last.data_vars:
        np.testing.assert_array_equal(last[name], right[name], err_msg=name)


def test_one_group_from_rate_0_needs_no_note():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    probe = lazyrich.Probe(model, batch())
    probe.measure(0, optimizer=optimizer)
    assert not probe.history.notes
