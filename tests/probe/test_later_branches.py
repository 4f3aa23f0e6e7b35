"""A branch that depends on the weights is taken later: the kernel is that of the network by then.

The oracle is the Gram matrix of explicit gradients, one backward pass for each output.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.observables.catalogue import observables
from tests.models import randn

N = 6
ALL = sorted(name for observable in observables() for name in observable.names)


class Branching(nn.Module):
    """Does something else as soon as its first weight has grown."""

    def __init__(self, later, outputs):
        super().__init__()
        self.first, self.mid, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, outputs)
        self.norm, self.free = nn.LayerNorm(6), nn.Parameter(torch.randn(6, 6) / 3)
        self.later = later
        self.limit = float(self.first.weight.detach().sum()) + 1

    def forward(self, x):
        later = self.later if self.first.weight.detach().sum() > self.limit else ""
        h = torch.tanh(self.first(x))
        if later == "mixes samples":
            h = h + h.mean(0)
        if later == "mixes little":
            h = h + 1e-4 * h.mean(0)
        h = self.norm(torch.tanh(self.mid(h)))
        if later == "mixes before a product":
            h = h + h.mean(0)
        if later == "takes rows in another order":
            h = torch.tanh(h.flip(0) @ self.free).flip(0)
        elif later != "skips a product":
            h = torch.tanh(h @ self.free)
        if later == "uses a weight again":
            h = torch.tanh(h @ self.mid.weight.T)
        if later == "uses a weight in another way":
            h = h * self.mid.weight.sum(0)
        if later == "uses a layer twice":
            h = self.mid(h)
        if later == "skips a layer":
            return self.last(torch.tanh(self.first(x)))
        return self.last(h / h.norm() if later == "divides by all" else h)


LATER = (
    "mixes samples", "mixes little", "mixes before a product", "divides by all",
    "uses a weight again", "uses a weight in another way", "uses a layer twice",
    "skips a product", "skips a layer", "takes rows in another order",
)  # fmt: skip


def kernel_of(model, x):
    parameters = list(model.parameters())
    rows = []
    for y in model(x).flatten():
        found = torch.autograd.grad(y, parameters, retain_graph=True, allow_unused=True)
        both = zip(parameters, found, strict=True)
        rows.append(
            torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in both])
        )
    j = torch.stack(rows)
    return j @ j.T


def watched(later, outputs=2, **options):
    """Two looks, the branch taken at the second; the kernels at either."""
    torch.manual_seed(0)
    model, x, y = Branching(later, outputs).double(), randn(N, 4), randn(N, outputs)
    probe = lazyrich.Probe(model, (x, y), **options)
    probe.measure(0)
    start = kernel_of(model, x)
    with torch.no_grad():
        model.first.weight += 0.2
        model.mid.weight *= 1.1
    probe.measure(1)
    return probe, start, kernel_of(model, x)


@pytest.mark.parametrize("later", LATER)
def test_the_kernel_is_that_of_the_branch(later):
    probe, start, theta = watched(later, observables=ALL)
    now = probe.history.isel(step=-1)
    assert float(now.ntk_change) == pytest.approx(float((theta - start).norm() / start.norm()))
    assert float(now.ntk_trace_ratio) == pytest.approx(float(theta.trace() / start.trace()))
    assert np.isfinite(probe.history.loss).all()
    str(probe.verdict())  # whatever is done later


def test_random_directions_are_checked_too():
    """Its error is that of as few directions, whether or not samples meet."""
    probe, start, theta = watched("mixes samples", outputs=40, directions=32)
    now = probe.history.isel(step=-1)
    expected = float(theta.trace() / start.trace())
    assert float(now.ntk_trace_ratio) == pytest.approx(expected, rel=0.02)


def test_a_layer_that_is_another_one_by_now_has_no_number_and_a_note():
    probe, _, _ = watched("skips a product", observables=ALL, directions="all")
    now = probe.history.isel(step=-1)
    assert math.isnan(float(now.cka.sel(layer="free")))
    assert math.isnan(float(now.layer_log_alignment.sel(layer="first")))
    assert np.isfinite(now.cka.sel(layer=["first", "mid"])).all()
    assert np.isfinite(now.log_output)
    assert float(now.layer_ntk_change.sel(layer="free")) == pytest.approx(
        1
    )  # nothing of it is left
    assert "layers acted differently than at the first: free. Where" in probe.history.notes
    plain, _, _ = watched("", observables=ALL, directions="all")
    assert "At some look" not in plain.history.notes


def test_rows_in_another_order_are_found_again():
    """Later looks take the first one's order where the check of factors proves it."""
    probe, _, _ = watched("takes rows in another order", directions="all")
    assert "sample by sample" not in probe.history.notes
    alone, _, _ = watched("takes rows in another order", observables=["cka"])  # nothing is proved
    np.testing.assert_allclose(probe.history.cka.sel(layer=alone.history.layer), alone.history.cka)
    assert probe.history.cka[1].sel(layer="free") < 1 - 1e-6


def test_samples_that_meet_later_are_said_to():
    probe, _, _ = watched("mixes samples")
    assert "gradients of first.weight, first.bias were taken sample by s" in probe.history.notes
