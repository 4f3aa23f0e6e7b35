"""Watching a training loop: it changes nothing, leaves nothing behind, and keeps its budget."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lazyrich import InputError, Probe, at, every, log_spaced
from lazyrich.probe.callbacks.stepwise import Stepwise
from lazyrich.probe.measurements import Measurements
from tests.models import randn


class Noisy(nn.Module):
    """Dropout, batch normalisation, and a draw from the global generator in every step."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2)
        )

    def forward(self, x):
        return self.body(x)


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()


def sgd(model, lr=0.05, **options):
    return torch.optim.SGD(model.parameters(), lr=lr, **options)


def train(model, optimizer, x, y, steps, end=None):
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    if end:
        raise end


def hooks(optimizer, model):
    return [
        *optimizer._optimizer_step_post_hooks,
        *(hook for m in model.modules() for hook in m._forward_hooks),
    ]


@pytest.fixture
def data():
    return randn(6, 4), randn(6, 2)


@pytest.mark.parametrize("make", [sgd, lambda m: torch.optim.Adam(m.parameters(), lr=0.01)])
def test_training_is_bitwise_the_same_with_and_without(make, data):
    x, y = data
    twins = [Noisy().double()]
    twins.append(copy.deepcopy(twins[0]))
    for model, watched in zip(twins, (True, False), strict=True):
        torch.manual_seed(3)
        optimizer = make(model)
        if watched:
            names = ["loss", "ntk_change", "nfa", "linearisation_error", "feature_speed", "cka"]
            with Probe(model, (x, y), observables=names).watch(optimizer, when=every(1)) as probe:
                train(model, optimizer, x, y, 4)
            assert probe.history.sizes["step"] == 5
        else:
            train(model, optimizer, x, y, 4)
    states = [model.state_dict() for model in twins]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    grads = [[p.grad for p in model.parameters()] for model in twins]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    assert twins[0].training


@pytest.mark.parametrize(
    ("when", "steps"),
    [
        (every(3), [0, 3, 6, 7]),
        (at(2, 99), [0, 2, 7]),
        (log_spaced(1, 4, 3), [0, 1, 2, 4, 7]),
        (lambda step: step == 5, [0, 5, 7]),
        (3, [0, 3, 6, 7]),
        (None, [0, 7]),
    ],
)
def test_measures_at_entry_on_schedule_and_at_exit(when, steps, data):
    model = net()
    optimizer = sgd(model)
    probe = Probe(model, data)
    with probe.watch(optimizer, when=when):
        train(model, optimizer, *data, 7)
    assert list(probe.history.step) == steps
    assert hooks(optimizer, model) == []


def test_watching_again_goes_on_counting(data):
    model = net()
    optimizer = sgd(model)
    probe = Probe(model, data, observables=["loss"])
    for _ in range(2):
        with probe.watch(optimizer, when=every(2)):
            train(model, optimizer, *data, 3)
    train(model, optimizer, *data, 3)  # nobody looks
    assert list(probe.history.step) == [0, 2, 3, 4, 6]


def test_an_exception_leaves_a_history_and_no_hooks(data):
    model = net()
    optimizer = sgd(model)
    probe = Probe(model, data)
    with pytest.raises(ZeroDivisionError), probe.watch(optimizer, when=every(2)):
        train(model, optimizer, *data, 5, end=ZeroDivisionError)
    assert list(probe.history.step) == [0, 2, 4]
    assert hooks(optimizer, model) == []
    assert probe.verdict().regime in ("lazy", "rich", "cannot tell")


def test_steps_before_an_exception_count(data):
    """49 steps, an error, 10 more: the second watch begins at 49."""
    model = net()
    optimizer = sgd(model)
    probe = Probe(model, data, observables=["loss"])
    with pytest.raises(ZeroDivisionError), probe.watch(optimizer, when=every(50)):
        train(model, optimizer, *data, 49, end=ZeroDivisionError)
    with probe.watch(optimizer, when=every(50)):
        train(model, optimizer, *data, 10)
    assert list(probe.history.step) == [0, 49, 50, 59]


class SharpnessAware(torch.optim.Optimizer):
    """The pattern of SAM: two half steps, and its own `step` is never called, nor another one's."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})

    def step(self, closure=None):
        raise AssertionError("nobody calls it")

    @torch.no_grad()
    def first_step(self, size=0.01):
        for p in self.param_groups[0]["params"]:
            self.state[p]["up"] = up = size * p.grad
            p += up

    @torch.no_grad()
    def second_step(self):
        for p in self.param_groups[0]["params"]:
            p -= self.state[p]["up"] + self.param_groups[0]["lr"] * p.grad


def test_an_optimiser_whose_step_never_runs(data):
    x, y = data
    model = net()
    optimizer = SharpnessAware(model.parameters())
    probe = Probe(model, data)
    with probe.watch(optimizer, when=every(2)):
        for half in (optimizer.first_step, optimizer.second_step) * 5:
            model.zero_grad()
            (model(x) - y).square().mean().backward()
            half()
    assert list(probe.history.step) == [0, 1]
    assert probe.history.ntk_change[-1] > 0
    assert "No step of SharpnessAware was seen inside `watch`, though weights" in str(
        probe.verdict()
    )
    with probe.watch(optimizer):
        pass  # nothing changed, so nothing is missing
    assert list(probe.history.step) == [0, 1]


def test_an_interrupt_is_measured_and_passed_on(data):
    model = net()
    optimizer = sgd(model)
    probe = Probe(model, data)
    with pytest.raises(KeyboardInterrupt), probe.watch(optimizer, when=every(2)):
        train(model, optimizer, *data, 5, end=KeyboardInterrupt)
    assert list(probe.history.step) == [0, 2, 4, 5]
    assert hooks(optimizer, model) == []


def test_an_error_while_measuring_leaves_no_hooks(data):
    model = net()
    optimizer = sgd(model)
    probe = Probe(model, data)
    with pytest.raises(TypeError, match="not this time"), probe.watch(optimizer, when=fail):
        train(model, optimizer, *data, 5)
    assert hooks(optimizer, model) == []
    assert list(probe.history.step) == [0]


def fail(step):
    raise TypeError("not this time")


def test_divergence_is_a_status(data):
    model = net()
    optimizer = sgd(model, lr=1e200)
    probe = Probe(model, data)
    with probe.watch(optimizer, when=every(1)):
        train(model, optimizer, *data, 3)
    assert math.isnan(float(probe.history.loss[-1]))
    assert probe.verdict().regime == "unstable"
    assert "diverged" in probe.verdict().sentence


def test_a_logger_gets_every_scalar(data):
    model = net()
    optimizer = sgd(model)
    probe = Probe(model, data)
    seen = {}
    with probe.watch(
        optimizer, when=every(2), log=lambda values, step: seen.update({step: values})
    ):
        train(model, optimizer, *data, 2)
    history = probe.history
    assert list(seen) == [0, 2]
    assert seen[2]["lazyrich/loss"] == float(history.loss[1])
    assert seen[2]["lazyrich/weight_movement/0"] == float(history.weight_movement.sel(layer="0")[1])
    assert len(seen[2]) > 20


def test_tensorboard(data, tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    model = net()
    optimizer = sgd(model)
    probe = Probe(model, data, observables=["loss", "weight_movement"])
    with (
        tensorboard.SummaryWriter(str(tmp_path)) as writer,
        probe.watch(optimizer, when=every(2), log=writer),
    ):
        train(model, optimizer, *data, 4)
    read = events.EventAccumulator(str(tmp_path))
    read.Reload()
    points = read.Scalars("lazyrich/weight_movement/2")
    assert [point.step for point in points] == [0, 2, 4]
    expected = probe.history.weight_movement.sel(layer="2")
    assert [point.value for point in points] == pytest.approx(expected.values, rel=1e-6)


@pytest.fixture
def hands(monkeypatch):
    """Those of the clock, which only a test moves: a measurement takes 1 ms."""
    hands, row = SimpleNamespace(now=0.0), Measurements.row

    def slow(*args):
        hands.now += 1e-3
        return row(*args)

    for module in ("probe", "clock"):
        stopped = SimpleNamespace(perf_counter=lambda: hands.now)
        monkeypatch.setattr(f"lazyrich.probe.{module}.time", stopped)
    monkeypatch.setattr(Measurements, "row", slow)
    return hands


def test_a_budget_chooses_the_cadence(data, hands):
    """Steps take 2 ms and measurements 1 ms: a tight budget measures less often, and is kept."""
    model = net()
    optimizer = sgd(model)
    counts = {}
    for budget in (0.8, 0.2):
        probe = Probe(model, data, observables=["loss"])
        with probe.watch(optimizer, budget=budget):
            for _ in range(100):
                hands.now += 2e-3
                train(model, optimizer, *data, 1)
        counts[budget] = probe.history.sizes["step"]
        assert probe.overhead <= budget
    assert counts[0.8] == 101
    assert 45 <= counts[0.2] <= 51  # every second step


@pytest.mark.parametrize("by", ["watch", "callback"])
@pytest.mark.parametrize(
    ("step_takes", "looks"),
    [(1e-3, [0, 150, 200, 250, 300, 350, 400]), (1e-4, [0, 400])],
)
def test_with_nothing_given_every_fiftieth_step_is_due_within_two_percent(
    step_takes, looks, by, data, hands
):
    """Where looks fit, they are at steps that other runs have, too; else at both ends only."""
    model = net()
    optimizer = sgd(model)
    probe = Probe(model, data, observables=["loss"])
    stepwise = Stepwise(probe)

    def step():
        hands.now += step_takes
        train(model, optimizer, *data, 1)

    if by == "watch":
        with probe.watch(optimizer):
            for _ in range(400):
                step()
    else:
        stepwise.begin(0, optimizer)
        for made in range(1, 401):
            step()
            stepwise(made, optimizer)
        stepwise(400, optimizer, now=True)
    assert list(probe.history.step) == looks
    assert step_takes == 1e-4 or probe.overhead <= 0.02


def test_a_budget_measures_only_where_the_schedule_allows(data):
    model = net()
    optimizer = sgd(model)
    probe = Probe(model, data, observables=["loss"])
    with probe.watch(optimizer, when=every(4), budget=0.99):
        train(model, optimizer, *data, 9)
    assert set(probe.history.step.values) <= {0, 4, 8, 9}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0.0}, "`budget` must be a share between 0 and 1, got 0.0"),
        ({"budget": 1.5}, "`budget` must be a share between 0 and 1, got 1.5"),
        ({"log": 3}, "`log` must be a callable"),
        ({"when": 0}, "`interval` must be a whole number ≥ 1, got 0"),
        ({"when": True}, "`when` must be a schedule .* or a function of the step, got True"),
    ],
)
def test_refusals(options, message, data):
    model = net()
    with pytest.raises(InputError, match=message), Probe(model, data).watch(sgd(model), **options):
        pass


def test_an_optimiser_of_another_model_is_refused(data):
    model = net()
    with pytest.raises(InputError, match="must own"), Probe(model, data).watch(sgd(net())):
        pass


def test_an_optimiser_of_the_inner_model_is_accepted(data):
    model = net()
    wrapped = nn.DataParallel(model)
    probe = Probe(wrapped, data, observables=["loss"])
    optimizer = sgd(model)
    with probe.watch(optimizer):
        train(model, optimizer, *data, 2)
    assert list(probe.history.step) == [0, 2]
