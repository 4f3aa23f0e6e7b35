"""What normalises by the batch is known by what it does: PyTorch's twin has the same numbers."""

import copy

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.network import as_network, gradient
from tests.architectures import FunctionalNorm, NormInTrainMode, NormOfTorch, UnusualNorm

NORMS = {
    "buffers of any name": FunctionalNorm,
    "buffers of the usual names": lambda k: FunctionalNorm(k, ("running_mean", "running_var")),
    "no buffers": lambda k: FunctionalNorm(k, ()),
    "the function of torch": NormOfTorch,
    "one call for each mode": NormInTrainMode,
    "by hand": UnusualNorm,
}
TABLE, IMAGES = (12, 5), (12, 2, 5, 5)


def network(norm, shape):
    torch.manual_seed(0)
    if shape == TABLE:
        layers = nn.Linear(5, 16), norm(16), nn.Tanh(), nn.Linear(16, 2)
    else:
        layers = nn.Conv2d(2, 6, 3), norm(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 2)
    return nn.Sequential(*layers).double()


def twins(name, shape):
    torch_norm = nn.BatchNorm1d if shape == TABLE else nn.BatchNorm2d
    pair = network(NORMS[name], shape), network(torch_norm, shape)
    torch.manual_seed(1)
    x = 2 * torch.randn(shape, dtype=torch.float64) + 1
    return pair, x, torch.randn(12, 2, dtype=torch.float64)


@pytest.mark.parametrize("shape", [TABLE, IMAGES], ids=["table", "images"])
@pytest.mark.parametrize("name", NORMS)
def test_one_look(name, shape):
    (own, of_torch), x, y = twins(name, shape)
    for _ in range(3):
        own(x + 1)
    torch.testing.assert_close(lazyrich.ntk(own, x), lazyrich.ntk(of_torch, x))
    own_rho, rho = (lazyrich.richness(net, (x, y), directions="all") for net in (own, of_torch))
    assert own_rho == pytest.approx(rho, rel=1e-6)


@pytest.mark.parametrize("shape", [TABLE, IMAGES], ids=["table", "images"])
@pytest.mark.parametrize("name", NORMS)
def test_watched(name, shape):
    """And the loss of a look is the very loss of training."""
    histories = []
    for model in twins(name, shape)[0]:
        _, x, y = twins(name, shape)
        names = ["loss", "ntk_change", "linearisation_error", "feature_speed"]
        probe = lazyrich.Probe(model, (x, y), observables=names, directions="all")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        losses = []
        with probe.watch(optimizer, when=5):
            for _ in range(10):
                optimizer.zero_grad()
                loss = (model(x) - y).square().mean()
                loss.backward()
                losses.append(loss.item())
                optimizer.step()
        assert probe.history.loss[:2].values == pytest.approx([losses[0], losses[5]], rel=1e-9)
        histories.append(probe.history)
    for quantity in histories[1].data_vars:
        own, of_torch = (history[quantity].values for history in histories)
        assert own == pytest.approx(of_torch, rel=1e-6, abs=1e-9, nan_ok=True), quantity


@pytest.mark.parametrize("name", ["buffers of any name", "by hand"])
def test_coordinate_check(name):
    def family(norm):
        def make(width):
            return nn.Sequential(nn.Linear(5, width), norm(width), nn.Tanh(), nn.Linear(width, 2))

        return make

    torch.manual_seed(1)
    x, y = torch.randn(12, 5), torch.randn(12, 2)
    own, of_torch = (
        lazyrich.coordinate_check(
            family(norm), (x, y), widths=(4, 8, 16), optimizer=0.05, steps=2, seeds=1, kernel=True
        ).data
        for norm in (NORMS[name], nn.BatchNorm1d)
    )
    for quantity in ("feature_update", "progress", "richness", "ntk_change", "loss_ratio"):
        if quantity in of_torch:
            assert own[quantity].values == pytest.approx(of_torch[quantity].values, rel=1e-4)


@pytest.mark.parametrize("name", ["buffers of any name", "no buffers", "one call for each mode"])
def test_dial(name):
    pair, x, y = twins(name, TABLE)
    scales = [
        lazyrich.dial(
            model,
            (x, y),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            richness=0.5,
            max_steps=20,
        ).output_scale
        for model in pair
    ]
    assert scales[0] == pytest.approx(scales[1], rel=1e-6)


def test_one_in_eval_mode_is_frozen_and_keeps_its_statistics():
    (own, of_torch), x, _ = twins("buffers of any name", TABLE)
    for model in (own, of_torch):
        model(x)
        model[1].eval()
    torch.testing.assert_close(lazyrich.ntk(own, x), lazyrich.ntk(of_torch, x))


@pytest.mark.parametrize("name", NORMS)
def test_a_pass_as_in_training_has_the_gradient_of_training(name):
    """Its derivatives see the statistics, too; those of a look do not."""
    (own, _), x, y = twins(name, TABLE)
    loss = (own(x) - y).square().mean()
    expected = torch.autograd.grad(loss, list(own.parameters()))
    network = as_network(own, x)
    with undisturbed(network.module):
        found = gradient(lambda theta: (network.trained(theta) - y).square().mean(), network.theta)
    for one, other in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_nothing_stays_behind():
    (own, _), x, y = twins("one call for each mode", TABLE)
    before = copy.deepcopy(own.state_dict())
    lazyrich.forecast(own, (x, y))
    assert all(torch.equal(before[key], value) for key, value in own.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in own.modules())


def test_one_value_a_channel_is_refused():
    (own, _), x, _ = twins("buffers of any name", TABLE)
    with pytest.raises(lazyrich.InputError, match=r"by, got inputs of shape .* at a call of"):
        lazyrich.ntk(own.eval(), x[:1])


class Switching(nn.Module):
    """Freezes a part of itself in every forward pass, whatever mode the model is in."""

    def __init__(self, mode):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Linear(16, 2)
        self.mode = mode

    def forward(self, x):
        self.norm.train(self.mode)
        return self.last(torch.tanh(self.norm(self.first(x))))


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("now", [True, False])
def test_a_mode_that_the_forward_pass_sets_is_the_one_that_counts(mode, now):
    torch.manual_seed(0)
    model = Switching(mode)
    model.norm.running_mean.uniform_(-1, 1)
    x, y = torch.randn(12, 5), torch.randn(12, 2)
    plain = nn.Sequential(model.first, model.norm, nn.Tanh(), model.last)
    plain[1].train(mode)
    expected = lazyrich.ntk(plain, x)
    model.norm.train(now)
    torch.testing.assert_close(lazyrich.ntk(model, x), expected)
    assert model.norm.training is now
    probe = lazyrich.Probe(model, (x, y))
    probe.measure(0)
    training = copy.deepcopy(model)
    loss = (training(x) - y).square().mean().item()
    assert probe.history.loss.item() == pytest.approx(loss, rel=1e-5)
