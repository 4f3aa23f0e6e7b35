"""What the first steps do, against explicit matrices."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from lazyrich.capture.isolation import undisturbed
from lazyrich.probe.forecast.first_step import checked
from lazyrich.probe.transfer.updates import Flow, places_of, updates_of

G = torch.Generator().manual_seed(0)
X = torch.randn(16, 5, generator=G, dtype=torch.float64)
Y = torch.randn(16, 2, generator=G, dtype=torch.float64)


def rms(x):
    return x.square().mean().sqrt().item()


def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double()


def measured(model, optimizers, steps=1, asked=()):
    network, loss, _ = checked(model, (X, Y), "mse", 2)
    with undisturbed(network.module, twice=True):
        return updates_of(network, loss, optimizers, steps, asked), places_of(network)


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("steps", [1, 3])
def test_own_updates_and_flow_are_those_of_explicit_matrices(kind, steps):
    model, twin = net(), net()
    below = Flow(place="2", parameters=frozenset({"0.weight", "0.bias"}))
    got, places = measured(model, [kind(model.parameters(), lr=0.1)], steps, [below])
    optimizer = kind(twin.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (twin(X) - Y).square().mean().backward()
        optimizer.step()
    change = {
        name: (p - q).detach()
        for (name, p), q in zip(twin.named_parameters(), model.parameters(), strict=True)
    }
    h = model[0](X).tanh().detach()
    assert got.own["0.weight"] == pytest.approx(rms(X @ change["0.weight"].T), rel=1e-9)
    assert got.own["0.bias"] == pytest.approx(rms(change["0.bias"]), rel=1e-9)
    assert got.own["2.weight"] == pytest.approx(rms(h @ change["2.weight"].T), rel=1e-9)
    assert got.sizes["2"] == pytest.approx(rms(model(X)), rel=1e-9)
    moved = (1 - h**2) * (X @ change["0.weight"].T + change["0.bias"])
    assert got.flows[0] == pytest.approx(rms(moved @ model[2].weight.T), rel=1e-9)
    assert places == {"0.weight": "0", "0.bias": "0", "2.weight": "2", "2.bias": "2"}


def test_the_model_and_its_optimiser_are_left_alone():
    model = net()
    optimizer = Adam(model.parameters(), lr=0.1)
    before = [p.clone() for p in model.parameters()]
    measured(model, [optimizer], 2)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert not optimizer.state
    assert all(p.grad is None for p in model.parameters())


def test_two_optimisers_share_the_parameters_out():
    model = net()
    both = [SGD(model[0].parameters(), lr=0.1), Adam(model[2].parameters(), lr=0.2)]
    together, _ = measured(model, both)
    assert together.own["2.bias"] == pytest.approx(0.2, rel=1e-6)  # Adam's first step is its rate
    alone, _ = measured(model, both[:1])
    assert alone.own["2.bias"] == alone.own["2.weight"] == 0
    assert alone.own["0.weight"] == pytest.approx(together.own["0.weight"], rel=1e-12)


def test_a_layer_that_is_read_but_never_called_is_seen_where_it_is_read():
    """`out_proj` of attention is a module whose weights the attention uses by itself."""

    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.shift = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0].mean(1) + self.shift

    model = Attending().double()
    x = torch.randn(6, 3, 4, dtype=torch.float64, generator=G)
    network, loss, _ = checked(model, (x, torch.zeros(6, 4, dtype=torch.float64)), "mse", 2)
    with undisturbed(network.module, twice=True):
        places = places_of(network)
        got = updates_of(network, loss, [Adam(model.parameters(), lr=0.1)], 1, [])
    assert places["attention.out_proj.weight"] == "attention"
    assert places["shift"] == ""
    assert got.own["attention.out_proj.bias"] == pytest.approx(0.1, rel=1e-6)
    assert got.own["shift"] == pytest.approx(0.1, rel=1e-6)


def test_noise_of_dropout_and_batch_statistics_is_no_update():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)
    ).double()
    got, _ = measured(model, [SGD(model.parameters(), lr=0.0)])
    assert set(got.own.values()) == {0.0}
    once, _ = measured(model, [SGD(model.parameters(), lr=0.1)])
    again, _ = measured(model, [SGD(model.parameters(), lr=0.1)])
    assert once.own == again.own
    assert once.own["0.bias"] == pytest.approx(0, abs=1e-12)  # batch norm takes it away


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bias_whose_gradient_is_rounding_alone_does_not_move(dtype):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 2)).to(dtype)
    network, loss, _ = checked(model, (X.to(dtype), Y.to(dtype)), "mse", 2)
    with undisturbed(network.module, twice=True):
        got = updates_of(network, loss, [Adam(model.parameters(), lr=0.1)], 1, ())
    still = {name for name, size in got.own.items() if not size}
    assert still == {"0.bias"}  # the batch's mean takes it away
