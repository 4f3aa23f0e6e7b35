"""The laziness index against whole second derivatives, a formula, and what scales do to it."""

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich as lr
from lazyrich import InputError, NoDerivativeError


class Scaled(nn.Module):
    """α times a network."""

    def __init__(self, inside, scale):
        super().__init__()
        self.inside, self.scale = inside, scale

    def forward(self, x):
        return self.scale * self.inside(x)


def network(activation, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 3), activation, nn.Linear(3, 1)).double()


X = torch.tensor([[0.5, -1.0], [1.2, 0.3]], dtype=torch.float64)
Y = torch.tensor([[2.0], [-1.0]], dtype=torch.float64)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ReLU()])
def test_against_the_whole_second_derivative(activation):
    """Two outputs: g on a circle, and the largest eigenvalue of each of its Hessians."""
    model = network(activation)
    names = [name for name, _ in model.named_parameters()]
    sizes = [p.shape for p in model.parameters()]

    def outputs(flat):
        parts = torch.split(flat, [size.numel() for size in sizes])
        weights = {n: p.view(s) for n, p, s in zip(names, parts, sizes, strict=True)}
        return torch.func.functional_call(model, weights, X).flatten()

    theta = torch.cat([p.detach().flatten() for p in model.parameters()])
    hessian = torch.func.jacrev(torch.func.jacrev(outputs))(theta)
    jacobian = torch.func.jacrev(outputs)(theta)
    angles = np.linspace(0, np.pi, 2001)
    second = max(
        float(torch.linalg.eigvalsh(np.cos(a) * hessian[0] + np.sin(a) * hessian[1]).abs().max())
        for a in angles
    )
    first = float(torch.linalg.matrix_norm(jacobian, 2))
    found = lr.laziness_index(model, (X, Y), iterations=50)
    assert found.second_derivative_norm.item() == pytest.approx(second, rel=2e-2)
    assert found.jacobian_norm.item() == pytest.approx(first, rel=1e-12)
    gap = float((model(X).detach() - Y).norm())
    assert found.laziness_index.item() == pytest.approx(gap * second / first**2, rel=2e-2)
    few = lr.laziness_index(model, (X, Y), iterations=2)
    assert few.second_derivative_norm.item() <= second * (1 + 1e-6)  # a lower bound


def test_an_output_scale_makes_it_lazy():
    """`(1/α)‖αh − y‖ ‖D²h‖/‖Dh‖²`; from no output it falls as 1/α."""
    plain = lr.laziness_index(network(nn.Tanh()), (X, Y), iterations=5)
    model = network(nn.Tanh())
    start = model(X).detach()
    scale = 10.0
    found = lr.laziness_index(Scaled(model, scale), (X, Y), iterations=5)
    gap = (scale * start - Y).norm() / (start - Y).norm() / scale
    expected = plain.laziness_index.item() * gap.item()
    assert found.laziness_index.item() == pytest.approx(expected, rel=1e-6)
    centred = lr.laziness_index(Scaled(model, scale), (X, scale * start + Y), iterations=5)
    ratio = Y.norm() / (start - Y).norm() / scale
    assert centred.laziness_index.item() == pytest.approx(
        plain.laziness_index.item() * ratio.item(), rel=1e-6
    )


def test_a_linear_model_is_as_lazy_as_can_be():
    model = nn.Linear(2, 1).double()
    before = [p.clone() for p in model.parameters()]
    found = lr.laziness_index(model, (X, Y))
    assert found.laziness_index.item() == 0
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_what_is_refused():
    model = network(nn.Tanh())
    with pytest.raises(InputError, match="must be 'mse' or 'squared_error', got"):
        lr.laziness_index(model, (X, Y), "cross_entropy")
    with pytest.raises(InputError, match="`iterations` must be a whole number ≥ 1, got 0"):
        lr.laziness_index(model, (X, Y), iterations=0)
    with pytest.raises(InputError, match="the targets must have the outputs' shape"):
        lr.laziness_index(model, (X, torch.cat([Y, Y], 1)))


def test_an_operation_without_second_derivative_is_refused():
    """Such an operation would seem to be linear: an index of 0 for a network that curves."""

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.tanh()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return g * (1 - ctx.saved_tensors[0].tanh() ** 2)

    class Curved(nn.Module):
        def forward(self, x):
            return Once.apply(x)

    with pytest.raises(
        NoDerivativeError, match=r"marked as once differentiable.*take an operation"
    ):
        lr.laziness_index(network(Curved()), (X, Y))


class Attending(nn.Module):
    """PyTorch's attention, whose fused kernels have no second derivatives."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(3, 12), nn.Linear(4, 2)

    def forward(self, x, attention_mask, cut=None):
        q, k, v = self.qkv(x)[:, None].chunk(3, -1)
        mask = attention_mask[:, None, None, :] != 0
        h = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)[:, 0]
        f = self.out(torch.tanh(h))
        return f if cut is None else f * cut


def test_of_padded_sequences_what_counts_counts():
    torch.manual_seed(0)
    model, x, y = Attending(), torch.randn(3, 4, 3), torch.randn(3, 4, 2)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
    cut = mask[..., None].float()
    found = lr.laziness_index(model, ({"x": x, "attention_mask": mask}, y))
    by_hand = {"x": x, "attention_mask": mask.float(), "cut": cut}  # what is no mask of integers
    expected = lr.laziness_index(model, (by_hand, y * cut))
    assert found.laziness_index.item() == pytest.approx(expected.laziness_index.item(), rel=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_layers_of_two_precisions(precision):
    model = network(nn.Tanh())
    expected = lr.laziness_index(model, (X, Y)).laziness_index.item()

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.rest = model[0].float(), model[1:]

        def forward(self, x):
            return self.rest(self.first(x.float()).double()).to(precision)

    found = lr.laziness_index(Mixed(), (X, Y)).laziness_index.item()
    assert found == pytest.approx(expected, rel=1e-5)
