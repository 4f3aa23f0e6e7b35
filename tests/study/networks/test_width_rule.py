"""The rule for any depth against abc theory, the rules of muP, and trained networks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich as lr
from lazyrich import PRESETS, Power
from lazyrich.study import NETWORKS, fcn, parametrise
from lazyrich.study.activations import ACTIVATIONS, Erf, Quadratic
from lazyrich.study.networks.width_rule import squared_gain, weight_layers, width_rule

from .small import built, drawn, fit

FEATURE = ("mean_field", "kaiming_plus", "xavier_plus", "mup")
STABLE = (*FEATURE, "ntk", "kaiming", "xavier")
OPTIMIZERS = {"sgd": (torch.optim.SGD, 0.02), "adam": (torch.optim.Adam, 0.002)}


def test_the_gains_keep_the_size_of_pre_activations():
    assert squared_gain(nn.ReLU()) == 2
    assert squared_gain(Quadratic()) == pytest.approx(1 / 3, rel=1e-13)
    erf = math.pi / 2 / math.asin(2 / 3)  # E[erf(z)²] = (2/π) asin(2/3)
    assert squared_gain(Erf()) == pytest.approx(erf, rel=1e-9)
    for activation in set(ACTIVATIONS) - {"quadratic"}:  # whose fluctuations square at each layer
        network = fcn((50,), 1, width=800, depth=4, activation=activation)
        made = parametrise(network, "ntk", seed=0)
        sizes = []
        for path in weight_layers(network):
            network.get_submodule(path).register_forward_hook(
                lambda _module, _args, z, sizes=sizes: sizes.append(z.square().mean().item())
            )
        made.model(drawn(50, 50))
        # √(2/50) = 0.2 from the entries of an input, which layers hand on
        assert all(0.7 < size < 1.4 for size in sizes[:-1]), (activation, sizes)


# Maximal update parametrisation for SGD (arXiv:2203.03466, table 3; the rules of its package): with
# the number of dimensions of a tensor that grow with the width, a rate is multiplied by the growth
# for one, kept for two (fan-in and fan-out grow alike) and for none; by 1/growth for the readout.
# Under Adam: kept for one and for none, by 1/growth for two and for the readout.
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", NETWORKS)
def test_mup_has_the_rates_and_variances_of_its_authors(name, optimizer):
    growth, (narrow, wide) = 2, (built(name, width) for width in (8, 16))
    few, many = (
        width_rule(network, PRESETS["mup"], optimizer=optimizer) for network in (narrow, wide)
    )
    shapes = dict(narrow.named_parameters())
    for key, parameter in wide.named_parameters():
        pairs = zip(parameter.shape, shapes[key].shape, strict=True)
        growing = sum(big != small for big, small in pairs)
        rates = {"sgd": (1.0, growth, 1.0), "adam": (1.0, 1.0, 1 / growth)}
        expected = rates[optimizer][growing]
        if key == "readout.weight":
            expected = 1 / growth
        assert many.rate(key) / few.rate(key) == pytest.approx(expected), key
    for path, std in many.init_std.items():
        expected = 1.0 if path == next(iter(many.init_std)) else 1 / math.sqrt(growth)
        if path == "readout":
            expected = 1 / growth
        assert std / few.init_std[path] == pytest.approx(expected), path


def abc(name, depth):
    """Exponents a_l, b_l at c = 0 of the effective weights, the output scale inside the last."""
    with torch.device("meta"):  # shapes without numbers
        networks = [fcn((5,), 1, width=d, depth=depth) for d in (10**3, 10**5)]
    laws = [width_rule(network, PRESETS[name]) for network in networks]

    def power(small, large):
        return math.log(large / small, 100)

    gamma = power(*(law.output_scale for law in laws))
    a, b = [], []
    for path in laws[0].init_std:
        rate = power(*(law.weight_rates[path] for law in laws))
        std = power(*(law.init_std[path] for law in laws))
        if path == "readout":
            rate, std = rate + 2 * gamma, std + gamma
        a.append(-rate / 2)
        b.append(-std + rate / 2)
    return np.array(a), np.array(b)


# r of abc-parametrisations, arXiv:2011.14522, theorems 3.3–3.5: features move as width^−r
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("name", "r"),
    [("ntk", 1 / 2), ("kaiming", 3 / 2), ("mean_field", 0), ("kaiming_plus", 0), ("mup", 0)],
)
def test_the_phase_of_two_layers_is_that_of_any_depth(name, depth, r):
    a, b = abc(name, depth)
    first = np.arange(depth) == 0
    readout = min(a[-1] + b[-1], 2 * a[-1])
    moved = 2 * a[:-1] + first
    assert readout - 1 + moved.min() == pytest.approx(r, abs=1e-9)
    assert moved == pytest.approx(moved[0])  # every layer moves as the first one does
    assert (a + b)[0] == pytest.approx(0, abs=1e-9)
    assert (a + b)[1:-1] == pytest.approx(0.5)
    assert a[-1] + b[-1] >= 0.5 - 1e-9
    assert 2 * a[-1] >= 1 - 1e-9
    assert a[-1] + b[-1] + r >= 1 - 1e-9
    trivial = not (math.isclose(a[-1] + b[-1] + r, 1) or math.isclose(2 * a[-1], 1))
    assert not trivial
    assert PRESETS[name].phase == ("feature" if r == 0 else "kernel")


def movements(name, depth, activation, widths, *, init_scale, steps, seeds=3, optimizer="sgd"):
    """Relative change of every hidden pre-activation in a few steps, (width, seed, layer)."""
    x = drawn(8, 10)
    y = x[:, :1] * x[:, 1:2] + x[:, 2:3]

    def pre_activations(network):
        h, seen = x, []
        for layer in range(1, depth + 1):
            z = network.get_submodule(f"layer{layer}")(h)
            seen.append(z)
            h = network.get_submodule(f"activation{layer}")(z)
        return seen

    def one(width, seed):
        network = fcn((10,), 1, width=width, depth=depth, activation=activation)
        kind, lr = OPTIMIZERS[optimizer]
        made = parametrise(
            network, name, optimizer=optimizer, init_scale=init_scale, centred=True, seed=seed
        )
        with torch.no_grad():
            before = pre_activations(network)
        fit(made.model, kind(made.groups(lr)), x, y, steps)
        with torch.no_grad():
            after = pre_activations(network)
        pairs = zip(before, after, strict=True)
        return [((new - old).norm() / old.norm()).item() for old, new in pairs]

    return np.array([[one(width, seed) for seed in range(seeds)] for width in widths])


# Relative movement of features: the exponent of two layers, γ η_w σ_u/σ_w, in the kernel phase; 0
# where features are learned. There the readout starts small, because in the first steps its random
# part moves features as well, by d^−1/2 for Kaiming+. Tolerance: finite-width terms of relative
# order 1/√64 bend a slope over a factor of 16 by ln(1 + 1/8)/ln 16 = 0.04, three seeds scatter by
# as much, feature learning speeds itself up; the next phase is 0.5 away.
@pytest.mark.parametrize(
    ("name", "depth", "activation"),
    [
        *((name, 3, "relu") for name in STABLE),
        *(("mup", 2, activation) for activation in ("tanh", "gelu")),
        *(("ntk", 2, activation) for activation in ("tanh", "erf")),
    ],
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_features_move_with_width_as_the_phase_says(name, depth, activation, optimizer):
    widths = (64, 256, 1024)
    scales, steps = ([1.0] * depth + [0.1], 8) if name in FEATURE else (1.0, 4)
    moved = movements(
        name, depth, activation, widths, init_scale=scales, steps=steps, optimizer=optimizer
    )
    moved = np.log(moved).mean(axis=1)
    slopes = np.polyfit(np.log(widths), moved, 1)[0]
    law = PRESETS[name]
    power = law.output_scale.exponent + law.lr_w.exponent
    power += (law.init_var_u.exponent - law.init_var_w.exponent) / 2
    expected = 0.0 if name in FEATURE else float(power)
    assert slopes == pytest.approx(expected, abs=0.2)


# in the kernel phase at full size, elsewhere with a small readout as above
@pytest.mark.parametrize(("name", "scale"), [("ntk", 1.0), *((name, 0.1) for name in FEATURE)])
def test_the_function_of_wider_networks_moves_as_far_under_adam(name, scale):
    x, widths = drawn(8, 10), (64, 256, 1024)

    def moved(width, seed):
        made = parametrise(
            fcn((10,), 1, width=width, depth=2, bias=True),
            name,
            optimizer="adam",
            init_scale=[1.0, 1.0, scale],
            centred=True,
            seed=seed,
        )
        fit(made.model, torch.optim.Adam(made.groups()), x, x[:, :1] * x[:, 1:2], 8)
        return made.model(x).norm().item()

    sizes = [np.mean([math.log(moved(width, seed)) for seed in range(3)]) for width in widths]
    assert np.polyfit(np.log(widths), sizes, 1)[0] == pytest.approx(0, abs=0.15)


# the same for what the readout of other networks reads; channels and tokens share the tolerance
@pytest.mark.parametrize(("name", "expected"), [("mup", 0.0), ("ntk", -0.5)])
@pytest.mark.parametrize(
    ("kind", "widths"), [("cnn", (8, 32, 128)), ("transformer", (16, 64, 256))]
)
def test_features_of_other_networks_move_in_the_same_way(kind, widths, name, expected):
    x, y = drawn(8, 3, 8, 8), drawn(8, 5)

    def moved(width, seed):
        network, seen = built(kind, width, (3, 8, 8)), []
        scales = [1.0] * (len(weight_layers(network)) - 1) + [0.1 if name == "mup" else 1.0]
        made = parametrise(network, name, init_scale=scales, centred=True, seed=seed)
        network.readout.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
        fit(made.model, torch.optim.SGD(made.groups(0.005)), x, y, 6 if name == "mup" else 3)
        made.model(x)
        return ((seen[-1] - seen[0]).norm() / seen[0].norm()).item()

    sizes = [np.mean([math.log(moved(width, seed)) for seed in range(2)]) for width in widths]
    assert np.polyfit(np.log(widths), sizes, 1)[0] == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize(("name", "phase"), [("mup", "feature"), ("ntk", "kernel")])
def test_a_coordinate_check_finds_the_phase(name, phase):
    x = drawn(12, 10)
    made = {}

    def factory(width):
        made[width] = parametrise(
            fcn((10,), 1, width=width, depth=2, activation="tanh"),
            name,
            centred=True,
            seed=torch.randint(2**31, ()).item(),
        )
        return made[width].model

    check = lr.coordinate_check(
        factory,
        (x, x[:, :1] + x[:, 1:2]),
        widths=(64, 256, 1024),
        optimizer=lambda _model, width: torch.optim.SGD(made[width].groups()),
        steps=4,
        seeds=3,
        kernel=True,
        directions=2,
    )
    assert check.phase == phase, check.sentence
    hidden = check.data.sel(layer=["network.layer1", "network.layer2"])
    expected = 0.0 if phase == "feature" else -0.5
    assert hidden.feature_update_exponent.values == pytest.approx(expected, abs=0.15)


def at_unit_variance(law):
    """The same network of degree one, with the size of its first layer in the output scale."""
    s = law.init_var_w
    return replace(
        law,
        output_scale=Power(
            law.output_scale.exponent + s.exponent / 2,
            law.output_scale.constant * s.constant**0.5,
        ),
        lr_w=Power(law.lr_w.exponent - s.exponent, law.lr_w.constant / s.constant),
        init_var_w=Power(0),
    )


@pytest.mark.parametrize("name", ["xavier", "xavier_plus"])
def test_a_small_first_layer_is_a_small_output_scale(name):
    width, x = 50, drawn(8, 4, dtype=torch.float64)
    y = x.square().sum(1, keepdim=True)
    first = fcn((4,), 1, width=width, depth=3).double()
    made = parametrise(first, name, seed=0)
    fit(made.model, torch.optim.SGD(made.groups()), x, y, 5)

    law = at_unit_variance(PRESETS[name])
    second = fcn((4,), 1, width=width, depth=3).double()
    parametrise(second, name, seed=0)  # the same weights
    rule = width_rule(second, law)
    with torch.no_grad():
        second.layer1.weight.mul_(PRESETS[name].init_var_w.at(width) ** -0.5)
    parameters = [{"params": [p], "lr": rule.rate(n)} for n, p in second.named_parameters()]
    model = lambda inputs: rule.output_scale * second(inputs)  # noqa: E731
    fit(model, torch.optim.SGD(parameters), x, y, 5)
    assert torch.allclose(model(x), made.model(x), rtol=1e-10)
    assert made.model(x).std() > 0.01


@pytest.mark.parametrize("network", ["resnet18", "transformer"])
def test_norms_hand_the_size_of_the_first_layer_to_the_output(network):
    for law in PRESETS.values():
        given, same = (width_rule(built(network, 8), one) for one in (law, at_unit_variance(law)))
        assert given.output_scale == pytest.approx(same.output_scale)
        for name, _ in built(network, 8).named_parameters():
            assert given.rate(name) == pytest.approx(same.rate(name)), name
        assert given.init_std == pytest.approx(same.init_std)


def test_the_bias_of_the_readout_has_a_share_that_does_not_depend_on_width():
    for name in PRESETS:
        shares = []
        for width in (100, 1600):
            made = parametrise(fcn((9,), 1, width=width, depth=2, bias=True), name, seed=0)
            h = made.model.network[:-1](drawn(9, 9)).square().sum(1).mean().item()
            factors = made.lr_factors
            bias, weight = (factors[f"network.readout.{own}"] for own in ("bias", "weight"))
            shares.append(bias / (weight * h))
        assert shares[1] == pytest.approx(shares[0], rel=0.3), name
