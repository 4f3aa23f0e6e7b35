"""Steps are counted once, whatever wraps their optimiser, and it is left as it was."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
Y = X[:, :1] ** 2
STEPS = 4


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def backward(model):
    (model(X) - Y).square().mean().backward()


class Sharpness(torch.optim.Optimizer):
    """Sharpness-aware minimisation as most people have it: by two halves, or a closure."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})
        self.base_optimizer = torch.optim.SGD(self.param_groups, lr=0.1)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["old"] = p.clone()
                p.add_(0.05 * p.grad)
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.copy_(self.state[p]["old"])
        self.base_optimizer.step()
        self.zero_grad()

    def step(self, closure):
        self.first_step()
        closure()
        self.second_step()


class Lookahead(torch.optim.Optimizer):
    """Every second step goes half the way; like its best known versions it calls no `__init__`."""

    def __init__(self, base):
        self.base, self.param_groups, self.state = base, base.param_groups, base.state
        self.defaults, self.made = base.defaults, 0
        self.slow = [p.detach().clone() for group in base.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self, closure=None):
        self.base.step()
        self.made += 1
        fast = [p for group in self.param_groups for p in group["params"]]
        if self.made % 2 == 0:
            for slow, p in zip(self.slow, fast, strict=True):
                slow.lerp_(p, 0.5)
                p.copy_(slow)

    def zero_grad(self, set_to_none=True):
        self.base.zero_grad(set_to_none)


def halves(model, optimizer):
    backward(model)
    optimizer.first_step()
    backward(model)
    optimizer.second_step()


def by_closure(model, optimizer):
    backward(model)
    optimizer.step(lambda: backward(model))


def plainly(model, optimizer):
    optimizer.zero_grad()
    backward(model)
    optimizer.step()


def sharpness(model):
    return Sharpness(model.parameters())


def lookahead(model):
    return Lookahead(torch.optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("make", "step"), [(sharpness, halves), (sharpness, by_closure), (lookahead, plainly)]
)
def test_every_step_is_measured_once_when_it_is_complete(make, step):
    model = network()
    by_hand, optimizer = lazyrich.Probe(model, (X, Y)), make(model)
    by_hand.measure(0, optimizer=optimizer)
    for i in range(STEPS):
        step(model, optimizer)
        by_hand.measure(i + 1, optimizer=optimizer)

    model = network()
    probe, optimizer = lazyrich.Probe(model, (X, Y)), make(model)
    held = dict(vars(optimizer))
    with probe.watch(optimizer, when=1):
        for _ in range(STEPS):
            step(model, optimizer)
    assert vars(optimizer).keys() == held.keys()
    assert probe.history.step.values.tolist() == list(range(STEPS + 1))
    np.testing.assert_array_equal(probe.history.ntk_change, by_hand.history.ntk_change)
    assert "No step" not in probe.history.notes


@pytest.mark.parametrize("inside", [False, True])
def test_a_scheduler_may_wrap_the_step_before_or_within(inside):
    model = network()
    probe, optimizer = lazyrich.Probe(model, (X, Y)), lookahead(model)
    plan = None if inside else torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with probe.watch(optimizer, when=1):
        plan = plan or torch.optim.lr_scheduler.StepLR(optimizer, 1)
        for _ in range(STEPS):
            plainly(model, optimizer)
            plan.step()
    assert probe.history.step.values.tolist() == list(range(STEPS + 1))
    backward(model)
    optimizer.step()
    assert probe.step == STEPS


def test_an_optimiser_without_hooks_is_rehearsed():
    model = network()
    before = copy.deepcopy(model.state_dict())
    forecast = lazyrich.forecast(model, (X, Y), optimizer=lookahead(model), steps=3)
    assert forecast.predicted_ntk_change > 0
    assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())
