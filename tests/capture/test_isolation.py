"""Measuring changes nothing: bitwise, in every respect, also after an exception."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.capture.capture import capture
from lazyrich.capture.isolation import undisturbed
from tests.models import Residual, Transformer, randn


def renormed():
    """An embedding that rewrites its own weight in the forward pass."""
    layers = nn.Embedding(7, 6, max_norm=0.1), nn.Flatten(), nn.Linear(30, 4), nn.Linear(4, 2)
    return nn.Sequential(*layers).double()


class Raising(nn.Module):
    """Fails after its layers ran."""

    def __init__(self):
        super().__init__()
        self.inner = Residual()

    def forward(self, x):
        self.inner(x)
        raise RuntimeError("in the model")


MODELS = {
    "batch norm": (lambda: Residual().double(), lambda: randn(3, 2, 5, 5)),
    "dropout": (
        lambda: nn.Sequential(
            nn.ReLU(True), nn.Linear(4, 3), nn.Dropout(0.5), nn.Linear(3, 2)
        ).double(),
        lambda: randn(3, 4),
    ),
    "attention": (
        lambda: Transformer(nn.MultiheadAttention(6, 2, batch_first=True, dropout=0.1)).double(),
        lambda: torch.randint(0, 7, (3, 5)),
    ),
    "max norm": (renormed, lambda: torch.randint(0, 7, (3, 5))),
}


def fingerprint(model, x):
    """Everything that measuring might touch."""
    # Python's own generator is compared elsewhere: the type checker of this suite draws from it
    rng = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002
    modules = [
        (m.training, dict(m._forward_hooks), dict(m._forward_pre_hooks), dict(m._backward_hooks))
        for m in model.modules()
    ]
    tensors = [
        (n, t.clone(), t.requires_grad, t.data_ptr(), t._version)
        for n, t in [*model.named_parameters(), *model.named_buffers(), ("x", x)]
    ]
    grads = [None if p.grad is None else (p.grad.clone(), id(p.grad)) for p in model.parameters()]
    attributes = [set(vars(m)) for m in model.modules()]
    return {
        "random state": rng,
        "modules": modules,
        "tensors": tensors,
        "gradients": grads,
        "attributes": attributes,
        "grad mode": torch.is_grad_enabled(),
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def changed(before, after):
    return [key for key in before if not same(before[key], after[key])]


def prepare(model, x):
    """A model in the middle of training: gradients, a frozen part, mixed modes, its own hook."""
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    out = model(x)
    out = out["logits"] if isinstance(out, dict) else out
    out.sum().backward()
    parts = list(model.modules())
    parts[-1].training = False
    next(model.parameters()).requires_grad_(False)
    return model


@pytest.mark.parametrize("measure", [capture, lazyrich.ntk, lazyrich.nfa])
@pytest.mark.parametrize("name", MODELS)
def test_nothing_changes(name, measure):
    build, data = MODELS[name]
    x = data()
    model = prepare(build(), x)
    before = fingerprint(model, x)
    measure(model, x)
    assert changed(before, fingerprint(model, x)) == []


def test_the_model_trains_on_as_if_nothing_had_happened():
    twins = [Residual().double()]
    twins.append(copy.deepcopy(twins[0]))
    x, y = randn(4, 2, 5, 5), randn(4, 3)
    for model, measured in zip(twins, (True, False), strict=True):
        torch.manual_seed(5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            if measured:
                lazyrich.ntk(model, x)
                lazyrich.nfa(model, x)
            noise = torch.randn_like(x)
            optimizer.zero_grad()
            (model(x + noise) - y).square().mean().backward()
            optimizer.step()
    states = [model.state_dict().values() for model in twins]
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


def test_nothing_changes_after_an_exception():
    model, x = Raising().double(), randn(3, 2, 5, 5)
    before = fingerprint(model, x)
    with pytest.raises(RuntimeError, match="in the model"):
        capture(model, x)
    assert changed(before, fingerprint(model, x)) == []


def test_nothing_changes_after_a_refusal():
    model, x = Residual().double(), randn(3, 2, 5, 5)
    before = fingerprint(model, x)
    with pytest.raises(lazyrich.InputError, match="`memory` must be at least"):
        lazyrich.ntk(model, x, memory=10)
    assert changed(before, fingerprint(model, x)) == []


class Noisy(nn.Module):
    """Draws from all global generators."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x) + torch.rand(()) + random.random() + np.random.rand()  # noqa: NPY002


def test_random_layers_draw_from_a_copy_of_the_random_state():
    model, x = Noisy().double(), randn(2, 3)
    before = fingerprint(model, x)
    capture(model, x)
    assert changed(before, fingerprint(model, x)) == []


@pytest.mark.parametrize("in_place", [True, False])
def test_a_model_that_counts_its_calls_does_not_count_ours(in_place):
    class Counting(Noisy):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            if in_place:
                self.calls += 1
            else:
                self.calls = self.calls + 1
            return self.layer(x)

    model, x = Counting().double(), randn(2, 3)
    before = fingerprint(model, x)
    capture(model, x)
    assert changed(before, fingerprint(model, x)) == []


def test_pythons_own_generator_is_put_back():
    model, x = Noisy().double(), randn(2, 3)
    state = random.getstate()
    model.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), undisturbed(model):
        model(x)
    assert random.getstate() == state


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_measuring_where_gradients_are_off(context):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = randn(5, 3)
    exact = lazyrich.ntk(model, x)
    with context():
        assert torch.equal(lazyrich.ntk(model, x), exact)
        assert torch.equal(lazyrich.ntk(model, x + 0), exact)  # an inference tensor


def test_the_capture_sees_the_models_own_output():
    """As in training, up to the last digits; exactly so without batch norms."""
    model, x = Residual().double(), randn(3, 2, 5, 5)
    torch.testing.assert_close(capture(model, x).outputs, model(x), rtol=1e-12, atol=1e-12)
    model.bn = nn.GroupNorm(2, 4).double()
    assert torch.equal(capture(model, x).outputs, model(x))
