"""Initial weights that do not fall with the fan-in, and layers that start at 0."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from lazyrich import transfer

G = torch.Generator().manual_seed(0)
X = torch.randn(32, 6, generator=G)
BATCH = (X, X[:, :2] * X[:, 1:3])


def adam(model, size):
    return Adam(model.parameters(), lr=0.01)


def factors(found, name="lr_factor"):
    return found.data[name].isel(width=-1).to_series()


class Branches(nn.Module):
    """Two layers on a stream that a norm feeds, as GPT-2 has them."""

    def __init__(self, width, std=None, inside=False):
        super().__init__()
        self.first, self.norm = nn.Linear(6, width, bias=False), nn.LayerNorm(width)
        kind = Divided if inside else nn.Linear
        self.up, self.out = kind(width, 2 * width), kind(2 * width, width)
        self.last = nn.Linear(width, 2)
        for layer in (self.up, self.out):
            if std is not None:
                nn.init.normal_(layer.weight, std=std)
                nn.init.zeros_(layer.bias)

    def forward(self, x):
        h = self.first(x)
        return self.last(h + self.out(self.up(self.norm(h)).relu()))


class Divided(nn.Linear):
    """The parametrisation of the tangent kernel: entries of one size, and the root in the layer."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight) / self.in_features**0.5


@pytest.mark.parametrize("kind", [Adam, SGD])
def test_a_fixed_spread_of_hidden_matrices_is_brought_to_the_fan_in(kind):
    """GPT-2's init becomes what the same family with 1/√fan-in is: the same factors on rates."""
    given = {
        "small": 32, "large": 128, "seeds": 3,
        "optimizer": lambda model, _: kind(model.parameters(), lr=0.01),
    }  # fmt: skip
    fixed = transfer(lambda n: Branches(n, 0.1), BATCH, **given)
    by_fan_in = transfer(lambda n: Branches(n, 0.1 * (32 / n) ** 0.5), BATCH, **given)
    init, table = factors(fixed, "init_factor"), factors(fixed, "mup_init_factor")
    for name in ("up.weight", "out.weight"):
        assert init[name] == table[name] == pytest.approx(0.5)
        assert factors(by_fan_in, "init_factor")[name] == 1
    assert factors(fixed).to_dict() == pytest.approx(factors(by_fan_in).to_dict(), rel=1e-3)
    (told,) = (note for note in fixed.notes if "one over the root of the fan-in" in note)
    assert "up.weight, out.weight" in told
    assert "2 times as large" in told
    assert not any("one over the root" in note for note in by_fan_in.notes)
    model = Branches(128, 0.1)
    fixed.apply(model, optimizer=kind(model.parameters(), lr=0.01))
    assert model.up.weight.std().item() == pytest.approx(0.05, rel=0.1)


class Outside(Branches):
    """The same with the root in the forward pass."""

    def __init__(self, width):
        super().__init__(width, 1.0)
        self.roots = width**0.5, (2 * width) ** 0.5

    def forward(self, x):
        h = self.first(x)
        z = self.up(self.norm(h)) / self.roots[0]
        return self.last(self.norm(h + self.out(z.relu()) / self.roots[1]))


def test_a_forward_pass_that_divides_by_the_width_keeps_the_entries():
    """The outputs of the layers grow, but not what others take: nothing is to be made up for."""
    found = transfer(Outside, BATCH, small=16, large=64, optimizer=adam, seeds=2)
    assert set(factors(found, "init_factor")[["up.weight", "out.weight"]]) == {1}
    assert np.isnan(factors(found, "mup_init_factor")["up.weight"])
    assert not any("one over the root" in note for note in found.notes)


def test_a_layer_that_divides_by_the_width_itself_keeps_its_entries():
    found = transfer(
        lambda n: Branches(n, 1.0, inside=True), BATCH, small=16, large=64, optimizer=adam, seeds=2
    )
    assert factors(found, "init_factor")["up.weight"] == 1
    assert np.isnan(factors(found, "mup_lr_factor")["up.weight"])  # the table knows no such layer
    assert factors(found)["up.weight"] == pytest.approx(0.5, rel=0.3)


def test_what_updates_outputs_that_start_at_zero_is_matched_as_it_is():
    """The end of a branch starts at 0, as many do it: under Adam its rate falls all the same."""

    def zero(width):
        model = Branches(width)
        for p in model.out.parameters():
            nn.init.zeros_(p)
        return model

    found = transfer(zero, BATCH, small=64, large=256, optimizer=adam, seeds=3)
    assert factors(found)["out.weight"] == pytest.approx(0.3, abs=0.1)
    assert factors(found)["out.bias"] == pytest.approx(1, rel=1e-3)
    (told,) = (note for note in found.notes if "alone in the small network" in note)
    assert "out" not in told.split(" alone")[0]
    assert "up.weight" in told


def test_branches_that_start_at_zero_get_the_depth_by_their_rate():
    """One over the depth, as CompleteP's; the init of zeros is no knob."""

    class Deep(nn.Module):
        def __init__(self, depth):
            super().__init__()
            self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 2)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
                for _ in range(depth)
            )
            for block in self.blocks:
                for p in block[3].parameters():
                    nn.init.zeros_(p)

        def forward(self, x):
            h = self.first(x)
            for block in self.blocks:
                h = h + block(h)
            return self.last(h)

    found = transfer(
        Deep, BATCH, small=2, large=8, optimizer=adam, branches=("blocks.*.3",), seeds=2, steps=2
    )
    lr = found.data.lr_factor.isel(depth=-1).to_series()
    flow = (found.data.flow_update**2).mean("seed") ** 0.5
    assert "agree within" in found.notes[0]
    assert flow.isel(depth=0).item() == pytest.approx(flow.isel(depth=1).item(), rel=0.02)
    assert lr["blocks.*.3.weight"] == pytest.approx(1 / 4, rel=0.1)
