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


class Written(nn.Module):
    """Writes on a weight, in the end what stood there, as one does that clamps or rescales."""

    def __init__(self, writes):
        super().__init__()
        self.first, self.head, self.writes = nn.Linear(5, 8), nn.Linear(8, 7), writes

    def forward(self, x):
        if self.writes:
            with torch.no_grad():
                self.first.weight.div_(1.0)
        h = torch.tanh(self.first(x))
        if self.writes:
            with torch.no_grad():
                self.head.weight.clamp_(-9, 9)
        return self.head(h)


def test_a_weight_that_is_written_on_with_what_stood_there():
    histories = []
    for writes in (False, True):
        torch.manual_seed(0)
        probe = lazyrich.Probe(Written(writes), (X, torch.randn(12, 7)))
        probe.measure(0)
        probe.measure(1)
        histories.append(probe.history.drop_attrs())
    assert histories[0].equals(histories[1])


class Gated(nn.Module):
    """A branch that gives 0 at first, as of an adapter or a decoder's first attention."""

    def __init__(self):
        super().__init__()
        self.first, self.down, self.up = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(3, 8)
        self.head = nn.Linear(8, 2)
        for part in (self.up.weight, self.up.bias):
            nn.init.zeros_(part)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        return self.head(h + self.up(self.down(h)))


def test_the_change_of_the_output_has_a_number_where_a_share_has_none():
    torch.manual_seed(0)
    model = Gated()
    probe = lazyrich.Probe(model, (X, Y))
    probe.measure(0)
    before = model(X).norm()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1)
    probe.measure(1)
    assert not probe.history.layer_log_gain[-1].isnull().all()
    expected = [0, (model(X).norm() / before).log().item()]
    assert probe.history.log_output.values == pytest.approx(expected, abs=1e-5)
