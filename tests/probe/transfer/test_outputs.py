"""Outputs that no readout of its own gives: tied embeddings, parameters of the model itself."""

import re

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from lazyrich import transfer
from tests.probe.transfer.test_transfer import Bare

G = torch.Generator().manual_seed(0)
IDS = torch.randint(0, 11, (8, 4), generator=G)
BATCH = (IDS, torch.randint(0, 11, (8, 4), generator=G))


def cross_entropy(outputs, targets):
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


class Tied(nn.Module):
    """Tied by one tensor for two layers, or by a product in the forward pass."""

    def __init__(self, width, by_layer, factor):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(11, width), nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.hidden, self.factor = nn.Linear(width, width), factor
        self.head = nn.Linear(width, 11, bias=False) if by_layer else None
        if by_layer:
            self.head.weight = self.embedding.weight

    def forward(self, ids):
        h = self.embedding(ids)
        h = self.norm(h + self.hidden(h).tanh())
        f = self.head(h) if self.head else nn.functional.linear(h, self.embedding.weight)
        return self.factor * f


@pytest.mark.parametrize("by_layer", [True, False])
@pytest.mark.parametrize("kind", [Adam, SGD])
def test_the_multiplier_that_is_told_is_what_a_tied_readout_lacks(by_layer, kind):
    optimizer = lambda model, _: kind(model.parameters(), lr=0.01)  # noqa: E731
    given = {"small": 16, "large": 128, "optimizer": optimizer, "seeds": 3}
    found = transfer(lambda n: Tied(n, by_layer, 1.0), BATCH, cross_entropy, **given)
    assert "but not what they do to the outputs" in found.notes[0]
    (told,) = (note for note in found.notes if "times what it is in the small network" in note)
    assert ("`head` is a readout without a weight of its own" in told) is by_layer
    factor = float(re.search(r"outputs by (\S+) at width 128", told).group(1))
    assert factor < 0.5
    for _ in range(6):  # under SGD the gradients carry it, so that the rates move, too
        made = lambda n, factor=factor: Tied(n, by_layer, factor if n == 128 else 1.0)  # noqa: E731
        found = transfer(made, BATCH, cross_entropy, **given)
        told = [note for note in found.notes if "times what it is in the small network" in note]
        if not told:
            break
        factor *= float(re.search(r"outputs by (\S+) at width 128", told[0]).group(1))
    assert "first steps of all sizes agree within" in found.notes[0]


def test_own_updates_of_the_models_own_parameters_are_linear_in_the_rate():
    """They are seen on its outputs: by derivative, or large steps would never be matched."""
    x = torch.randn(16, 6, generator=G)
    found = transfer(
        Bare, (x, x[:, :2]), small=16, large=64, seeds=2,
        optimizer=lambda model, _: Adam(model.parameters(), lr=3.0), rounds=2,
    )  # fmt: skip
    update = (found.data.own_update**2).mean("seed") ** 0.5
    assert update.isel(width=0).values == pytest.approx(update.isel(width=1).values, rel=1e-4)
    assert any("No layer that is trained has inputs that grow" in note for note in found.notes)


class PooledAfterwards(nn.Module):
    """A readout whose outputs are added up afterwards is a readout all the same."""

    def __init__(self, width):
        super().__init__()
        self.up, self.last = nn.Linear(6, width), nn.Linear(width, 2)

    def forward(self, x):
        return self.last(self.up(x).relu()).mean(1)


def test_outputs_that_a_readout_gives_on_the_way_need_no_multiplier():
    x = torch.randn(16, 5, 6, generator=G)
    found = transfer(
        PooledAfterwards, (x, x[:, 0, :2]), small=16, large=64, seeds=3,
        optimizer=lambda model, _: Adam(model.parameters(), lr=0.01),
    )  # fmt: skip
    assert set(found.data.flow.values) == {"last", "output"}
    assert not any("transfer again" in note for note in found.notes)
