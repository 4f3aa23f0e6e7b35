"""The update rules against the optimisers of PyTorch, step by step."""

import pytest
import torch

from lazyrich.capture.update_rules import adam, momentum_buffer
from tests.models import randn

STEPS = 7


def gradients():
    return [randn(3, 4) * 10.0 ** -(step % 4) for step in range(STEPS)]


@pytest.mark.parametrize("dampening", [0.0, 0.25])
@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_the_buffer_is_that_of_sgd(momentum, dampening):
    theta = torch.nn.Parameter(torch.zeros(3, 4, dtype=torch.float64))
    optimizer = torch.optim.SGD([theta], lr=0.1, momentum=momentum, dampening=dampening)
    own, b = torch.zeros(3, 4, dtype=torch.float64), None
    for g in gradients():
        theta.grad = g.clone()
        optimizer.step()
        b = momentum_buffer(g, b, momentum=momentum, dampening=dampening)
        own = own - 0.1 * b
        torch.testing.assert_close(own, theta.detach(), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.5), (0.7, 0.0)])
def test_adam_is_that_of_pytorch(betas, amsgrad):
    theta = torch.nn.Parameter(torch.zeros(3, 4, dtype=torch.float64))
    optimizer = torch.optim.Adam([theta], lr=0.1, betas=betas, eps=1e-3, amsgrad=amsgrad)
    own, m, v, largest = (torch.zeros(3, 4, dtype=torch.float64) for _ in range(4))
    for t, g in enumerate(gradients(), 1):
        theta.grad = g.clone()
        optimizer.step()
        made = adam(g, m, v, step=t, betas=betas, eps=1e-3, largest=largest if amsgrad else None)
        m, v, largest = made.mean, made.square, torch.maximum(largest, made.square)
        own = own - 0.1 * (m / made.bias) / made.root
        torch.testing.assert_close(own, theta.detach(), rtol=1e-13, atol=1e-15)


def test_nothing_that_is_given_changes():
    g, m, v = gradients()[:3]
    v = v.abs()
    before = [t.clone() for t in (g, m, v)]
    momentum_buffer(g, m, momentum=0.9, dampening=0.1)
    adam(g, m, v, step=3, betas=(0.9, 0.999), eps=1e-8, largest=v)
    assert all(torch.equal(now, then) for now, then in zip((g, m, v), before, strict=True))
