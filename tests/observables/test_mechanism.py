"""The shares of every layer add up to the change of the output."""

import math
from itertools import pairwise

import pytest
import torch

from lazyrich.observables import (
    LayerNorms,
    alignment,
    decompose,
    imbalance,
    layer_norms,
    parameter_data_alignment,
)

torch.set_num_threads(1)


def forward(weights, x, activation):
    h, norms = x, []
    for i, w in enumerate(weights):
        z = h @ w.T
        norms.append(layer_norms(w, h, z))
        h = activation(z) if i < len(weights) - 1 else 0.3 * z  # an output multiplier is a gain
    return norms, float(h.norm())


@pytest.mark.parametrize("activation", [torch.tanh, torch.relu, lambda z: z])
def test_shares_add_up(activation):
    torch.manual_seed(0)
    sizes = [6, 9, 7, 5, 2]
    weights = [torch.randn(b, a, dtype=torch.float64) for a, b in pairwise(sizes)]
    moved = [w + torch.randn_like(w) for w in weights]
    x = torch.randn(11, 6, dtype=torch.float64)
    before, f0 = forward(weights, x, activation)
    after, f1 = forward(moved, x, activation)
    shares = decompose(before, after, output=(f0, f1))
    assert shares.total == pytest.approx(math.log(f1 / f0), abs=1e-10)
    assert shares.input == 0
    for i, (w0, w1) in enumerate(zip(weights, moved, strict=True)):
        assert float(shares.rescaling[i]) == pytest.approx(float((w1.norm() / w0.norm()).log()))
        ratio = parameter_data_alignment(after[i]) / parameter_data_alignment(before[i])
        assert float(shares.alignment[i]) == pytest.approx(math.log(ratio))
    assert float(shares.gain[-1]) == pytest.approx(0, abs=1e-12)  # the multiplier did not change


def test_pure_rescaling_has_no_alignment_share():
    torch.manual_seed(1)
    weights = [torch.randn(5, 4, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)]
    x = torch.randn(7, 4, dtype=torch.float64)
    before, f0 = forward(weights, x, torch.relu)
    after, f1 = forward([3 * w for w in weights], x, torch.relu)
    shares = decompose(before, after, output=(f0, f1))
    torch.testing.assert_close(shares.rescaling, torch.full((2,), 3.0, dtype=torch.float64).log())
    torch.testing.assert_close(shares.alignment, torch.zeros(2, dtype=torch.float64))


def test_last_alignment_is_zeta_on_a_line():
    torch.manual_seed(2)
    w, u = torch.randn(9, 1, dtype=torch.float64), torch.randn(1, 9, dtype=torch.float64)
    norms, _ = forward([w, u], torch.randn(13, 1, dtype=torch.float64), lambda z: z)
    zeta = float((u @ w) / (u.norm() * w.norm()))
    assert parameter_data_alignment(norms[1]) == pytest.approx(abs(zeta), rel=1e-13)
    assert alignment(u, w) == pytest.approx(zeta, rel=1e-13)  # vectors: signed
    assert alignment(-u, w) == pytest.approx(-zeta, rel=1e-13)


def test_alignment_without_signal_is_nan():
    assert math.isnan(
        parameter_data_alignment(LayerNorms(weight=0.0, inputs=1.0, preactivations=0.0))
    )


def test_imbalance_is_conserved_by_gradient_flow():
    torch.manual_seed(3)
    w1 = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    w2 = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    lr1, lr2 = 0.7, 0.2
    start = imbalance(w2, w1, lr_upper=lr2, lr_lower=lr1)
    changes = []
    for step in (1e-4, 1e-5):
        a, b = w1.detach().clone().requires_grad_(), w2.detach().clone().requires_grad_()
        loss = (x @ a.T @ b.T - y).square().sum()
        da, db = torch.autograd.grad(loss, (a, b))
        moved = imbalance(b - step * lr2 * db, a - step * lr1 * da, lr_upper=lr2, lr_lower=lr1)
        changes.append(abs(moved - start))
    assert changes[1] / changes[0] == pytest.approx(0.01, rel=0.1)  # second order in the step
