"""Layers that are no module: products with parameters, against the same network of linear layers.

Every case is a body between two linear layers, beside a twin whose body is made of `nn.Linear`.
"""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import lazyrich
from lazyrich.capture.arrangement import arranged, arrangement
from lazyrich.capture.capture import capture
from lazyrich.capture.jacobian import jacobian_factors
from lazyrich.capture.kernel import kernel
from lazyrich.capture.trust import trusted_parameters
from lazyrich.observables.catalogue import quantities
from tests.models import randn

ROOM = 2**30


def plain_kernel(model, x, rates=lambda _: 1.0):
    """The kernel from gradients of one output after the other."""
    model.eval()
    f, parameters = model(x), dict(model.named_parameters())
    every = tuple(parameters.values())
    rows = []
    for y in f.view(-1):
        found = torch.autograd.grad(y, every, retain_graph=True, allow_unused=True)
        both = zip(every, found, strict=True)
        rows.append([(torch.zeros_like(p) if g is None else g).flatten() for p, g in both])
    total = sum(
        rates(name) * (j := torch.stack(column)) @ j.T
        for name, column in zip(parameters, zip(*rows, strict=True), strict=True)
    )
    return total.view(*f.shape, *f.shape)


class Around(nn.Module):
    """A body of vectors of 6 numbers between two linear layers."""

    def __init__(self, body, width=6):
        super().__init__()
        self.first, self.body, self.last = nn.Linear(4, 6), body, nn.Linear(width, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.body(torch.tanh(self.first(x)))).mean(1))


class Calling(nn.Module):
    """A module in a function of it and its input."""

    def __init__(self, module, call):
        super().__init__()
        self.module, self.call = module, call

    def forward(self, x):
        return self.call(self.module, x)


class Transposed(nn.Module):
    """What GPT-2 calls a `Conv1D`."""

    def __init__(self, inputs=6, outputs=6):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / 2)
        self.bias = nn.Parameter(torch.randn(outputs) / 2)

    def forward(self, x):
        rows = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return rows.view(*x.shape[:-1], -1)


class Free(nn.Module):
    """Parameters of the module's own, used by a function of its input and of them."""

    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        self.matrices = nn.ParameterList(torch.randn(shape) / 2 for shape in shapes)

    def forward(self, x):
        return self.function(x, *self.matrices)


def attention(batch_first=True, **options):
    module = nn.MultiheadAttention(6, 2, batch_first=batch_first, dropout=0.2, **options)
    nn.init.normal_(module.in_proj_bias)

    def call(m, x):
        k, v = x[..., : m.kdim].cos(), x[..., : m.vdim].sin()
        if not batch_first:
            x, k, v = (part.transpose(0, 1) for part in (x, k, v))
        result, _ = m(x, k, v, need_weights=False)
        return result if batch_first else result.transpose(0, 1)

    return Calling(module, call)


def recurrent(kind, *, batch_first=True, **options):
    return Calling(
        kind(6, 3, batch_first=batch_first, **options),
        lambda m, x: m(x)[0] if batch_first else m(x.transpose(0, 1))[0].transpose(0, 1),
    )


def packed(module, x):
    lengths = [3, 1, 3, 2, 1]
    sequences = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(module(sequences)[0], batch_first=True)[0]


def by_cell(cell, x):
    states, state = [], None
    for step in x.unbind(1):
        state = cell(step, state)
        states.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(states, 1)


def experts(x, up, down):
    """Tokens go to one of two matrices, as they choose."""
    flat = x.flatten(0, 1)
    chosen, result = (flat[:, 0] > 0).long(), torch.zeros_like(flat)
    for i in range(2):
        (rows,) = torch.where(chosen == i)
        z = functional.linear(functional.linear(flat[rows], up[i]).tanh(), down[i])
        result = result.index_add(0, rows, z)
    return result.view_as(x)


def spread(*args, axes=1, **options):
    """A transposed convolution of positions, or of a plane of them."""
    kinds = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}

    def call(m, x):
        planes = x.mT.unflatten(2, (*(1,) * (axes - 1), -1))
        return m(planes).flatten(2).mT

    return Calling(kinds[axes](*args, **options), call)


def bag(x, table, mode):
    tokens = (4 * x[..., 0]).long().abs().flatten() % 7
    offsets = torch.arange(0, 15, 3)
    return functional.embedding_bag(
        tokens, table, offsets, norm_type=2.0, mode=mode, padding_idx=1
    )[:, None]


def tied(x, table):
    """Tokens in, scores of tokens out."""
    tokens = (4 * x[..., 0]).long().abs() % 7
    return functional.linear(functional.embedding(tokens, table, padding_idx=2).tanh(), table)


STEPS = torch.tensor([0, 3, 0])


def twice(x, positions):
    """Positions that are added at two places."""
    return (x + positions).tanh() + positions


def names(module, *own):
    return [f"body.{module}.{name}" for name in own]


MATRICES = ("weight_ih_l0", "weight_hh_l0")
ENDS = ("", "_reverse")
BODIES = {
    "transposed weight": (Transposed(), 6, ["body"]),
    "attention": (attention(), 6, names("module", "q", "k", "v", "out_proj")),
    "time first": (attention(False), 6, names("module", "q", "k", "v", "out_proj")),
    "other widths": (attention(kdim=4, vdim=3), 6, names("module", "q", "k", "v", "out_proj")),
    "more keys": (
        attention(add_bias_kv=True, add_zero_attn=True),
        6,
        names("module", "q", "k", "v", "out_proj"),
    ),
    "lstm": (
        recurrent(nn.LSTM, num_layers=2, bidirectional=True),
        6,
        names("module", *(f"weight_{w}_l{i}{e}" for i in "01" for e in ENDS for w in ("ih", "hh"))),
    ),
    "gru": (recurrent(nn.GRU, batch_first=False), 3, names("module", *MATRICES)),
    "rnn": (recurrent(nn.RNN, nonlinearity="relu", bias=False), 3, names("module", *MATRICES)),
    "projected": (recurrent(nn.LSTM, proj_size=2), 2, names("module", *MATRICES, "weight_hr_l0")),
    "packed": (
        Calling(nn.GRU(6, 3, batch_first=True, bidirectional=True), packed),
        6,
        names("module", *(f"{name}{end}" for end in ENDS for name in MATRICES)),
    ),
    "lstm cell": (
        Calling(nn.LSTMCell(6, 3), by_cell),
        3,
        names("module", "weight_ih", "weight_hh"),
    ),
    "gru cell": (Calling(nn.GRUCell(6, 3), by_cell), 3, names("module", "weight_ih", "weight_hh")),
    "rnn cell": (Calling(nn.RNNCell(6, 3), by_cell), 3, names("module", "weight_ih", "weight_hh")),
    "bilinear": (
        Calling(nn.Bilinear(6, 6, 5), lambda m, x: m(x, x.cos())),
        5,
        ["body.module"],
    ),
    "matmul": (Free(lambda x, w: x @ w, (6, 5)), 5, ["body.matrices.0"]),
    "from the left": (Free(lambda x, w: (w @ x.mT).mT, (5, 6)), 5, ["body.matrices.0"]),
    "a vector": (Free(lambda x, w: (x @ w)[..., None], (6,)), 1, ["body.matrices.0"]),
    "einsum": (
        Free(lambda x, w: torch.einsum("ntd,dm->tmn", x, w).permute(2, 0, 1), (6, 5)),
        5,
        ["body.matrices.0"],
    ),
    "by numbers": (
        Free(lambda x, w: torch.einsum(x, [0, 1, 2], w, [2, 3], [0, 1, 3]), (6, 5)),
        5,
        ["body.matrices.0"],
    ),
    "a stack": (
        Free(lambda x, w: (x @ w[:, None]).sum(0), (2, 6, 5)),
        5,
        [],
    ),
    "heads": (
        Free(lambda x, w: torch.einsum("ntd,hdm->hntm", x, w).sum(0), (2, 6, 5)),
        5,
        ["body.matrices.0[0]", "body.matrices.0[1]"],
    ),
    "one matrix each": (
        Free(lambda x, w: torch.bmm(x.transpose(0, 1), w).transpose(0, 1), (3, 6, 5)),
        5,
        [f"body.matrices.0[{i}]" for i in range(3)],
    ),
    "rows of one": (
        Free(lambda x, w: functional.linear(x, w[:4]).relu() @ w[4:8, :4], (8, 6)),
        4,
        ["body.matrices.0[0:4]", "body.matrices.0[from 24]"],
    ),
    "experts": (
        Free(experts, (2, 5, 6), (2, 6, 5)),
        6,
        [f"body.matrices.{w}[{i}]" for i in range(2) for w in range(2)],
    ),
    "spread": (spread(6, 4, 3, stride=2, padding=1, output_padding=1), 4, ["body.module"]),
    "spread in groups": (
        spread(6, 4, (2, 3), stride=(1, 2), dilation=(1, 2), groups=2, axes=2),
        4,
        ["body.module"],
    ),
    "spread in space": (spread(6, 3, (1, 2, 2), padding=(0, 0, 1), axes=3), 3, ["body.module"]),
    "convolution": (
        Free(lambda x, w: functional.conv1d(x.mT, w, None, 1, 2, 2, 3).mT, (3, 2, 3)),
        3,
        ["body.matrices.0"],
    ),
    "a bag": (Free(partial(bag, mode="mean"), (7, 5)), 5, []),
    "the most of a bag": (Free(partial(bag, mode="max"), (7, 5)), 5, []),
    "scale and shift": (Free(lambda x, a, b: a * x.tanh() + b, (6,), (3, 6)), 6, []),
    "channels": (Free(lambda x, a: (x.mT * a[:, None]).mT + a.sum(), (6,)), 6, []),
    "positions": (
        Free(
            lambda x, w: x + functional.embedding(torch.arange(3)[None], w, padding_idx=1), (4, 6)
        ),
        6,
        [],
    ),
    "positions for two": (
        Free(lambda x, w: twice(x, functional.embedding(STEPS, w)), (4, 6)),
        6,
        [],
    ),
    "tied": (Free(tied, (7, 5)), 7, ["body.matrices.0[as 7 × 5]"]),
    "there and back": (
        Free(lambda x, w: functional.linear(functional.linear(x, w).tanh(), w.T), (5, 6)),
        6,
        ["body.matrices.0", "body.matrices.0[as 6 × 5]"],
    ),
}
SLOW = {
    "more keys": {"body.module.bias_k", "body.module.bias_v"},
    "a stack": {"body.matrices.0"},
    "channels": {"body.matrices.0"},
    "there and back": {"body.matrices.0"},
}


def case(name):
    torch.manual_seed(1)
    body, width, layers = BODIES[name]
    body = copy.deepcopy(body)
    for parameter in body.parameters():
        nn.init.normal_(parameter, std=0.7)
    return Around(body, width).double(), randn(5, 3, 4), layers


@pytest.mark.parametrize("name", BODIES)
def test_products_are_layers(name):
    """Names, `z = W h + b`, and the kernel by factors wherever the parts allow it."""
    model, x, layers = case(name)
    seen = capture(model, x)
    assert [layer.name for layer in seen.layers] == ["first", *layers, "last"]
    torch.testing.assert_close(seen.outputs.detach(), model.eval()(x).detach())
    for layer in seen.layers:
        z = layer.inputs.flatten(2) @ layer.matrix.T
        if bias := layer.tensors.get("bias"):
            z = z + bias.of(seen.leaves[bias.parameter].detach())
        there = layer.preactivations.flatten(2).any(-1)  # not where packed samples have ended
        torch.testing.assert_close(layer.preactivations.flatten(2)[there], z[there])
    slow = {name for name, _ in model.named_parameters()} - set(trusted_parameters(seen))
    assert slow == SLOW.get(name, set())
    exact = plain_kernel(model, x)
    torch.testing.assert_close(lazyrich.ntk(model, x), exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["time first", "lstm", "packed", "experts"])
def test_rates_and_layers_of_the_kernel(name):
    """Parts of the kernel add up to brute force with a rate for each parameter."""
    model, x, layers = case(name)
    rates = {p: 0.5 + i for i, (p, _) in enumerate(model.named_parameters())}
    factors = jacobian_factors(capture(model, x), lrs=rates, memory=ROOM)
    assert set(layers) <= set(factors)
    total = sum(kernel(factor) for factor in factors.values())
    torch.testing.assert_close(total, plain_kernel(model, x, rates.get), rtol=1e-10, atol=1e-10)


class TwinAttention(nn.Module):
    """The same attention, of four linear layers."""

    def __init__(self, of):
        super().__init__()
        self.heads = of.num_heads
        self.q, self.k, self.v, self.out_proj = (nn.Linear(6, 6) for _ in range(4))
        with torch.no_grad():
            every = zip(of.in_proj_weight.chunk(3), of.in_proj_bias.chunk(3), strict=True)
            for own, (weight, bias) in zip((self.q, self.k, self.v), every, strict=True):
                own.weight.copy_(weight)
                own.bias.copy_(bias)
        self.out_proj.load_state_dict(of.out_proj.state_dict())

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q(x), self.k(x.cos()), self.v(x.sin()))
        )
        mixed = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class TwinLSTM(nn.Module):
    """The same LSTM, of two linear layers."""

    def __init__(self, of):
        super().__init__()
        self.ih, self.hh = nn.Linear(6, 12), nn.Linear(3, 12)
        with torch.no_grad():
            for own, end in ((self.ih, "ih_l0"), (self.hh, "hh_l0")):
                own.weight.copy_(getattr(of, f"weight_{end}"))
                own.bias.copy_(getattr(of, f"bias_{end}"))

    def forward(self, x):
        h = c = x.new_zeros(len(x), 3)
        steps = []
        for gates in self.ih(x).unbind(1):
            i, f, g, o = (gates + self.hh(h)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            steps.append(h)
        return torch.stack(steps, 1)


class TwinTransposed(nn.Module):
    def __init__(self, of):
        super().__init__()
        self.inner = nn.Linear(6, 6)
        with torch.no_grad():
            self.inner.weight.copy_(of.weight.T)
            self.inner.bias.copy_(of.bias)

    def forward(self, x):
        return self.inner(x)


RECURRENT = {"module.weight_ih_l0": "ih", "module.weight_hh_l0": "hh"}
TWINS = {
    "transposed weight": (Transposed, TwinTransposed, 6, {"body": "body.inner"}),
    "attention": (
        attention,
        lambda of: TwinAttention(of.module),
        6,
        {f"body.module.{part}": f"body.{part}" for part in ("q", "k", "v", "out_proj")},
    ),
    "lstm": (
        lambda: recurrent(nn.LSTM),
        lambda of: TwinLSTM(of.module),
        3,
        {f"body.{one}": f"body.{other}" for one, other in RECURRENT.items()},
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_of_linear_layers_has_the_same_history(name):
    """Every observable of every layer, while both train."""
    make, twin_of, width, same = TWINS[name]
    torch.manual_seed(0)
    model = Around(make(), width).double().eval()
    twin = Around(twin_of(model.body), width).double()
    twin.first, twin.last = copy.deepcopy(model.first), copy.deepcopy(model.last)
    batch = randn(12, 3, 4), randn(12, 2)
    histories, tables = [], []
    for network in (model, twin):
        start = copy.deepcopy(network)
        predicted = lazyrich.initial_cnfa(network, batch, directions="all")
        probe = lazyrich.Probe(network, batch, observables=list(quantities()), directions="all")
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for step in range(3):
            probe.measure(step)
            optimizer.zero_grad()
            functional.mse_loss(network(batch[0]), batch[1]).backward()
            optimizer.step()
        histories.append(probe.history)
        found = lazyrich.nfa(network, batch[0], start, directions="all", double_centred=True)
        tables.append([predicted, found, lazyrich.nfa(network, batch[0], start.state_dict())])
    one, other = histories
    renamed = [same.get(layer, layer) for layer in one.layer.values]
    assert set(renamed) == set(other.layer.values)
    other = other.sel(layer=renamed).assign_coords(layer=one.layer)
    assert set(one.data_vars) == set(other.data_vars)
    for quantity in one.data_vars:
        a, b = (torch.as_tensor(history[quantity].values) for history in (one, other))
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9, equal_nan=True, msg=quantity)
    assert one.feature_speed.notnull().all()
    for a, b in zip(*tables, strict=True):
        for quantity in a.data_vars:
            pair = (torch.as_tensor(table[quantity].values) for table in (a, b))
            torch.testing.assert_close(*pair, rtol=1e-6, atol=1e-9, equal_nan=True)


def test_own_norms_are_small_layers_with_rows_of_the_kernel():
    model, x, _ = case("scale and shift")
    seen = capture(model, x)
    assert {"body.matrices.0", "body.matrices.1"} <= {layer.name for layer in seen.small}
    assert "entry by entry" in seen.skipped["body.matrices.0"]


def test_heads_of_an_attention():
    model, x, _ = case("attention")
    heads = lazyrich.nfa(model, x, heads={"*.q": 2, "*.k": 2}, directions="all").layer.values
    assert [f"body.module.{part}[{i}]" for part in "qk" for i in range(2)] == list(heads)[1:5]


def test_what_joins_samples_is_left_out_with_a_reason():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.randn(3, 2))
            self.b = nn.Parameter(torch.randn(4, 3))

        def forward(self, x):
            return x @ self.b @ self.a + (x.mean(0, keepdim=True) @ self.b).sum()

    model, x = Joined().double(), randn(5, 4)
    seen = capture(model, x)
    assert [layer.name for layer in seen.layers] == ["a"]
    assert "joins samples" in seen.skipped["b"]
    torch.testing.assert_close(lazyrich.ntk(model, x), plain_kernel(model, x))


def test_rows_of_samples_that_have_different_numbers_of_them():
    owner = torch.tensor([1, 0, 1, 1])
    g = randn(4, 3)
    order = arrangement(g, g * (owner + 1)[:, None], 3)
    assert order.tolist() == [[1, -1, -1], [0, 2, 3], [-1, -1, -1]]
    rows = arranged(torch.arange(1.0, 5)[:, None], order)
    assert rows[..., 0].tolist() == [[2, 0, 0], [1, 3, 4], [0, 0, 0]]
    assert arrangement(g, g * (owner + 1.5)[:, None], 3) is None


def test_a_row_whose_terms_cancel_is_of_its_sample_all_the_same():
    """Its gradient is 40 times what float32 rounds of others'; one of several samples stays one."""
    owner = torch.arange(32).repeat_interleave(3)
    g = randn(96, 1).float()
    g[50] = 5e-6 * g.abs().max()
    coded = g * (owner + 1)[:, None]
    coded[50] += 1e-6 * g.abs().max()
    assert arrangement(g, coded, 32).tolist() == torch.arange(96).view(32, 3).tolist()
    coded[50] += 0.01 * g.abs().max()
    assert arrangement(g, coded, 32) is None
