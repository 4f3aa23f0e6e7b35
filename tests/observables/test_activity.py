"""Gradients and spread of layers, against autograd and by hand."""

import pytest
import torch
from torch import nn

from lazyrich import Probe


def measured(model, x, **options):
    probe = Probe(model, (x, torch.zeros_like(model(x))), directions="all", **options)
    probe.measure(0)
    return probe.history.isel(step=0)


def test_the_gradient_is_that_of_autograd():
    torch.manual_seed(0)
    first, second = nn.Linear(3, 5), nn.Linear(5, 2)
    x = torch.randn(6, 3)
    z = first(x)
    z.retain_grad()
    squares = 0.0
    for c in range(2):
        (g,) = torch.autograd.grad(second(z.tanh())[:, c].sum(), z, retain_graph=True)
        squares += float(g.square().sum())
    row = measured(nn.Sequential(first, nn.Tanh(), second), x)
    assert float(row.gradient_norm[0]) == pytest.approx((squares / 6) ** 0.5, rel=1e-5)
    assert float(row.gradient_norm[1]) == pytest.approx(2**0.5)  # of the output itself


def test_random_directions_estimate_it():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 40)), torch.randn(64, 3)
    exact = float(measured(model, x, samples=None).gradient_norm[0])
    probe = Probe(model, (x, torch.zeros(64, 40)), samples=None, directions=32)
    probe.measure(0)
    assert float(probe.history.gradient_norm[0, 0]) == pytest.approx(exact, rel=0.1)


def test_the_spread_is_what_differs_between_samples():
    x = torch.tensor([[1.0], [3.0]])
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(2.0)
    row = measured(model, x)
    assert float(row.feature_spread[0]) == pytest.approx((8 / 40) ** 0.5)  # 2 and 6 about 4


@pytest.mark.parametrize(
    ("kill", "gradient", "spread"),
    [
        (lambda m: m[0].bias.fill_(-100.0), True, True),  # rectified units that never fire
        (lambda m: m[2].weight.zero_(), True, False),  # nothing reads it, but it does tell apart
        (lambda m: m[0].weight.zero_(), False, True),  # alike for all, but a gradient arrives
        (lambda m: None, False, False),
    ],
)
def test_what_is_zero_of_a_layer(kill, gradient, spread):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)), torch.randn(6, 3)
    with torch.no_grad():
        model[0].bias.fill_(1.0)
        kill(model)
    row = measured(model, x).sel(layer="0")
    assert (float(row.gradient_norm) == 0) == gradient
    assert (float(row.feature_spread) < 1e-6) == spread


def test_of_one_sample_nothing_spreads():
    row = measured(nn.Linear(2, 1), torch.ones(1, 2))
    assert bool(row.feature_spread.isnull().all())


def test_learning_rates_are_those_of_the_optimiser_at_every_look():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(6, 3)
    optimizer = torch.optim.SGD(
        [{"params": [model[0].weight], "lr": 0.25}, {"params": [model[0].bias], "lr": 0.5}], lr=0.1
    )
    probe = Probe(model, (x, x[:, :1]))
    probe.measure(0, optimizer=optimizer)
    optimizer.param_groups[1]["lr"] = torch.tensor(0.125)
    probe.measure(1, optimizer=optimizer)
    assert probe.history.layer_lr.values.tolist() == [[0.5, 0.0], [0.25, 0.0]]
    alone = Probe(model, (x, x[:, :1]), lrs={"0": 0.5, "": 2.0})
    alone.measure(0)
    assert alone.history.layer_lr.values.tolist() == [[0.5, 2.0]]
