"""An activation that works in place changes nothing that is measured."""

import pytest
import torch
from torch import nn

import lazyrich


class Swish(nn.Module):
    """Scales what it is given, in place."""

    def forward(self, x):
        return x.mul_(torch.sigmoid(x))


ACTIVATIONS = {
    "relu": (nn.ReLU, lambda: nn.ReLU(inplace=True)),
    "leaky": (nn.LeakyReLU, lambda: nn.LeakyReLU(inplace=True)),
    "silu": (nn.SiLU, Swish),
}


def network(activation, width=32, norm=nn.Identity):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, width), norm(), activation(), nn.Linear(width, width), activation(),
        nn.Linear(width, 2),
    )  # fmt: skip


X, Y = torch.randn(12, 5), torch.randn(12, 2)


def both(name, measure, **options):
    return [measure(network(activation, **options)) for activation in ACTIVATIONS[name]]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("norm", [nn.Identity, lambda: nn.BatchNorm1d(32)])
def test_speeds_and_angles(name, norm):
    def measure(model):
        probe = lazyrich.Probe(
            model, (X, Y), observables=["feature_speed", "backward_feature_cosine"]
        )
        probe.measure(0)
        return probe.history

    plain, in_place = both(name, measure, norm=norm)
    for quantity in ("feature_speed", "backward_feature_cosine"):
        assert in_place[quantity].values == pytest.approx(plain[quantity].values, rel=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_rates_of_an_equal_speed(name):
    def measure(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        result = lazyrich.dial(
            model, (X, Y), optimizer=optimizer, richness=1.0, equal_speed=True, dry_run=True
        )
        return [rate.after for rate in result.learning_rates.values()]

    plain, in_place = both(name, measure)
    assert in_place == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_sizes_and_updates_of_a_coordinate_check(name):
    def check(activation):
        return lazyrich.coordinate_check(
            lambda width: network(activation, width),
            (X, Y),
            widths=(8, 16, 32),
            optimizer=0.02,
            steps=2,
            seeds=1,
        ).data

    plain, in_place = map(check, ACTIVATIONS[name])
    for quantity in ("activation_size", "feature_update"):
        assert in_place[quantity].values == pytest.approx(plain[quantity].values, rel=1e-4)
    # the size itself: of the pre-activation, not of what the activation leaves of it
    first = network(nn.ReLU, 32)[0](X)
    if name == "relu":
        size = in_place.activation_size.sel(width=32, layer="0").item()
        assert size == pytest.approx(first.square().mean().sqrt().item(), rel=1e-5)
