"""The kernel of awkward networks against torch.func, layer by layer where it matters."""

import copy
from typing import NamedTuple

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.capture.capture import capture
from lazyrich.capture.isolation import map_tensors
from lazyrich.capture.jacobian import jacobian_factors
from lazyrich.capture.kernel import kernel
from lazyrich.capture.per_sample import per_sample_gradients
from lazyrich.observables import OuterFactor, kernel_matvec, traced_kernel
from lazyrich.study import transformer
from tests.models import Transformer, Twice, brute_kernel, cases, randn

CASES = cases()
ROOM = 2**30


@pytest.mark.parametrize("name", CASES)
def test_kernel_is_torch_funcs(name):
    model, x = CASES[name]
    exact = brute_kernel(model, x)
    torch.testing.assert_close(lazyrich.ntk(model, x), exact, rtol=1e-10, atol=1e-10 * exact.norm())


@pytest.mark.parametrize("name", ["residual", "hand-written attention", "used twice", "named"])
def test_trace_and_matvec_of_the_factors(name):
    model, x = CASES[name]
    exact = brute_kernel(model, x)
    factors = list(jacobian_factors(capture(model, x), memory=ROOM).values())
    traced = sum(traced_kernel(factor) for factor in factors)
    torch.testing.assert_close(traced, torch.einsum("icjc->ij", exact))
    v = randn(*exact.shape[:2])
    torch.testing.assert_close(kernel_matvec(factors, v), torch.einsum("icje,je->ic", exact, v))


_ATTENTION = {f"attention.{part}" for part in ("q", "k", "v", "out_proj")}


def test_factors_are_used_where_they_exist():
    """A weight matrix keeps its two factors, a norm or a free parameter is dense."""
    expected = {
        "residual": {"stem", "body", "head"},
        "transformer": {"embed", "mlp.1", "mlp.3", "head", *_ATTENTION},
        "tied tokens": {"attention.qkv", "attention.out", "mlp.1", "mlp.3"},
        "used twice": {"again", "first", "first.bias", "second.bias"},
        "sneaky": {"a", "b", "a.bias"},
        "sequence first": {"b"},
    }
    for name, layers in expected.items():
        factors = jacobian_factors(capture(*CASES[name]), memory=ROOM)
        assert {n for n, f in factors.items() if isinstance(f, OuterFactor)} == layers, name


@pytest.mark.parametrize(
    ("name", "slow"),
    [
        ("residual", []),
        ("instance norm", []),
        ("used twice", []),
        ("hand-written attention", []),
        ("tied tokens", []),
        ("transformer", []),
        ("sneaky", []),
        ("sequence first", ["a.weight", "a.bias"]),
    ],
)
def test_only_the_unexplained_takes_the_slow_road(name, slow, monkeypatch):
    asked = []

    def spy(capture, names, **options):
        asked.extend(names)
        return per_sample_gradients(capture, names, **options)

    monkeypatch.setattr("lazyrich.capture.jacobian.per_sample_gradients", spy)
    lazyrich.ntk(*CASES[name])
    assert asked == slow


def test_kernel_of_each_layer():
    model, x = CASES["residual"]
    factors = jacobian_factors(capture(model, x), memory=ROOM)
    for name, factor in factors.items():
        exact = brute_kernel(model, x, lambda p, n=name: float(p == n or p.startswith(n + ".")))
        torch.testing.assert_close(kernel(factor), exact, rtol=1e-10, atol=1e-12)
    assert list(factors)[:3] == ["stem", "body", "head"]


def test_learning_rates_by_parameter_module_and_default():
    model, x = CASES["residual"]
    rates = {"": 0.5, "stem": 2.0, "head": 3.0, "head.bias": 0.0}

    def rate(name):
        return rates.get(name, rates.get(name.split(".")[0], 0.5))

    exact = brute_kernel(model, x, rate)
    torch.testing.assert_close(lazyrich.ntk(model, x, lrs=rates), exact, rtol=1e-10, atol=1e-10)


def test_tied_biases_and_rates():
    model = Twice().double()
    x = randn(3, 2, 5)
    rates = {"again.weight": 2.0, "again.bias": 3.0, "first": 0.5, "second": 0.1, "norm": 1.0}

    def rate(name):
        return rates.get(name, rates.get(name.split(".")[0]))

    exact = brute_kernel(model, x, rate)
    torch.testing.assert_close(lazyrich.ntk(model, x, lrs=rates), exact, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_are_looked_through(wrap):
    model, x = CASES["mlp"]
    wrapped = wrap(model)
    torch.testing.assert_close(lazyrich.ntk(wrapped, x), lazyrich.ntk(model, x), rtol=0, atol=0)
    assert [layer.name for layer in capture(wrapped, x).layers] == ["0", "2"]


def test_distributed_wrappers_are_looked_through():
    model, x = CASES["mlp"]
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(copy.deepcopy(model))
        assert torch.equal(lazyrich.ntk(wrapped, x), lazyrich.ntk(model, x))
    finally:
        torch.distributed.destroy_process_group()


def test_sparse_embedding_gradients():
    model = nn.Sequential(nn.Embedding(7, 3, sparse=True), nn.Flatten(), nn.Linear(6, 2)).double()
    tokens = torch.randint(0, 7, (4, 2))
    dense = copy.deepcopy(model)
    dense[0].sparse = False
    exact = brute_kernel(dense, tokens)
    torch.testing.assert_close(lazyrich.ntk(model, tokens), exact)


class Categories(nn.Module):
    """One category a sample: a vector of its own, one by a function, one that is tied, a bias."""

    def __init__(self):
        super().__init__()
        self.own, self.bias = nn.Embedding(7, 4, padding_idx=2), nn.Embedding(7, 7)
        self.table = nn.Parameter(torch.randn(7, 4))

    def forward(self, category):
        h = self.own(category) + nn.functional.embedding(category, self.table)
        return h.tanh() @ self.table.T + self.bias(category)


def test_one_category_a_sample():
    model, categories = Categories().double(), torch.tensor([1, 2, 2, 6])
    theta = lazyrich.ntk(model, categories)
    torch.testing.assert_close(theta, brute_kernel(model, categories))
    probe = lazyrich.Probe(model, (categories, randn(4, 7)))
    probe.measure(0)
    assert probe.history.sel(layer=["own", "bias"]).layer_ntk_share.min() > 0


@pytest.mark.parametrize("part", ["whole", "inner"])
def test_compiled_models_run_eagerly(part):
    def backend(graph, inputs):
        raise AssertionError("compiled")

    model, x = CASES["mlp"]
    compiled = copy.deepcopy(model)
    if part == "whole":
        compiled.compile(backend=backend)
    else:
        compiled[2] = torch.compile(compiled[2], backend=backend)
    torch.testing.assert_close(lazyrich.ntk(compiled, x), lazyrich.ntk(model, x))
    names = ["0", "2" if part == "whole" else "2._orig_mod"]
    assert [layer.name for layer in capture(compiled, x).layers] == names


@pytest.mark.parametrize("name", CASES)
def test_half_precision_is_widened(name):
    model, x = CASES[name]
    half = copy.deepcopy(model).to(torch.bfloat16)
    batch = map_tensors(lambda t: t.bfloat16() if t.is_floating_point() else t, x)
    theta = lazyrich.ntk(half, batch)
    assert theta.dtype == torch.float32
    wide = map_tensors(lambda t: t.double() if t.is_floating_point() else t, batch)
    exact = brute_kernel(half.double(), wide)
    assert (theta - exact).norm() < 1e-5 * exact.norm()


def test_single_precision():
    model = nn.Sequential(nn.Linear(30, 50), nn.Tanh(), nn.Linear(50, 4))
    x = torch.randn(20, 30)
    exact = brute_kernel(copy.deepcopy(model).double(), x.double())
    theta = lazyrich.ntk(model, x)
    assert theta.dtype == torch.float32
    assert (theta - exact).norm() < 1e-6 * exact.norm()


@pytest.mark.parametrize("name", ["residual", "conv2d", "hand-written attention"])
def test_a_small_budget_changes_nothing(name):
    model, x = CASES[name]
    torch.testing.assert_close(lazyrich.ntk(model, x, memory=20_000), lazyrich.ntk(model, x))


class Pair(NamedTuple):
    """A named tuple as one argument of a model."""

    values: torch.Tensor
    flag: str


class Nested(nn.Module):
    """Takes nested data, and needs the slow road for its own parameter."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.free = nn.Parameter(torch.ones(2))

    def forward(self, pair, others):
        assert pair.flag == "yes"
        return (self.free * torch.tanh(self.layer(pair.values)), others["masks"][0])


def test_nested_batches_are_split_into_samples():
    model, x = Nested().double(), (Pair(randn(4, 3), "yes"), {"masks": [randn(4, 2)]})
    torch.testing.assert_close(lazyrich.ntk(model, x), brute_kernel(model, x))


def test_one_sample():
    model, x = CASES["hand-written attention"]
    torch.testing.assert_close(lazyrich.ntk(model, x[:1]), lazyrich.ntk(model, x)[:1, :, :1])


def test_tied_transformer_moves_with_its_weights():
    """The capture holds the weights of its own time: later training does not leak in."""
    model = Transformer(nn.MultiheadAttention(6, 2, batch_first=True)).double()
    tokens = torch.randint(0, 7, (3, 5))
    exact = brute_kernel(model, tokens)
    seen = capture(model, tokens)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    factors = jacobian_factors(seen, memory=ROOM)
    torch.testing.assert_close(sum(kernel(f) for f in factors.values()), exact)


def test_a_centred_output_that_is_zero_up_to_rounding_depends_on_no_neighbour():
    """One head of width 8 gives other roundings for one sample than for many."""
    torch.manual_seed(0)
    model = lazyrich.CentredOutput(transformer((1, 8, 8), 10, width=8))
    assert lazyrich.ntk(model, torch.randn(5, 1, 8, 8)).isfinite().all()
