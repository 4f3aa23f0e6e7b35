"""The kernel between batches, its trace, and over a loader, against explicit Jacobians."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lazyrich
from lazyrich import InputError
from lazyrich.capture.capture import capture
from lazyrich.capture.isolation import map_tensors
from lazyrich.probe import tangent_kernel
from tests.models import Attention, Residual, Transformer, brute_kernel, cases, randn

CASES = cases()
SPLIT = [name for name in CASES if name not in ("sequence first",)]  # needs as many positions


def others(x):
    """Fewer samples in another order, and other ones where they are no tokens."""

    def changed(tensor):
        fewer = tensor.flip(0)[:-1]
        return fewer + 0.3 * fewer.sin() if tensor.is_floating_point() else fewer

    return map_tensors(changed, x)


def close(found, exact):
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-10 * float(exact.norm()))


@pytest.mark.parametrize("name", SPLIT)
def test_between_two_batches(name):
    model, x = CASES[name]
    exact = brute_kernel(model, x, other=others(x))
    close(lazyrich.ntk(model, x, others(x)), exact)
    close(lazyrich.ntk(model, x, others(x), memory=60_000), exact)
    close(lazyrich.ntk(model, x, others(x), trace=True), torch.einsum("icjc->ij", exact))


@pytest.mark.parametrize("name", CASES)
def test_the_trace(name):
    model, x = CASES[name]
    exact = torch.einsum("icjc->ij", brute_kernel(model, x))
    close(lazyrich.ntk(model, x, trace=True), exact)
    close(lazyrich.ntk(model, x, trace=True, memory=60_000), exact)


def test_the_trace_of_many_outputs_pairs_positions():
    """One position more or less decides which road is taken; both must agree."""
    layer = nn.Linear(9, 8).double()
    for positions in (1, 2, 7):
        x, other = randn(3, positions, 9), randn(2, positions, 9)
        exact = torch.einsum("icjc->ij", brute_kernel(layer, x, other=other))
        close(lazyrich.ntk(layer, x, other, trace=True), exact)


@pytest.mark.parametrize("kept", [2 * 2**30, 4_000])
@pytest.mark.parametrize("trace", [False, True])
def test_over_a_loader(trace, kept, monkeypatch):
    """Of 7 samples in batches of 3, 3 and 1, whether or not their Jacobians are all kept."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 30), nn.Tanh(), nn.Linear(30, 2)).double()
    x, other = randn(7, 5), randn(4, 5)
    captures = []
    monkeypatch.setattr(
        tangent_kernel, "capture", lambda *args: captures.append(args) or capture(*args)
    )

    def loader(tensor, *targets):
        return DataLoader(TensorDataset(tensor, *targets), batch_size=3)

    close(
        lazyrich.ntk(model, loader(x), trace=trace, memory=kept),
        lazyrich.ntk(model, x, trace=trace),
    )
    assert (len(captures) > 7) == (kept == 4_000)  # 3 twice, and the whole at once
    close(
        lazyrich.ntk(model, loader(x, randn(7, 1)), loader(other), trace=trace, memory=kept),
        lazyrich.ntk(model, x, other, trace=trace),
    )
    close(
        lazyrich.ntk(model, (part for part in x.split(2)), other, trace=trace),
        lazyrich.ntk(model, x, other, trace=trace),
    )


def test_tokens_of_each_batch_keep_their_columns():
    torch.manual_seed(0)
    model = Transformer(Attention()).double()
    tokens = CASES["hand-written attention"][1]
    exact = brute_kernel(model, tokens)
    close(lazyrich.ntk(model, iter(tokens.split(1))), exact)


def test_a_batch_norm_has_the_statistics_of_each_batch():
    torch.manual_seed(0)
    model, x = Residual().double(), randn(6, 2, 5, 5)
    found = lazyrich.ntk(model, iter(x.split(3)))
    close(found[:3, :, 3:], brute_kernel(model, x[:3], other=x[3:]))
    close(found[3:, :, :3], brute_kernel(model, x[3:], other=x[:3]))


def test_learning_rates_reach_both_sides():
    model, x = CASES["mlp"]
    rates = {"0": 0.5, "": 2.0}
    exact = brute_kernel(model, x, rates=lambda n: 0.5 if n[0] == "0" else 2.0, other=others(x))
    close(lazyrich.ntk(model, x, others(x), lrs=rates), exact)


def test_mappings_of_a_loader_are_arguments():
    model, x = CASES["named"]
    loader = [{name: part[i : i + 2] for name, part in x.items()} for i in (0, 2)]
    close(lazyrich.ntk(model, iter(loader)), brute_kernel(model, x))


def test_refusals():
    layer = nn.Linear(3, 2)
    with pytest.raises(InputError, match="`x` must give at least one batch, got none"):
        lazyrich.ntk(layer, iter([]))
    with pytest.raises(InputError, match="`x2` must give at least one batch, got none"):
        lazyrich.ntk(layer, torch.ones(2, 3), iter([]))
    with pytest.raises(InputError, match=r"same number of outputs a sample, got \[2, 4\]"):
        lazyrich.ntk(layer, torch.ones(2, 3), torch.ones(2, 2, 3))
    with pytest.raises(InputError, match=r"for a kernel of 400 rows and 20 columns, got 1e\+03"):
        lazyrich.ntk(layer, torch.ones(200, 3), torch.ones(10, 3), memory=1000)
