"""Parametrisations: exact descent of two layers, weights, seeds, scales, refusals."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lazyrich import PRESETS, InputError
from lazyrich.study import NETWORKS, PARAMETRISATIONS, fcn, parametrise
from lazyrich.theory import two_layer_linear as linear

from .small import built, drawn, fit


@pytest.mark.parametrize("name", PRESETS)
def test_two_layers_descend_as_the_exact_theory_says(name):
    width, m, steps = 60, 3, 6
    a, direction = drawn(9, dtype=torch.float64), drawn(m, seed=1, dtype=torch.float64)
    direction /= direction.norm()
    x, y = a[:, None] * direction, (a + 0.3 * drawn(9, seed=2, dtype=torch.float64))[:, None]
    network = fcn((m,), 1, width=width, activation="linear").double()
    made = parametrise(network, name, output_scale=0.7, init_scale=[1.3, 0.6], seed=4)
    state = linear.LineState.from_weights(
        network.readout.weight[0].detach(), network.layer1.weight.detach(), direction=direction
    )
    law = PRESETS[name]
    exact = linear.descent(
        state,
        linear.LinearNetwork(
            output_scale=0.7 * law.output_scale.at(width),
            lr_u=law.lr_u.at(width),
            lr_w=law.lr_w.at(width),
        ),
        linear.LineData(
            mean_aa=a.square().mean().item(),
            mean_ay=(a * y[:, 0]).mean().item(),
            mean_yy=y.square().mean().item(),
        ),
        steps=steps,
    )
    seen = []
    optimizer = torch.optim.SGD(made.groups())
    for _ in range(steps + 1):
        seen.append(made.model(direction[None]).item())
        fit(made.model, optimizer, x, y, 1)
    assert np.allclose(seen, exact.end_to_end_map.values, rtol=1e-10, atol=0)
    assert abs(seen[-1] / seen[0] - 1) > 1e-3


@pytest.mark.parametrize("name", PRESETS)
def test_the_weights_have_the_variances_of_the_preset(name):
    width, m = 500, 40
    made = parametrise(fcn((m,), 30, width=width, depth=2, bias=True), name, seed=0)
    law, inner = PRESETS[name], made.model.network
    expected = {
        "layer1": law.init_var_w.at(width) / m,
        "layer2": 2 / width,  # ReLU
        "readout": law.init_var_u.at(width),
    }
    for layer, variance in expected.items():
        weight = inner.get_submodule(layer).weight
        # the relative standard error of a variance is √(2/N)
        error = 5 * math.sqrt(2 / weight.numel())
        assert weight.square().mean().item() == pytest.approx(variance, rel=error), layer
        assert inner.get_submodule(layer).bias.eq(0).all()
    assert made.model.output_scale.item() == pytest.approx(law.output_scale.at(width))
    rate = {key.removeprefix("network."): made.lr * f for key, f in made.lr_factors.items()}
    assert made.lr == pytest.approx(0.05)
    assert rate["layer1.weight"] == rate["layer1.bias"] == rate["layer2.bias"]
    assert rate["layer1.weight"] == pytest.approx(law.lr_w.at(width))
    assert rate["readout.weight"] == pytest.approx(law.lr_u.at(width))
    on_par = law.lr_w.at(width) * m / width / law.init_var_w.at(width)
    assert rate["layer2.weight"] == pytest.approx(on_par)


@pytest.mark.parametrize("name", NETWORKS)
def test_default_is_what_the_modules_draw_themselves(name):
    torch.manual_seed(11)
    fresh = built(name, 8)
    torch.manual_seed(12)
    made = parametrise(built(name, 8), "default", seed=11)
    for (key, new), old in zip(
        made.model.network.named_parameters(), fresh.parameters(), strict=True
    ):
        assert torch.equal(new, old), key
    assert set(made.lr_factors.values()) == {1.0}
    assert (made.lr, made.model.output_scale.item()) == (1.0, 1.0)


@pytest.mark.parametrize("name", ["default", "mup"])
def test_the_seed_decides_the_weights_and_nothing_else_is_touched(name):
    torch.manual_seed(5)
    networks = [built("transformer", 8) for _ in range(3)]
    before = torch.get_rng_state()
    one, same, other = (
        parametrise(network, name, seed=seed).model.state_dict()
        for network, seed in zip(networks, (0, 0, 1), strict=True)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["network.embed.weight"], other["network.embed.weight"])


def test_normalisation_begins_anew():
    network = built("resnet18", 2)
    network(drawn(4, 3, 16, 16))
    with torch.no_grad():
        network.norm.weight.fill_(3.0)
    parametrise(network, "ntk", seed=0)
    assert network.norm.weight.eq(1).all()
    assert network.norm.running_mean.eq(0).all()


@pytest.mark.parametrize("name", ["default", "kaiming"])
def test_init_scale_multiplies_all_or_each_weight_matrix_alone(name):
    scales = ([1.0, 1.0, 1.0], 3.0, [2.0, 0.5, 7.0])
    one, all_three, each = (
        parametrise(
            fcn((4,), 2, width=5, depth=2, bias=True), name, init_scale=s, seed=0
        ).model.network
        for s in scales
    )
    for layer, factor in zip(("layer1", "layer2", "readout"), scales[2], strict=True):
        weight = one.get_submodule(layer).weight
        assert torch.equal(all_three.get_submodule(layer).weight, 3 * weight)
        assert torch.equal(each.get_submodule(layer).weight, factor * weight)
        assert torch.equal(each.get_submodule(layer).bias, one.get_submodule(layer).bias)


@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_centred_outputs_begin_at_zero_and_move_as_the_others(name):
    x, made = drawn(6, 4), {}
    for centred in (False, True):
        network = fcn((4,), 2, width=30, depth=2)
        made[centred] = parametrise(network, name, output_scale=2.5, centred=centred, seed=0)
    plain, centred = made[False], made[True]
    assert centred.model(x).eq(0).all()
    assert plain.lr_factors == centred.lr_factors
    assert set(centred.lr_factors) == {
        key for key, parameter in centred.model.named_parameters() if parameter.requires_grad
    }
    start = plain.model(x).detach()
    for one in (plain, centred):
        with torch.no_grad():
            for parameter in one.model.network.parameters():
                parameter.add_(0.1)
    assert torch.allclose(plain.model(x) - start, centred.model(x), rtol=1e-4, atol=1e-4)


def test_groups_hold_every_trained_parameter_once():
    made = parametrise(built("resnet18", 2), "mup", seed=0)
    made.model.network.stem.weight.requires_grad_(False)
    groups = made.groups(0.3)
    names = {id(p): name for name, p in made.model.named_parameters() if p.requires_grad}
    rates = {names[id(p)]: group["lr"] for group in groups for p in group["params"]}
    assert rates == {name: 0.3 * made.lr_factors[name] for name in names.values()}
    assert sum(len(group["params"]) for group in groups) == len(names)


class Raw(nn.Module):
    """A layer with a matrix of its own."""

    def __init__(self, known):
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(3))
        if known:
            self.reset_parameters = lambda: None

    def forward(self, x):
        return x @ self.matrix


def tied():
    network = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 1))
    network[2].weight = network[0].weight
    return network


@pytest.mark.parametrize(
    ("network", "name", "more", "message"),
    [
        (fcn((2,), 1), "ntp", {}, "`name` must be one of default, ntk, mean_field.*'ntp'"),
        (fcn((2,), 1), "ntk", {"init_scale": [1.0]}, r"each of the 2 weight matrices \(layer1, re"),
        (fcn((2,), 1), "ntk", {"init_scale": 0.0}, "`init_scale` must be a positive number"),
        (fcn((2,), 1), "ntk", {"init_scale": [1.0, math.nan]}, "`init_scale` must be a positive"),
        (fcn((2,), 1), "ntk", {"output_scale": -1.0}, "`output_scale` must be a positive number"),
        (nn.Linear(2, 1), "ntk", {}, "`network` must have at least two weight matrices, got 1"),
        (tied(), "ntk", {}, "`network` must not share a weight matrix"),
        (nn.Sequential(nn.Linear(3, 3), Raw(False), nn.Linear(3, 1)), "default", {}, "'1' .Raw. w"),
        (nn.Sequential(nn.Linear(3, 3), Raw(True), nn.Linear(3, 1)), "ntk", {}, "got 1.matrix, wh"),
    ],
)
def test_what_the_rule_does_not_cover_is_refused(network, name, more, message):
    with pytest.raises(InputError, match=message):
        parametrise(network, name, seed=0, **more)


def test_a_refused_network_keeps_its_weights():
    network = fcn((2,), 1)
    before = network.layer1.weight.clone()
    with pytest.raises(InputError, match="init_scale"):
        parametrise(network, "ntk", init_scale=-1.0, seed=0)
    assert torch.equal(before, network.layer1.weight)
