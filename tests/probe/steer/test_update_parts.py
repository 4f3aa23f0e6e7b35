"""The refined coordinate check against explicit weights and inputs."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm
from torch.optim import SGD

from lazyrich import InputError, coordinate_check, plot

G = torch.Generator().manual_seed(0)
X = torch.randn(6, 2, 5, generator=G)
Y = torch.randn(6, 1, generator=G)
WIDTHS = (4, 8, 16)


class Mixed(nn.Module):
    """A convolution in groups, a norm, a layer used twice, and one behind a parametrisation."""

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv1d(2, width, 3, padding=1, stride=2, groups=2)
        self.norm = nn.LayerNorm(3)
        self.twice = nn.Linear(3, 3)
        self.head = weight_norm(nn.Linear(3 * width, 1))

    def forward(self, x):
        h = self.norm(self.conv(x).tanh())
        h = self.twice(h).tanh()
        return self.head(self.twice(h).tanh().flatten(1))


def trained(width, seed, steps, lr):
    """The network of the check before and after training, by a loop of one's own."""
    torch.manual_seed(seed)
    model = Mixed(width)
    start = copy.deepcopy(model)
    optimizer = SGD(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(X) - Y).square().mean().backward()
        optimizer.step()
    return start, model


def inputs_of(model):
    """What each linear layer is given, call by call."""
    seen = {}
    for name in ("conv", "twice", "head"):
        module = model.get_submodule(name)
        module.register_forward_hook(
            lambda _, args, __, name=name: seen.setdefault(name, []).append(args[0].detach())
        )
    model(X)
    return seen


def through(name, weight, x):
    if name == "conv":
        return functional.conv1d(x, weight, padding=1, stride=2, groups=2)
    return functional.linear(x, weight)


def rms(parts):
    return torch.cat([part.flatten() for part in parts]).double().square().mean().sqrt().item()


def test_parts_are_those_of_explicit_weights():
    check = coordinate_check(
        Mixed, (X, Y), widths=WIDTHS, optimizer=0.3, steps=5, seeds=2, directions=2, refined=True
    )
    for width in WIDTHS:
        for seed in range(2):
            start, end = trained(width, seed, 5, 0.3)
            before, after = inputs_of(start), inputs_of(end)
            for name in before:
                w_0, w_t = (m.get_submodule(name).weight.detach() for m in (start, end))
                here = check.data.sel(width=width, seed=seed, layer=name)
                own = rms([through(name, w_t - w_0, x) for x in after[name]])
                below = rms(
                    through(name, w_0, b - a)
                    for a, b in zip(before[name], after[name], strict=True)
                )
                assert here.effective_update.item() == pytest.approx(own, rel=1e-4), name
                assert here.propagating_update.item() == pytest.approx(below, rel=1e-4, abs=1e-9)
    assert check.data.effective_update.sel(layer="norm").isnull().all()
    assert (check.data.propagating_update.sel(layer="conv") == 0).all()
    assert "effective_update" in str(check)


def test_without_biases_the_parts_sum_up_to_the_update():
    """In mean field scaling every layer learns: the own part does not vanish with the width."""

    def family(width):
        first = nn.Linear(5, width, bias=False)
        second = nn.Linear(width, 1, bias=False)
        nn.init.normal_(first.weight)
        nn.init.normal_(second.weight, std=1 / width)
        return nn.Sequential(first, nn.Tanh(), second)

    x = X.flatten(0, 1)
    check = coordinate_check(
        family,
        (x, x[:, :1]),
        widths=(16, 64, 256),
        optimizer=lambda model, width: SGD(
            [
                {"params": model[0].parameters(), "lr": 0.3 * width},
                {"params": model[2].parameters(), "lr": 0.3 / width},
            ]
        ),
        seeds=3,
        refined=True,
    )
    first = check.data.sel(layer="0")
    np.testing.assert_allclose(first.effective_update, first.feature_update, rtol=1e-4)
    assert abs(first.effective_update_exponent) < 0.2
    last = check.data.sel(layer="2")
    both = last.effective_update + last.propagating_update
    assert (last.feature_update <= both * (1 + 1e-5)).all()


def test_it_is_off_by_default_and_changes_nothing_else():
    options = {"widths": WIDTHS, "optimizer": 0.1, "steps": 2, "seeds": 2, "directions": 2}
    plain = coordinate_check(Mixed, (X, Y), **options)
    refined = coordinate_check(Mixed, (X, Y), **options, refined=True)
    assert "effective_update" not in plain.data
    assert plain.data.equals(refined.data[list(plain.data.data_vars)])
    assert "effective_update" not in str(plain)


def test_its_figure():
    check = coordinate_check(
        Mixed, (X, Y), widths=WIDTHS, optimizer=0.1, steps=2, seeds=2, directions=2, refined=True
    )

    def labels(layer):
        return [line.get_label() for line in plot.feature_updates(check.data, layer).get_lines()]

    exponent = check.data.effective_update_exponent.sel(layer="head").item()
    assert f"its own weight, width^{exponent:.2f}" in labels("head")
    assert len(labels("head")) == 3
    assert len(labels("conv")) == 2  # nothing comes from below the first layer
    assert len(labels("norm")) == 1
    (line, *_) = plot.feature_updates(check.data, "head").get_lines()
    mean = np.exp(np.log(check.data.feature_update.sel(layer="head")).mean("seed"))
    np.testing.assert_allclose(line.get_ydata(), mean)
    with pytest.raises(InputError, match=r"`layer` must be one of .*'head'.*, got 'tail'"):
        plot.feature_updates(check.data, "tail")
