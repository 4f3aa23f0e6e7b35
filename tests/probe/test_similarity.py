"""Comparing two networks layer by layer."""

import copy
import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import lazyrich
from lazyrich import InputError
from lazyrich.observables import linear_cka
from lazyrich.observables.cka import cka_table
from tests.models import Residual


def mlp(*widths):
    layers = [nn.Linear(3, widths[0])]
    for a, b in itertools.pairwise(widths):
        layers += [nn.Tanh(), nn.Linear(a, b)]
    return nn.Sequential(*layers)


def test_every_layer_is_compared_with_every_one():
    a, b, x = mlp(8, 30, 2), mlp(5, 4), torch.randn(12, 3)
    table = lazyrich.cka(a, b, x)
    assert table.cka.dims == ("layer_a", "layer_b")
    assert table.layer_a.values.tolist() == ["0", "2", "4"]
    assert table.layer_b.values.tolist() == ["0", "2"]
    for i, name_a in enumerate(["0", "2", "4"]):
        for j, name_b in enumerate(["0", "2"]):
            with torch.no_grad():
                expected = linear_cka(a[: 2 * i + 1](x), b[: 2 * j + 1](x))
            found = table.cka.sel(layer_a=name_a, layer_b=name_b).item()
            assert found == pytest.approx(expected, rel=1e-6)


def test_it_is_that_of_a_history():
    model, x, y = mlp(8, 2), torch.randn(12, 3), torch.randn(12, 2)
    start = copy.deepcopy(model)
    probe = lazyrich.Probe(model, (x, y), observables=["cka"])
    probe.measure(0)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn_like(p)
    probe.measure(1)
    table = lazyrich.cka(start, model, x).cka
    np.testing.assert_allclose(probe.history.cka[-1], np.diag(table), rtol=1e-6)


def test_convolutions_are_compared_and_left_as_they_are():
    """All positions of a sample together; what is left out is listed."""
    torch.manual_seed(0)
    a, b, x = Residual(), Residual(), torch.randn(10, 2, 5, 5)
    before = copy.deepcopy(a.state_dict())
    table = lazyrich.cka(a.train(), b, x)
    assert a.training
    assert all(torch.equal(before[name], now) for name, now in a.state_dict().items())
    assert table.cka.layer_a.values.tolist() == ["stem", "body", "head"]
    assert any("bn" in line for line in table.attrs["skipped"])
    assert (abs(table.cka) <= 1).all()


def test_refusals():
    x = torch.randn(3, 3)
    with pytest.raises(InputError, match="at least 4 samples for an unbiased estimate, got 3"):
        lazyrich.cka(mlp(4, 2), mlp(4, 2), x)
    bare = nn.Sequential(nn.LayerNorm(3))
    with pytest.raises(InputError, match="must have a linear layer or a convolution, got a Seq"):
        lazyrich.cka(mlp(4, 2), bare, torch.randn(5, 3))


def test_it_says_by_which_statistics_batch_norms_normalise():
    """Those of the samples: running statistics move the table as little as they move the words."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))
    x = torch.randn(12, 3)
    before = lazyrich.cka(model, model, x)
    for _ in range(20):
        model(5 * torch.randn(12, 3) + 1)
    xr.testing.assert_identical(lazyrich.cka(model, model, x), before)
    assert before.attrs["mode"] == lazyrich.nfa(model, x).attrs["mode"]


@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (1e4, 1), (0, 1e-25), (0, 1e18)])
@pytest.mark.parametrize("p", [3, 5000])
def test_single_precision_is_enough_far_from_zero_and_in_any_unit(offset, scale, p):
    """Against float64; wide features, whose inner products are mostly those of one sample."""
    first = (offset + torch.randn(40, p)) * scale
    other = first + scale * torch.randn(40, p)
    expected = linear_cka(first, other)
    assert cka_table({"a": first}, {"b": other}) == [[pytest.approx(expected, abs=2e-6)]]
