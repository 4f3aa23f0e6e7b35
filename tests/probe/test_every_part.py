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


def jacobians(model, x):
    """That of every layer, explicitly; of an attention's packed weights, of q, k and v each."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def outputs(theta):
        return torch.func.functional_call(model.eval(), theta, (x,))

    found = torch.func.jacrev(outputs, chunk_size=1)(parameters)
    layers = {}
    for name, j in found.items():
        owner, packed = layer_of(name), ".in_proj_" in name
        names = [f"{owner}.{part}" for part in "qkv"] if packed else [owner]
        for layer, rows in zip(names, j.chunk(len(names), 2), strict=True):
            layers.setdefault(layer, []).append(rows.flatten(2))
    return {layer: torch.cat(own, 2) for layer, own in layers.items()}


@pytest.mark.parametrize("name", ["attention", "encoder"])
def test_the_kernel_and_its_parts_are_those_of_all_parameters(name):
    """Against explicit Jacobians, the whole and layer by layer; the parts cover it all."""
    model, x = cases()[name]
    parts = list(jacobians(model, x))
    probe = lazyrich.Probe(model, (x, randn(6, 2)), directions="all")

    def part(layer):
        j = jacobians(model, x)[layer]
        return torch.einsum("icp,jep->icje", j, j)

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
    queries = next(layer for layer in parts if layer.endswith(".q"))
    assert not np.isnan(words[queries].nfa)
    norm = next(layer for layer in parts if "norm" in layer)
    assert words[norm].regime != "cannot tell"
    assert "no mechanism" not in words[norm].sentence  # it has no weight to look at
    assert np.isnan(words[norm].nfa)


def test_a_part_follows_what_stands_before_it():
    model, x = cases()["attention"]
    probe = lazyrich.Probe(model, (x, randn(6, 2)))
    probe.measure(0)
    names = list(probe.history.layer.values)
    attention = [f"attention.{part}" for part in ("q", "k", "v", "out_proj")]
    assert names == ["", "embedding", "norm", *attention, "readout"]
    probe.measure(1)
    lines = str(probe.verdict()).splitlines()
    assert any(line.strip().startswith("(the model itself)") for line in lines)
    alone = lazyrich.Probe(model, (x, randn(6, 2)), observables=["loss"])
    alone.measure(0)
    assert list(alone.history.layer.values) == ["embedding", *attention, "readout"]  # no others


class Sliced(nn.Module):
    """Outputs that are a view of what the readout gives, not contiguous or as they come."""

    def __init__(self, contiguous):
        super().__init__()
        self.contiguous = contiguous
        self.hidden, self.readout = nn.Linear(3, 8), nn.Linear(8, 6)

    def forward(self, x):
        f = self.readout(torch.tanh(self.hidden(x))).view(-1, 2, 3).transpose(1, 2)
        return f.contiguous() if self.contiguous else f


def test_outputs_need_not_be_contiguous():
    x, y = randn(7, 3).float(), randn(7, 3, 2).float()
    histories = []
    for contiguous in (False, True):
        torch.manual_seed(0)
        model = Sliced(contiguous)
        probe = lazyrich.Probe(model, (x, y))
        probe.measure(0)
        with torch.no_grad():
            model.hidden.weight.mul_(1.5)
        probe.measure(1)
        histories.append(probe.history)
    strided, plain = histories
    for name, values in plain.data_vars.items():
        np.testing.assert_allclose(strided[name], values, rtol=1e-4, atol=1e-6, err_msg=str(name))
