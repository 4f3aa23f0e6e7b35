"""Complex parameters are refused everywhere in one sentence; the way out that it names is right."""

import copy

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich import InputError


class Complex(nn.Module):
    """A complex layer below a real readout."""

    def __init__(self, width=4):
        super().__init__()
        self.lower = nn.Linear(3, width, dtype=torch.complex128)
        self.readout = nn.Linear(2 * width, 1, dtype=torch.float64)

    def forward(self, x):
        z = torch.tanh(self.lower(x.to(torch.complex128)))
        return self.readout(torch.view_as_real(z).flatten(1))


class InParts(nn.Module):
    """The same network as the message says: two real parameters instead of a complex one."""

    def __init__(self, like):
        super().__init__()
        for name, p in like.lower.named_parameters():
            setattr(self, f"{name}_real", nn.Parameter(p.detach().real.clone()))
            setattr(self, f"{name}_imag", nn.Parameter(p.detach().imag.clone()))
        self.readout = copy.deepcopy(like.readout)

    def forward(self, x):
        weight = torch.complex(self.weight_real, self.weight_imag)
        bias = torch.complex(self.bias_real, self.bias_imag)
        z = torch.tanh(x.to(torch.complex128) @ weight.T + bias)
        return self.readout(torch.view_as_real(z).flatten(1))


def data():
    return torch.randn(6, 3).double(), torch.randn(6, 1).double()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize(
    "call",
    [
        lambda m, b: lazyrich.ntk(m, b[0]),
        lambda m, b: lazyrich.nfa(m, b[0]),
        lambda m, b: lazyrich.cka(m, m, b[0]),
        lambda m, b: lazyrich.initial_cnfa(m, b),
        lambda m, b: lazyrich.forecast(m, b),
        lambda m, b: lazyrich.richness(m, b, optimizer=torch.optim.Adam(m.parameters())),
        lambda m, b: lazyrich.dial(m, b, optimizer=sgd(m), richness=1.0),
        lambda _, b: lazyrich.coordinate_check(Complex, b, widths=(2, 4, 8), optimizer=0.1),
        lambda m, b: lazyrich.Probe(m, b).measure(0),
        lambda m, b: lazyrich.Probe(m, b, observables=["loss"]).measure(0),
        lambda m, b: lazyrich.Probe(m, b).watch(sgd(m)).__enter__(),
        lambda m, b: lazyrich.Probe(lazyrich.CentredOutput(m), b).forecast(),
    ],
)
def test_refused_everywhere(call):
    message = r"parameters must be real, got complex128 for `[\w.]*lower\.weight`. Keep its real"
    with pytest.raises(InputError, match=message):
        call(Complex(), data())


def test_in_parts_training_and_kernel_are_the_same():
    model, (x, y) = Complex(), data()
    parts = InParts(model)
    jacobian = []
    for sample in x:
        gradients = torch.autograd.grad(model(sample[None])[0, 0], list(model.parameters()))
        rows = [torch.view_as_real(g) if g.is_complex() else g for g in gradients]
        jacobian.append(torch.cat([row.flatten() for row in rows]))
    j = torch.stack(jacobian)
    torch.testing.assert_close(lazyrich.ntk(parts, x)[:, 0, :, 0], j @ j.T)
    for one in (model, parts):
        optimizer = sgd(one)
        for _ in range(10):
            optimizer.zero_grad()
            (one(x) - y).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(parts(x), model(x))


def test_complex_buffers_and_inputs_are_as_good_as_real_ones():
    class Phases(nn.Module):
        def __init__(self):
            super().__init__()
            self.lower = nn.Linear(3, 4).double()
            self.register_buffer("phase", torch.exp(1j * torch.randn(4).double()))

        def forward(self, x):
            return (self.lower(x) * self.phase).real.sum(1, keepdim=True)

    model, (x, y) = Phases(), data()
    h = torch.cat([x, torch.ones(6, 1).double()], 1)
    expected = (h @ h.T) * model.phase.real.square().sum()
    torch.testing.assert_close(lazyrich.ntk(model, x)[:, 0, :, 0], expected)
    probe = lazyrich.Probe(model, (x, y))
    probe.measure(0)
