"""What holds for the first samples need not hold for all: they meet, branch and are routed later.

The oracle is the Jacobian of one output after the other, by plain autograd.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional

import lazyrich
from lazyrich.capture.backward_passes import backward_passes
from lazyrich.capture.capture import capture
from lazyrich.capture.mixing import sample_codes
from lazyrich.capture.trust import trusted_parameters, trusted_with_passes
from tests.capture.test_products import plain_kernel
from tests.models import randn

SAMPLES = 8


class Body(nn.Module):
    """Two linear layers with something between them that samples share or only some do."""

    def __init__(self, between):
        super().__init__()
        self.between = between
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)
        self.norm = nn.BatchNorm1d(6)
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("running", torch.zeros(6))

    def forward(self, x):
        h = torch.tanh(self.first(x))
        return self.between(self, x, h, x[:, 0] > 0.5)


def shifted(by, share):
    return lambda net, x, h, some: net.last(torch.tanh(h + share * h.roll(by, 0)))


def in_groups(net, x, h, some):
    means = h.view(-1, 4, 6).mean(1, keepdim=True) if len(h) % 4 == 0 else h[:, None]
    return net.last(h * means.expand(-1, len(h) // len(means), -1).reshape(len(h), 6))


def last_one_meets_another(net, x, h, some):
    return net.last(torch.cat([h[:-1], h[-1:] * h[3:4]]) if len(h) > 3 else h)


def penalty_of_some(net, x, h, some):
    return net.last(h) + some.double()[:, None] * net.first.weight.square().sum()


def twice_for_some(net, x, h, some):
    return net.last(h) + some.double()[:, None] * functional.linear(h, 2 * net.last.weight)


def met_if_some(net, x, h, some):
    return net.last(h + h.roll(1, 0)) if some.any() else net.last(h)


MEETINGS = {
    **{f"shifted by {i}, {s}": shifted(i, s) for i in (1, 2, 3, 4) for s in (1.0, 0.05, 1e-3)},
    "groups of four": in_groups,
    "one pair": last_one_meets_another,
    "a penalty of some": penalty_of_some,
    "a weight used twice by some": twice_for_some,
    "all meet if there is one of some": met_if_some,
}


def batch_with_some_at_the_end():
    x = randn(SAMPLES, 4)
    x[:, 0] = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    return x


@pytest.mark.parametrize("between", MEETINGS.values(), ids=MEETINGS)
def test_kernels_where_samples_meet_or_branch_at_any_distance(between):
    model, x = Body(between).double(), batch_with_some_at_the_end()
    truth = plain_kernel(model, x)
    torch.testing.assert_close(lazyrich.ntk(model, x), truth)
    torch.testing.assert_close(lazyrich.ntk(model, x, trace=True), torch.einsum("icjc->ij", truth))
    torch.testing.assert_close(lazyrich.ntk(model, x, x), truth)


def counted(net, x, h, some):
    if some.any():
        net.total += 1
    return net.last(net.norm(h) * (1 + net.total))


def averaged(net, x, h, some):
    if some.any():
        net.running.mul_(0.9).add_(0.1 * h.detach().mean(0))
    return net.last(net.norm(h) - net.running)


def normalised(net, x, h, some):
    if some.any():
        one = torch.ones(6, dtype=h.dtype)
        h = functional.batch_norm(h, net.running, one, training=net.training)
    return net.last(h)


@pytest.mark.parametrize("between", [counted, averaged, normalised])
def test_what_only_some_samples_change_is_held_whatever_their_order(between):
    model, x = Body(between).double(), batch_with_some_at_the_end()
    turned = lazyrich.ntk(model, x.flip(0)).flip(0, 2)
    torch.testing.assert_close(lazyrich.ntk(model, x), turned)


@pytest.mark.parametrize(("samples", "times"), [(1, 1), (32, 1), (33, 2), (1024, 2), (1025, 3)])
def test_any_two_samples_have_different_codes(samples, times):
    codes = torch.stack(list(sample_codes(samples)))
    assert len(codes) == times
    assert len(codes.unique(dim=1).T) == samples
    assert torch.equal(codes.abs().log2().round(), codes.abs().log2())


@pytest.mark.parametrize("by", [1, 2, 3, 64])
@pytest.mark.parametrize("outputs", [1, 2])
def test_two_of_many_samples_meet(by, outputs):
    """In float32: what a pass with rounded codes clears is as clear as by powers of two."""
    net, x = Body(shifted(by, 1e-4)), randn(100, 4).float()
    net.last = nn.Linear(6, outputs)
    seen = capture(net, x)
    assert set(trusted_parameters(seen)) == {"last.weight", "last.bias"}
    net.between = shifted(by, 0.0)
    assert len(trusted_parameters(capture(net, x))) == 4


def test_gradients_of_one_output_are_those_of_a_pass_of_their_own():
    net = nn.Sequential(
        nn.Embedding(9, 4),
        nn.LayerNorm(4),
        nn.Flatten(),
        nn.Linear(12, 8),
        nn.Tanh(),
        nn.Linear(8, 1),
    )
    seen = capture(net, torch.arange(15).view(5, 3) % 9)
    made, own = trusted_with_passes(seen)[1], backward_passes(seen)
    torch.testing.assert_close(made.directions, own.directions)
    assert set(made.gradients) == set(own.gradients) == {"0", "3", "5"}
    assert set(made.of_norms) == set(own.of_norms) == {"1"}
    for name, parts in own.gradients.items():
        torch.testing.assert_close(made.gradients[name], parts, rtol=1e-5, atol=1e-7)
    for role, part in own.of_norms["1"].items():
        torch.testing.assert_close(made.of_norms["1"][role], part, rtol=1e-5, atol=1e-7)
