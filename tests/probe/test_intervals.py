"""The interval of the kernel's change covers what it should, over hundreds of draws."""

import copy
import functools

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.observables import block_squares, change_interval, pair_sums, rotation_interval

DRAWS = 200
POOL = 220


@functools.cache
def kernels(outputs):
    """Of a network before and after training, on many samples."""
    torch.manual_seed(1)
    x = torch.randn(POOL, 6).double()
    y = torch.tanh(2 * x @ torch.randn(6, outputs).double() / 6**0.5)
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, outputs)).double()
    before = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(40):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    return lazyrich.ntk(before, x), lazyrich.ntk(model, x)


def intervals(start, now, *, random):
    sums = [pair_sums(block_squares(k, random=random)) for k in (now - start, start, now)]
    change = change_interval(*sums[:2], random=random)
    return change, rotation_interval(*sums, random=random)


@pytest.mark.parametrize(
    ("outputs", "directions", "samples"),
    [(1, None, 8), (3, None, 8), (3, None, 32), (10, 4, 8), (10, 4, 32), (10, None, 16)],
)
def test_many_samples_and_all_directions_are_covered(outputs, directions, samples):
    """Truths: pairs of different samples in the whole pool; all directions on these samples."""
    start, now = kernels(outputs)
    apart = 1 - torch.eye(POOL, dtype=start.dtype)[:, None, :, None]
    truth = float(((now - start) * apart).norm() / (start * apart).norm())
    generator = torch.Generator().manual_seed(0)
    of_many, of_these, turned = 0, 0, 0
    for _ in range(DRAWS):
        index = torch.randperm(POOL, generator=generator)[:samples]
        pair = [k[index][:, :, index] for k in (start, now)]
        exact, rotation = (x.value for x in intervals(*pair, random=False))
        if directions:
            signs = torch.randint(0, 2, (samples, directions, outputs), generator=generator)
            v = signs.double() * 2 - 1
            pair = [torch.einsum("iac,icjd,jbd->iajb", v, k, v) for k in pair]
        found, of_rotation = intervals(*pair, random=directions is not None)
        of_many += bool(found.low <= truth <= found.high)
        of_these += bool(found.low <= exact <= found.high)
        turned += bool(of_rotation.low <= rotation <= of_rotation.high)
    assert 0.92 <= of_many / DRAWS <= 0.99
    assert of_these / DRAWS >= 0.93
    assert turned / DRAWS >= 0.93


def test_the_default_is_exact_for_few_outputs_and_says_how_many_directions_else():
    for outputs, expected in ((1, "all outputs"), (4, "all outputs"), (5, "4 random")):
        x = torch.randn(6, 3)
        probe = lazyrich.Probe(nn.Linear(3, outputs), (x, torch.randn(6, outputs)))
        probe.measure(0)
        assert f'"directions": "{expected}"' in probe.history.attrs["setting"]
