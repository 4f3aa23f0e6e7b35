"""The linearised network against explicit Jacobians, and its training curve against training it."""

import copy
from math import inf

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich
from lazyrich import InputError
from tests.models import brute_jacobians, brute_kernel, cases, randn, with_batch_statistics

CASES = cases()


def outputs(model, x):
    """f of a copy, in evaluation mode and by the statistics of the batch."""
    model = with_batch_statistics(model, x)
    f = model(**x) if isinstance(x, dict) else model(*x) if isinstance(x, tuple) else model(x)
    f = f["logits"] if isinstance(f, dict) else f[0] if isinstance(f, tuple) else f
    return f.detach()


def linear_of(name):
    model, x = CASES[name]
    return lazyrich.linearize(model, (x, outputs(model, x))), model, x


def called(module, x):
    return module(**x) if isinstance(x, dict) else module(*x) if isinstance(x, tuple) else module(x)


def small(seed=0, width=6, n=5):
    """A network, a training batch and other inputs, in float64."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)).double()
    return model, (randn(n, 3), randn(n, 2)), randn(4, 3)


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_first_order_expansion(name):
    """f₀ + Jδ by the explicit Jacobian; its gradient is Jᵀu."""
    linear, model, x = linear_of(name)
    f = outputs(model, x)
    torch.testing.assert_close(called(linear, x), f)
    jacobians = brute_jacobians(model, x)
    assert dict(linear.named_parameters()).keys() == jacobians.keys()
    exact = f.clone()
    with torch.no_grad():
        for seed, (parameter, p) in enumerate(linear.named_parameters()):
            generator = torch.Generator().manual_seed(seed)
            delta = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            # a padding token's row, or what is behind no_grad, never learns and stays at θ₀
            delta *= (jacobians[parameter] != 0).any(0).any(0).view_as(p)
            p += delta
            exact += (jacobians[parameter] @ delta.flatten()).view_as(f)
    found = called(linear, x)
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-9)
    u = torch.arange(f.numel(), dtype=f.dtype).view_as(f).cos()
    found.backward(u)
    for parameter, p in linear.named_parameters():
        pulled = torch.einsum("ic,icp->p", u.reshape(len(f), -1), jacobians[parameter])
        torch.testing.assert_close(p.grad.flatten(), pulled, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("loss", ["mse", "squared_error"])
def test_gradient_descent_is_what_a_loop_does(loss):
    """By torch.optim.SGD on the module, on the training batch and on other inputs."""
    model, (x, y), other = small()
    linear = lazyrich.linearize(model, (x, y), loss)
    trained = copy.deepcopy(linear)
    lr, done = 0.05, 0
    optimizer = torch.optim.SGD(trained.parameters(), lr=lr)
    for steps in (0, 1, 7, 60):
        for _ in range(steps - done):
            optimizer.zero_grad()
            square = (trained(x) - y).square()
            (square.mean() if loss == "mse" else square.sum(1).mean()).backward()
            optimizer.step()
        done = steps
        exact = {"rtol": 1e-10, "atol": 1e-11}
        torch.testing.assert_close(linear.predict(steps=steps, lr=lr), trained(x), **exact)
        torch.testing.assert_close(
            linear.predict(other, steps=steps, lr=lr), trained(other), **exact
        )


def test_steps_that_grow_are_what_a_loop_does():
    """A learning rate beyond 2/λ: the curve is still the loop's."""
    model, (x, y), other = small()
    linear = lazyrich.linearize(model, (x, y))
    trained = copy.deepcopy(linear)
    optimizer = torch.optim.SGD(trained.parameters(), lr=3.0)
    for _ in range(8):
        optimizer.zero_grad()
        (trained(x) - y).square().mean().backward()
        optimizer.step()
    assert trained(x).abs().max() > 100
    torch.testing.assert_close(linear.predict(other, steps=8, lr=3.0), trained(other))
    with pytest.raises(InputError, match=r"`lr` must be less than \S+ for training to converge"):
        linear.predict(steps=inf, lr=3.0)


def test_descent_under_another_loss_is_what_a_loop_does():
    model, (x, _), other = small()
    labels = torch.tensor([0, 1, 1, 0, 1])
    linear = lazyrich.linearize(model, (x, labels), "cross_entropy")
    trained = copy.deepcopy(linear)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.5)
    moments = [0, 3, 20]
    on_train, on_other = (linear.predict(z, steps=moments, lr=0.5) for z in (None, other))
    for step in range(21):
        if step in moments:
            torch.testing.assert_close(on_train[moments.index(step)], trained(x).detach())
            torch.testing.assert_close(on_other[moments.index(step)], trained(other).detach())
        optimizer.zero_grad()
        nn.functional.cross_entropy(trained(x), labels).backward()
        optimizer.step()


def test_gradient_flow_is_the_matrix_exponential():
    model, (x, y), other = small()
    linear = lazyrich.linearize(model, (x, y))
    theta = brute_kernel(model, x).reshape(10, 10).numpy() * 2 / 10
    across = brute_kernel(model, other, other=x).reshape(8, 10).numpy() * 2 / 10
    residual = (outputs(model, x) - y).numpy().ravel()
    lam, u = np.linalg.eigh(theta)
    for found, time in zip(linear.predict(time=[0, 0.3, 20.0]), [0, 0.3, 20.0], strict=True):
        left = u @ (np.exp(-lam * time) * (u.T @ residual))
        np.testing.assert_allclose(found.numpy().ravel(), y.numpy().ravel() + left, atol=1e-10)
    for time in (0.3, 20.0):  # quadrature of the weights' motion
        grid, weight = np.polynomial.legendre.leggauss(80)
        moments = (grid + 1) * time / 2
        moved = sum(
            w * time / 2 * across @ (u @ (np.exp(-lam * t) * (u.T @ residual)))
            for t, w in zip(moments, weight, strict=True)
        )
        exact = outputs(model, other).numpy().ravel() - moved
        found = linear.predict(other, time=time).numpy().ravel()
        np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("n", [5, 40])
def test_for_ever_is_kernel_regression(n):
    """With fewer parameters than outputs (n = 40) the kernel is singular: least squares."""
    model, (x, y), other = small(n=n)
    linear = lazyrich.linearize(model, (x, y))
    of_both = [
        torch.cat(list(brute_jacobians(model, z).values()), -1).flatten(0, 1).numpy()
        for z in (x, other)
    ]
    step = np.linalg.pinv(of_both[0], rcond=1e-9) @ (y - outputs(model, x)).numpy().ravel()
    for given in ({"time": inf}, {"steps": inf, "lr": 1e-3}, {"time": 1e12}):
        found = linear.predict(other, **given).numpy().ravel()
        exact = outputs(model, other).numpy().ravel() + of_both[1] @ step
        np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["residual", "hand-written attention", "named", "sequence"])
def test_the_curve_of_awkward_networks(name):
    linear, model, x = linear_of(name)
    f = outputs(model, x)
    y = f + torch.arange(f.numel(), dtype=f.dtype).view_as(f).sin()
    linear = lazyrich.linearize(model, (x, y))
    optimizer = torch.optim.SGD(linear.parameters(), lr=1e-3)
    exact = linear.predict(steps=3, lr=1e-3)
    assert exact.shape == f.shape
    for _ in range(3):
        optimizer.zero_grad()
        (called(linear, x) - y).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(called(linear, x).detach(), exact, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(linear.predict(x, steps=3, lr=1e-3), exact, rtol=1e-8, atol=1e-8)


def test_it_does_not_follow_the_model():
    """Nor does the model follow it; and the trained model's weights go into it by their names."""
    model, (x, y), _ = small()
    before = outputs(model, x)
    linear = lazyrich.linearize(model, (x, y))
    curve = linear.predict(steps=3, lr=0.1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1
    fresh = lazyrich.linearize(small()[0], (x, y))
    assert torch.equal(linear(x), before)
    assert torch.equal(fresh.predict(steps=3, lr=0.1), curve)
    linear.load_state_dict(model.state_dict())
    jacobians = brute_jacobians(small()[0], x)
    moved = sum(j.sum(-1) for j in jacobians.values()) * 0.1
    torch.testing.assert_close(linear(x), before + moved)


def test_an_operation_without_a_second_derivative():
    """Forward mode takes over."""

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(z):
            return z.sin()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return g * ctx.saved_tensors[0].cos()

        @staticmethod
        def jvp(ctx, v):
            return v * ctx.saved_tensors[0].cos()

    class Wave(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2).double()

        def forward(self, x):
            return Once.apply(self.layer(x))

    model, x = Wave(), randn(4, 3)
    linear = lazyrich.linearize(model, (x, randn(4, 2)))
    with torch.no_grad():
        linear.get_parameter("layer.bias").add_(0.1)
    z = model.layer(x)
    torch.testing.assert_close(linear(x), (z.sin() + 0.1 * z.cos()).detach())
    linear(x).sum().backward()
    torch.testing.assert_close(linear.get_parameter("layer.bias").grad, z.cos().sum(0).detach())


def test_single_precision_conversion_and_second_derivatives():
    model, (x, y), _ = small()
    linear = lazyrich.linearize(model.float(), (x.float(), y.float()))
    wide = copy.deepcopy(linear).double()
    torch.testing.assert_close(wide(x).float(), linear(x.float()))
    weight = wide.get_parameter("0.weight")
    (slope,) = torch.autograd.grad(wide(x).square().sum(), weight, create_graph=True)
    (curved,) = torch.autograd.grad(slope[0, 0], weight)
    j = brute_jacobians(model.double(), x)["0.weight"].flatten(0, 1)
    torch.testing.assert_close(curved.flatten(), 2 * (j.T @ j)[0])


def test_by_position_and_by_name():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x, scale):
            return self.layer(x).tanh() * scale

    x, scale = torch.randn(4, 3), torch.rand(4, 1)
    linear = lazyrich.linearize(Two(), ((x, scale), torch.zeros(4, 1)))
    assert torch.equal(linear(x, scale), linear(x, scale=scale))
    assert torch.equal(linear(x, scale), linear(x=x, scale=scale))


def test_refusals():
    model, (x, y), _ = small()
    linear = lazyrich.linearize(model, (x, y))
    with pytest.raises(InputError, match="exactly one of `time` and `steps` must be given, got ne"):
        linear.predict()
    with pytest.raises(InputError, match="exactly one of `time` and `steps` must be given, got bo"):
        linear.predict(time=1.0, steps=1)
    with pytest.raises(InputError, match="`time` must be numbers ≥ 0 or infinite, got -1"):
        linear.predict(time=-1)
    with pytest.raises(InputError, match="`steps` must be whole numbers ≥ 0 or infinite, got"):
        linear.predict(steps=[1, 1.5], lr=0.1)
    with pytest.raises(InputError, match=r"`lr` must be left out with `time`, got 0\.1"):
        linear.predict(time=1, lr=0.1)
    with pytest.raises(InputError, match="`lr` must be a number > 0 with `steps`, got None"):
        linear.predict(steps=1)
    with pytest.raises(InputError, match="the inputs must not require a gradient"):
        linear(x.clone().requires_grad_())
    other = lazyrich.linearize(model, (x, y.softmax(1)), "cross_entropy")
    for given in ({"time": 1}, {"steps": inf, "lr": 0.1}):
        with pytest.raises(
            InputError, match="`steps` must be given, and finite, for cross_entropy"
        ):
            other.predict(**given)
    with pytest.raises(InputError, match="targets must have the outputs' shape"):
        lazyrich.linearize(model, (x, y[:, :1])).predict(time=1)
    with pytest.raises(InputError, match="`batch` must be a pair"):
        lazyrich.linearize(model, [x, y, y])
    with pytest.raises(
        InputError, match=r"`memory` must be at least 8e\+02 bytes for a kernel of 10"
    ):
        lazyrich.linearize(model, (x, y), memory=500).predict(time=1)
    model.held = (model[0].weight * 2,)
    with pytest.raises(InputError, match=r"a module that `copy.deepcopy` can copy, got Only Ten"):
        lazyrich.linearize(model, (x, y))
