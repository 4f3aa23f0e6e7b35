"""Networks that set weights in their first forward pass are measured after it, else refused."""

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich

X = torch.randn(16, 4, generator=torch.Generator().manual_seed(1)).double()
Y = X[:, :2].sin()


class ActNorm(nn.Module):
    """Begins with outputs of mean 0 and size 1; a buffer or an attribute says that it has begun."""

    def __init__(self, by="buffer", in_training=False):
        super().__init__()
        self.shift, self.scale = nn.Parameter(torch.zeros(6)), nn.Parameter(torch.ones(6))
        self.by, self.in_training, self.begun = by, in_training, False
        self.register_buffer("done", torch.tensor(0))

    def forward(self, x):
        begun = self.begun if self.by == "attribute" else self.done == 1
        if not begun and (self.training or not self.in_training):
            with torch.no_grad():
                self.shift.data.copy_(-x.mean(0))
                self.scale.copy_(1 / (x.std(0) + 1e-6))
                if self.by == "attribute":
                    self.begun = True
                else:
                    self.done.fill_(1)
        return (x + self.shift) * self.scale


class Rescaled(nn.Module):
    """Halves a weight once, and counts; its function is another one in every pass but the first."""

    def __init__(self):
        super().__init__()
        self.head, self.calls = nn.Linear(6, 6), 0

    def forward(self, x):
        if not self.calls:
            with torch.no_grad():
                self.head.weight.mul_(0.5)
        self.calls += 1
        return self.head(x)


class Clamped(nn.Module):
    """Clamps a weight in every pass, and counts."""

    def __init__(self):
        super().__init__()
        self.head, self.calls = nn.Linear(6, 6), 0

    def forward(self, x):
        with torch.no_grad():
            self.head.weight.clamp_(-0.2, 0.2)
        self.calls += 1
        return self.head(x)


def network(norm):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), norm, nn.Tanh(), nn.Linear(6, 2)).double()


def kernel(model):
    rows = [
        torch.autograd.grad(y, [*model.parameters()], retain_graph=True) for y in model(X).flatten()
    ]
    j = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
    return j @ j.T


OPTIONS = [{"by": "buffer"}, {"by": "attribute"}, {"by": "buffer", "in_training": True}]


@pytest.mark.parametrize("options", OPTIONS)
def test_before_the_first_pass_it_is_refused_and_left_alone(options):
    model = network(ActNorm(**options))
    probe = lazyrich.Probe(model, (X, Y))
    with pytest.raises(lazyrich.InputError, match=r"`1.shift`, `1.scale` in its first forward p"):
        probe.measure(0)
    assert not model[1].shift.any()
    assert not model[1].done
    assert not model[1].begun


@pytest.mark.parametrize("options", OPTIONS)
def test_after_it_its_training_is_seen(options):
    model = network(ActNorm(**options))
    model(X)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    probe, kernels = lazyrich.Probe(model, (X, Y)), [kernel(model)]
    with probe.watch(optimizer, when=1):
        for _ in range(3):
            optimizer.zero_grad()
            (model(X) - Y).square().mean().backward()
            optimizer.step()
            kernels.append(kernel(model))
    expected = [float((one - kernels[0]).norm() / kernels[0].norm()) for one in kernels]
    np.testing.assert_allclose(probe.history.ntk_change, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kind", [Rescaled, Clamped])
def test_what_depends_on_the_weights_is_no_initialisation(kind):
    assert lazyrich.ntk(network(kind()), X).isfinite().all()
