"""Every parameter that trains is in the kernel, and every part of it a row of the verdict."""

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.capture.network import layer_of
from tests.models import brute_kernel, randn


class Block(nn.Module):
    """Attention as PyTorch has it, norms, positions of the model's own."""

    def __init__(self, width=8):
        super().__init__()
        self.embedding = nn.Linear(3, width)
        self.position = nn.Parameter(0.3 * torch.randn(4, width))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.readout = nn.Linear(width, 2)

    def forward(self, x):
        h = self.embedding(x) + self.position
        n = self.norm(h)
        h = h + self.attention(n, n, n, need_weights=False)[0]
        return self.readout(h.mean(1))


class Tokens(nn.Module):
    """An embedding and a stack of PyTorch's own encoder layers."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(5, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.readout = nn.Linear(8, 2)

    def forward(self, x):
        return self.readout(self.encoder(self.tokens(x)).mean(1))


def cases():
    torch.manual_seed(0)
    return {
        "attention": (Block().double(), randn(6, 4, 3)),
        "encoder": (Tokens().double(), torch.randint(0, 5, (6, 4))),
    }


@pytest.mark.parametrize("name", ["attention", "encoder"])
def test_the_kernel_and_its_parts_are_those_of_all_parameters(name):
    """Against explicit Jacobians, the whole and layer by layer; the parts cover it all."""
    model, x = cases()[name]
    parts = list(dict.fromkeys(layer_of(n) for n, _ in model.named_parameters()))
    probe = lazyrich.Probe(model, (x, randn(6, 2)), directions="all")

    def part(layer):
        return brute_kernel(model, x, lambda n: float(layer_of(n) == layer))

    before, whole = {layer: part(layer) for layer in parts}, brute_kernel(model, x)
    probe.measure(0)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    probe.measure(1)
    row, verdict = probe.history.isel(step=1), probe.verdict()
    assert sorted(probe.history.layer.values) == sorted(parts)
    change = (brute_kernel(model, x) - whole).norm() / whole.norm()
    assert float(row.ntk_change) == pytest.approx(float(change), rel=1e-9)
    for layer in parts:
        start = before[layer]
        moved = (part(layer) - start).norm() / start.norm()
        assert float(row.layer_ntk_change.sel(layer=layer)) == pytest.approx(float(moved), rel=1e-8)
        share = start.norm() / whole.norm()
        assert float(row.layer_ntk_share.sel(layer=layer)) == pytest.approx(float(share), rel=1e-8)
    assert torch.allclose(sum(before.values()), whole)
    words = {one.name: one for one in verdict.layers}
    assert set(words) == set(parts)
    attention = next(layer for layer in parts if layer.endswith(("attention", "self_attn")))
    assert words[attention].regime != "cannot tell"
    assert "no mechanism" not in words[attention].sentence  # its weights were not looked at
    assert np.isnan(words[attention].nfa)


def test_a_part_follows_what_stands_before_it():
    model, x = cases()["attention"]
    probe = lazyrich.Probe(model, (x, randn(6, 2)))
    probe.measure(0)
    names = list(probe.history.layer.values)
    assert names == ["", "embedding", "norm", "attention", "attention.out_proj", "readout"]
    probe.measure(1)
    lines = str(probe.verdict()).splitlines()
    assert any(line.strip().startswith("(the model itself)") for line in lines)
    alone = lazyrich.Probe(model, (x, randn(6, 2)), observables=["loss"])
    alone.measure(0)
    assert list(alone.history.layer.values) == ["embedding", "readout"]  # no kernel, no parts
