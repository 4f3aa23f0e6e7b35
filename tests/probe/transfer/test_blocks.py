"""Which parameters of two depths are one."""

import pytest
import torch
from torch import nn
from torch.optim import Adam

from lazyrich import transfer

G = torch.Generator().manual_seed(0)
X = torch.randn(32, 6, generator=G)
BATCH = (X, X[:, :2] * X[:, 1:3])


class Sum(nn.Module):
    """A residual block of a plain sequence, whose layers have numbers and shapes that repeat."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8, bias=True)
        )

    def forward(self, h):
        return h + self.body(h)


def deep(depth):
    return nn.Sequential(nn.Linear(6, 8), *[Sum() for _ in range(depth)], nn.Linear(8, 2))


@pytest.fixture(scope="module")
def found():
    adam = lambda model, _: Adam(model.parameters(), lr=0.01)  # noqa: E731
    return transfer(deep, BATCH, small=2, large=8, optimizer=adam, branches=("*.body.3",), seeds=3)


def test_layers_of_a_block_stay_apart_though_they_have_numbers_and_one_shape(found):
    init = found.data.init_factor.isel(depth=-1).to_series()
    scaled = {key for key, factor in init.items() if factor != 1}
    assert scaled == {"*.body.3.weight", "*.body.3.bias"}
    lr = found.data.lr_factor.isel(depth=-1).to_series()
    assert lr["*.body.1.weight"] == pytest.approx(1, rel=0.2)  # that of an end is 1/4


def test_first_and_last_layers_of_the_sequence_are_no_blocks(found):
    assert found.layout.blocks == {
        f"*.body.{i}.{kind}" for i in (0, 1, 3) for kind in ("weight", "bias")
    }
    names = {"*.weight (1 of 2)", "*.bias (1 of 2)", "*.weight (2 of 2)", "*.bias (2 of 2)"}
    assert set(found.data.parameter.values) == found.layout.blocks | names


def test_what_is_applied_is_what_was_measured(found):
    model = deep(8)
    before = {name: p.clone() for name, p in model.named_parameters()}
    found.apply(model, optimizer=Adam(model.parameters(), lr=0.01))
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {f"{i}.body.3.{kind}" for i in range(1, 9) for kind in ("weight", "bias")}


class Stage(nn.Module):
    """A first block that is of another kind, as that with a stride in a ResNet."""

    def __init__(self, depth):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.blocks = nn.ModuleList([Sum(), *[Sum() for _ in range(depth)]])
        self.blocks[0].shift = nn.Parameter(torch.zeros(8))
        self.last = nn.Linear(8, 2)

    def forward(self, x):
        h = self.first(x) + self.blocks[0].shift
        for block in self.blocks:
            h = block(h)
        return self.last(h)


def test_a_block_of_its_own_kind_counts_where_its_branch_is_scaled():
    adam = lambda model, _: Adam(model.parameters(), lr=0.01)  # noqa: E731
    found = transfer(
        Stage, BATCH, small=1, large=3, optimizer=adam, branches=("blocks.*.body.3",), seeds=1
    )
    ((flow, ends),) = found.layout.flows(found.members[3])
    assert "blocks.0.body.3.weight" in ends
    assert {name.split(".")[1] for name in flow.parameters} == {"0", "1", "2", "3"}
    assert all(name.startswith("blocks.") for name in flow.parameters)
