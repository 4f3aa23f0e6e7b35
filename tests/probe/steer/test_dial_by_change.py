"""The dial by outcome: training makes the change of the kernel that was asked for, and falls."""

from __future__ import annotations

import copy
import re
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adagrad, Adam, AdamW, Muon, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR

from lazyrich import ConvergenceError, InputError, dial
from lazyrich.probe import Ended, Rehearsal
from lazyrich.probe.steer.ruler import RISEN, Ruler, Trial
from tests.probe.steer.test_dial import same_snapshot, snapshot

FACTOR = 1.5  # the promise, below a change of 1
STOP_AT = 0.2


def batch(loss: str = "mse", outputs: int = 3) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(5)
    x = torch.randn(12, 6, generator=g)
    y = torch.tanh(x[:, :outputs] * x[:, 1 : outputs + 1])
    return x, y.argmax(1) if loss == "cross_entropy" else y


def tanh_mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 3))


def relu_mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)
    )


def zero_readout() -> nn.Sequential:
    net = relu_mlp()
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return net


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)
    )


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)
        self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = h + torch.relu(block(h)) / 2
        return self.last(h)


def transformer() -> nn.Sequential:
    block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
    return nn.Sequential(
        nn.Unflatten(1, (3, 2)), nn.Linear(2, 8), block, nn.Flatten(), nn.Linear(24, 3)
    )


def batch_norm() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 64), nn.BatchNorm1d(64), nn.Tanh(), nn.Linear(64, 3))


def fine_tuned() -> nn.Sequential:
    """Features that have learned another task, and a new readout."""
    net, (x, y) = relu_mlp(), batch()
    optimizer = Adam(net.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        (net(x) - y.roll(1, 1)).square().mean().backward()
        optimizer.step()
    net[-1].reset_parameters()
    return net


FAMILIES = [
    tanh_mlp, relu_mlp, cnn, transformer, Residual, zero_readout, batch_norm, fine_tuned
]  # fmt: skip
OPTIMIZERS = {
    "SGD": lambda ps: SGD(ps, lr=1.0),
    "momentum": lambda ps: SGD(ps, lr=0.1, momentum=0.9),
    "Adam": lambda ps: Adam(ps, lr=0.01),
    "AdamW": lambda ps: AdamW(ps, lr=0.01),
}


def kernel(model: nn.Module, x: Tensor) -> Tensor:
    """Θ by one backward pass an output; batch norms by the batch, as constants."""
    model.train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    for m in norms:
        m.momentum = 1.0
    with torch.no_grad():
        model(x)
    for m in norms:
        m.running_var *= (len(x) - 1) / len(x)
    model.eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    rows = [torch.autograd.grad(f, trained, retain_graph=True) for f in model(x).reshape(-1)]
    J = torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows]).double()
    model.train()
    return J @ J.T


def train(
    model: nn.Module,
    optimizer: Optimizer,
    data: tuple[Tensor, Tensor],
    loss: str = "mse",
    *,
    scheduler: LambdaLR | None = None,
    most: int = 6000,
) -> list[float]:
    """The loss before every step and at the end, down to a fifth of the first."""
    (x, y), losses = data, []
    of = nn.functional.cross_entropy if loss == "cross_entropy" else nn.functional.mse_loss

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        value = of(model(x), y)
        value.backward()
        return value

    while True:
        losses.append(evaluate().item())
        if not losses[-1] > STOP_AT * losses[0] or len(losses) > most:
            return losses
        optimizer.step(evaluate)
        if scheduler is not None:
            scheduler.step()


def outcome(
    build: object, kind: object, target: float, loss: str = "mse", seed: int = 0, **options: object
) -> float:
    """The measured change of the kernel over the one that was asked for."""
    torch.manual_seed(seed)
    net, data = build(), batch(loss)
    optimizer = kind([p for p in net.parameters() if p.requires_grad])
    model = dial(net, data, loss, optimizer=optimizer, ntk_change=target, **options).model
    before = kernel(model, data[0])
    losses = train(model, optimizer, data, loss)
    assert losses[-1] <= STOP_AT * losses[0]
    change = (kernel(model, data[0]) - before).norm() / before.norm()
    return change.item() / target


@pytest.mark.parametrize("build", FAMILIES, ids=lambda build: build.__name__)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_training_makes_the_change_that_was_asked_for(build, kind):
    """Measured by explicit Jacobians after training itself, within the promised factor."""
    number = list(product(FAMILIES, OPTIMIZERS)).index((build, kind))
    target, loss = (0.03, 0.1, 0.3)[number % 3], ("mse", "cross_entropy")[number % 2]
    assert 1 / FACTOR <= outcome(build, OPTIMIZERS[kind], target, loss) <= FACTOR


@pytest.mark.parametrize(
    "kind",
    [
        lambda ps: RMSprop(ps, lr=0.003),
        lambda ps: Adagrad(ps, lr=0.01),
        lambda ps: LBFGS(ps, lr=0.1, max_iter=1),
        lambda ps: Muon([p for p in ps if p.ndim == 2], lr=0.01, weight_decay=0.0),
    ],
    ids=["RMSprop", "Adagrad", "L-BFGS", "Muon"],
)
def test_any_optimiser_is_dialled_by_what_comes_of_it(kind):
    def build() -> nn.Module:
        net = tanh_mlp()
        net[0].bias.requires_grad_(False)  # Muon is for matrices alone
        net[2].bias.requires_grad_(False)
        return net

    assert 1 / FACTOR <= outcome(build, kind, 0.1) <= FACTOR


def test_a_schedule_of_the_rates_is_rehearsed():
    data = batch()
    torch.manual_seed(0)
    net = tanh_mlp()
    optimizer = Adam(net.parameters(), lr=0.02)

    def warm_up(step: int) -> float:
        return min(1.0, (step + 1) / 40)

    model = dial(net, data, optimizer=optimizer, ntk_change=0.1, schedule=warm_up).model
    before = kernel(model, data[0])
    train(model, optimizer, data, scheduler=LambdaLR(optimizer, warm_up))
    change = (kernel(model, data[0]) - before).norm() / before.norm()
    assert 0.1 / FACTOR <= change <= 0.1 * FACTOR


# --- the rich end ------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("asked", [{"richness": 100.0}, {"ntk_change": 3.0}])
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_at_the_rich_end_the_loss_falls(kind, asked, dry_run):
    """η ∝ 1/γ² sent it to thousands of times its start."""
    torch.manual_seed(1)
    net, data = relu_mlp(), batch()
    optimizer = OPTIMIZERS[kind](net.parameters())
    result = dial(net, data, optimizer=optimizer, dry_run=dry_run, **asked)
    if "richness" in asked or kind == "SGD":
        assert "the loss would not fall in the rehearsal: they are divided by" in str(result)
    if dry_run:
        model = copy.deepcopy(dial(net, data, optimizer=optimizer, **asked).model)
        optimizer = OPTIMIZERS[kind](model.network.parameters())
        model.set_output_scale(result.output_scale)
        for group in optimizer.param_groups:
            group["lr"] = result.learning_rates["0"].after
    else:
        model = result.model
    losses = train(model, optimizer, data)
    assert losses[-1] <= 0.5 * losses[0]
    assert max(losses) <= (1 + RISEN) * losses[0] * (1 + 1e-3)


@pytest.mark.parametrize("depth", [2, 3])
def test_rates_there_go_with_the_power_two_over_the_depth(depth):
    """Atanasov et al., arXiv:2410.04642, for deep linear networks: η ∝ γ^(−2/L)."""
    points = []
    for target in (1e2, 1e4):
        torch.manual_seed(0)
        widths = [6, *[16] * (depth - 1), 3]
        pairs = pairwise(widths)
        net = nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in pairs))
        x = torch.randn(12, 6)
        optimizer = SGD(net.parameters(), lr=0.5)
        result = dial(net, (x, x[:, :3]), optimizer=optimizer, richness=target)
        points.append((result.output_scale, optimizer.param_groups[0]["lr"]))
    (g_0, lr_0), (g_1, lr_1) = torch.tensor(points).log()
    power = ((lr_1 - lr_0) / (g_0 - g_1)).item()
    assert power == pytest.approx(2 / depth, abs=0.25)


# --- what it says ------------------------------------------------------------------------------


def test_it_says_change_certificate_regime_and_cost():
    data = batch()
    for asked, first in (
        ({"ntk_change": 0.05}, r"Dialled the change of the kernel \(NTK\) to (\S+) of its size "),
        ({"richness": 0.05}, r"Dialled the richness to ρ = (\S+) \(target: 0.05\); without"),
    ):
        torch.manual_seed(0)
        net = tanh_mlp()
        result = dial(net, data, optimizer=SGD(net.parameters(), lr=1.0), **asked)
        text = str(result)
        value = result.predicted_ntk_change if "ntk_change" in asked else result.richness
        found = re.match(first, text)
        assert found
        assert float(found[1]) == pytest.approx(value, rel=0.01)
        told = result.forecast
        assert f"{told.regime.capitalize()}: in a rehearsal of {told.network.steps} steps" in text
        assert f"Certificate: {result.certificate}, gap" in text
        assert (result.regime, result.certificate) == (told.regime, told.certificate)
        assert f"The dial cost as much as {result.gradients:.0f} training steps" in text
        assert result.gradients > 2 * told.network.steps


def test_a_rehearsal_that_was_cut_short_is_said():
    torch.manual_seed(0)
    net, data = tanh_mlp(), batch()
    optimizer = SGD(net.parameters(), lr=0.1)
    result = dial(net, data, optimizer=optimizer, richness=0.05, max_steps=10)
    assert result.regime == "cannot tell"
    assert "Cannot tell: in a rehearsal of 10 steps" in str(result)
    assert "(out of steps) and the kernel changes by" in str(result)
    assert "Certificate: cannot tell." in str(result)


def test_progress_tells_the_scale():
    torch.manual_seed(0)
    net, data, said = tanh_mlp(), batch(), []
    dial(
        net, data, optimizer=Adam(net.parameters(), lr=0.01), ntk_change=0.1,
        progress=lambda what, step, loss: said.append((what, step)),
    )  # fmt: skip
    assert {re.sub(r"scale \S+", "scale …", what) for what, _ in said} == {
        "the network at output scale …",
        "the linearised network at output scale …",
    }
    assert len({what for what, _ in said}) > 2
    assert said[0][1] == 0


# --- what it leaves as it was ------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{"ntk_change": 0.1}, {"richness": 0.5}])
@pytest.mark.parametrize("at", ["the network", "the last network", "the linearised network"])
def test_ctrl_c_leaves_everything_unchanged(asked, at):
    """In the search, and in the look at its result, where a forecast would end early."""
    torch.manual_seed(0)
    net, data = tanh_mlp(), batch()
    optimizer = SGD(net.parameters(), lr=0.5)
    given = dial(net, data, optimizer=optimizer, richness=1.0).model
    before, said = snapshot(given, optimizer), []

    def note(what: str, step: int, loss: float) -> None:
        said.append(what.partition(" at ")[0])

    dial(given, data, optimizer=optimizer, progress=note, dry_run=True, **asked)
    linear = said.index("the linearised network")
    stop = {"the network": 3, "the last network": linear - 3, "the linearised network": linear + 2}

    def interrupt(what: str, step: int, loss: float) -> None:
        said.append(what)
        if len(said) == stop[at]:
            raise KeyboardInterrupt

    said.clear()
    with pytest.raises(KeyboardInterrupt):
        dial(given, data, optimizer=optimizer, progress=interrupt, **asked)
    assert same_snapshot(before, snapshot(given, optimizer))


class Kinked(nn.Module):
    """Every unit sits at its kink: however small a step, half of the slopes change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 32, bias=False), nn.Linear(32, 3, bias=False)
        nn.init.zeros_(self.first.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(nn.functional.leaky_relu(self.first(x), 0.1))


class Bounded(nn.Module):
    """A linear network with a little beside it that can move: its kernel changes by so much."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.side = nn.Linear(6, 3), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + 0.1 * torch.tanh(self.side)


@pytest.mark.parametrize(
    ("build", "target", "message"),
    [
        (Kinked, 0.001, r"could not be set to 0.001: over output scales from .* it went from "),
        (Bounded, 50.0, r"could not be set to 50: over output scales from .* it went from "),
    ],
)
def test_what_is_out_of_reach_is_said_with_the_range(build, target, message):
    torch.manual_seed(0)
    net, x = build(), batch()[0]
    data, optimizer = (x, x[:, :3]), SGD(net.parameters(), lr=0.3)
    before = snapshot(net, optimizer)
    with pytest.raises(ConvergenceError, match=message) as told:
        dial(net, data, optimizer=optimizer, ntk_change=target)
    assert "Nothing was changed" in str(told.value)
    assert same_snapshot(before, snapshot(net, optimizer))


def test_a_jump_over_what_was_asked_for_is_said(monkeypatch):
    course = Rehearsal(losses=(1.0, 0.1), ended=Ended.FITTED, gradients=1.0)

    def jumping(ruler: Ruler, goal: object, slowed: float) -> Trial:
        scale = ruler.output_scale
        change = (2.0 if scale < 7 else 0.5) * (7 / scale) ** 0.5
        return Trial(output_scale=scale, slowed=slowed, course=course, ntk_change=change)

    monkeypatch.setattr(Ruler, "_trial", jumping)
    net = tanh_mlp()
    with pytest.raises(
        ConvergenceError, match=r"It jumps from 0\.\d+ to 2(\.\d+)?: ask for one of these"
    ):
        dial(net, batch(), optimizer=SGD(net.parameters(), lr=0.1), ntk_change=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": 5}, "must come to its loss within `max_steps`, got .* after 5 steps at"),
        ({"max_seconds": 1e-9}, "must be done within `max_seconds`"),
    ],
)
def test_a_budget_that_is_out_is_said(options, message):
    torch.manual_seed(0)
    net, data = tanh_mlp(), batch()
    optimizer = SGD(net.parameters(), lr=0.1)
    given = dial(net, data, optimizer=optimizer, richness=1.0).model
    before = snapshot(given, optimizer)
    with pytest.raises(ConvergenceError, match=message + ".*Nothing was changed"):
        dial(given, data, optimizer=optimizer, ntk_change=0.1, **options)
    assert same_snapshot(before, snapshot(given, optimizer))


def test_a_first_guess_that_trains_too_slowly_is_no_end():
    """It is too lazy: at the scale that is looked for, the steps suffice."""
    courses: dict[str, int] = {}
    torch.manual_seed(0)
    net, data = zero_readout(), batch()
    optimizer = Adam(net.parameters(), lr=0.01)
    asked = {"optimizer": optimizer, "ntk_change": 0.5, "dry_run": True}
    dial(net, data, progress=lambda what, step, loss: courses.update({what: step}), **asked)
    steps = [step for what, step in courses.items() if what.startswith("the network")]
    assert steps[0] > steps[-1] + 2
    enough = dial(net, data, max_steps=steps[0] - 1, **asked)
    assert enough.predicted_ntk_change == pytest.approx(0.5, rel=0.15)


def test_a_loss_that_cannot_fall_is_said():
    """Dead units: no gradient."""
    torch.manual_seed(0)
    net, (x, y) = relu_mlp(), batch()
    net[0].bias.data.fill_(-100)
    net[4].bias.requires_grad_(False)
    trained = [p for p in net.parameters() if p.requires_grad]
    net[2].bias.data.fill_(-100)
    with pytest.raises(ConvergenceError, match="the loss must fall in a rehearsal, got none"):
        dial(net, (x, y), optimizer=SGD(trained, lr=0.1), ntk_change=0.1, max_steps=9)


# --- what it refuses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "must be given one of `ntk_change` and `richness`, got none"),
        ({"richness": 1.0, "ntk_change": 0.1}, "`ntk_change` and `richness`, got both"),
        ({"ntk_change": 0.0}, "`ntk_change` must be a positive number, got 0.0"),
        ({"ntk_change": float("nan")}, "`ntk_change` must be a positive number, got nan"),
    ],
)
def test_exactly_one_positive_number_is_asked_for(asked, message):
    net = tanh_mlp()
    with pytest.raises(InputError, match=message):
        dial(net, batch(), optimizer=SGD(net.parameters(), lr=0.1), **asked)


def test_linear_models_are_refused():
    net = nn.Linear(6, 3)
    with pytest.raises(InputError, match="linear in its trainable parameters"):
        dial(net, batch(), optimizer=Adam(net.parameters()), ntk_change=0.1, max_steps=9)


def test_equal_speed_is_for_optimisers_with_a_rate_a_layer():
    net = tanh_mlp()
    with pytest.raises(InputError, match="must have SGD, Adam or AdamW"):
        dial(net, batch(), optimizer=RMSprop(net.parameters()), ntk_change=0.1, equal_speed=True)


class Rateless(Optimizer):
    def __init__(self, params: object) -> None:
        super().__init__(params, {})


def test_an_optimiser_without_a_rate_is_refused():
    net = tanh_mlp()
    with pytest.raises(InputError, match="groups have a learning rate `lr`, got a Rateless"):
        dial(net, batch(), optimizer=Rateless(net.parameters()), ntk_change=0.1)


@pytest.mark.parametrize("kind", [SGD, Adam, RMSprop])
def test_a_loss_without_curvature_is_dialled_and_no_unknown_number_is_said(kind):
    net = tanh_mlp()
    optimizer = kind(net.parameters(), lr=0.003)
    result = dial(
        net, batch(), nn.L1Loss(), optimizer=optimizer, ntk_change=0.2, max_steps=900, steps=40
    )
    assert result.predicted_ntk_change == pytest.approx(0.2, rel=0.3)
    assert "unknown" not in str(result)
    assert "Richness" not in str(result)


def test_advice_to_an_optimiser_that_warms_up_from_zero():
    """It is the same as before the warm-up began: by the rates that this leads to."""
    net = tanh_mlp()
    plain = SGD(net.parameters(), lr=0.1)
    wanted = {"ntk_change": 0.1, "steps": 20, "dry_run": True}
    known = dial(net, batch(), optimizer=plain, **wanted)
    LambdaLR(plain, lambda step: min(step / 10, 1.0))
    advised = dial(net, batch(), optimizer=plain, **wanted)
    assert advised.output_scale == known.output_scale
    assert advised.learning_rates == known.learning_rates
    assert plain.param_groups[0]["lr"] == 0
