"""What the first step tells, against the exact order parameter, brute force and real steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacfwd, jacrev

import lazyrich
from lazyrich import InputError, first_step, forecast, richness
from lazyrich.capture.losses import descent_along, output_loss

F64 = torch.float64


class LineNetwork(nn.Module):
    """f(x) = γ u·(W x), with W = w nᵀ: the solvable network, data on a line along n."""

    def __init__(self, u: Tensor, w: Tensor, direction: Tensor, scale: float) -> None:
        super().__init__()
        self.w = nn.Linear(len(direction), len(w), bias=False, dtype=F64)
        self.u = nn.Linear(len(u), 1, bias=False, dtype=F64)
        self.scale = scale
        with torch.no_grad():
            self.w.weight.copy_(w[:, None] * direction)
            self.u.weight.copy_(u[None])

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.u(self.w(x))


def order_parameter(
    model: LineNetwork, a: Tensor, y: Tensor, lr_u: float, lr_w: float
) -> tuple[float, float]:
    """F = B/(A ½(P + Q)) of the exact theory, and τ = 1/(A(P + Q))."""
    u, w, g = model.u.weight[0], model.w.weight.norm(dim=1), model.scale
    x = math.sqrt(lr_u * lr_w)
    half_sum = 0.25 * (u @ u / lr_u + w @ w / lr_w).item()  # ½(P + Q)
    big_a = 4 * g**2 * x**2 * (a @ a).item() / len(a)
    big_b = 4 * g * x * (a @ y).item() / len(a)
    return abs(big_b) / (big_a * half_sum), 1 / (2 * big_a * half_sum)


def line_case(
    width: int, scale: float, seed: int, antisymmetric: bool
) -> tuple[LineNetwork, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    u, w = (torch.randn(width, generator=g, dtype=F64) for _ in "uw")
    if antisymmetric:
        u, w = torch.cat([u, -u]), torch.cat([w, w])
    else:
        w = w - (w @ u) / (u @ u) * u
    direction = torch.tensor([0.6, 0.0, 0.8], dtype=F64)
    a, y = torch.randn(7, generator=g, dtype=F64), torch.randn(7, generator=g, dtype=F64)
    return LineNetwork(u, w, direction, scale), a[:, None] * direction, a, y


def mlp(dtype: torch.dtype = F64) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype)


def regression(dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(5)
    x, y = torch.randn(5, 4, generator=g), torch.randn(5, 3, generator=g)
    return x.to(dtype), y.to(dtype)


@pytest.mark.parametrize("antisymmetric", [True, False])
@pytest.mark.parametrize("lr", [(1.0, 1.0), (0.3, 2.0), (5.0, 0.01)])
@pytest.mark.parametrize("scale", [0.02, 1.0, 30.0])
@pytest.mark.parametrize("width", [2, 17, 256])
def test_equals_the_order_parameter_of_the_solvable_network(width, scale, lr, antisymmetric):
    model, x, a, y = line_case(width, scale, width, antisymmetric)
    groups = [
        {"params": list(layer.parameters()), "lr": rate}
        for layer, rate in zip((model.u, model.w), lr, strict=True)
    ]
    optimizer = torch.optim.SGD(groups)
    F, tau = order_parameter(model, a, y, *lr)
    exact = first_step(model, (x, y[:, None]), optimizer=optimizer, directions="all")
    assert exact.richness == pytest.approx(F, rel=1e-9)
    assert exact.time_to_fit == pytest.approx(tau, rel=1e-9)
    assert exact.richness_stderr == 0
    # the derivative of one layer's features is the other layer's motion
    u2, w2 = lr[1] * model.u.weight.norm() ** 2, lr[0] * model.w.weight.norm() ** 2
    assert exact.layers["w"].kernel == pytest.approx((u2 / (u2 + w2)).item())
    assert exact.layers["w"].motion == pytest.approx((w2 / (u2 + w2)).item())
    probed = first_step(model, (x, y[:, None]), optimizer=optimizer, directions=3)
    assert abs(probed.richness - F) <= 4 * probed.richness_stderr + 1e-9 * F


@pytest.mark.parametrize("factor", [1e-3, 7.0])
def test_a_factor_on_the_loss_or_on_all_rates_cancels(factor):
    model, batch = mlp(), regression()
    reference = richness(model, batch, directions="all")
    scaled = richness(model, batch, lambda f, y: factor * (f - y).square().mean(), directions="all")
    sgd = torch.optim.SGD(model.parameters(), lr=factor)
    assert scaled == pytest.approx(reference, rel=1e-12)
    assert richness(model, batch, nn.MSELoss(), directions="all") == pytest.approx(
        reference, rel=1e-12
    )
    assert richness(model, batch, optimizer=sgd, directions="all") == pytest.approx(
        reference, rel=1e-12
    )


def brute_force(model, x, loss, rates, v):
    """ρ and τ by explicit Jacobians and Hessians."""
    names = [n for n, _ in model.named_parameters()]
    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def f(flat):
        parts = flat.split([p.numel() for p in model.parameters()])
        shaped = [part.reshape(p.shape) for part, p in zip(parts, model.parameters(), strict=True)]
        return functional_call(model, dict(zip(names, shaped, strict=True)), (x,)).reshape(-1)

    def features(flat):
        return jacrev(f)(flat) * rates.sqrt()

    outputs, f_dot = f(theta), jacrev(f)(theta) @ v
    r, H = jacrev(loss)(outputs), jacfwd(jacrev(loss))(outputs)
    tau = -(r @ f_dot) / (f_dot @ H @ f_dot)
    still, moving = features(theta), jacfwd(features)(theta) @ v
    return (4 * tau * moving.norm() / still.norm()).item(), tau.item()


@pytest.mark.parametrize("name", ["mse", "squared_error", "cross_entropy"])
def test_equals_brute_force(name):
    model, (x, y) = mlp(), regression()
    labels = torch.tensor([0, 2, 1, 1, 0])
    targets = labels if name == "cross_entropy" else y

    def loss(flat):
        f = flat.reshape(5, 3)
        if name == "mse":
            return nn.functional.mse_loss(f, y)
        if name == "squared_error":
            return (f - y).square().sum(1).mean()
        return -f.log_softmax(1)[range(5), labels].mean()

    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    value = loss(model(x))
    g = torch.cat([d.reshape(-1) for d in torch.autograd.grad(value, list(model.parameters()))])
    rho, tau = brute_force(model, x, loss, torch.ones_like(theta), -g)
    result = first_step(model, (x, targets), name, directions="all")
    assert result.richness == pytest.approx(rho, rel=1e-10)
    assert result.time_to_fit == pytest.approx(tau, rel=1e-10)
    assert result.initial_loss == pytest.approx(value.item(), rel=1e-12)
    assert sum(s.motion for s in result.layers.values()) == pytest.approx(1)
    assert sum(s.kernel for s in result.layers.values()) == pytest.approx(1)
    assert list(result.layers) == ["0", "2"]


def test_random_directions_agree_with_the_exact_norms_within_their_standard_error():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 10))
    x, y = torch.randn(12, 4), torch.randn(12, 10)
    exact = first_step(model, (x, y), directions="all")
    scores = []
    for seed in range(12):
        probed = first_step(model, (x, y), directions=24, seed=seed)
        assert 0 < probed.richness_stderr < 0.2 * probed.richness
        scores.append((probed.richness - exact.richness) / probed.richness_stderr)
    assert max(map(abs, scores)) < 4
    assert 0.4 < (sum(s**2 for s in scores) / len(scores)) ** 0.5 < 1.8  # the error is no guess


SETTINGS: list[tuple[type[torch.optim.Optimizer], dict]] = [
    (torch.optim.SGD, {"weight_decay": 0.1}),
    (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.3}),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (torch.optim.SGD, {"maximize": True, "momentum": 0.5}),
    (torch.optim.Adam, {"weight_decay": 0.1}),
    (torch.optim.Adam, {"amsgrad": True}),
    (torch.optim.Adam, {"maximize": True, "betas": (0.7, 0.9), "eps": 1e-3}),
    (torch.optim.AdamW, {"weight_decay": 0.3}),
]


@pytest.mark.parametrize("earlier_steps", [0, 3])
@pytest.mark.parametrize(("kind", "options"), SETTINGS)
def test_the_step_is_the_one_that_the_optimiser_makes(kind, options, earlier_steps):
    from lazyrich.capture.optimizer_step import next_step

    model, (x, y) = mlp(), regression()
    groups = [{"params": list(model[0].parameters()), "lr": 0.01}, {"params": [model[2].weight]}]
    optimizer = kind(groups, lr=0.003, **options)
    for _ in range(earlier_steps + 1):
        optimizer.zero_grad()
        (model(x) - y).square().sum().backward()
        theta = {n: p.detach().clone() for n, p in model.named_parameters()}
        gradient = {n: p.grad.clone() for n, p in model.named_parameters()}
        step = next_step(optimizer, model, theta, gradient)
        optimizer.step()
    for name, p in model.named_parameters():
        assert torch.allclose(step.velocity[name], p.detach() - theta[name], rtol=1e-9, atol=1e-15)
    assert step.rates["2.bias"].abs().max() == 0
    assert "2.bias" in step.notes[0]


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_rates_multiply_the_gradient(nesterov):
    from lazyrich.capture.optimizer_step import next_step

    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=nesterov)
    theta = {n: p.detach() for n, p in model.named_parameters()}
    step = next_step(optimizer, model, theta, theta)
    for name, g in theta.items():
        assert torch.allclose(step.velocity[name], -step.rates[name] * g)


def orthogonal(g: Tensor) -> Tensor:
    """Muon's direction, up to a factor that is one for a matrix."""
    u, _, v = torch.linalg.svd(g, full_matrices=False)
    return u @ v * max(1.0, g.shape[0] / g.shape[1]) ** 0.5


@pytest.mark.parametrize(
    ("kind", "direction", "within"),
    [
        (torch.optim.Adam, torch.sign, 0.05),
        (torch.optim.RMSprop, torch.sign, 0.05),
        (torch.optim.Muon, orthogonal, 0.25),  # Newton and Schulz come near to it
    ],
)
def test_optimisers_that_adapt_equal_brute_force_with_the_rates_of_a_layer(kind, direction, within):
    """At the start v = −sign g, say, and η of a layer ‖v‖/‖g‖; five steps go 5 % of the way."""
    torch.manual_seed(3)
    bias = kind is not torch.optim.Muon  # it is for matrices alone
    model = nn.Sequential(nn.Linear(4, 6, bias), nn.Tanh(), nn.Linear(6, 3, bias)).to(F64)
    x, y = regression()

    def loss(flat):
        return (flat.reshape(5, 3) - y).square().sum(1).mean()

    gradients = torch.autograd.grad(loss(model(x)), list(model.parameters()))
    steps = [-direction(g) for g in gradients]
    rates, each = [], 1 + bias
    for first in (0, each):
        way, pull = (
            torch.cat([t.flatten() for t in tensors[first : first + each]]).norm()
            for tensors in (steps, gradients)
        )
        rates += [torch.full_like(g, way / pull).flatten() for g in gradients[first : first + each]]
    v = torch.cat([d.flatten() for d in steps])
    rho, _ = brute_force(model, x, loss, torch.cat(rates), v)
    optimizer = kind(model.parameters(), lr=0.01, weight_decay=0.0)
    result = first_step(model, (x, y), "squared_error", optimizer=optimizer, directions="all")
    assert result.richness == pytest.approx(rho, rel=within)


def zero_readout() -> nn.Module:
    model = mlp()
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    return model


def odd() -> nn.Module:
    """Odd in x but for the last bias, whose gradient on odd data is rounding alone."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 6, False), nn.Tanh(), nn.Linear(6, 3)).to(F64)


@pytest.mark.parametrize("make", [zero_readout, odd, mlp])
def test_richness_under_adam_does_not_depend_on_eps(make):
    """Old: 2e5 to 21 for a readout that begins at 0, and 0.01 to 0.85 for a bias of gradient 0."""
    found = []
    for eps in (1e-12, 1e-10, 1e-8, 1e-6):
        model, (x, y) = make(), regression()
        if make is odd:
            nn.init.zeros_(model[2].bias)
            x, y = torch.cat([x, -x]), torch.cat([y, -y])
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003, eps=eps)
        found.append(richness(model, (x, y), optimizer=optimizer, directions="all"))
    assert max(found) / min(found) < 1.02


@pytest.mark.parametrize("lr", [1e-3, 1.0, 100.0])
def test_a_factor_on_rates_that_adapt_cancels(lr):
    """Also where training could not bear it: a study asks with the rate 1."""
    model, batch = mlp(), regression()
    told, small = (
        first_step(
            model,
            batch,
            optimizer=torch.optim.Adam(model.parameters(), lr=rate),
            directions="all",
        )
        for rate in (lr, 1e-4)
    )
    assert told.richness == pytest.approx(small.richness, rel=0.01)
    assert told.time_to_fit * lr == pytest.approx(small.time_to_fit * 1e-4, rel=0.01)


def test_equal_rates_are_the_default_and_only_their_ratios_matter():
    model, batch = mlp(), regression()
    first = {"params": list(model[0].parameters()), "lr": 9.0}
    uneven = torch.optim.SGD([first, {"params": list(model[2].parameters())}], lr=1.0)
    even = torch.optim.SGD(model.parameters(), lr=0.2)
    default = richness(model, batch, directions="all")
    assert richness(model, batch, optimizer=even, directions="all") == pytest.approx(default)
    assert richness(model, batch, optimizer=uneven, directions="all") != pytest.approx(
        default, rel=0.01
    )


def test_frozen_layers_are_left_out():
    model, batch = mlp(), regression()
    model[2].requires_grad_(False)
    result = first_step(model, batch, directions="all")
    assert list(result.layers) == ["0"]
    owned_by = torch.optim.SGD(model[0].parameters(), lr=1.0)
    model[2].requires_grad_(True)
    alone = first_step(model, batch, optimizer=owned_by, directions="all")
    assert alone.richness == pytest.approx(result.richness)
    assert alone.layers["2"].kernel == 0
    assert any("does not own 2.bias, 2.weight" in note for note in alone.notes)


class Noisy(nn.Module):
    """Dropout, batch normalisation and attention: everything that could be changed by measuring."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.out = nn.Linear(8, 3)
        self.out.weight.grad = torch.ones(3, 8)
        self.norm.bias.requires_grad_(False)
        self.fail = False

    def forward(self, x: Tensor) -> Tensor:
        if self.fail:
            raise RuntimeError("broken on purpose")
        h = self.drop(self.norm(x.transpose(1, 2)).transpose(1, 2))
        h = h + 0 * torch.rand(())  # draws in eval mode, too
        return self.out(self.block(h)).mean(1)


def fingerprint(model: nn.Module) -> tuple:
    return (
        [t.clone() for t in model.state_dict().values()],
        [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        [m.training for m in model.modules()],
        [len(m._forward_hooks) for m in model.modules()],
        torch.get_rng_state(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.is_grad_enabled(),
    )


def same(a: object, b: object) -> bool:
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b) if isinstance(a, Tensor) else a == b


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("surroundings", [torch.enable_grad, torch.no_grad])
def test_nothing_is_changed_bitwise(fail, surroundings):
    torch.manual_seed(0)
    model = Noisy().train()
    model.drop.eval()  # mixed modes must come back as they were
    batch = (torch.randn(6, 5, 8), torch.tensor([0, 1, 2, 0, 1, 2]))
    with surroundings():
        before = fingerprint(model)
        model.fail = fail
        if fail:
            with pytest.raises(RuntimeError, match="broken on purpose"):
                forecast(model, batch, "cross_entropy")
        else:
            result = forecast(model, batch, "cross_entropy", directions=2, max_steps=3)
            assert "dropout is off" in str(result)
            assert "uses the statistics of these samples" in str(result)
        assert same(fingerprint(model), before)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(a + b), "hidden": a}


def test_inputs_may_be_tuples_or_dicts_and_outputs_a_dict_with_logits():
    (x, y) = regression()
    plain = first_step(mlp(), (x, y), directions="all")
    for inputs in ((x, 0 * x), [x, 0 * x], {"a": x, "b": 0 * x}):
        result = first_step(TwoInputs(), (inputs, y), directions="all")
        assert result.richness == pytest.approx(plain.richness, rel=1e-12)
        assert list(result.layers) == ["net.0", "net.2"]


def test_compiled_and_parallel_wrappers_are_looked_through():
    batch = regression()
    plain = richness(mlp(), batch, directions="all")
    compiled_in_place = mlp()
    compiled_in_place.compile(backend="eager")
    inner = mlp()
    inner[0] = torch.compile(inner[0], backend="eager")
    parallel = nn.DataParallel(mlp())
    wrapped = [torch.compile(mlp(), backend="eager"), parallel, compiled_in_place, inner]
    for model in wrapped:
        assert richness(model, batch, directions="all") == pytest.approx(plain, rel=1e-12)
    assert list(first_step(parallel, batch).layers) == ["0", "2"]
    assert compiled_in_place._compiled_call_impl is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened(dtype):
    model = mlp(dtype)
    twin = copy.deepcopy(model).float()
    x, y = regression(dtype)
    result = first_step(model, (x, y), directions="all")
    assert result.richness == pytest.approx(
        richness(twin, (x.float(), y.float()), directions="all")
    )
    assert any("widened to float32" in note for note in result.notes)
    assert model[0].weight.dtype == dtype


def test_a_model_that_writes_to_its_inputs_and_weights_leaves_no_trace():
    for model, x in (
        (nn.Sequential(nn.ReLU(inplace=True), mlp()), torch.randn(5, 4, dtype=F64)),
        (
            nn.Sequential(nn.Embedding(7, 2, max_norm=0.1), nn.Flatten(), nn.Linear(6, 3)).double(),
            torch.randint(0, 7, (5, 3)),
        ),
    ):
        batch = x.clone(), torch.randn(5, 3, dtype=F64)
        before = [t.detach().clone() for t in (batch[0], *model.parameters())]
        first = first_step(model, batch, directions="all")
        assert first_step(model, batch, directions="all").richness == first.richness
        after = (batch[0], *model.parameters())
        assert all(torch.equal(now, then) for now, then in zip(after, before, strict=True))


def recurrent() -> nn.Module:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.cell(x)[0][:, -1])

    return Last()


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Flatten(), nn.Linear(12, 2))
    net[2].weight = net[0].weight
    return net


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "lstm": recurrent,
    "tied": tied,
    "conv": lambda: nn.Sequential(
        nn.Conv1d(3, 4, 3, stride=2, padding=1),
        nn.GroupNorm(2, 4),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(8, 2),
    ),
    "weight norm": lambda: nn.Sequential(
        nn.Flatten(),
        nn.utils.parametrizations.weight_norm(nn.Linear(12, 5)),
        nn.ReLU(),
        nn.Linear(5, 2),
    ),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_agree_with_a_finite_difference(name):
    """‖dJ̃/dt‖ by central differences of the Jacobian along v."""
    torch.manual_seed(1)
    model = ARCHITECTURES[name]().double()
    x, y = torch.randn(3, 3, 4, dtype=F64), torch.randn(3, 2, dtype=F64)
    weights = list(model.parameters())
    result = first_step(model, (x, y), directions="all")
    value = (model(x) - y).square().sum(1).mean()
    v = [-g for g in torch.autograd.grad(value, weights)]

    def jacobian() -> Tensor:
        rows = [torch.autograd.grad(f, weights, retain_graph=True) for f in model(x).reshape(-1)]
        return torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])

    def shift(step: float) -> None:
        with torch.no_grad():
            for p, d in zip(weights, v, strict=True):
                p += step * d

    still, h = jacobian(), 1e-5
    shift(h)
    after = jacobian()
    shift(-2 * h)
    motion = (after - jacobian()) / (2 * h)
    f_dot = still @ torch.cat([d.reshape(-1) for d in v])
    shift(h)
    r = 2 / 3 * (model(x) - y).reshape(-1)
    tau = -(r @ f_dot) / (2 / 3 * f_dot @ f_dot)
    expected = 4 * tau * motion.norm() / still.norm()
    assert result.richness == pytest.approx(expected.item(), rel=1e-6)
    modules = dict(model.named_modules())
    parameters = {name for name, _ in model.named_parameters()}  # of a recurrent layer
    assert set(result.layers) <= {*modules, *parameters}


def test_class_dimension_may_be_last_or_second():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, 5, generator=g, dtype=F64)
    labels = torch.randint(0, 3, (4, 6), generator=g)
    torch.manual_seed(0)
    last = nn.Linear(5, 3, dtype=F64)

    class Second(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = last

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).transpose(1, 2)

    a = first_step(last, (x, labels), "cross_entropy", directions="all")
    b = first_step(Second(), (x, labels), "cross_entropy", directions="all")
    soft = first_step(
        nn.Sequential(nn.Flatten(0, 1), last),
        (x, nn.functional.one_hot(labels, 3).flatten(0, 1).double()),
        "cross_entropy",
        directions="all",
    )
    assert a.initial_loss == pytest.approx(b.initial_loss) == pytest.approx(soft.initial_loss)
    assert a.time_to_fit == pytest.approx(b.time_to_fit) == pytest.approx(soft.time_to_fit)


def sure(scale):
    """The MLP with scaled outputs, and the classes that it holds for the least likely."""
    model, (x, _) = mlp(), regression()
    labels = model(x).argmin(1)
    with torch.no_grad():
        model[2].weight *= scale
        model[2].bias *= scale
    return model, x, labels


def test_a_softmax_that_is_sure_of_wrong_classes_is_fitted_in_finite_time():
    """The outputs have to travel as far as they are wrong: τ‖ḟ‖ ∝ scale, and so ρ → a constant."""
    found = {}
    for scale in (1.0, 100.0, 200.0):
        model, x, labels = sure(scale)
        found[scale] = first_step(model, (x, labels), "cross_entropy", directions="all")
        loss = nn.functional.cross_entropy(model(x), labels)
        slope = -sum(g.square().sum() for g in torch.autograd.grad(loss, list(model.parameters())))
        bound = (-2 * loss / slope).item()
        assert found[scale].time_to_fit <= bound * (1 + 1e-12)
        if scale > 1:
            assert found[scale].time_to_fit == pytest.approx(bound, rel=1e-12)
    assert not any("quadratic" in note for note in found[1.0].notes)
    assert any("touches 0" in note for note in found[100.0].notes)
    assert 0.2 < found[200.0].richness / found[1.0].richness < 5
    assert found[200.0].richness == pytest.approx(found[100.0].richness, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_rounding_that_makes_the_curvature_negative_is_no_obstacle(dtype):
    """Softmax is flat where it is saturated: all that is left of its curvature is noise."""
    negative = 0
    for seed in range(100):
        g = torch.Generator().manual_seed(seed)
        f = 1000 * torch.randn(8, 10, generator=g, dtype=dtype)
        labels = torch.randint(10, (8,), generator=g)
        loss = output_loss("cross_entropy", f, labels)
        r = torch.func.grad(loss)(f)
        fall = descent_along(loss, f, -r)
        negative += fall.curvature < 0
        assert fall.slope == 0 or 0 < fall.time_to_fit <= -2 * fall.loss / fall.slope
    assert negative > 0


def test_a_loss_without_a_name_may_be_negative_and_a_note_says_what_that_means():
    model, x, labels = sure(200.0)
    named = first_step(model, (x, labels), "cross_entropy", directions="all")
    mine = first_step(model, (x, labels), nn.functional.cross_entropy, directions="all")
    assert mine.richness > 1000 * named.richness
    assert any("If it cannot be negative, τ and ρ are too large" in note for note in mine.notes)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_bound_of_a_loss_that_is_never_negative_does_not_touch_quadratic_losses(n):
    """A quadratic that is never negative has its minimum before the point where one touches 0."""
    for seed in range(50):
        g = torch.Generator().manual_seed(seed)
        f, y, f_dot = torch.randn(3, n, 2, generator=g, dtype=F64)
        fall = descent_along(output_loss("mse", f, y), f, f_dot)
        if fall.slope < 0:
            assert fall.time_to_fit == pytest.approx(-fall.slope / fall.curvature, rel=1e-14)
            assert fall.least >= -1e-12 * fall.loss
        else:
            assert math.isnan(fall.time_to_fit)


def test_learning_rates_that_overshoot_are_noted():
    model, batch = mlp(), regression()
    tau = first_step(model, batch).time_to_fit
    for share, noted in ((0.4, True), (0.6, False)):
        optimizer = torch.optim.SGD(model.parameters(), lr=tau / share)
        notes = first_step(model, batch, optimizer=optimizer).notes
        said = [note for note in notes if "goes 2.5 times as far as the fit" in note]
        assert len(said) == noted
        assert not noted or "Divide the learning rates by 25 to" in said[0]
    assert not any("as far as the fit" in note for note in first_step(model, batch).notes)


def test_richness_is_inverse_to_the_scale_of_a_centred_output():
    batch = regression()
    rhos = [
        richness(lazyrich.CentredOutput(mlp(), scale), batch, directions="all")
        for scale in (0.1, 1.0, 10.0)
    ]
    for rich, lazier in pairwise(rhos):
        assert rich == pytest.approx(10 * lazier, rel=1e-9)


def test_a_start_away_from_zero_is_noted():
    model, x, _, y = line_case(4, 1.0, 0, True)
    zero = first_step(model, (x, y[:, None]))
    assert not any("not zero" in note for note in zero.notes)
    away = first_step(mlp(), regression())
    assert any("The initial output is not zero" in note for note in away.notes)


X, Y = regression()
NAN = torch.full((5, 4), torch.nan, dtype=F64)


def broken() -> nn.Module:
    model = mlp()
    model[2].weight.data[0, 0] = torch.nan
    return model


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.net(x), x


class Divides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) / 0


BAD = {
    "no parameters": (nn.ReLU, (X, Y), "mse", "must have parameters, got ReLU without any"),
    "all frozen": (lambda: mlp().requires_grad_(False), (X, Y), "mse", "got 4 parameters and none"),
    "empty batch": (mlp, (X[:0], Y[:0]), "mse", "at least one sample, got a batch of size 0"),
    "no tensor": (mlp, ("x", Y), "mse", "must hold a tensor .*, got str"),
    "NaN inputs": (mlp, (NAN, Y), "mse", "`x` must be finite"),
    "NaN weights": (broken, (X, Y), "mse", "parameter `2.weight` must be finite"),
    "NaN outputs": (Divides, (X, Y), "mse", "outputs must be finite"),
    "NaN targets": (mlp, (X, Y * torch.nan), "mse", "loss must be finite before training, got nan"),
    "two outputs": (Pair, (X, Y), "mse", "one floating-point tensor, got 2 in a tuple"),
    "no pair": (mlp, [X, Y, X], "mse", "must be a pair"),
    "broadcasting": (mlp, (X, Y[:, 0]), "mse", r"outputs' shape \(5, 3\), got \(5,\)"),
    "labels for mse": (mlp, (X, torch.arange(5)), "mse", "use loss='cross_entropy'"),
    "labels for a sum": (mlp, (X, torch.arange(5)), "squared_error", "for loss='squared_error'"),
    "float labels": (mlp, (X, Y[:, 0]), "cross_entropy", "integer class labels of shape"),
    "large labels": (
        mlp,
        (X, torch.arange(5)),
        "cross_entropy",
        "0 to 2 for 3 outputs, got 0 to 4",
    ),
    "negative labels": (mlp, (X, torch.arange(5) - 3), "cross_entropy", "got -3 to 1"),
    "negative probabilities": (mlp, (X, -Y.abs()), "cross_entropy", "must not be negative, got -"),
    "no labels": (mlp, (X, [0, 1]), "cross_entropy", "a tensor of targets"),
    "unknown loss": (mlp, (X, Y), "hinge", "'squared_error', 'cross_entropy' or a callable"),
    "vector loss": (mlp, (X, Y), lambda f, y: (f - y).sum(1), r"return one number, got \(5,\)"),
    "linear loss": (mlp, (X, Y), lambda f, y: (f * y).sum(), "linear in the outputs"),
    "fitted": (mlp, (X, mlp()(X).detach()), "mse", "fitted already"),
}


@pytest.mark.parametrize("lr", [1e-20, 1e-12, 1e-6, 1e3])
def test_richness_of_a_factor_on_rates_that_weights_cannot_show(lr):
    """In single precision no weight moves by 1e-12; ratios of rates are what counts."""
    model = mlp().float()
    batch = X.float(), Y.float()
    of_usual, of_this = (
        richness(model, batch, optimizer=torch.optim.Adam(model.parameters(), lr=r))
        for r in (1e-3, lr)
    )
    assert of_this == pytest.approx(of_usual, rel=0.02)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_a_sentence(case):
    make, batch, loss, message = BAD[case]
    with pytest.raises(InputError, match=message):
        richness(make(), batch, loss)


def test_bad_optimisers_are_refused_with_a_sentence():
    model = mlp()
    beyond = 2 * model(X).detach()  # so that decay leads away from the targets
    for optimizer, message in (
        (torch.optim.Adam(mlp().parameters(), lr=1.0), "owns none of the 4 trainable"),
        (torch.optim.Adam(model.parameters(), lr=0.0), "at least one learning rate must be > 0"),
        (torch.optim.SGD(mlp().parameters(), lr=1.0), "owns none of the 4 trainable"),
        (torch.optim.SGD(model.parameters(), lr=0.0), "at least one learning rate must be > 0"),
        (torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e6), "may outweigh"),
    ):
        with pytest.raises(InputError, match=message):
            richness(model, (X, beyond), optimizer=optimizer)


def test_vocabulary_knows_the_new_words():
    from docs.vocabulary import vocabulary

    result = forecast(mlp(), regression(), max_steps=20)
    for name in ("richness", "time_to_fit", "predicted_ntk_change", "linearisation_gap"):
        assert vocabulary()[name].low <= getattr(result, name) <= vocabulary()[name].high
