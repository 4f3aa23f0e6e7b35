"""Parameters that are frozen, set free or renamed while a probe watches, against Jacobians."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import lazyrich

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
Y = X[:, :1] ** 2


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))


def kernel(model, names=None):
    """From the gradient of every output by the parameters of those names; None for all."""
    chosen = [p for n, p in model.named_parameters() if names is None or n in names]
    flags = [p.requires_grad for p in chosen]
    for p in chosen:
        p.requires_grad_(True)
    rows = [torch.autograd.grad(y, chosen, retain_graph=True) for y in model(X).flatten()]
    for p, flag in zip(chosen, flags, strict=True):
        p.requires_grad_(flag)
    j = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]).double()
    return j @ j.T


def watched(model, rate, then, steps=4, of=kernel, **options):
    """Trains, does something to the model after half of it, and says how the kernel changed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=rate)
    probe, kernels = lazyrich.Probe(model, (X, Y), **options), [of(model)]
    with probe.watch(optimizer, when=1):
        for i in range(steps):
            if i == steps // 2:
                then(model, optimizer)
            optimizer.zero_grad()
            (model(X) - Y).square().mean().backward()
            optimizer.step()
            kernels.append(of(model))
    changes = [float((one - kernels[0]).norm() / kernels[0].norm()) for one in kernels]
    return probe, changes


def agree(probe, changes):
    np.testing.assert_allclose(probe.history.ntk_change, changes, rtol=1e-3, atol=1e-6)


def freeze_first(model, _):
    model[0].requires_grad_(False)


def freeze_all(model, _):
    model.requires_grad_(False)
    model[4].bias.requires_grad_(True)


@pytest.mark.parametrize("then", [freeze_first, freeze_all])
def test_what_is_frozen_stays_in_the_kernel(then):
    probe, changes = watched(network(), 0.1, then)
    agree(probe, changes)
    assert "Frozen after the first look: `0.weight`, `0.bias`" in probe.history.notes
    assert probe.history.layer_ntk_change.notnull().all()
    assert probe.history.layer_lr.sel(layer="0").values.tolist() == [0.1] * 3 + [0, 0]
    still, _ = watched(network(), 0.0, then)
    assert still.verdict().regime == "frozen"
    assert (still.history.ntk_change == 0).all()


def test_a_network_frozen_as_a_whole_is_measured():
    """As a critic is, while the generator takes its step."""
    model = network()
    probe = lazyrich.Probe(model, (X, Y))
    probe.measure(0)
    model.requires_grad_(False)
    probe.measure(1)
    assert probe.verdict().regime == "frozen"


def set_free(model, optimizer):
    model[0].requires_grad_(True)
    optimizer.add_param_group({"params": model[0].parameters(), "lr": 0.1})


def test_what_is_set_free_later_is_a_constant():
    model = network()
    model[0].requires_grad_(False)
    names = [f"{i}.{role}" for i in (2, 4) for role in ("weight", "bias")]
    probe, changes = watched(model, 0.1, set_free, of=lambda model: kernel(model, names))
    agree(probe, changes)
    assert "Set free after the first look: `0.weight`, `0.bias`" in probe.history.notes


def pruned(model, _):
    prune.l1_unstructured(model[2], "weight", 0.5)


@pytest.mark.parametrize(
    "lrs", [None, {"": 1.0}, {"0": 1.0, "2.weight": 1.0, "2.bias": 1.0, "4": 1.0}]
)
def test_weights_that_are_pruned_in_the_loop(lrs):
    probe, changes = watched(network(), 0.1, pruned, lrs=lrs)
    agree(probe, changes)
    assert "Under other names than at the first look: `2.weight`" in probe.history.notes
    assert (
        probe.history.linearisation_error.notnull().values.tolist()
        == [False, True, True] + [False] * 2
    )
    assert probe.history.layer_ntk_change.notnull().all()


def test_what_another_optimiser_trains_is_told():
    model = network()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)

    def probed(**options):
        probe = lazyrich.Probe(model, (X, Y), **options)
        with probe.watch(first, when=1):
            (model(X) - Y).square().mean().backward()
            first.step()
        return probe.history

    assert "SGD does not own `2.weight`, `2.bias`, `4.weight`, `4.bias`" in probed().notes
    alike = probed(lrs={"": 1.0})
    assert "own" not in alike.notes
    assert (alike.layer_ntk_share[0] > 0).all()


class Ends(nn.Module):
    """Gives as many outputs as it has classes, by one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.classes = nn.Linear(3, 4), 2

    def forward(self, x):
        return self.first(x).tanh()[:, : self.classes]


def more_classes(model):
    model.classes = 3


def wider(model):
    model.first = nn.Linear(3, 6)


@pytest.mark.parametrize(
    ("grow", "said"),
    [
        (wider, r"got \(6, 3\) for `first.weight`, which had \(4, 3\). Make a new probe"),
        (more_classes, r"got \(12, 3\) for the outputs, which had \(12, 2\). Make a new probe"),
    ],
)
def test_a_network_that_grows_is_refused_in_a_sentence(grow, said):
    model = Ends()
    probe = lazyrich.Probe(model, (X, torch.randn(12, 2)), directions="all")
    probe.measure(0)
    grow(model)
    with pytest.raises(lazyrich.InputError, match=said):
        probe.measure(1)


def test_a_buffer_may_grow():
    """As a cache of positions does."""

    class Cached(Ends):
        def __init__(self):
            super().__init__()
            self.register_buffer("cache", torch.zeros(2))

    model = Cached()
    probe = lazyrich.Probe(model, (X, torch.randn(12, 2)))
    probe.measure(0)
    model.cache = torch.zeros(3)
    probe.measure(1)
    assert probe.verdict().regime == "frozen"
