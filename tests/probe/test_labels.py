"""What somebody wrote on parameters, as mup does their shapes, is there in every pass."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.observables.catalogue import observables

ALL = sorted(name for observable in observables() for name in observable.names)


class Shape:
    """As mup's InfShape, of a layer whose width is a multiple of 8."""

    def __init__(self, width):
        self.width = width

    def width_mult(self):
        return self.width / 8


class Readout(nn.Linear):
    """As mup's MuReadout: its width is read from what stands at its weight."""

    def forward(self, x):
        assert hasattr(self.weight, "infshape"), "Please call set_base_shapes(...)."
        return super().forward(x / self.weight.infshape.width_mult())


class Divided(nn.Linear):
    """The same, with a number of its own."""

    def forward(self, x):
        return super().forward(x / (self.in_features / 8))


def labelled(width=16, kind=Readout):
    model = nn.Sequential(nn.Linear(3, width), nn.Tanh(), kind(width, 2))
    for p in model.parameters():
        p.infshape = Shape(width)
    return model


@pytest.fixture
def pair():
    """The same network twice."""
    model = labelled()
    other = labelled(kind=Divided)
    other.load_state_dict(model.state_dict())
    x = torch.randn(6, 3)
    return model, other, (x, torch.sin(x[:, :2]))


def measured(model, batch):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = lazyrich.Probe(model, batch, observables=ALL)
    with probe.watch(optimizer, when=1):
        for _ in range(3):
            optimizer.zero_grad()
            (model(batch[0]) - batch[1]).square().mean().backward()
            optimizer.step()
    return [probe.history[name].values for name in probe.history.data_vars]


CALLS = {
    "ntk": lambda model, batch: [lazyrich.ntk(model, batch[0])],
    "nfa": lambda model, batch: [lazyrich.nfa(model, batch[0]).nfa.values],
    "initial_cnfa": lambda model, batch: [lazyrich.initial_cnfa(model, batch).cnfa.values],
    "forecast": lambda model, batch: [
        lazyrich.forecast(
            model, batch, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), steps=5
        ).richness
    ],
    "dial": lambda model, batch: [
        lazyrich.dial(
            model,
            batch,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            richness=0.5,
            dry_run=True,
            max_steps=20,
        ).output_scale
    ],
    "Probe": measured,
}


@pytest.mark.parametrize("name", CALLS)
def test_numbers_are_those_without_labels(name, pair):
    model, other, batch = pair
    found, expected = (CALLS[name](net, batch) for net in (model, other))
    for one, another in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(another), rtol=1e-6)


def test_a_coordinate_check_of_labelled_networks(pair):
    batch = pair[2]
    checks = [
        lazyrich.coordinate_check(
            lambda width, kind=kind: labelled(width, kind),
            batch,
            widths=(8, 16, 32),
            optimizer=0.1,
            steps=2,
            seeds=1,
            kernel=True,
        )
        for kind in (Readout, Divided)
    ]
    assert checks[0].data.equals(checks[1].data)


def test_labels_stay_where_they_are(pair):
    model, _, batch = pair
    before = [vars(p)["infshape"] for p in model.parameters()]
    lazyrich.Probe(copy.copy(model), batch).measure(0)
    assert [vars(p) for p in model.parameters()] == [{"infshape": one} for one in before]
