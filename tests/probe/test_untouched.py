"""Whatever is measured, the model stays bitwise what it was, down to the attributes of modules."""

import copy
import io
from collections import deque
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich
from lazyrich._errors import LazyRichError
from lazyrich.observables.catalogue import observables
from tests.architectures import ARCHITECTURES, GLOBAL, Between, Storing, targets

ALL = sorted(name for observable in observables() for name in observable.names)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def dry(model, x, y, **options):
    return lazyrich.dial(
        model, (x, y), optimizer=sgd(model), richness=1.0, directions=2, dry_run=True,
        max_steps=3, **options,
    )  # fmt: skip


ENTRIES = {
    "ntk": lambda model, x, y: lazyrich.ntk(model, x),
    "nfa": lambda model, x, y: lazyrich.nfa(model, x),
    "initial_cnfa": lambda model, x, y: lazyrich.initial_cnfa(model, (x, y)),
    "forecast": lambda model, x, y: lazyrich.forecast(model, (x, y), directions=2, max_steps=20),
    "richness": lambda model, x, y: lazyrich.richness(
        model, (x, y), optimizer=torch.optim.Adam(model.parameters()), directions=2
    ),
    "dial": dry,
    "dial, equal speed": lambda model, x, y: dry(model, x, y, equal_speed=True),
    "probe": lambda model, x, y: lazyrich.Probe(model, (x, y), observables=ALL).measure(
        0, optimizer=sgd(model)
    ),
    "few samples": lambda model, x, y: lazyrich.Probe(model, (x, y), samples=5).measure(0),
}


def contents(value):
    """What an attribute holds, with the identity of everything in it."""
    inside = []
    if isinstance(value, dict):
        inside = [(key, contents(one)) for key, one in value.items()]
    elif isinstance(value, list | tuple | deque):
        inside = [contents(one) for one in value]
    elif type(value).__module__ == "tests.architectures" and not isinstance(value, nn.Module):
        inside = contents(vars(value))
    elif isinstance(value, torch.Tensor):
        inside = [value.detach().clone().numpy().tobytes(), value.requires_grad]
        grad = value.grad if value.is_leaf else None
        inside += [value.data_ptr(), None if grad is None else contents(grad)]
    elif isinstance(value, np.ndarray):
        inside = value.tolist()
    elif isinstance(value, torch.Generator):
        inside = value.get_state().tolist()
    elif isinstance(value, np.random.Generator):
        inside = str(value.bit_generator.state)
    return id(value), inside


def fingerprint(model):
    """All that modules hold, and the random state; hidden modules too."""
    modules = [*model.modules(), *(m for t in getattr(model, "teachers", []) for m in t.modules())]
    random = torch.get_rng_state().tolist(), str(np.random.get_state())  # noqa: NPY002
    return [contents(vars(module)) for module in modules], random, contents(GLOBAL)


@pytest.mark.parametrize("entry", ["nfa", "forecast", "dial, equal speed", "probe", "few samples"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_nothing_is_touched(name, entry):
    model, x = ARCHITECTURES[name]()
    y = targets(*ARCHITECTURES[name]())
    model.register_forward_hook(lambda *_: None)
    for parameter in list(model.parameters())[::2]:
        parameter.grad = torch.ones_like(parameter)
    before = fingerprint(model)
    with suppress(LazyRichError):  # a refusal is a measurement, too
        ENTRIES[entry](model, x, y)
    assert fingerprint(model) == before


@pytest.mark.parametrize("name", ["storing", "remembering", "plain tensors", "counter, attribute"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_the_same_in_the_middle_of_training(name, entry):
    """What the user's own last pass left behind, graph and all, is there again."""
    model, x = ARCHITECTURES[name]()
    y = targets(model, x)
    before = fingerprint(model)
    ENTRIES[entry](model, x, y)
    assert fingerprint(model) == before


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_measured_model_can_be_copied_and_saved(entry):
    model, x = Storing(), torch.randn(12, 5)
    y = torch.randn(12, 2)
    ENTRIES[entry](model, x, y)
    copy.deepcopy(model)
    torch.save(model, io.BytesIO())
    assert not hasattr(model, "features")
    assert model.history == []
    assert model.cache == {"nested": {}}
    assert model.log.last is None


class Failing(nn.Module):
    """Does everything that leaves traces, and fails at one of its calls."""

    def __init__(self, at):
        super().__init__()
        names = ("storing", "clamp", "batch norm", "noise of its own", "noise")
        self.parts = nn.ModuleList(ARCHITECTURES[name]()[0] for name in names)
        self.at = [at]

    def forward(self, x):
        result = sum(part(x) for part in self.parts)
        self.at[0] -= 1
        if self.at[0] < 0:
            raise RuntimeError("in the model")
        return result


@pytest.mark.parametrize("at", [0, 1, 2, 3, 6])
@pytest.mark.parametrize("entry", ENTRIES)
def test_nothing_is_touched_where_the_model_raises(entry, at):
    model, x, y = Failing(at), torch.randn(12, 5), torch.randn(12, 2)
    before = fingerprint(model)
    try:
        ENTRIES[entry](model, x, y)
    except RuntimeError as error:
        assert "in the model" in str(error)  # noqa: PT017 - it need not raise
    assert fingerprint(model) == before


def test_the_users_own_hooks_fire():
    """They may be a part of the network; what they write down outside of it stays."""
    model, x = Between(), torch.randn(12, 5)
    model.first.register_forward_hook(lambda module, args, output: 2 * output)
    doubled, doubled.first = copy.deepcopy(model), nn.Linear(5, 16)
    doubled.first.weight.data, doubled.first.bias.data = (
        2 * model.first.weight.data,
        2 * model.first.bias.data,
    )
    seen = []
    model.register_forward_hook(lambda *_: seen.append(1))
    assert lazyrich.nfa(model, x).nfa[0].item() == pytest.approx(
        lazyrich.nfa(doubled, x).nfa[0].item(), rel=1e-5
    )
    assert seen


def test_a_hook_that_removes_itself_is_there_again():
    model, x = Between(), torch.randn(12, 5)
    handles = []
    handles.append(model.first.register_forward_hook(lambda *_: handles[0].remove()))
    before = fingerprint(model)
    lazyrich.ntk(model, x)
    assert fingerprint(model) == before
    assert len(model.first._forward_hooks) == 1
