"""Networks that `torch.func` refuses: their numbers are those of plain autograd, or one sentence.

The oracle has explicit Jacobians, one backward pass a row, of the network itself or of a twin
without what is refused; second derivatives are differences of first ones.
"""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import lazyrich
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.network import as_network, derivative, gradient, pull_back
from lazyrich.capture.operations import embedding_bag
from lazyrich.observables.catalogue import observables

ALL = sorted(name for observable in observables() for name in observable.names)
N = 7


class Net(nn.Module):
    """A small network, around which the others do something."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))

    def forward(self, x):
        return self.net(x)


class GradientHook(Net):
    def __init__(self):
        super().__init__()
        self.net[1].register_full_backward_hook(lambda _m, g, _o: (g[0].clone(),))


class Lerp(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x):
        h = self.net[:2](x)
        self.mean.lerp_(h.detach().mean(0), 0.1)
        return self.net[2](h - self.mean)


class AssignedData(Net):
    def forward(self, x):
        first = self.net[0].weight
        first.data = first.data.clamp(-0.2, 0.2)
        return self.net(x)


class Autocast(Net):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(x)


class Checkpointed(Net):
    def __init__(self, reentrant):
        super().__init__()
        self.reentrant = reentrant

    def forward(self, x):
        h = x.clone().requires_grad_() if self.reentrant else x
        return self.net[2](checkpoint(self.net[:2], h, use_reentrant=self.reentrant))


class Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


class SineInParts(torch.autograd.Function):
    """As `torch.func` wants it, but without a rule for forward mode."""

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


class SineOnce(Sine):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


class SineInPartsOnce(SineInParts):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos()


class Own(Net):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.net[2](self.function.apply(self.net[0](x)))


class Physics(Net):
    """Gives its own slope, too, as a PINN."""

    def forward(self, x):
        x = x.requires_grad_()
        u = self.net(x)
        return u + torch.autograd.grad(u.sum(), x, create_graph=True)[0][:, :2]


class Bag(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.table, self.head = nn.EmbeddingBag(9, 6, **options), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.table(x)))


class Sparse(nn.Module):
    def __init__(self, sparse=True):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 6, sparse=sparse), nn.Linear(18, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.table(x)).flatten(1))


def _table():
    return torch.randn(N, 4)


def _tokens():
    return torch.randint(0, 9, (N, 3))


NETWORKS = {
    "gradient hook": (GradientHook, Net, _table),
    "lerp of a buffer": (Lerp, None, _table),
    "assigned data": (AssignedData, None, _table),
    "autocast": (Autocast, Net, _table),
    "checkpoint": (lambda: Checkpointed(False), Net, _table),
    "checkpoint, reentrant": (lambda: Checkpointed(True), Net, _table),
    "own function": (lambda: Own(Sine), None, _table),
    "own function in parts": (lambda: Own(SineInParts), None, _table),
    "gradient in forward": (Physics, None, _table),
    "bags": (lambda: Bag(mode="mean"), None, _tokens),
    "bags, max norm": (lambda: Bag(mode="sum", max_norm=1.0), None, _tokens),
    "bags, sparse": (lambda: Bag(mode="sum", sparse=True), lambda: Bag(mode="sum"), _tokens),
    "sparse embedding": (Sparse, lambda: Sparse(sparse=False), _tokens),
}


STATEFUL = ("lerp of a buffer", "assigned data", "bags, max norm")
"""What these set in a forward pass is a constant for derivatives, and not for differences."""


def made(name):
    """The network, its oracle with the same weights, inputs and targets; in float64."""
    build, twin, inputs = NETWORKS[name]
    torch.manual_seed(0)
    model = build().double()
    oracle = twin().double() if twin else copy.deepcopy(model)
    if twin:
        oracle.load_state_dict(model.state_dict())
    x = inputs()
    x = x.double() if x.is_floating_point() else x
    return model.eval(), oracle.eval(), x, torch.randn(N, 2).double()


def jacobian(model, x):
    """One row for each output of each sample, as plain autograd has it."""
    model = copy.deepcopy(model)
    return rows_of(model(x.clone()), model)


def rows_of(f, model):
    rows = [
        torch.autograd.grad(one, list(model.parameters()), retain_graph=True, allow_unused=True)
        for one in f.flatten()
    ]
    return torch.stack([torch.cat([g.to_dense().flatten() for g in row]) for row in rows])


def flat(parameters):
    return torch.cat([p.flatten() for p in parameters.values()])


def direction(theta):
    return {name: torch.randn_like(p) for name, p in theta.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_kernel_is_that_of_explicit_jacobians(name):
    model, oracle, x, _ = made(name)
    j = jacobian(oracle, x)
    torch.testing.assert_close(lazyrich.ntk(model, x).view(2 * N, 2 * N), j @ j.T)


@pytest.mark.parametrize("name", NETWORKS)
def test_derivatives_are_those_of_explicit_jacobians(name):
    model, oracle, x, y = made(name)
    network, j = as_network(model, x), jacobian(oracle, x)
    v, e = direction(network.theta), torch.randn(N, 2).double()
    with undisturbed(network.module, twice=True):
        f, f_dot = derivative(network, network.theta, v)
        back = pull_back(network, network.theta, e)
        slope = gradient(lambda theta: (network(theta) - y).square().sum(), network.theta)
    torch.testing.assert_close(f_dot.flatten(), j @ flat(v))
    torch.testing.assert_close(flat(back), e.flatten() @ j)
    torch.testing.assert_close(flat(slope), 2 * (f - y).flatten() @ j)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in STATEFUL])
def test_second_derivatives_are_differences_of_first_ones(name):
    model, _, x, _ = made(name)
    network = as_network(model, x)
    v, e, h = direction(network.theta), torch.randn(N, 2).double(), 1e-5

    def back(theta):
        return pull_back(network, theta, e)

    with undisturbed(network.module, twice=True):
        there, here = (
            flat(back({n: p + s * h * v[n] for n, p in network.theta.items()})) for s in (1, -1)
        )
        found = flat(derivative(back, network.theta, v)[1])
    torch.testing.assert_close(found, (there - here) / (2 * h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_observable_is_measured_and_nothing_changes(name):
    model, oracle, x, y = made(name)
    model(x.clone())  # weights that a pass rewrites are so from the start
    oracle.load_state_dict(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    probe = lazyrich.Probe(model, (x, y), observables=ALL, directions="all")
    j, f_0, start = jacobian(oracle, x), oracle(x.clone()), flat(dict(oracle.named_parameters()))
    with probe.watch(optimizer, when=3):
        for _ in range(6):
            optimizer.zero_grad()
            (model(x.clone()) - y).square().mean().backward()
            optimizer.step()
    before = copy.deepcopy(model.state_dict())
    probe.measure(7, optimizer=optimizer)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any("Not measured" in note for note in probe.history.notes.splitlines())
    oracle.load_state_dict(model.state_dict())
    change = (oracle(x.clone()) - f_0).flatten()
    if "lerp" not in name:  # its state has moved
        assert probe.history.loss[-1].item() == pytest.approx(
            (oracle(x) - y).square().mean().item()
        )
    if name not in STATEFUL:
        missed = change - j @ (flat(dict(model.named_parameters())) - start)
        expected = (missed.norm() / change.norm()).item()
        assert probe.history.linearisation_error[-1].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("function", [SineOnce, SineInPartsOnce])
def test_what_cannot_be_had_is_nan_with_a_note(function):
    torch.manual_seed(0)
    model, x, y = Own(function), torch.randn(N, 4), torch.randn(N, 2)
    names = ["loss", "ntk_change", "linearisation_error", "feature_speed"]
    probe = lazyrich.Probe(model, (x, y), observables=names)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with probe.watch(optimizer, when=1):
        for _ in range(2):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    history = probe.history
    assert np.isnan(history.linearisation_error).all()
    assert history.feature_speed.dims == ("step", "layer")
    assert np.isnan(history.feature_speed).all()
    assert (history.ntk_change[1:] > 0).all()
    (note,) = (n for n in history.notes.splitlines() if "linearisation_error, since" in n)
    assert "marked as once differentiable" in note


def test_a_second_derivative_that_is_missing_is_said():
    network = as_network(Own(SineOnce), torch.randn(N, 4))
    e = torch.randn(N, 2)
    with (
        undisturbed(network.module),
        pytest.raises(lazyrich.NoDerivativeError, match="differentiable as often as this quantity"),
    ):
        derivative(
            lambda theta: pull_back(network, theta, e), network.theta, direction(network.theta)
        )


def test_an_error_of_the_forward_pass_stays_what_it_is():
    network = as_network(Net(), torch.randn(N, 4))
    with pytest.raises(RuntimeError, match="size mismatch"):
        gradient(lambda theta: (theta["net.0.weight"] @ torch.ones(3)).sum(), network.theta)


@pytest.mark.parametrize("options", [{}, {"include_last_offset": True}])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_are_those_of_torch(mode, options):
    table = torch.randn(9, 4, requires_grad=True)
    tokens, offsets = torch.randint(0, 9, (12,)), torch.tensor([0, 3, 3, 8])
    more = {"padding_idx": 2, **options}
    found, expected = (
        bag(tokens, table, offsets, mode=mode, **more)
        for bag in (embedding_bag, functional.embedding_bag)
    )
    torch.testing.assert_close(found, expected)
    g = torch.randn_like(found)
    torch.testing.assert_close(
        *(torch.autograd.grad(bags, table, g)[0] for bags in (found, expected))
    )
    square = tokens.view(3, 4)
    torch.testing.assert_close(
        embedding_bag(square, table, mode=mode), functional.embedding_bag(square, table, mode=mode)
    )
    if mode == "sum":
        weights = {"mode": "sum", "per_sample_weights": torch.randn(3, 4)}
        torch.testing.assert_close(
            embedding_bag(square, table, **weights),
            functional.embedding_bag(square, table, **weights),
        )


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(N, 4))])
@pytest.mark.parametrize("inside", [False, True])
def test_torchscript_is_refused_in_one_sentence(make, inside):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and still in use
        scripted = make(nn.Sequential(nn.Linear(4, 2), nn.Tanh()))
    model = nn.Sequential(scripted, nn.Linear(2, 2)) if inside else scripted
    x, y = torch.randn(N, 4), torch.randn(N, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for call in (
        lambda: lazyrich.ntk(model, x),
        lambda: lazyrich.forecast(model, (x, y)),
        lambda: lazyrich.Probe(model, (x, y)).measure(0),
        lambda: lazyrich.dial(model, (x, y), optimizer=optimizer, richness=1.0),
    ):
        with pytest.raises(lazyrich.InputError, match=r"module of Python, got TorchScript at `"):
            call()


def test_a_checkpoint_is_measured_where_the_network_was_not_where_it_is():
    """Computing again would use the weights that the model has by then."""
    model, oracle, x, _ = made("checkpoint")
    network, j = as_network(model, x), jacobian(oracle, x)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1)
    with undisturbed(network.module):
        back = pull_back(network, network.theta, torch.ones(N, 2).double())
    torch.testing.assert_close(flat(back), j.sum(0))


def test_a_training_loop_under_autocast_is_measured_in_full_precision():
    model, oracle, x, y = made("autocast")
    model, oracle, x, y = oracle.float(), copy.deepcopy(oracle).float(), x.float(), y.float()
    expected = lazyrich.ntk(oracle, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lazyrich.ntk(model, x), expected)
        probe = lazyrich.Probe(model, (x, y), observables=ALL)
        probe.measure(0)


class SquareOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f, y):
        ctx.save_for_backward(f, y)
        return (f - y).square().mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        f, y = ctx.saved_tensors
        return 2 * g * (f - y) / f.numel(), None


def test_a_loss_that_is_differentiated_once_has_the_same_way_to_its_fit():
    model, _, x, y = made("gradient hook")
    histories = []
    for loss in ("mse", SquareOnce.apply):
        probe = lazyrich.Probe(copy.deepcopy(model), (x, y), loss)
        probe.measure(0)
        with torch.no_grad():
            probe.model.net[0].weight += 0.1
        probe.measure(1)
        histories.append(probe.history)
    right, found = histories
    assert float(found.output_change[-1]) == pytest.approx(float(right.output_change[-1]))
    assert float(found.ntk_change[-1]) == float(right.ntk_change[-1])


def test_ctc_does_not_end_a_training():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.LogSoftmax(-1))
    x, y = torch.randn(N, 7, 4), torch.randint(1, 5, (N, 2))

    def ctc(f, y):
        lengths = torch.full((N,), 7), torch.full((N,), 2)
        return functional.ctc_loss(f.transpose(0, 1), y, *lengths)

    probe = lazyrich.Probe(model, (x, y), ctc)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with probe.watch(optimizer, when=1):
        for _ in range(2):
            optimizer.zero_grad()
            ctc(model(x), y).backward()
            optimizer.step()
    assert np.isfinite(probe.history.output_change).all()
    assert np.isfinite(probe.history.ntk_change).all()


def test_sparse_weights_have_a_kernel_and_no_forecast():
    class Sparse(Net):
        def __init__(self):
            super().__init__()
            self.links = nn.Parameter(torch.eye(4).to_sparse())

        def forward(self, x):
            return self.net(torch.sparse.mm(self.links, x.T).T)

    model, x = Sparse().double(), torch.randn(N, 4).double()
    j = rows_of(model(x), model)
    torch.testing.assert_close(lazyrich.ntk(model, x).view(2 * N, 2 * N), j @ j.T)
    with pytest.raises(lazyrich.InputError, match="must be dense, got a parameter `links` of lay"):
        lazyrich.forecast(model, (x, torch.randn(N, 2).double()))
