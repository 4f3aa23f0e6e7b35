"""The rehearsal against closed forms, explicit Jacobians, and the training that it rehearses."""

from __future__ import annotations

import copy
import json
import math
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import SGD, Adam, SparseAdam
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

import lazyrich
from lazyrich import CentredOutput, InputError, Thresholds, forecast
from lazyrich.capture.losses import output_loss
from lazyrich.capture.network import as_network
from lazyrich.probe import Ended, Forecast
from lazyrich.probe.forecast.linearised import Linearisation
from lazyrich.probe.forecast.rehearsal import Goal, least_loss, of_linearisation, rehearse
from lazyrich.probe.forecast.training import Apprentice
from lazyrich.probe.wording import ITSELF

F64 = torch.float64


def mlp(scale: float | None = None, activation: type[nn.Module] = nn.Tanh) -> nn.Module:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(4, 12), activation(), nn.Linear(12, 3)).to(F64)
    return net if scale is None else CentredOutput(net, scale)


def regression(n: int = 6) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(5)
    return torch.randn(n, 4, generator=g, dtype=F64), torch.randn(n, 3, generator=g, dtype=F64)


def flat_jacobian(
    model: nn.Module, x: Tensor, theta: dict[str, Tensor], others: dict[str, Tensor] | None = None
) -> Tensor:
    blocks = jacrev(lambda t: functional_call(model, {**(others or {}), **t}, (x,)))(theta)
    return torch.cat([b.reshape(x.shape[0] * 3, -1) for b in blocks.values()], 1)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def test_gradient_descent_on_a_squared_error_is_the_closed_form():
    """r_t = (1 − 2ηΘ/N)ᵗ r₀ with Θ = JJᵀ by explicit Jacobians, to 1e-5."""
    model, (x, y) = mlp(), regression()
    network, eta, steps = as_network(model, x), 0.05, 200
    loss = output_loss("mse", network(network.theta), y)
    apprentice = Apprentice(SGD(model.parameters(), lr=eta), model, network.theta)
    goal = Goal(loss=None, least=0.0, steps=steps, most_steps=steps, until=math.inf)
    linear = Linearisation(network, network.theta)
    course = rehearse("linear", of_linearisation(linear, loss), apprentice, goal)
    J = flat_jacobian(model, x, network.theta)
    values, vectors = torch.linalg.eigh(J @ J.T)
    r = vectors.T @ (model(x) - y).detach().reshape(-1)
    expected = [
        ((1 - 2 * eta * values / r.numel()) ** t * r).square().mean().item()
        for t in range(steps + 1)
    ]
    assert course.losses == pytest.approx(expected, rel=1e-5)
    f = linear.at_displaced({n: p.detach() for n, p in apprentice.leaves.items()})
    left = vectors @ ((1 - 2 * eta * values / r.numel()) ** steps * r)
    assert torch.allclose((f - y).reshape(-1), left, rtol=1e-5, atol=1e-9)


def test_a_linearisation_has_the_explicit_jacobian():
    model, (x, _) = mlp(), regression()
    theta = weights(model)
    J = flat_jacobian(model, x, theta)
    linear = Linearisation(lambda t: functional_call(model, t, (x,)), theta)
    u = torch.randn(6, 3, dtype=F64)
    v = {n: torch.randn_like(p) for n, p in theta.items()}
    rows = torch.cat([g.reshape(-1) for g in linear.transposed(u).values()])
    assert torch.allclose(rows, J.T @ u.reshape(-1))
    along = torch.cat([d.reshape(-1) for d in v.values()])
    assert torch.allclose(linear.times(v).reshape(-1), J @ along)


OPTIMIZERS = {
    "SGD": lambda ps: SGD(ps, lr=0.05, weight_decay=1e-3),
    "momentum": lambda ps: SGD(ps, lr=0.02, momentum=0.9, nesterov=True),
    "Adam": lambda ps: Adam(ps, lr=0.01),
    "AdamW": lambda ps: torch.optim.AdamW(ps, lr=0.01, weight_decay=0.1, amsgrad=True),
    "RMSprop": lambda ps: torch.optim.RMSprop(ps, lr=0.002),
    "Adafactor": lambda ps: torch.optim.Adafactor(ps, lr=0.05),
    "Adagrad": lambda ps: torch.optim.Adagrad(ps, lr=0.05),
    "Muon": lambda ps: torch.optim.Muon([p for p in ps if p.ndim == 2], lr=0.02),
    "LBFGS": lambda ps: torch.optim.LBFGS(ps, lr=0.3, max_iter=3),
}


def trained(model: nn.Module, optimizer, batch, loss, *, steps: int, after=lambda value: None):
    """A plain training loop; the losses before each step and after the last."""
    (x, y), losses = batch, []
    for _ in range(steps):

        def closure():
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            return value

        value = closure()
        losses.append(value.item())
        optimizer.step(closure)
        after(value.item())
    return (*losses, loss(model(x), y).item())


def measured_change(model: nn.Module, x: Tensor, then: dict[str, Tensor]) -> tuple[float, ...]:
    """Change of the kernel, its turn, and that between samples, by explicit Jacobians."""
    a, b = (flat_jacobian(model, x, theta) for theta in (then, weights(model)))
    before, now = a @ a.T, b @ b.T
    n, k = len(x), len(a) // len(x)
    H = torch.kron(torch.eye(n) - 1 / n, torch.eye(k)).to(a)

    def turn(before: Tensor, now: Tensor) -> float:
        return (1 - (before * now).sum() / (before.norm() * now.norm())).item()

    change = ((now - before).norm() / before.norm()).item()
    return change, turn(before, now), turn(H @ before @ H, H @ now @ H)


@pytest.mark.parametrize("earlier", [0, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_the_training_that_comes(name, earlier):
    """The same losses and the same change of the kernel, from any state of any optimiser."""
    model, batch = mlp(), regression()
    if name == "Muon":  # for matrices alone
        model[0].bias.requires_grad_(False)
        model[2].bias.requires_grad_(False)
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    trained(model, optimizer, batch, mse_loss, steps=earlier)
    told = forecast(model, batch, optimizer=optimizer, steps=7, directions="all")
    then = weights(model)
    losses = trained(model, optimizer, batch, mse_loss, steps=7)
    assert told.network.losses == pytest.approx(losses, rel=1e-9)
    assert (told.network.ended, told.network.steps) == ("all steps made", 7)
    change, turn, between = measured_change(model, batch[0], then)
    assert told.predicted_ntk_change == pytest.approx(change, rel=1e-7)
    assert told.predicted_kernel_distance == pytest.approx(turn, rel=1e-6, abs=1e-12)
    assert told.predicted_centred_kernel_distance == pytest.approx(between, rel=1e-6, abs=1e-12)


SCHEDULES = {
    "lambda": lambda optimizer: LambdaLR(optimizer, lambda step: 0.7**step),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, max_lr=0.2, total_steps=12),
    "plateau": lambda optimizer: ReduceLROnPlateau(optimizer, patience=0, threshold=0.5),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    model, batch = mlp(), regression()
    optimizer = Adam(model.parameters(), lr=0.05)
    schedule = SCHEDULES[name](optimizer)
    told = forecast(model, batch, optimizer=optimizer, schedule=schedule, steps=9)
    state, rates = schedule.state_dict(), [g["lr"] for g in optimizer.param_groups]
    assert (schedule.last_epoch, [g["lr"] for g in optimizer.param_groups]) == (0, rates)

    def advance(value):
        schedule.step(value) if name == "plateau" else schedule.step()

    losses = trained(model, optimizer, batch, mse_loss, steps=9, after=advance)
    assert told.network.losses == pytest.approx(losses, rel=1e-9)
    assert schedule.state_dict() != state


def test_a_schedule_may_be_a_function_of_the_step():
    model, batch = mlp(), regression()
    optimizer = SGD(model.parameters(), lr=0.05)
    told = forecast(model, batch, optimizer=optimizer, schedule=lambda t: 1 / (1 + t), steps=5)
    known = LambdaLR(optimizer, lambda t: 1 / (1 + t))
    losses = trained(model, optimizer, batch, mse_loss, steps=5, after=lambda _: known.step())
    assert told.network.losses == pytest.approx(losses, rel=1e-9)


def fully_trained(model, optimizer, batch, loss) -> float:
    """To 20 % of the first loss; the change of the kernel by explicit Jacobians."""
    then, (x, y) = weights(model), batch
    first = loss(model(x), y).item()
    for _ in range(20_000):
        value = loss(model(x), y)
        if value.item() <= 0.2 * first:
            break
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return measured_change(model, x, then)[0]


@pytest.mark.parametrize(("kind", "power", "lr"), [(SGD, 2, 0.05), (Adam, 1, 0.01)])
def test_in_the_lazy_limit_the_linearised_network_is_the_network(kind, power, lr):
    gaps = []
    for scale in (1.0, 10.0, 100.0, 1000.0):
        model, batch = mlp(scale), regression()
        optimizer = kind(model.network.parameters(), lr=lr / scale**power)
        told = forecast(model, batch, optimizer=optimizer, directions="all")
        gaps.append(told.linearisation_gap)
        change = fully_trained(model, optimizer, batch, mse_loss)
        assert told.predicted_ntk_change == pytest.approx(change, rel=1e-3)
        assert told.linear is not None
        if scale == 1000:
            assert told.certificate == "holds"
            assert told.linear.losses == pytest.approx(told.network.losses, rel=1e-2)
    for now, later in pairwise(gaps[1:]):
        assert later == pytest.approx(now / 10, rel=0.3)  # gap ∝ 1/scale


def zero_readout() -> nn.Module:
    model = mlp()
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    return model


@pytest.mark.parametrize("eps", [1e-12, 1e-8, 1e-4])
def test_a_readout_that_begins_at_zero_under_adam(eps):
    """Where the linearised network ends, the network gives the same: no proof that it is lazy."""
    model, batch = zero_readout(), regression()
    optimizer = Adam(model.parameters(), lr=0.01, eps=eps)
    told = forecast(model, batch, optimizer=optimizer, directions="all")
    change = fully_trained(model, optimizer, batch, mse_loss)
    assert told.predicted_ntk_change == pytest.approx(change, rel=1e-3)
    assert told.certificate == "not lazy"


class Lora(nn.Module):
    """W x + B A x, with B = 0 at the start."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fixed = nn.Linear(4, 3, dtype=F64).requires_grad_(False)
        self.a = nn.Linear(4, 2, bias=False, dtype=F64)
        self.b = nn.Linear(2, 3, bias=False, dtype=F64)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.fixed(x) + self.b(self.a(x))


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_where_the_kernel_does_not_change_at_first_order(kind):
    model, (x, _) = Lora(), regression()
    g = torch.Generator().manual_seed(1)
    y = model(x).detach() + 0.05 * x @ torch.randn(4, 3, generator=g, dtype=F64)
    optimizer = kind(model.parameters(), lr=0.005)
    told = forecast(model, (x, y), optimizer=optimizer, steps=40, directions="all")
    then = weights(model)
    trained(model, optimizer, (x, y), mse_loss, steps=40)
    assert told.predicted_ntk_change == pytest.approx(measured_change(model, x, then)[0], rel=1e-6)
    assert list(told.layer_ntk_change) == ["a", "b"]
    assert math.isnan(told.layer_ntk_change["a"])  # its kernel begins at 0


def test_layers_equal_explicit_jacobians():
    model, batch = mlp(), regression()
    optimizer = SGD(
        [{"params": model[0].parameters(), "lr": 0.2}, {"params": model[2].parameters()}], lr=0.05
    )
    told = forecast(model, batch, optimizer=optimizer, steps=20, directions="all")
    then = weights(model)
    trained(model, optimizer, batch, mse_loss, steps=20)
    now = weights(model)
    for layer, found in told.layer_ntk_change.items():
        kernels = []
        for theta in (then, now):
            own = {n: p for n, p in theta.items() if n.startswith(layer)}
            J = flat_jacobian(model, batch[0], own, theta)
            kernels.append(J @ J.T)
        change = (kernels[1] - kernels[0]).norm() / kernels[0].norm()
        assert found == pytest.approx(change.item(), rel=1e-7)


def batch_normalised() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).to(F64)


@pytest.mark.parametrize("mode", [True, False])
def test_batch_norms_normalise_by_the_batch_as_training_does(mode):
    model, batch = batch_normalised().train(mode), regression(16)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    told = forecast(model, batch, optimizer=optimizer, steps=15)
    assert torch.equal(model[1].running_mean, torch.zeros(8, dtype=F64))
    model.train()
    losses = trained(model, optimizer, batch, mse_loss, steps=15)
    assert told.network.losses == pytest.approx(losses, rel=1e-9)
    assert told.initial_loss == pytest.approx(losses[0], rel=1e-12)


class RunningMean(nn.Module):
    """A normalisation of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(8, dtype=F64))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x - self.running_mean
        mean = x.mean(0)
        self.running_mean = 0.9 * self.running_mean + 0.1 * mean.detach()
        return x - mean


class ByFunction(nn.Module):
    """`functional.batch_norm` with buffers of any name, twice in one pass."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("m", torch.zeros(8, dtype=F64))
        self.register_buffer("v", torch.ones(8, dtype=F64))

    def forward(self, x: Tensor) -> Tensor:
        for _ in "12":
            x = nn.functional.batch_norm(x, self.m, self.v, training=self.training).tanh()
        return x


class Channels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), 2, 4)


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm1d(8, momentum=None).to(F64),
        nn.BatchNorm1d(8, track_running_stats=False).to(F64),
        RunningMean(),
        ByFunction(),
        nn.Sequential(
            Channels(), nn.InstanceNorm1d(2, track_running_stats=True).to(F64), nn.Flatten()
        ),
    ],
    ids=["mean of batches", "no statistics", "of one's own", "by function", "instance"],
)
def test_gradients_flow_through_statistics_of_every_kind_as_in_training(norm):
    model = nn.Sequential(nn.Linear(4, 8), norm, nn.Tanh(), nn.Linear(8, 3)).to(F64)
    batch = regression(16)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    told = forecast(model, batch, optimizer=SGD(model.parameters(), lr=0.3), steps=20)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    model.train()
    losses = trained(model, SGD(model.parameters(), lr=0.3), batch, mse_loss, steps=20)
    assert told.network.losses == pytest.approx(losses, rel=1e-9)


def test_a_frozen_batch_norm_keeps_its_running_statistics():
    model, batch = batch_normalised(), regression(16)
    model[1].running_mean += 0.3
    model[1].eval()
    optimizer = SGD(model.parameters(), lr=0.02)
    told = forecast(model, batch, optimizer=optimizer, steps=5)
    losses = trained(model, optimizer, batch, mse_loss, steps=5)
    assert told.network.losses == pytest.approx(losses, rel=1e-9)


def test_a_learning_rate_near_nothing_leaves_a_batch_normalised_kernel_as_it_is():
    model, batch = batch_normalised(), regression(16)
    optimizer = SGD(model.parameters(), lr=1e-9)
    told = forecast(model, batch, optimizer=optimizer, steps=30)
    assert told.predicted_ntk_change < 1e-6
    assert told.regime == "frozen"
    assert str(told).startswith("Frozen. ")


def test_frozen_layers_stay():
    model, batch = mlp(), regression()
    model[0].requires_grad_(False)
    told = forecast(model, batch, optimizer=SGD(model.parameters(), lr=0.05), steps=30)
    assert list(told.layer_ntk_change) == ["2"]
    assert told.predicted_ntk_change < 1e-12  # linear in what is trained
    assert told.linearisation_gap < 1e-9
    alone = mlp()
    told = forecast(alone, batch, optimizer=SGD(alone[2].parameters(), lr=0.05), steps=30)
    assert told.predicted_ntk_change < 1e-12
    assert any("does not own 0.bias, 0.weight" in note for note in told.notes)


@pytest.mark.parametrize("balanced", [True, False])
def test_classes(balanced):
    model, (x, _) = mlp(), regression()
    labels = torch.tensor([0, 1, 2, 0, 1, 2] if balanced else [0, 0, 0, 0, 1, 2])
    optimizer = Adam(model.parameters(), lr=0.01)
    told = forecast(model, (x, labels), "cross_entropy", optimizer=optimizer, directions="all")
    assert told.network.ended == "fitted"
    assert told.network.losses[-1] <= told.goal == pytest.approx(0.2 * told.initial_loss)
    assert told.network.losses[-2] > told.goal
    assert told.steps_to_fit == told.network.steps
    change = fully_trained(model, optimizer, (x, labels), cross_entropy)
    assert told.predicted_ntk_change == pytest.approx(change, rel=1e-6)


class Draws(nn.Module):
    """Everything that a rehearsal could disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + 0 * torch.rand(()) + 0 * random.random() + 0 * np.random.rand()  # noqa: NPY002


def frozen_copy(thing: object) -> object:
    return copy.deepcopy(thing)


def fingerprint(model, optimizer, schedule) -> list[object]:
    """Without Python's own random numbers, of which the type checks in tests draw."""
    return [
        frozen_copy(model.state_dict()),
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        [(m.training, getattr(m, "track_running_stats", None)) for m in model.modules()],
        [len(m._forward_pre_hooks) for m in model.modules()],
        frozen_copy(optimizer.state_dict()),
        [id(p) for group in optimizer.param_groups for p in group["params"]],
        frozen_copy(schedule.state_dict()),
        torch.get_rng_state(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
    ]


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("way", ["whole", "interrupted", "fails"])
@pytest.mark.parametrize("name", ["momentum", "Adam", "LBFGS"])
def test_what_is_the_users_stays_bitwise(name, way):
    torch.manual_seed(0)
    model = Draws()
    batch = torch.randn(8, 4), torch.randn(8, 3)
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    schedule = LambdaLR(optimizer, lambda step: 0.9**step)
    for _ in range(2):
        value = mse_loss(model(batch[0]), batch[1])
        value.backward()
        optimizer.step(lambda value=value: value)
        schedule.step()
    before = fingerprint(model, optimizer, schedule)

    def progress(what: str, step: int, loss: float) -> None:
        if step == 2 and way != "whole":
            raise KeyboardInterrupt if way == "interrupted" else RuntimeError("on purpose")

    options = {"optimizer": optimizer, "schedule": schedule, "progress": progress}
    options |= {"steps": 4, "directions": 2}
    if way == "fails":
        with pytest.raises(RuntimeError, match="on purpose"):
            forecast(model, batch, **options)
    else:
        told = forecast(model, batch, **options)
        assert told.network.ended == ("all steps made" if way == "whole" else "interrupted")
    for now, then in zip(fingerprint(model, optimizer, schedule), before, strict=True):
        assert same(now, then)
    assert optimizer.step.__self__ is optimizer if hasattr(optimizer.step, "__self__") else True
    optimizer.step(lambda: mse_loss(model(batch[0]), batch[1]))  # still works


def test_interrupted_says_how_far_it_came():
    model, batch = mlp(), regression()

    def progress(what: str, step: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    told = forecast(model, batch, optimizer=SGD(model.parameters(), lr=1e-3), progress=progress)
    assert (told.network.ended, told.network.steps, told.linear) == ("interrupted", 3, None)
    assert told.steps_to_fit is None
    assert (told.regime, told.certificate) == ("cannot tell", "cannot tell")
    assert str(told).startswith("Cannot tell: frozen so far. In a rehearsal of 3 steps the loss")
    assert "So far the network is near its linearisation (gap" in str(told)
    assert "interrupted, short of its goal of" in str(told)


def test_budgets():
    model, batch = mlp(), regression()
    optimizer = SGD(model.parameters(), lr=1e-3)
    few = forecast(model, batch, optimizer=optimizer, max_steps=4)
    assert (few.network.ended, few.network.steps) == ("out of steps", 4)
    late = forecast(model, batch, optimizer=optimizer, max_seconds=1e-9)
    assert (late.network.ended, late.network.steps, late.linear) == ("out of time", 0, None)
    assert late.certificate == "cannot tell"
    assert "The outputs did not move" in str(late)


def test_a_stated_loss_and_a_number_of_steps():
    model, batch = mlp(), regression()
    optimizer = SGD(model.parameters(), lr=0.05)
    loss = forecast(model, batch, optimizer=optimizer, steps=1).initial_loss
    to = forecast(model, batch, optimizer=optimizer, to_loss=0.7 * loss)
    assert to.network.losses[-1] <= 0.7 * loss < to.network.losses[-2]
    both = forecast(model, batch, optimizer=optimizer, to_loss=0.7 * loss, steps=2)
    assert (both.network.ended, both.network.steps) == ("all steps made", 2)
    assert forecast(model, batch, optimizer=optimizer, steps=3).goal is None


def test_where_the_loss_is_least():
    """With label smoothing, class probabilities or a constant, 0 is never reached."""
    f = torch.randn(6, 3, dtype=F64)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    smooth = nn.CrossEntropyLoss(label_smoothing=0.2)
    p = torch.full((6, 3), 0.2 / 3, dtype=F64).scatter_add(
        1, labels[:, None], torch.full((6, 1), 0.8, dtype=F64)
    )
    entropy = -(p * p.log()).sum(1).mean().item()
    for loss, targets in ((smooth, labels), ("cross_entropy", p)):
        value = output_loss(loss, f, targets)
        assert least_loss(loss, value, f, targets) == pytest.approx(entropy, rel=1e-4)
    sure = torch.eye(3, dtype=F64)[labels]
    value = output_loss("cross_entropy", f, sure)
    assert least_loss("cross_entropy", value, f, sure) == pytest.approx(0, abs=1e-9)

    def lifted(f, y):
        return mse_loss(f, y) - 5

    y = torch.randn(6, 3, dtype=F64)
    value = output_loss(lifted, f, y)
    assert least_loss(lifted, value, f, y) == pytest.approx(-5, rel=1e-6)
    model, (x, y) = mlp(), regression()
    told = forecast(model, (x, y), lifted, optimizer=Adam(model.parameters(), lr=0.01))
    plain = forecast(model, (x, y), optimizer=Adam(model.parameters(), lr=0.01))
    assert told.goal == pytest.approx(plain.goal - 5, rel=1e-6)
    assert told.network.steps == plain.network.steps
    assert told.predicted_ntk_change == pytest.approx(plain.predicted_ntk_change, rel=1e-6)


def test_any_callable_loss():
    """Also one that the first step tells nothing about."""

    def saturating(f, y):
        return ((f - y).square() / (4 + (f - y).square())).mean()  # no convex function

    model, (x, y) = mlp(), regression()
    optimizer = Adam(model.parameters(), lr=0.01)
    told = forecast(model, (x, 5 * y), saturating, optimizer=optimizer, steps=30)
    losses = trained(model, optimizer, (x, 5 * y), saturating, steps=30)
    assert told.network.losses == pytest.approx(losses, rel=1e-9)
    assert math.isnan(told.richness) == any("No richness ρ" in note for note in told.notes)
    assert "saturating" in str(told)


def test_training_that_diverges_is_unstable():
    model, batch = mlp(activation=nn.ReLU), regression()
    told = forecast(model, batch, optimizer=SGD(model.parameters(), lr=50.0))
    assert told.regime == "unstable"
    assert told.network.ended == "diverged"
    assert told.linear is None
    assert str(told).startswith("Unstable. In a rehearsal of ")
    assert ": it diverges. By then" in str(told)


def test_a_kernel_that_overflows_is_said():
    class Exponential(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.tensor([0.0]))

        def forward(self, x: Tensor) -> Tensor:
            return (10 * self.a).exp() * x

    model = Exponential()
    batch = torch.ones(1, 1), 3 * torch.ones(1, 1)
    told = forecast(model, batch, optimizer=SGD(model.parameters(), lr=1e3), steps=3)
    assert told.regime == "unstable"
    assert "is not finite" in str(told) or told.predicted_ntk_change > 1


@pytest.mark.parametrize("directions", [2, "all"])
def test_a_kernel_that_is_zero_or_huge_is_no_crash(directions):
    flat = mlp()
    for p in flat.parameters():
        nn.init.zeros_(p)
    flat[2].bias.requires_grad_(False)  # a saddle: no output moves at first order
    told = forecast(flat, regression(), optimizer=SGD(flat.parameters(), lr=0.1), steps=3)
    assert math.isnan(told.predicted_ntk_change)
    assert (told.regime, told.certificate) == ("cannot tell", "cannot tell")
    huge = mlp(activation=nn.Softplus)
    told = forecast(
        huge, regression(), optimizer=SGD(huge.parameters(), lr=1e70), directions=directions
    )
    assert told.regime == "unstable"


def test_without_an_optimiser_it_is_stable_gradient_descent():
    for scale in (0.1, 1.0, 10.0):
        told = forecast(mlp(scale), regression(), directions="all")
        assert told.network.ended == "fitted"
        assert all(later < now for now, later in pairwise(told.network.losses))


def test_the_cost_is_counted():
    model, batch = mlp(), regression()
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    model.register_forward_hook(count)
    told = forecast(model, batch, optimizer=SGD(model.parameters(), lr=0.05), steps=50)
    assert told.network.gradients == 51
    assert told.linear.gradients == 2 * 51
    assert told.gradients > 153
    assert calls < 51 + 60  # one forward pass a step of the network; none of its linearisation
    assert f"as much as {told.gradients:.0f} training steps" in str(told)


class Relu(torch.autograd.Function):
    """In the form that `torch.func` refuses."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


class WithOwnFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](Relu.apply(self.net[0](x)))


def test_functions_that_reverse_mode_alone_knows():
    model, batch = WithOwnFunction(), regression()
    optimizer = Adam(model.parameters(), lr=0.01)
    told = forecast(model, batch, optimizer=optimizer, steps=9, directions="all")
    assert told.richness > 0  # by products that do without `torch.func`
    plain = mlp(activation=nn.ReLU)
    known = forecast(
        plain, batch, optimizer=Adam(plain.parameters(), lr=0.01), steps=9, directions="all"
    )
    assert told.predicted_ntk_change == pytest.approx(known.predicted_ntk_change, rel=1e-9)
    assert told.linearisation_gap == pytest.approx(known.linearisation_gap, rel=1e-9)
    assert told.richness == pytest.approx(known.richness, rel=1e-6)


def test_hooks_of_the_optimiser_are_not_called_and_named():
    model, batch = mlp(), regression()
    optimizer = Adam(model.parameters(), lr=0.01)
    assert not any("hooks" in n for n in forecast(model, batch, optimizer=optimizer, steps=2).notes)
    optimizer.register_step_post_hook(lambda *_: pytest.fail("called"))
    assert any("hooks" in n for n in forecast(model, batch, optimizer=optimizer, steps=2).notes)


def test_an_optimiser_inside_another_that_evaluates_the_loss_itself():
    model, batch = mlp(), regression()
    inside = torch.optim.LBFGS(model.parameters(), lr=0.01, max_iter=2)
    limited = lazyrich.optim.SpeedLimited(inside, model=model, target="0", strength=0.1)
    told = forecast(model, batch, optimizer=limited, steps=4)
    losses = trained(model, limited, batch, mse_loss, steps=4)
    assert told.network.losses == pytest.approx(losses, rel=1e-9)


def test_the_note_on_batch_norms_holds_where_it_stands():
    normalised, plain = (
        forecast(m, regression(16), optimizer=SGD(m.parameters(), lr=0.1), steps=2)
        for m in (batch_normalised(), mlp())
    )
    assert any("statistics of these samples" in note for note in normalised.notes)
    assert any("through the statistics of the batch" in note for note in normalised.notes)
    assert not any("batch" in note for note in plain.notes)


def some() -> Forecast:
    model = mlp(10.0)
    return forecast(
        model, regression(), optimizer=SGD(model.network.parameters(), lr=1e-3), steps=9
    )


def test_words_are_of_the_change_and_of_the_gap():
    told = replace(some(), predicted_ntk_change_stderr=0.0)
    for change, word in (
        *((0.0, "lazy"), (0.0999, "lazy"), (0.1, "intermediate"), (0.999, "intermediate")),
        *((1.0, "rich"), (1e5, "rich"), (math.inf, "rich"), (math.nan, "cannot tell")),
    ):
        known = replace(told, predicted_ntk_change=change)
        assert known.regime == word
        assert str(known).startswith(f"{word.capitalize()}. ")
    for gap, word in (
        *((0.0, "holds"), (0.1, "holds"), (0.101, "about"), (0.25, "about")),
        *((0.251, "not lazy"), (math.inf, "not lazy"), (math.nan, "cannot tell")),
    ):
        known = replace(told, linearisation_gap=gap)
        assert known.certificate == word
        assert f"Certificate: {word}." in str(known)


def test_a_change_near_a_threshold_cannot_be_told():
    """As in a verdict, by two standard errors of the logarithm; both ends are named."""
    told = some()
    for change, error, word, named in (
        (0.11, 0.02, "cannot tell", "Cannot tell: lazy or intermediate. "),
        (0.09, 0.01, "cannot tell", "Cannot tell: lazy or intermediate. "),
        (0.9, 0.2, "cannot tell", "Cannot tell: intermediate or rich. "),
        (0.3, 0.9, "cannot tell", "Cannot tell: lazy or intermediate or rich. "),
        (0.2, 0.02, "intermediate", "Intermediate. "),
        (0.02, 0.01, "lazy", "Lazy. "),
        (30.0, 1.0, "rich", "Rich. "),
        (math.inf, math.nan, "rich", "Rich. "),
    ):
        near = replace(told, predicted_ntk_change=change, predicted_ntk_change_stderr=error)
        assert near.regime == word
        assert str(near).startswith(named)
        cut = replace(near, network=replace(near.network, ended=Ended.OUT_OF_STEPS))
        if word == "cannot tell":
            assert str(cut).startswith(named.replace(". ", " so far. "))
    elsewhere = Thresholds(lazy_below=0.3, rich_from=0.4)
    for change, word in ((0.2, "lazy"), (0.35, "intermediate"), (0.5, "rich")):
        assert replace(told, predicted_ntk_change=change).judged(elsewhere) == word


@pytest.mark.parametrize("gap", [0.05, 0.2, 0.3, math.inf, math.nan])
@pytest.mark.parametrize("change", [0.03, 0.4, 3.0, math.nan])
def test_a_certificate_that_contradicts_the_kernel_says_so(gap, change):
    told = replace(
        some(), predicted_ntk_change=change, predicted_ntk_change_stderr=0.0, linearisation_gap=gap
    )
    text = str(told)
    assert ("which speaks against lazy training" in text) == (change == 0.03 and gap > 0.25)
    assert ("which speaks against rich training" in text) == (change == 3.0 and gap <= 0.25)
    cut = replace(told, network=replace(told.network, ended=Ended.OUT_OF_STEPS))
    assert "speaks against" not in str(cut)  # neither lazy nor holding is told of a part


def test_the_turn_between_samples_is_said_where_it_is_known():
    told = some()
    assert "turned by 0.25 between samples" in str(
        replace(told, predicted_centred_kernel_distance=0.25)
    )
    assert "turned" not in str(replace(told, predicted_centred_kernel_distance=math.nan))
    fields = json.loads(told.to_json())
    del fields["predicted_centred_kernel_distance"]  # of a forecast made before it was
    assert math.isnan(Forecast.from_json(json.dumps(fields)).predicted_centred_kernel_distance)


def test_what_is_cut_short_promises_nothing():
    """Rich stays rich and a gap that is open stays open; the rest can still come."""
    told = some()
    cut = replace(told, network=replace(told.network, ended=Ended.OUT_OF_STEPS), goal=0.1)
    for change, regime, start in (
        (0.01, "cannot tell", "Cannot tell: lazy so far. "),
        (0.5, "cannot tell", "Cannot tell: intermediate so far. "),
        (2.0, "rich", "Rich. "),
    ):
        known = replace(cut, predicted_ntk_change=change)
        assert known.regime == regime
        assert str(known).startswith(start)
        assert "out of steps, short of its goal of 0.1." in str(known)
    for gap, word in ((0.01, "cannot tell"), (0.2, "cannot tell"), (0.3, "not lazy")):
        assert replace(cut, linearisation_gap=gap).certificate == word


def test_the_table_has_a_row_for_each_layer():
    told = some()
    head, *rows = str(told).splitlines()[5:8]
    assert head.split(maxsplit=3) == [
        "share",
        "of",
        "motion",
        "trace of the kernel   change of its NTK",
    ]
    for row, (name, share) in zip(rows, told.layers.items(), strict=True):
        change = told.layer_ntk_change[name]
        assert row.split() == [name, f"{share.motion:.1%}", f"{share.kernel:.1%}", f"{change:.3g}"]
        assert len(row) == len(head)


def test_as_text_and_back():
    told = some()
    assert Forecast.from_json(told.to_json()) == told
    with pytest.raises(InputError, match=r"must be what `to_json` made, got '\{\}'"):
        Forecast.from_json("{}")


def test_what_it_cannot_rehearse_is_refused():
    model, batch = mlp(), regression()
    optimizer, other = SGD(model.parameters(), lr=0.1), SGD(mlp().parameters(), lr=0.1)
    for options, message in (
        ({"steps": 0}, "`steps` must be ≥ 1, got 0"),
        ({"max_steps": 0}, "`max_steps` must be ≥ 1, got 0"),
        ({"max_seconds": 0.0}, "`max_seconds` must be > 0, got 0"),
        ({"to_loss": 100.0}, "`to_loss` must be below the loss before training"),
        ({"to_loss": math.nan}, "`to_loss` must be below the loss before training"),
        ({"to_loss": -0.5}, "must not be below the least possible loss of any outputs, 0, got -0"),
        (
            {"schedule": LambdaLR(other, lambda t: 1.0)},
            "must be one of the optimiser that is given",
        ),
    ):
        with pytest.raises(InputError, match=message):
            forecast(model, batch, optimizer=optimizer, **options)
    with pytest.raises(InputError, match="owns none of the 4 trainable"):
        forecast(model, batch, optimizer=other)
    with pytest.raises(lazyrich.NoDescentError, match="fitted already"):
        forecast(model, (batch[0], model(batch[0]).detach()), optimizer=optimizer)
    with pytest.raises(InputError, match="must have a least value"):
        forecast(model, batch, lambda f, y: (f * y).sum(), optimizer=optimizer)


@pytest.mark.parametrize("kind", [SGD, Adam, torch.optim.RMSprop])
def test_a_scheduler_that_warms_up_from_zero(kind):
    """The rates are 0 when the forecast is made; it is trained with those that they lead to."""
    model, batch = mlp(), regression()
    plain = forecast(model, batch, optimizer=kind(model.parameters(), lr=0.01), steps=9)
    optimizer = kind(model.parameters(), lr=0.01)
    warm_up = LambdaLR(optimizer, lambda step: min(step / 3, 1.0))
    told = forecast(model, batch, optimizer=optimizer, schedule=warm_up, steps=9)
    assert (told.richness, told.time_to_fit) == (plain.richness, plain.time_to_fit)
    losses = trained(model, optimizer, batch, mse_loss, steps=9, after=lambda _: warm_up.step())
    assert told.network.losses == pytest.approx(losses, rel=1e-9)


@pytest.mark.parametrize("kind", [SGD, Adam, torch.optim.Adagrad])
def test_a_loss_without_curvature_has_a_rehearsal_and_no_richness(kind):
    model, batch = mlp().float(), tuple(t.float() for t in regression())
    optimizer = kind(model.parameters(), lr=0.003)
    told = forecast(model, batch, nn.L1Loss(), optimizer=optimizer, steps=9, directions="all")
    assert math.isnan(told.richness)
    then = weights(model)
    losses = trained(model, optimizer, batch, nn.L1Loss(), steps=9)
    assert told.network.losses == pytest.approx(losses, rel=1e-5)
    assert told.predicted_ntk_change == pytest.approx(
        measured_change(model, batch[0], then)[0], rel=1e-3
    )


def falls_without_end(f: Tensor, y: Tensor) -> Tensor:
    return -(f * y).mean()


def test_a_loss_that_falls_without_end_is_not_frozen():
    model, batch = mlp(), regression()
    optimizer = SGD(model.parameters(), lr=0.3)
    told = forecast(
        model, batch, falls_without_end, optimizer=optimizer, steps=60, directions="all"
    )
    assert told.predicted_ntk_change > 1
    assert told.regime == "rich"


def test_nothing_moves_where_the_data_are_fitted():
    model, (x, _) = mlp(), regression()
    fitted = x, model(x).detach()
    told = forecast(model, fitted, optimizer=SGD(model.parameters(), lr=0.1), steps=3)
    assert told.regime == "frozen"
    assert str(told).startswith("Frozen. ")


@pytest.mark.parametrize("loss", ["mse", nn.L1Loss(), nn.HuberLoss(), falls_without_end])
@pytest.mark.parametrize("lr", [1e-5, 1e-3, 0.01, 0.03])
def test_forecast_and_verdict_of_the_same_training_have_the_same_word(loss, lr):
    model, batch = mlp(), regression()
    optimizer = SGD(model.parameters(), lr=lr)
    told = forecast(model, batch, loss, optimizer=optimizer, steps=10, directions="all")
    probe = lazyrich.Probe(model, batch, loss, samples=None, directions="all")
    probe.measure(0)
    trained(model, optimizer, batch, mse_loss if loss == "mse" else loss, steps=10)
    probe.measure(10)
    verdict = probe.verdict()
    assert told.predicted_ntk_change == pytest.approx(verdict.evidence["ntk_change"], rel=1e-6)
    moved = verdict.evidence["output_change"]
    assert told.output_change == pytest.approx(moved, rel=1e-6, nan_ok=True)
    assert verdict.regime in (told.regime, "cannot tell")
    assert verdict.regime == told.regime or lr > 1e-3


def test_thresholds_of_what_learned_too_little():
    limits, nan = Thresholds(), math.nan
    for most, output, ratio, word in (
        *((0.02, 0.049, 0.91, True), (0.02, 0.051, 0.99, False)),
        *((0.02, nan, 0.91, True), (0.02, nan, 0.89, False), (0.02, 0.049, nan, True)),
        *((0.02, nan, nan, False), (0.2, 0.01, 0.99, False), (nan, 0.01, 0.99, False)),
    ):
        assert limits.is_frozen(most, output, ratio) is word


@pytest.mark.parametrize("loss", ["mse", nn.L1Loss()])
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_the_table_covers_the_kernel_whose_change_it_tells(loss, kind):
    """Also under an optimiser with rates of its own, and where no first step tells anything."""
    model, batch = mlp(), regression()
    then = weights(model)
    told = forecast(
        model, batch, loss, optimizer=kind(model.parameters(), lr=0.003), steps=9, directions="all"
    )
    traces = {
        layer: sum(
            flat_jacobian(model, batch[0], {n: t}, then).square().sum().item()
            for n, t in then.items()
            if n.startswith(layer)
        )
        for layer in told.layer_ntk_change
    }
    for layer, trace in traces.items():
        share = trace / sum(traces.values())
        assert told.layers[layer].kernel == pytest.approx(share, rel=1e-9)
    assert "nan" not in str(told).casefold()
    assert "unknown" not in str(told)
    assert ("richness ρ =" in str(told)) == (loss == "mse")


@pytest.mark.parametrize("training", [True, False])
def test_training_without_dropout_is_said(training):
    model = nn.Sequential(mlp(), nn.Dropout(0.3)).train(training)
    told = forecast(
        model, regression(), optimizer=SGD(model.parameters(), lr=0.01), steps=2, directions=2
    )
    assert ("The rehearsals train without dropout" in str(told)) is training


def test_parameters_of_the_model_itself_have_one_name():
    told = some()
    (name, share), *_ = told.layers.items()
    named = replace(told, layers={"": share}, layer_ntk_change={"": told.layer_ntk_change[name]})
    assert ITSELF in str(named)


def test_an_optimizer_of_sparse_gradients_rehearses_what_it_does_itself() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Flatten(), nn.Linear(8, 1)).to(F64)
    model[2].requires_grad_(False)
    words, y = torch.tensor([[0, 1], [1, 2], [5, 5]]), torch.ones(3, 1, dtype=F64)
    optimizer = SparseAdam([model[0].weight], lr=0.1)
    found = forecast(model, (words, y), optimizer=optimizer, steps=4)
    for _ in range(4):
        optimizer.zero_grad()
        mse_loss(model(words), y).backward()
        optimizer.step()
    assert found.network.losses[-1] == pytest.approx(mse_loss(model(words), y).item())
