"""Networks that one theory or several describe, against descent with autograd and by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich as lr
from lazyrich import InputError
from lazyrich.study.matching.case import Case
from lazyrich.study.matching.recursion import descend
from lazyrich.theory.two_layer_linear import GramState, LinearNetwork, MomentData, descent

RNG = np.random.default_rng(0)
WHITE = np.linalg.qr(RNG.standard_normal((12, 3))).Q
TURNS = [np.linalg.qr(RNG.standard_normal((3, 3))).Q for _ in range(4)]
BEST = TURNS[3] @ np.diag([2.0, 1.0, 0.5]) @ TURNS[0].T
DEEP = [
    0.6 * TURNS[i + 1] @ np.diag([1.0, 0.8, 0.5]) @ TURNS[i].T for i in range(3)
]  # aligned, balanced
X, Y = RNG.standard_normal((20, 3)), RNG.standard_normal((20, 2))
LAYERS = [RNG.standard_normal((4, 3)) / 2, RNG.standard_normal((2, 4)) / 2]


def describing(found):
    return {one.name for one in found.theories if one.holds}


def of(found, name):
    return next(one for one in found.theories if one.name == name)


class Powers(nn.Module):
    """Hidden neurons of a power, with an output scale that is not told."""

    def __init__(self, power, width=6, scale=0.5):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.last = nn.Linear(1, width, bias=False), nn.Linear(width, 1, bias=False)
        self.power, self.scale = power, scale

    def forward(self, x):
        hidden = self.first(x)
        return self.scale * self.last(hidden.sign() * hidden.abs() ** self.power)


CASES = {
    "a line": (
        [LAYERS[0][:, :1], LAYERS[1][:1]],
        (X[:, :1], Y[:, 0]),
        {"two_layer_linear", "power_neurons"},
    ),
    "a line in the plane": (
        [LAYERS[0], LAYERS[1][:1]],
        (np.outer(X[:, 0], [0.6, 0.0, 0.8]), Y[:, 0]),
        {"two_layer_linear", "power_neurons"},
    ),
    "a neuron": (
        [[[0.3, -0.4, 0.1]], [[0.5]]],
        (WHITE, WHITE @ [1.0, 0.5, 0.2]),
        {"single_neuron", "balanced_linear"},
    ),
    "deep and aligned": (DEEP, (WHITE, WHITE @ BEST.T), {"aligned_modes"}),
    "diagonal": ([[0.5, 0.4], [0.0, 0.0]], ([[1.0, 2.0]], [1.0]), {"diagonal_linear"}),
    "nothing": (LAYERS, (X, Y), set()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_theories_that_hold_are_right(case):
    weights, data, expected = CASES[case]
    found = lr.match(weights, data)
    assert describing(found) == expected
    for one in found.theories:
        assert (one.prediction is None) == (one.name not in expected)
        if one.prediction is None:
            broken = max(part.value for part in one.residuals if not part.holds)
            assert broken > 1e-3
            assert f"{one.name} does not describe it. Broken: " in one.sentence
            assert "(off by " in one.sentence
        else:
            assert one.loss_error < 2e-3
            assert one.ntk_change_error < 0.05 * (1 + found.descent.ntk_change)
            assert one.regime in ("lazy", "intermediate", "rich")
            assert f"{one.name} describes it: it predicts a loss" in one.sentence
    assert (found.best is None) == (not expected)
    if expected:
        assert found.best.name in expected
    assert repr(found).startswith("Gradient descent, ")
    assert len(repr(found).splitlines()) == 1 + len(found.theories)


def test_the_error_of_a_theory_is_that_of_a_step():
    weights, data, _ = CASES["deep and aligned"]
    off = [
        of(lr.match(weights, data, lr=rate, steps=steps), "aligned_modes").loss_error
        for rate, steps in ((0.02, 200), (0.01, 400))
    ]
    assert off[1] == pytest.approx(off[0] / 2, rel=0.2)


def test_descent_is_the_exact_recursion():
    data = MomentData.from_samples(X, Y)
    case = Case(weights=tuple(LAYERS), data=data, output_scale=0.7, lr=0.02)
    state = GramState.from_weights(LAYERS[1], LAYERS[0])
    network = LinearNetwork(output_scale=0.7, lr_u=0.02, lr_w=0.02)
    there = descent(state, network, data, steps=50).isel(step=-1)
    here = descend(case, 50)
    assert here.loss == pytest.approx(there.loss.item(), rel=1e-11)
    assert here.ntk_change == pytest.approx(there.ntk_change.item(), rel=1e-10)


@pytest.mark.parametrize("model", ["deep", "diagonal", "powers"])
def test_descent_is_what_autograd_does(model):
    """Loss and kernel over samples, by PyTorch."""
    x, y = torch.tensor(X), torch.tensor(Y[:, :1])
    if model == "deep":
        weights = [LAYERS[0], np.tanh(LAYERS[0] @ LAYERS[0].T), LAYERS[1][:1]]
    elif model == "diagonal":
        weights = [LAYERS[0][0], LAYERS[0][1], LAYERS[0][2]]
    else:
        weights, x = [LAYERS[0][:, :1], LAYERS[1][:1]], x[:, :1]
    power = 1.5 if model == "powers" else 1.0

    def function(*layers):
        if model == "diagonal":
            return 0.7 * (x * layers[0] * layers[1] * layers[2]).sum(1, keepdim=True)
        hidden = x @ layers[0].T
        hidden = hidden.sign() * hidden.abs() ** power
        for layer in layers[1:]:
            hidden = hidden @ layer.T
        return 0.7 * hidden

    def kernel(layers):
        parts = torch.autograd.functional.jacobian(function, layers)
        return sum(torch.einsum("ni...,mj...->nimj", p, p) for p in parts)

    layers = tuple(torch.tensor(w, requires_grad=True) for w in weights)
    first = kernel(layers)
    for _ in range(20):
        loss = (function(*layers) - y).square().sum(1).mean()
        steps = torch.autograd.grad(loss, layers)
        layers = tuple(
            (w - 0.05 * s).detach().requires_grad_() for w, s in zip(layers, steps, strict=True)
        )
    change = (kernel(layers) - first).norm() / first.norm()
    case = Case(
        weights=tuple(np.array(w) for w in weights),
        data=MomentData.from_samples(x.numpy(), y.numpy()),
        inputs=x.numpy(), targets=y.numpy(), output_scale=0.7, lr=0.05, power=power,
    )  # fmt: skip
    found = descend(case, 20)
    loss = (function(*layers) - y).square().sum(1).mean()
    assert found.loss == pytest.approx(loss.item(), rel=1e-9)
    assert found.ntk_change == pytest.approx(change.item(), rel=1e-9)


def test_a_module_is_its_weights():
    """Its output scale is seen, and nothing of it changes."""
    model = nn.Sequential(nn.Linear(1, 5, bias=False), nn.Linear(5, 1, bias=False)).double()
    before = [p.clone() for p in model.parameters()]
    data = (torch.tensor(X[:, :1]), torch.tensor(Y[:, :1]))
    here = lr.match(model, data, lr=0.01, steps=30)
    there = lr.match([p.detach().numpy() for p in before], data, lr=0.01, steps=30)
    assert describing(here) == {"two_layer_linear", "power_neurons"}
    assert here.descent.loss == pytest.approx(there.descent.loss, rel=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_module_of_a_power_is_seen():
    x = torch.tensor(X[:, :1], dtype=torch.float32)
    found = lr.match(Powers(1.5), (x, x * x.abs()))
    assert describing(found) == {"power_neurons"}
    assert found.best.loss_error < 1e-3
    assert of(found, "two_layer_linear").residuals[0].value > 0.05


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Tanh(), nn.Sigmoid()])
def test_a_network_of_another_kind_has_none(layer):
    model = nn.Sequential(nn.Linear(3, 6, bias=False), layer, nn.Linear(6, 1, bias=False))
    found = lr.match(model, (torch.tensor(X, dtype=torch.float32), Y[:, 0]))
    assert not describing(found)
    assert found.descent is None
    assert found.best is None
    assert "No solved model has a network of this kind" in repr(found)
    assert found.to_dataset().loss.isnull().all()


def test_biases_are_counted():
    model = nn.Sequential(nn.Linear(1, 6), nn.Linear(6, 1))
    found = lr.match(model, (torch.randn(9, 1), torch.randn(9, 1)))
    assert "There are no biases (off by 7)" in of(found, "two_layer_linear").sentence


def test_moments_do():
    weights, (x, y), expected = CASES["a neuron"]
    found = lr.match(weights, MomentData.from_samples(x, y))
    assert describing(found) == expected


def test_what_is_refused():
    with pytest.raises(InputError, match="at least two matrices"):
        lr.match([LAYERS[0]], (X, Y))
    with pytest.raises(InputError, match="at least two matrices"):
        lr.match([LAYERS[0], LAYERS[0]], (X, Y))
    with pytest.raises(InputError, match=r"\(outputs, inputs\) = \(2, 3\), the data have \(1, 3\)"):
        lr.match(LAYERS, (X, Y[:, 0]))
    with pytest.raises(InputError, match="`weights` must be finite"):
        lr.match([LAYERS[0] * np.nan, LAYERS[1]], (X, Y))
    with pytest.raises(InputError, match=r"must be a pair \(inputs, targets\) or MomentData"):
        lr.match(LAYERS, X)
    with pytest.raises(InputError, match="`lr` must be a number > 0"):
        lr.match(LAYERS, (X, Y), lr=0)
    with pytest.raises(InputError, match="`output_scale` must be finite and not 0"):
        lr.match(LAYERS, (X, Y), output_scale=0)
    with pytest.raises(InputError, match="must be a list of arrays or a module, got a dict"):
        lr.match({}, (X, Y))
    with pytest.raises(InputError, match="must be samples"):
        lr.match(Powers(2), MomentData.from_samples(X[:, :1], Y[:, 0]))
    with pytest.raises(InputError, match="must be a chain of linear layers, got parameters"):
        lr.match(nn.Conv1d(1, 1, 3), (X, Y))
