"""A batch padded to a greater length is measured as the batch without the padding."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("transformers")

from transformers import BertConfig, BertForTokenClassification

import lazyrich
from lazyrich.observables.catalogue import observables

N, T, LONG, CLASSES = 4, 3, 5, 2


def bert(width=8):
    config = BertConfig(
        vocab_size=11, hidden_size=width, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=width, max_position_embeddings=8, num_labels=CLASSES,
        attn_implementation="eager",
    )  # fmt: skip
    return BertForTokenClassification(config).double().eval()


def network():
    torch.manual_seed(0)
    return bert()


def batches():
    """Without padding, and with tokens at padded positions that must not matter."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 11, (N, LONG), generator=generator)
    labels = torch.randint(0, CLASSES, (N, LONG), generator=generator)
    mask = (torch.arange(LONG) < T).long().expand(N, LONG)
    short = {"input_ids": ids[:, :T], "attention_mask": torch.ones(N, T).long()}
    return (
        {**short, "labels": labels[:, :T]},
        {"input_ids": ids, "attention_mask": mask, "labels": labels.where(mask == 1, -100)},
    )


SHORT, PADDED = batches()


def inputs(batch):
    return {name: part for name, part in batch.items() if name != "labels"}


def history(model, batch, names=None, **options):
    """Two looks between which all parameters move."""
    model = copy.deepcopy(model)
    probe = lazyrich.Probe(
        model, batch, "cross_entropy", observables=names, **{"directions": "all", **options}
    )
    probe.measure(0)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    probe.measure(1)
    return probe.history


def same(found, exact):
    assert set(found.data_vars) == set(exact.data_vars)
    for name in exact.data_vars:
        np.testing.assert_allclose(
            found[name], exact[name], rtol=1e-6, atol=1e-9, err_msg=str(name)
        )


def test_every_observable_of_a_probe():
    names = [name for one in observables() for name in one.names]
    exact, found = (history(network(), batch, names) for batch in (SHORT, PADDED))
    assert float(exact.ntk_change[-1]) > 0.1
    same(found, exact)


def test_random_directions_leave_padding_out():
    """They are other ones for another length: the change agrees within its error."""
    exact = float(history(network(), SHORT).ntk_change[-1])
    found = [
        float(history(network(), PADDED, ["ntk_change"], directions=4, seed=i).ntk_change[-1])
        for i in range(12)
    ]
    error = np.std(found) / 12**0.5
    assert abs(np.mean(found) - exact) < 4 * error
    assert error < 0.1 * exact


def test_kernel_ansatz_and_features():
    exact = lazyrich.ntk(network(), inputs(SHORT)).view(N, T, CLASSES, N, T, CLASSES)
    found = lazyrich.ntk(network(), inputs(PADDED)).view(N, LONG, CLASSES, N, LONG, CLASSES)
    torch.testing.assert_close(found[:, :T, :, :, :T], exact)
    assert not found[:, T:].any()
    assert not found[:, :, :, :, T:].any()
    same(*(lazyrich.nfa(network(), inputs(b), directions="all") for b in (PADDED, SHORT)))
    torch.manual_seed(5)
    other = bert()
    same(*(lazyrich.cka(network(), other, inputs(batch)) for batch in (PADDED, SHORT)))


def test_the_coordinate_check():
    exact, found = (
        lazyrich.coordinate_check(
            bert, batch, "cross_entropy", widths=(4, 8, 16), optimizer=0.3, steps=2, seeds=1,
            directions="all", refined=True, kernel=True,
        ).data
        for batch in (SHORT, PADDED)
    )  # fmt: skip
    for name in ("richness", "progress", "ntk_change", "loss_ratio"):
        np.testing.assert_allclose(found[name], exact[name], rtol=1e-6)
    for name in ("activation_size", "feature_update", "effective_update", "propagating_update"):
        keep = [layer for layer in exact.layer.values if "embeddings.pos" not in layer]
        np.testing.assert_allclose(
            found[name].sel(layer=keep), exact[name].sel(layer=keep), rtol=1e-6, atol=1e-12
        )
    np.testing.assert_allclose(found.output_size, exact.output_size)


def test_the_forecast():
    def of(batch):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
        found = lazyrich.forecast(
            model, batch, "cross_entropy", optimizer=optimizer, steps=3, directions="all"
        )
        return [found.richness, found.predicted_ntk_change, found.predicted_kernel_distance]

    exact = of(SHORT)
    assert min(exact) > 0
    np.testing.assert_allclose(of(PADDED), exact, rtol=1e-6)


class Kept(nn.Module):
    """The same network without the outputs at one position."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, **given):
        return self.model(**given).logits[:, [0, 2]]


def test_labels_that_are_ignored_leave_their_outputs_out():
    """Position 1 is no padding, but no label is given there; also where the loss shifts labels."""
    names = ["ntk_change", "nfa", "kernel_distance", "output_change"]
    labels = SHORT["labels"].clone()
    labels[:, 1] = -100
    found = history(network(), {**inputs(SHORT), "labels": labels}, names)
    exact = history(Kept(network()), (inputs(SHORT), SHORT["labels"][:, [0, 2]]), names)
    np.testing.assert_allclose(found.ntk_change, exact.ntk_change, rtol=1e-8)
    np.testing.assert_allclose(found.output_change, exact.output_change, rtol=1e-8)
    hidden = slice(None, -1)  # the wrapper's last layer is no readout
    np.testing.assert_allclose(found.nfa[:, hidden], exact.nfa[:, hidden], rtol=1e-8)
    plain = history(network(), SHORT, names)
    assert abs(float(plain.ntk_change[-1] / exact.ntk_change[-1]) - 1) > 1e-4

    def shifted(f, y):
        return nn.functional.cross_entropy(f[:, :-1].flatten(0, 1), y[:, 1:].flatten())

    model = network()
    probe = lazyrich.Probe(model, {**inputs(SHORT), "labels": labels}, shifted)
    probe.measure(0)
    assert probe.history.loss.notnull().all()


class Routed(nn.Module):
    """Tokens that see the mean of those before, a layer used twice, and an expert for each token.

    Args:
        experts: how many; the first two tokens of the vocabulary go to the first one, and so on.
    """

    def __init__(self, experts=3):
        super().__init__()
        self.table, self.twice = nn.Embedding(2 * experts, 4), nn.Linear(4, 4)
        self.experts = nn.Parameter(torch.randn(experts, 2, 4))

    def forward(self, tokens, attention_mask):
        e = self.table(tokens) * attention_mask[..., None]
        h = e.cumsum(1) / attention_mask.cumsum(1).clamp(min=1)[..., None]
        h = torch.tanh(self.twice(torch.tanh(self.twice(h)))).flatten(0, 1)
        f, to = h.new_zeros(len(h), 2), tokens.flatten() // 2
        for i, expert in enumerate(self.experts):
            if (to == i).any():
                f[to == i] = nn.functional.linear(h[to == i], expert)
        return f.view(*tokens.shape, 2)


TOKENS = torch.tensor([[0, 1, 1, 0], [2, 0, 3, 1], [3, 2, 0, 2], [1, 2, 2, 3], [0, 2, 1, 1]])


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("filled_with", [1, 5])
def test_experts_and_a_layer_used_twice_with_targets_at_padded_positions(left, filled_with):
    torch.manual_seed(0)
    model = Routed().double()
    ends = torch.full((5, 3), filled_with)
    ones, targets = torch.ones_like(TOKENS), torch.randn(5, 4, 2).double()

    def longer(part, end):
        return torch.cat([end, part] if left else [part, end], 1)

    short = {"tokens": TOKENS, "attention_mask": ones}
    padded = {
        "tokens": longer(TOKENS, ends),
        "attention_mask": longer(ones, torch.zeros_like(ends)),
    }
    found = []
    wide = longer(targets, torch.randn(5, 3, 2).double())
    for batch, y in ((short, targets), (padded, wide)):
        net = copy.deepcopy(model)
        probe = lazyrich.Probe(net, (batch, y), directions="all", samples=None)
        probe.measure(0)
        with torch.no_grad():
            net.experts.mul_(1.1)
            net.twice.weight.add_(0.1)
        probe.measure(1)
        found.append(probe.history.drop_vars("loss"))  # as in training, which padding changes
    exact, other = found
    assert list(exact.layer.values) == list(other.layer.values)
    assert not np.isnan(exact.target_alignment).any()
    for name in exact.data_vars:
        np.testing.assert_allclose(other[name], exact[name], rtol=1e-8, atol=1e-10, err_msg=name)
