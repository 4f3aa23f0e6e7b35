"""A loss of somebody's own: looks change neither the training nor what the loss holds."""

import contextlib
import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lazyrich

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(12) % 3


def targets(outputs, labels):
    return functional.one_hot(labels, outputs.shape[1]).to(outputs)


class Noisy:
    """Adds noise of PyTorch, of NumPy and of its own generator."""

    def __init__(self):
        self.own, self.calls, self.seen = torch.Generator().manual_seed(3), 0, []

    def __call__(self, f, y):
        self.calls += 1
        self.seen.append(float(f.detach().mean()))
        noise = torch.randn_like(f) + torch.randn(f.shape, generator=self.own)
        return (f + noise * np.random.rand() - targets(f, y)).square().mean()  # noqa: NPY002


class Perceptual(nn.Module):
    """Compares what a batch norm in training makes of both, after dropout."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.2), nn.ReLU())

    def forward(self, f, y):
        return (self.net(f) - self.net(targets(f, y))).square().mean()


class Centres(nn.Module):
    """Centres of classes that follow what they see, in a buffer and in an attribute."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centres", torch.zeros(3, 3))
        self.mean, self.scale = torch.zeros(3), nn.Parameter(torch.ones(()))

    def forward(self, f, y):
        with torch.no_grad():
            self.centres.index_add_(0, y, 0.1 * (f - self.centres[y]))
            self.mean.lerp_(f.mean(0), 0.1)
        return self.scale * (f - self.centres[y] - self.mean).square().mean()


class Trainer:
    """Whose method is the loss."""

    def __init__(self):
        self.norm, self.calls = nn.BatchNorm1d(3), 0

    def loss(self, f, y, weight=1.0):
        self.calls += 1
        return weight * (self.norm(f) - targets(f, y)).square().mean()


def by_method():
    trainer = Trainer()
    return trainer.loss, trainer


def by_partial():
    trainer = Trainer()
    return functools.partial(trainer.loss, weight=0.5), trainer


def by_closure():
    norm, calls, mean = nn.BatchNorm1d(3), 0, torch.zeros(3)

    def loss(f, y):
        nonlocal calls
        calls += 1
        mean.lerp_(f.detach().mean(0), 0.1)
        return (norm(f) - mean - targets(f, y)).square().mean() / calls

    return loss, [cell.cell_contents for cell in loss.__closure__]


def alone(kind):
    loss = kind()
    return loss, loss


LOSSES = {
    "noise": lambda: alone(Noisy),
    "perceptual": lambda: alone(Perceptual),
    "centres": lambda: alone(Centres),
    "method": by_method,
    "partial": by_partial,
    "closure": by_closure,
}


def contents(value):
    if isinstance(value, torch.Tensor):
        return [
            *value.detach().flatten().tolist(),
            None if value.grad is None else value.grad.sum(),
        ]
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    if isinstance(value, nn.Module | Noisy | Trainer):
        return {name: contents(one) for name, one in vars(value).items()}
    if isinstance(value, dict):
        return {name: contents(one) for name, one in value.items()}
    if isinstance(value, list):
        return [contents(one) for one in value]
    return copy.copy(value)


def drawn():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # noqa: NPY002


def trained(name, watched, rate=0.1):
    torch.manual_seed(0), np.random.seed(0)  # noqa: NPY002
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    loss, holder = LOSSES[name]()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    probe = lazyrich.Probe(model, (X, LABELS), loss) if watched else None
    with probe.watch(optimizer, when=1) if probe else contextlib.nullcontext():
        for _ in range(3):
            optimizer.zero_grad()
            loss(model(X), LABELS).backward()
            optimizer.step()
    if watched and rate:
        probe.forecast(optimizer=optimizer, steps=3)
    return [p.tolist() for p in model.parameters()], contents(holder), drawn(), probe


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_as_without_looks(name):
    *plain, _ = trained(name, watched=False)
    *found, _ = trained(name, watched=True)
    assert str(found) == str(plain)


@pytest.mark.parametrize("name", ["noise", "perceptual"])
def test_the_same_is_drawn_at_every_look(name):
    *_, probe = trained(name, watched=True, rate=0.0)
    assert probe.verdict().regime == "frozen"
    assert len(set(probe.history.loss.values.tolist())) == 1
