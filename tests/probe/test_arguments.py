"""Arguments of another kind are refused in one sentence, whatever function they were given to."""

import inspect

import jaxtyping
import numpy as np
import pytest
import torch
from torch import nn

import lazyrich
from lazyrich import InputError
from lazyrich.probe.arguments import refuse_horizon, refuse_training


@pytest.fixture(autouse=True)
def _as_users_call_it():
    """Without the checks of types that all other tests run under."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


X, Y = torch.randn(6, 3), torch.randn(6, 2)
WRONG = ["a", 1.5, -1, [], {}, object(), float("nan"), True, torch.ones(2), b"x", 1j, None]


def network():
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def family(width):
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2))


def probe(**given):
    lazyrich.Probe(**{"model": network(), "batch": (X, Y), **given}).measure(0)


def measure(**given):
    lazyrich.Probe(network(), (X, Y)).measure(**{"step": 0, **given})


def watch(**given):
    model = network()
    with lazyrich.Probe(model, (X, Y)).watch(**{"optimizer": sgd(model), **given}):
        pass


def save(**given):
    one = lazyrich.Probe(network(), (X, Y))
    one.measure(0)
    one.save(**{"path": "x.nc", **given})


def dial(**given):
    model = network()
    needed = {"model": model, "batch": (X, Y), "optimizer": sgd(model), "richness": 1.0}
    lazyrich.dial(**{**needed, **given})


def forecast(**given):
    model = network()
    needed = {"model": model, "batch": (X, Y), "optimizer": sgd(model), "max_steps": 5}
    lazyrich.forecast(**{**needed, **given})


def check(**given):
    needed = {"factory": family, "batch": (X, Y), "widths": (4, 8, 16), "optimizer": 0.1}
    lazyrich.coordinate_check(**{**needed, "steps": 1, "seeds": 1, **given})


def by_name(model, size):
    return sgd(model)


def transfer(**given):
    needed = {"factory": family, "batch": (X, Y), "optimizer": by_name, "small": 2, "large": 8}
    lazyrich.transfer(**{**needed, "seeds": 1, "rounds": 1, **given})


def transferred(method, **given):
    needed = {"factory": family, "batch": (X, Y), "optimizer": by_name, "small": 2, "large": 8}
    found = lazyrich.transfer(**needed, seeds=1, rounds=1)
    model = family(8)
    if method == "apply":
        found.apply(**{"model": model, "optimizer": sgd(model), **given})
    else:
        found.check(**{"steps": 1, "seeds": 1, **given})


def linearize(**given):
    model = network()
    lazyrich.linearize(**{"model": model, "batch": (X, Y), **given}).predict(steps=1, lr=0.1)


def predict(**given):
    needed = {} if {"time", "steps"} & set(given) else {"time": 1.0}
    rate = {"lr": 0.1} if "steps" in given else {}
    lazyrich.linearize(network(), (X, Y)).predict(**{**needed, **rate, **given})


CALLS = {
    "linearize": (linearize, lazyrich.linearize),
    "predict": (predict, lazyrich.probe.Linearized.predict),
    "forecast": (forecast, lazyrich.forecast),
    "Probe": (probe, lazyrich.Probe),
    "measure": (measure, lazyrich.Probe.measure),
    "watch": (watch, lazyrich.Probe.watch),
    "save": (save, lazyrich.Probe.save),
    "ntk": (lambda **given: lazyrich.ntk(**{"model": network(), "x": X, **given}), lazyrich.ntk),
    "nfa": (lambda **given: lazyrich.nfa(**{"model": network(), "x": X, **given}), lazyrich.nfa),
    "cka": (
        lambda **given: lazyrich.cka(
            **{"model_a": network(), "model_b": network(), "x": X, **given}
        ),
        lazyrich.cka,
    ),
    "dial": (dial, lazyrich.dial),
    "coordinate_check": (check, lazyrich.coordinate_check),
    "transfer": (transfer, lazyrich.transfer),
    "Transfer.apply": (
        lambda **given: transferred("apply", **given),
        lazyrich.probe.Transfer.apply,
    ),
    "Transfer.check": (
        lambda **given: transferred("check", **given),
        lazyrich.probe.Transfer.check,
    ),
    "laziness_index": (
        lambda **given: lazyrich.laziness_index(**{"model": network(), "batch": (X, Y), **given}),
        lazyrich.laziness_index,
    ),
    "first_step": (
        lambda **given: lazyrich.first_step(**{"model": network(), "batch": (X, Y), **given}),
        lazyrich.first_step,
    ),
    "initial_cnfa": (
        lambda **given: lazyrich.initial_cnfa(**{"model": network(), "batch": (X, Y), **given}),
        lazyrich.initial_cnfa,
    ),
    "CentredOutput": (
        lambda **given: lazyrich.CentredOutput(**{"network": network(), **given}),
        lazyrich.CentredOutput,
    ),
    "every": (lambda interval: lazyrich.every(interval), lazyrich.every),
    "log_spaced": (
        lambda **given: lazyrich.log_spaced(**{"first": 1, "last": 9, "count": 3, **given}),
        lazyrich.log_spaced,
    ),
}
FREE = {
    *(
        "centred_gradients",
        "double_centred",
        "dry_run",
        "equal_speed",
        "kernel",
        "log",
        "refined",
        "trace",
    ),
}
"""Truth values may be anything, and what gets the numbers is called later."""
OF_THE_MODEL = {("x", torch.Tensor), ("x2", torch.Tensor)}
"""What the model itself refuses: it says so in its own words."""

ARGUMENTS = [
    (name, argument)
    for name, (_, function) in CALLS.items()
    for argument in inspect.signature(function).parameters
    if argument not in FREE | {"self"}
]


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_another_kind_is_refused_in_one_sentence_or_taken(name, argument, tmp_path, monkeypatch):
    """Some of the values are right for some arguments; none ends in somebody else's error."""
    monkeypatch.chdir(tmp_path)
    call, _ = CALLS[name]
    for value in WRONG:
        if (argument, type(value)) in OF_THE_MODEL:
            continue
        try:
            call(**{argument: value})
        except lazyrich.InputError:
            continue
        except lazyrich.ConvergenceError:
            assert argument == "max_seconds"  # a busy machine needs more than the one given here
        except Exception as error:
            raise AssertionError(f"{value!r} raised {type(error).__name__}: {error}") from error


@pytest.mark.parametrize(
    ("call", "given", "words"),
    [
        (
            probe,
            {"samples": "a"},
            "`samples` must be a whole number ≥ 1, \"auto\" or None, got 'a'",
        ),
        (probe, {"samples": 2.5}, '`samples` must be a whole number ≥ 1, "auto" or None, got 2.5'),
        (probe, {"model": nn.Linear}, "the model must be a torch.nn.Module, got <class"),
        (probe, {"observables": 3}, "`observables` must be names of quantities, got 3"),
        (probe, {"observables": [3]}, r"`observables` must be names of quantities, got \[3\]"),
        (probe, {"thresholds": 0.2}, "`thresholds` must be a `Thresholds`, got 0.2"),
        (probe, {"lrs": 0.1}, "`lrs` must map names .* got 0.1. Pass"),
        (probe, {"lrs": {"": "a"}}, "`lrs` must be ≥ 0 and finite, got 'a'"),
        (probe, {"lrs": {"": 1.0, 3: 1.0}}, r"`lrs` must name trainable parameters .* got \[3\]"),
        (probe, {"memory": "2G"}, "`memory` must be a number of bytes > 0, got '2G'"),
        (probe, {"seed": 0.5}, "`seed` must be a whole number ≥ 0, got 0.5"),
        (measure, {"step": "a"}, "`step` must be a whole number ≥ 0, got 'a'"),
        (measure, {"optimizer": 0.1}, "`optimizer` must be a torch.optim.Optimizer, got 0.1"),
        (watch, {"optimizer": None}, "`optimizer` must be a torch.optim.Optimizer, got None"),
        (watch, {"budget": "5%"}, "`budget` must be a share between 0 and 1, got '5%'"),
        (save, {"path": 3}, "`path` must be the name of a file, got 3"),
        (dial, {"optimizer": None}, "`optimizer` must be a torch.optim.Optimizer, got None"),
        (dial, {"richness": "rich"}, "`richness` must be a positive number, got 'rich'"),
        (check, {"factory": 3}, "`factory` must be a function that makes .* got 3"),
        (check, {"widths": 64}, "`widths` must hold at least 3 .* got 64"),
        (check, {"optimizer": "sgd"}, "`optimizer` must be a function .* or a learning rate ≥ 0"),
        (check, {"steps": 1.5}, "`steps` and `seeds` must be ≥ 1, got 1.5"),
        (check, {"confidence": "95%"}, "`confidence` must lie between 0 and 1, got '95%'"),
        (check, {"tolerance": -1}, "`tolerance` must be a number ≥ 0, got -1"),
    ],
)
def test_what_is_said(call, given, words):
    with pytest.raises(lazyrich.InputError, match=words):
        call(**given)


def test_reference_and_heads():
    with pytest.raises(lazyrich.InputError, match="`reference` must be a model or its state dict"):
        lazyrich.nfa(network(), X, 3)
    with pytest.raises(lazyrich.InputError, match="`heads` must map layers or patterns"):
        lazyrich.nfa(network(), X, heads=2)
    with pytest.raises(lazyrich.InputError, match="`power` must be in"):
        lazyrich.nfa(network(), X, power="1")


def test_numbers_of_other_libraries_are_numbers():
    probe(samples=np.int64(3), memory=np.float32(2**30), seed=torch.tensor(1))
    dial(richness=torch.tensor(1.0))
    assert lazyrich.every(torch.tensor(3)).interval == 3


def test_a_watch_inside_a_watch_is_refused_and_the_outer_one_goes_on():
    model = network()
    one, optimizer = lazyrich.Probe(model, (X, Y)), sgd(model)
    with one.watch(optimizer, when=1):
        second = one.watch(optimizer, when=1)
        with pytest.raises(lazyrich.InputError, match="`watch` must be left before it is entered"):
            second.__enter__()
        for _ in range(2):
            optimizer.zero_grad()
            (model(X) - Y).square().mean().backward()
            optimizer.step()
    with one.watch(optimizer, when=1):
        optimizer.step()
    assert one.history.step.values.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"to_loss": "0.1"}, r"`to_loss` must be a number, got '0\.1'"),
        ({"steps": 2.5}, r"`steps` must be ≥ 1, got 2\.5\. Pass a whole number"),
        ({"steps": float("nan")}, "`steps` must be ≥ 1, got nan"),
        ({"steps": "3"}, "`steps` must be ≥ 1, got '3'"),
        ({"max_steps": None}, "`max_steps` must be ≥ 1, got None"),
        ({"max_seconds": "1"}, "`max_seconds` must be > 0, got '1'"),
    ],
    ids=str,
)
def test_an_end_of_training_that_is_none(given, message):
    fine = {"to_loss": None, "steps": None, "max_steps": 10, "max_seconds": float("inf")}
    refuse_horizon(**fine)
    with pytest.raises(InputError, match=message):
        refuse_horizon(**fine | given)


def test_a_schedule_that_is_none():
    refuse_training(None, None)
    refuse_training(lambda step: 0.9**step, print)
    with pytest.raises(InputError, match="`schedule` must be a function of the step or a sched"):
        refuse_training("cosine", None)
    with pytest.raises(InputError, match="`progress` must be a function of what is rehearsed"):
        refuse_training(None, "bar")
