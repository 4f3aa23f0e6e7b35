"""Which inputs carry samples: what is cut when a probe measures some of them."""

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich import InputError
from lazyrich.capture.samples import default_count, some_samples
from tests.models import brute_kernel, randn


class Masked(nn.Module):
    """Attention under a mask that all samples share."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x, mask):
        return self.head(self.attention(x, x, x, attn_mask=mask, need_weights=False)[0].mean(1))


class Anchored(nn.Module):
    """Compares samples with as many anchors as there are samples."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 3)

    def forward(self, x, anchors, scale):
        return torch.tanh(self.embed(x)) @ torch.tanh(self.embed(anchors)).T * scale[:, None]


class Graph(nn.Module):
    """Two rounds of messages along edges, or along an adjacency matrix."""

    def __init__(self, nodes, dense):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)
        self.dense = dense
        self.register_buffer(
            "own", torch.eye(nodes).roll(1, 0).double() if dense == "own" else None
        )

    def spread(self, h, edges):
        if self.dense == "own":
            return h + self.own @ h
        if self.dense:
            return h + edges @ h / len(h)
        return h.index_add(0, edges[1], h[edges[0]])

    def forward(self, x, edges=None):
        return self.last(self.spread(torch.tanh(self.first(self.spread(x, edges))), edges))


def few(model, x, count):
    part, index = some_samples(model.double(), x, count)
    return part, index.tolist()


def test_a_shared_mask_over_as_many_positions_as_samples_stays_whole():
    x, mask = randn(9, 9, 4), torch.ones(9, 9).triu(1).bool()
    (part, kept), index = few(Masked(), (x, mask), 3)
    assert index == [0, 3, 6]
    assert torch.equal(part, x[index])
    assert torch.equal(kept, mask)
    named, _ = few(Masked(), {"x": x, "mask": mask}, 3)
    assert torch.equal(named["mask"], mask)


def test_a_mask_of_each_sample_is_cut_with_it():
    x, mask = randn(9, 5, 4), torch.randn(9, 5, 5).gt(-1) & ~torch.eye(5).bool()

    class Own(Masked):
        def forward(self, x, mask):
            return super().forward(x, mask.repeat_interleave(2, 0))

    (_, kept), index = few(Own(), (x, mask), 3)
    assert torch.equal(kept, mask[index])


def test_anchors_stay_and_weights_of_samples_are_cut():
    x, anchors, scale = randn(8, 4), randn(8, 4), randn(8)
    parts, index = few(Anchored(), (x, anchors, scale), 4)
    assert [len(part) for part in parts] == [4, 8, 4]
    assert torch.equal(parts[2], scale[index])


@pytest.mark.parametrize("dense", [False, True, "own"])
def test_a_graph_is_measured_whole(dense):
    """Nodes see each other: the kernel is that of all of them, against torch.func."""
    model = Graph(10, dense).double()
    edges = torch.randint(0, 10, (2, 30)) if not dense else torch.rand(10, 10).round().double()
    x = (randn(10, 4),) if dense == "own" else (randn(10, 4), edges)
    _, index = few(model, x, 4)
    assert index == list(range(10))
    torch.testing.assert_close(lazyrich.ntk(model, x), brute_kernel(model, x))
    probe = lazyrich.Probe(model, (x, randn(10, 2)), samples=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with probe.watch(optimizer):
        for _ in range(5):
            optimizer.zero_grad()
            (model(*x) - 1).square().mean().backward()
            optimizer.step()
    assert probe.history.samples == 10
    assert probe.verdict().evidence["ntk_change"] > 0


def test_the_kernel_under_a_shared_mask_is_torch_funcs():
    """Its parameters are no captured layer's: sample by sample, the mask would be cut."""
    model, x = Masked().double(), (randn(5, 5, 4), torch.ones(5, 5).triu(1).bool())
    torch.testing.assert_close(lazyrich.ntk(model, x), brute_kernel(model, x))


def test_noise_and_batch_norms_hide_no_samples():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))

        def forward(self, x, weight):
            return self.net(x + torch.randn_like(x)) * weight[:, None]

    x, weight = randn(8, 4), randn(8)
    parts, index = few(Noisy(), (x, weight), 4)
    assert torch.equal(parts[1], weight[index])
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    part, index = few(model, x, 4)
    assert torch.equal(part, x[index])
    with pytest.raises(InputError, match="batch normalisation needs at least 2 values of each"):
        few(model, x, 1)


def test_a_model_that_cannot_run_says_so_when_it_is_looked_at():
    probe = lazyrich.Probe(nn.Linear(3, 2), (torch.randn(8, 4), torch.randn(8, 2)), samples=4)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        probe.measure(0)


def test_all_samples_are_taken_without_a_look():
    x = randn(4, 3)
    part, index = some_samples(nn.Linear(99, 1), x, 4)
    assert part is x
    assert index.tolist() == [0, 1, 2, 3]


def test_a_mask_of_infinities_is_no_bad_data():
    """The usual causal mask holds −∞ above its diagonal."""

    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = nn.Linear(4, 1)

        def forward(self, x, mask):
            weights = (x @ x.transpose(-1, -2) + mask).softmax(-1)
            return (weights @ self.value(x)).mean(1)

    torch.manual_seed(0)
    x, model = torch.randn(5, 6, 4), Attends()
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    finite = mask.clamp(min=-1e9)
    found = lazyrich.ntk(model, {"x": x, "mask": mask})
    torch.testing.assert_close(found, lazyrich.ntk(model, {"x": x, "mask": finite}))
    with pytest.raises(lazyrich.InputError, match="`x` must be finite"):
        lazyrich.ntk(model, {"x": x, "mask": mask * torch.nan})


class Summed(nn.Module):
    """A mask over positions, of which there are as many as samples."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, x, mask):
        return self.layer(x) + mask.sum()


def test_it_can_be_said_which_inputs_all_samples_share():
    x, mask = torch.arange(36.0).view(6, 6), torch.eye(6)
    calls = []
    model = Summed()
    model.register_forward_hook(lambda *_: calls.append(1))
    part, index = some_samples(model, {"x": x, "mask": mask}, 3, shared=("mask",))
    assert index.tolist() == [0, 2, 4]
    assert torch.equal(part["x"], x[::2])
    assert torch.equal(part["mask"], mask)
    (one, other), _ = some_samples(model, (x, mask), 3, shared=(1,))
    assert (len(one), len(other)) == (3, 6)
    (one, other), _ = some_samples(model, (x, mask), 3, shared=())
    assert (len(one), len(other)) == (3, 3)
    assert not calls  # nothing is found out by running
    probe = lazyrich.Probe(model, ({"x": x, "mask": mask}, x[:, :2]), samples=3, shared="mask")
    probe.measure(0)
    assert probe.history.samples == 3


@pytest.mark.parametrize(
    ("shared", "words"),
    [
        (("masks",), r"among the inputs' names \['x', 'mask'\], got \('masks',\)"),
        (("x", "mask"), "must leave an input with a row for each of the 6 samples"),
    ],
)
def test_what_is_shared_must_be_there(shared, words):
    batch = {"x": torch.ones(6, 6), "mask": torch.eye(6)}
    with pytest.raises(lazyrich.InputError, match=words):
        some_samples(Summed(), batch, 3, shared=shared)


def test_a_probe_takes_fewer_of_long_sequences_of_tokens_unless_told():
    tokens = torch.randint(0, 5, (20, 100), generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2)).double()
    batch = tokens, torch.zeros(20, 100, 2).double()
    counts = {}
    for given in ("auto", 32, 12, None):
        probe = lazyrich.Probe(model, batch, samples=given, observables=["loss"])
        probe.measure(0)
        counts[given] = probe.history.samples
    assert counts == {"auto": default_count(tokens), 32: 20, 12: 12, None: 20}
    assert default_count(tokens) == 10


def test_a_probe_takes_fewer_directions_of_long_sequences_of_tokens_unless_told():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 7)).double()
    found = {}
    for length, given in ((2, "auto"), (100, "auto"), (100, 3), (100, "all")):
        tokens = torch.randint(0, 5, (20, length), generator=torch.Generator().manual_seed(0))
        batch = tokens, torch.zeros(20, length, 7).double()
        probe = lazyrich.Probe(model, batch, directions=given, observables=["loss"])
        found[length, given] = probe.made_with["directions"]
    assert found == {(2, "auto"): 4, (100, "auto"): 2, (100, 3): 3, (100, "all"): "all"}


def test_inputs_that_are_no_tokens_do_not_change_the_number_of_samples():
    pairs = torch.zeros(50, 2, dtype=torch.long)
    assert default_count({"ids": pairs, "mask": torch.ones(50, 4000)}) == 32
    assert (
        default_count((torch.zeros(50, 3, 64, 64), torch.zeros(50, 4000, dtype=torch.long))) == 32
    )
    assert default_count(torch.zeros(50, dtype=torch.long)) == 32
