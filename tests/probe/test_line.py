"""The contract between theory and probe: two-layer linear networks on a line.

Data `x = a n`, network `f = γ u·(W x)`; with `w = W n` all quantities are functions of the Gram
matrix of u and w (arXiv:2401.07085), computed here by hand.
"""

import math

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.capture.capture import capture
from lazyrich.observables import alignment, imbalance, layer_norms, parameter_data_alignment
from tests.models import randn


class TwoLayers(nn.Module):
    """`f = γ U W x`."""

    def __init__(self, inputs, width, multiplier):
        super().__init__()
        self.w = nn.Linear(inputs, width, bias=False)
        self.u = nn.Linear(width, 1, bias=False)
        self.multiplier = multiplier

    def forward(self, x):
        return self.multiplier * self.u(self.w(x))


@pytest.fixture(params=[(1, 1, 1.0), (3, 7, 0.3), (4, 200, 2.5)], ids=["scalar", "narrow", "wide"])
def line(request):
    inputs, width, multiplier = request.param
    model = TwoLayers(inputs, width, multiplier).double()
    nn.init.normal_(model.w.weight)
    nn.init.normal_(model.u.weight)
    n = torch.nn.functional.normalize(randn(inputs), dim=0)
    return model, n, randn(12)


def gram(model, n):
    u, w = model.u.weight.detach()[0], model.w.weight.detach() @ n
    return float(u @ u), float(u @ w), float(w @ w)


def test_kernel(line):
    model, n, a = line
    uu, _, ww = gram(model, n)
    lr_u, lr_w = 0.3, 1.7
    theta = lazyrich.ntk(model, torch.outer(a, n), lrs={"u": lr_u, "w": lr_w})[:, 0, :, 0]
    expected = model.multiplier**2 * (lr_w * uu + lr_u * ww) * torch.outer(a, a)
    torch.testing.assert_close(theta, expected, rtol=1e-10, atol=1e-12)


def test_output_loss_and_alignment(line):
    model, n, a = line
    uu, uw, ww = gram(model, n)
    seen = capture(model, torch.outer(a, n))
    output = seen.outputs.detach()[:, 0]
    torch.testing.assert_close(output, model.multiplier * uw * a, rtol=1e-10, atol=0)
    y = randn(12)
    moments = [float((p * q).mean()) for p, q in ((a, a), (a, y), (y, y))]
    f = model.multiplier * uw
    loss = moments[0] * f**2 - 2 * moments[1] * f + moments[2]
    assert float((output - y).square().mean()) == pytest.approx(loss, rel=1e-10)
    first, last = seen.layers
    norms = layer_norms(last.matrix, last.inputs, last.preactivations)
    zeta = abs(uw) / math.sqrt(uu * ww)
    assert parameter_data_alignment(norms) == pytest.approx(zeta, rel=1e-10)
    on_line = (first.matrix @ n)[:, None]
    assert alignment(last.matrix, on_line) == pytest.approx(math.copysign(zeta, uw), rel=1e-10)
    assert imbalance(last.matrix, on_line) >= abs(uu - ww) - 1e-10


def test_neural_feature_ansatz(line):
    """AGOP = γ² G_wu G_uw, NFM = G_ww: ρ = G_uw G_ww G_wu / (‖G_wu‖² ‖G_ww‖)."""
    model, n, a = line
    w, u = model.w.weight.detach(), model.u.weight.detach()[0]
    v = w.T @ u  # G_wu
    g_ww = w.T @ w
    expected = float(v @ g_ww @ v / (v @ v * g_ww.norm()))
    for directions in ("all", 2):  # one output is no more than two directions
        row = lazyrich.nfa(model, torch.outer(a, n), directions=directions).sel(layer="w")
        assert float(row.nfa) == pytest.approx(expected, rel=1e-10)
    assert float(row.nfa_stderr) < 1e-10
