"""Layers that are rows of a parameter, or no module, have forecasts and checks, as in histories.

The oracle of a forecast on the whole batch is the training itself, of which it is a rehearsal.
"""

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.capture.network import as_network
from lazyrich.capture.ownership import by_module, ownership
from tests.models import randn
from tests.zoo import GCN, Recurrent

STEPS = 3


class Attending(nn.Module):
    """An attention between two layers, and a matrix of its own."""

    def __init__(self, width=8):
        super().__init__()
        self.lift, self.head = nn.Linear(4, width), nn.Linear(width, 2)
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True)
        self.own = nn.Parameter(torch.randn(width, width) / width**0.5)

    def forward(self, x):
        h = self.lift(x)
        h = self.attend(h, h, h, need_weights=False)[0].mean(1)
        return self.head(torch.tanh(h @ self.own))


def attending():
    return Attending(), randn(6, 3, 4)


def gru():
    return Recurrent(nn.GRU), torch.randint(1, 7, (6, 4))


def gcn():
    return GCN(), (randn(6, 4, 5), torch.eye(4).double().roll(1, 0).expand(6, 4, 4))


def made(case):
    torch.manual_seed(0)
    model, x = case()
    args = x if isinstance(x, tuple) else (x,)
    y = randn(*model(*args).shape) if case is gru else randn(6, 2)
    return model.double(), x, args, y


@pytest.mark.parametrize("case", [attending, gru, gcn])
def test_every_layer_of_the_history_has_its_forecast(case):
    model, x, args, y = made(case)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    probe = lazyrich.Probe(model, (x, y), directions="all")
    before = probe.forecast(optimizer=optimizer, steps=STEPS)
    with probe.watch(optimizer, when=STEPS):
        for _ in range(STEPS):
            optimizer.zero_grad()
            (model(*args) - y).square().mean().backward()
            optimizer.step()
    came = probe.history.layer_ntk_change.isel(step=-1)
    assert set(before.layer_ntk_change) == set(came.layer.values) == set(before.layers)
    for name, change in before.layer_ntk_change.items():
        assert change == pytest.approx(float(came.sel(layer=name)), rel=1e-6), name
    assert sum(share.kernel for share in before.layers.values()) == pytest.approx(1)
    if case is attending:
        assert {"attend.q", "attend.k", "attend.v", "attend.out_proj", "own"} <= set(before.layers)


def test_parts_of_all_layers_are_the_whole():
    model, x, _, _ = made(attending)
    network = as_network(model, x)
    owners = ownership(network)
    parts = owners.split(network.theta)
    assert {"attend.q", "own"} <= set(parts)
    total = {name: torch.zeros_like(p) for name, p in network.theta.items()}
    for own in parts.values():
        for name, part in own.items():
            total[name] += part
    assert all(torch.equal(total[name], p) for name, p in network.theta.items())


def test_modules_that_are_layers_need_no_look(monkeypatch):
    monkeypatch.setattr("lazyrich.capture.ownership.capture", None)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    network = as_network(model, torch.randn(4, 2, 4, 4))
    assert ownership(network) == by_module(list(network.theta))


def test_a_coordinate_check_has_rows_of_them():
    _, x, _, y = made(attending)
    check = lazyrich.coordinate_check(
        Attending, (x.float(), y.float()), widths=(8, 16, 32), optimizer=0.05, seeds=2, steps=1
    )
    rows = check.data.sel(layer=["attend.q", "attend.k", "attend.v", "own"])
    assert (rows.activation_size > 0).all()
    assert (rows.feature_update > 0).all()
