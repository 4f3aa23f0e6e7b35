"""What the tests of networks share: numbers, small networks, a few steps."""

import torch

from lazyrich.study import NETWORKS


def drawn(*shape, seed=0, dtype=None):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def built(name, width, inputs=(3, 16, 16)):
    options = {"transformer": {"patch": 4}, "fcn": {"depth": 3, "bias": True}}.get(name, {})
    return NETWORKS[name](inputs, 5, width=width, **options)


def fit(model, optimizer, x, y, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) - y).square().sum(1).mean().backward()
        optimizer.step()
