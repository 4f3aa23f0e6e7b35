"""Features at convergence against explicit gradients of inputs, and where training rests."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import lazyrich
from lazyrich.observables import fact_correlation
from tests.models import randn


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))


def measured(model, x, y, loss="mse"):
    probe = lazyrich.Probe(model, (x, y), loss, observables=["fact"])
    probe.measure(0)
    return probe.history.fact[-1]


def test_it_is_the_explicit_sum_over_samples():
    """−Σ_i ∂ℓ_i/∂h h_iᵀ, with gradients at the inputs of every layer by autograd."""
    model, x = network().double(), randn(7, 3)
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    found = measured(model, x, labels, "cross_entropy")
    hidden, h = {}, x
    for i, module in enumerate(model):
        h = h.detach().clone().requires_grad_() if i == 0 else h
        h.retain_grad()
        hidden[str(i)] = h
        h = module(h)
    functional.cross_entropy(h, labels).backward()
    for name in ("0", "2", "4"):
        w, h = model[int(name)].weight.detach(), hidden[name]
        features, fact = w.T @ w, -h.grad.T @ h.detach()
        exact = (features * fact).sum() / (features.norm() * fact.norm())
        assert found.sel(layer=name).item() == pytest.approx(exact.item(), rel=1e-9)


def test_it_is_one_where_training_with_weight_decay_rests():
    model, x, y = network().double(), randn(7, 3), randn(7, 2)
    before = measured(model, x, y)
    assert (before.fillna(0) < 0.9).any()
    decay = 0.003
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=5000, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )

    def total():
        optimizer.zero_grad()
        weights = sum(m.weight.square().sum() for m in model if isinstance(m, nn.Linear))
        loss = (model(x) - y).square().mean() + decay / 2 * weights
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(total)
    assert all(m.weight.norm() > 0.1 for m in model if isinstance(m, nn.Linear))
    assert (abs(measured(model, x, y) - 1) < 1e-4).all()


def test_groups_and_positions():
    """Of a convolution in groups, patch by patch, through its parameter's own gradient."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(18, 1))
    model, x, y = model.double(), randn(6, 4, 5), randn(6, 1)
    found = measured(copy.deepcopy(model), x, y)
    (model(x) - y).square().mean().backward()
    w, g = (torch.block_diag(*t.reshape(2, 3, 6)) for t in (model[0].weight, model[0].weight.grad))
    assert found.sel(layer="0").item() == pytest.approx(fact_correlation(w.detach(), g))


def test_nothing_to_compare():
    assert math.isnan(fact_correlation(torch.ones(2, 3), torch.zeros(2, 3)))
    assert fact_correlation(torch.ones(2, 3), torch.ones(2, 3)) == pytest.approx(-1)
