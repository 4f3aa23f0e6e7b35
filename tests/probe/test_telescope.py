"""Telescopes of linear networks, where they are exact, and of others, where they converge."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

import lazyrich as lr
from lazyrich import InputError

N, K = 6, 2
OPTIMIZERS = {
    "sgd": lambda p: SGD(p, lr=0.1),
    "momentum": lambda p: SGD(p, lr=0.05, momentum=0.9, dampening=0.2, weight_decay=0.1),
    "nesterov": lambda p: SGD(p, lr=0.05, momentum=0.8, nesterov=True),
    "adam": lambda p: Adam(p, lr=0.05, weight_decay=0.1),
    "amsgrad": lambda p: Adam(p, lr=0.05, betas=(0.7, 0.9), amsgrad=True),
    "adamw": lambda p: AdamW(p, lr=0.05, weight_decay=0.3),
}


def samples(outputs=K):
    generator = torch.Generator().manual_seed(0)
    x, test = (torch.randn(n, 3, generator=generator).double() for n in (N, 4))
    return x, torch.randn(N, outputs, generator=generator).double(), test


def linear(outputs=K):
    torch.manual_seed(0)
    return nn.Linear(3, outputs).double()


def curved(width=8):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1)).double()


def trained(model, optimizer, data, steps, *, loss="mse", batches=None):
    """The telescope after some steps."""
    x, y, test = data
    telescope = lr.Telescope(model, (x, y), loss, optimizer=optimizer, test=test)
    for step in range(steps):
        rows = torch.arange(N) if batches is None else torch.tensor(batches[step % len(batches)])
        optimizer.zero_grad()
        error = (model(x[rows]) - y[rows]).square()
        (error.mean() if loss == "mse" else error.sum(1).mean()).backward()
        telescope.step(None if batches is None else rows)
    return telescope


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_linear_network_is_its_telescope(name):
    """Whatever the optimiser remembers, and whichever samples it sees."""
    model, data = linear(), samples()
    telescope = trained(
        model, OPTIMIZERS[name](model.parameters()), data, 5, batches=[[0, 1], [4, 2, 3], [5, 0]]
    )
    found = telescope.measure()
    assert found.telescoping_error.item() < 1e-13
    assert found.smoother_error.item() < 1e-13
    assert found.step.item() == 5
    x, _, test = data
    torch.testing.assert_close(telescope.predict(), model(torch.cat([x, test])).detach())


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_the_smoother_says_what_other_targets_would_do(name):
    """SGD is linear in the targets: train again with others."""
    x, y, test = samples()
    model = linear()
    first = trained(model, OPTIMIZERS[name](model.parameters()), (x, y, test), 4)
    model, other = linear(), y.roll(1, 0) * 2 - 1
    again = trained(model, OPTIMIZERS[name](model.parameters()), (x, other, test), 4)
    change = torch.einsum("nkmq,mq->nk", first.smoother, other - y)
    torch.testing.assert_close(again.predict() - first.predict(), change)


def test_descent_has_a_closed_form():
    """`S = I − (I − ηsK)^T`, and the vector of eigenvalues 3, 1 and 0.1."""
    x, y, test = samples()
    model = linear()
    kernel = lr.ntk(model, x).reshape(N * K, N * K)
    linearised = lr.linearize(model, (x, y))
    telescope = trained(model, SGD(model.parameters(), lr=0.1), (x, y, test), 12)
    one = torch.eye(N * K).double()
    power = torch.linalg.matrix_power(one - 0.1 * 2 / (N * K) * kernel, 12)
    smoother = telescope.smoother[:N].reshape(N * K, N * K)
    torch.testing.assert_close(smoother, one - power, rtol=0, atol=1e-13)
    count = telescope.measure().effective_parameters.item()
    assert count == pytest.approx(linearised.effective_parameters(steps=12, lr=0.1).item())
    torch.testing.assert_close(telescope.predict()[:N], linearised.predict(steps=12, lr=0.1))

    model = nn.Linear(3, 1, bias=False).double()
    x = torch.diag(torch.tensor([3.0, 1.0, 0.1], dtype=torch.float64).sqrt())
    linearised = lr.linearize(model, (x, torch.ones(3, 1).double()), "squared_error")
    counts = linearised.effective_parameters(steps=[10, 1000], lr=0.25)  # half, for the loss's ½
    vector = torch.tensor([1.7250547672580960148, 2.9999998995866992551], dtype=torch.float64)
    torch.testing.assert_close(counts, vector, rtol=1e-13, atol=0)
    sgd = SGD(model.parameters(), lr=0.25)
    telescope = lr.Telescope(model, (x, torch.ones(3, 1)), "squared_error", optimizer=sgd)
    for _ in range(10):
        sgd.zero_grad()
        (model(x) - 1).square().mean().backward()
        telescope.step()
    assert telescope.measure().effective_parameters.item() == pytest.approx(vector[0].item(), 1e-13)


def test_of_other_networks_the_errors_are_of_the_order_of_a_step():
    off = []
    for rate, steps in ((0.2, 5), (0.1, 10)):
        model = curved()
        sgd = SGD(model.parameters(), lr=rate)
        found = trained(model, sgd, samples(1), steps).measure()
        off.append((found.telescoping_error.item(), found.smoother_error.item()))
    for coarse, fine in zip(*off, strict=True):
        assert 0 < fine < 0.65 * coarse


def test_where_the_kernel_does_not_move_it_is_the_linearisation():
    """A large output scale: the same training of the function, with less of the weights."""

    class Scaled(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.inside, self.scale = curved(), scale

        def forward(self, x):
            return self.scale * self.inside(x)

    x, y, test = samples(1)
    gaps = []
    for scale in (1.0, 1e3):
        model = Scaled(scale)
        with torch.no_grad():
            shift = model(x)
        y_here = y + shift if scale > 1 else y
        rate = 0.3 / scale**2
        linearised = lr.linearize(model, (x, y_here))
        expected = linearised.effective_parameters(steps=6, lr=rate).item()
        telescope = trained(model, SGD(model.parameters(), lr=rate), (x, y_here, test), 6)
        found = telescope.measure().effective_parameters.item()
        gaps.append(abs(found - expected) / expected)
    assert gaps[1] < 1e-2
    assert gaps[1] < 0.1 * gaps[0]


def test_parameters_that_do_not_learn_and_schedules():
    model, data = curved(), samples(1)
    model[0].bias.requires_grad_(False)
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": [model[2].weight]}]
    sgd = SGD(groups, lr=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: min(step / 3, 1.0))
    telescope = lr.Telescope(model, data[:2], optimizer=sgd)
    for _ in range(4):
        sgd.zero_grad()
        (model(data[0]) - data[1]).square().mean().backward()
        telescope.step()
        schedule.step()
    assert telescope.measure().smoother_error < 1e-2
    assert "test_effective_parameters" not in telescope.measure()
    assert telescope.telescoped.shape == (N, 1)


def test_what_is_refused():
    model, (x, y, _) = linear(), samples()
    sgd = SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match="must be 'mse' or 'squared_error', got"):
        lr.Telescope(model, (x, y), "cross_entropy", optimizer=sgd)
    with pytest.raises(InputError, match="`memory` must be at least"):
        lr.Telescope(model, (x, y), optimizer=sgd, memory=10)
    with pytest.raises(InputError, match="must have 2 numbers a sample, as the outputs, got 1"):
        lr.Telescope(model, (x, y[:, :1]), optimizer=sgd)
    telescope = lr.Telescope(model, (x, y), optimizer=sgd)
    with pytest.raises(InputError, match="must have its gradients, got none of `weight`"):
        telescope.step()
    (model(x) - y).square().sum().backward()
    with pytest.raises(InputError, match=r"those of the loss on the samples .* off by 11 of their"):
        telescope.step()
    with pytest.raises(InputError, match="`rows` must be numbers of samples from 0 to 5"):
        telescope.step([6])
    adagrad = torch.optim.Adagrad(model.parameters())
    with pytest.raises(InputError, match="must not have stepped"):
        lr.Telescope(model, (x, y), optimizer=adagrad)
    rms = torch.optim.RMSprop(model.parameters())
    telescope = lr.Telescope(model, (x, y), optimizer=rms)
    model.zero_grad()
    (model(x) - y).square().mean().backward()
    with pytest.raises(InputError, match="SGD, Adam or AdamW, got RMSprop"):
        telescope.step()
    linearised = lr.linearize(
        nn.Linear(3, 2), (x.float(), torch.zeros(N, dtype=int)), "cross_entropy"
    )
    with pytest.raises(InputError, match="a training is no linear function of its targets"):
        linearised.effective_parameters(steps=3, lr=0.1)
