"""Hooks that a forward pass registers by itself are state that it changes, like any other."""

import functools

import pytest
import torch
from torch import nn

import lazyrich


class Collecting(nn.Module):
    """Reads the first of what its parts gave, by hooks from its first pass, as transformers do."""

    def __init__(self, kind):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.norm, self.head = nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.kind = kind

    def forward(self, x):
        if not getattr(self, "installed", False):
            self.installed = True
            for part in self.parts:
                part.register_forward_hook(self._hook())
        self.given = []
        for part in self.parts:
            x = part(x).tanh()
        return self.head(self.norm(sum((i + 1) * z for i, z in enumerate(self.given))))

    def _hook(self):
        if self.kind == "closure":
            return lambda _module, _args, output: self.given.append(output)
        if self.kind == "partial":
            return functools.partial(_append, self)
        return self._keep

    def _keep(self, _module, _args, output):
        self.given.append(output)


def _append(owner, _module, _args, output):
    owner.given.append(output)


class Plain(Collecting):
    """The same without hooks, normalised by the statistics of its batch as constants."""

    def forward(self, x):
        given = []
        for part in self.parts:
            given.append(part(x))
            x = given[-1].tanh()
        h = sum((i + 1) * z for i, z in enumerate(given))
        var, mean = torch.var_mean(h.detach(), 0, correction=0)
        normed = (h - mean) / (var + self.norm.eps).sqrt()
        return self.head(normed * self.norm.weight + self.norm.bias)


@pytest.mark.parametrize("kind", ["closure", "partial", "method"])
@pytest.mark.parametrize("called", [False, True])
def test_the_kernel_is_that_of_one_set_of_hooks(kind, called):
    torch.manual_seed(0)
    model, x = Collecting(kind).double(), torch.randn(5, 4).double()
    plain = Plain(kind).double()
    plain.load_state_dict(model.state_dict())
    if called:
        model(x)
    rows = [
        torch.autograd.grad(y, [*plain.parameters()], retain_graph=True) for y in plain(x).flatten()
    ]
    j = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    theta = (j @ j.T).view(5, 2, 5, 2)
    assert torch.allclose(lazyrich.ntk(model, x), theta, rtol=1e-10, atol=1e-12)
    assert [len(part._forward_hooks) for part in model.parts] == [int(called)] * 2


def test_training_that_installs_them_is_no_change_of_the_network():
    torch.manual_seed(0)
    model, x = Collecting("closure"), torch.randn(5, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    probe = lazyrich.Probe(model, (x, torch.randn(5, 2)))
    with probe.watch(optimizer, when=1):
        for _ in range(2):
            model(x).sum().backward()
            optimizer.step()
    assert probe.verdict().regime == "frozen"
    assert (probe.history.ntk_change == 0).all()
    assert [len(part._forward_hooks) for part in model.parts] == [1, 1]
