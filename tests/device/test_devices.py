"""Everything that trains or measures gives on other devices what it gives on the CPU.

On one that is pretended, always; on CUDA where there is some.
"""

import copy
import re
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from papers.beaglehole2024alignment.watched import Watched
from papers.xu2025three.images import Images
from torch import nn

import lazyrich as lr
from lazyrich import study
from lazyrich.capture.isolation import wait_for
from lazyrich.observables.catalogue import quantities
from lazyrich.probe.callbacks.stepwise import Stepwise
from tests.device.pretended import DEVICE, pretended
from tests.models import Attention, Residual, Transformer

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
TOLERANCES = {
    "pretended": {"rtol": 1e-4, "atol": 1e-6},  # another order of sums in fused attention
    "cuda": {"rtol": 1e-2, "atol": 1e-4},  # everywhere
}


def mlp(width=6, outputs=3):
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, outputs))


NETWORKS = {
    "mlp": (mlp, lambda: torch.randn(8, 4)),
    "residual": (Residual, lambda: torch.randn(8, 2, 5, 5)),
    "attention": (lambda: Transformer(Attention()), lambda: torch.randint(0, 7, (8, 5))),
    "fused attention": (
        lambda: Transformer(nn.MultiheadAttention(6, 2, batch_first=True)),
        lambda: torch.randint(0, 7, (8, 5)),
    ),
    "dropout": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(), nn.ReLU(), nn.Linear(6, 3)),
        lambda: torch.randn(8, 4),
    ),
}


def outputs_of(model, x):
    f = model(x)
    return f["logits"] if isinstance(f, dict) else f


def made(kind, device):
    """The same network and samples on every device."""
    torch.manual_seed(0)
    build, draw = NETWORKS[kind]
    model, x = build().to(device), draw().to(device)
    with torch.no_grad():
        outputs = outputs_of(model.eval(), x)
    y = torch.randn(outputs.shape).to(device)
    return model.train(), x, y


def as_numbers(found):
    """What was found as plain numbers."""
    if isinstance(found, xr.Dataset):
        return {k: v.values for k, v in found.variables.items() if v.dtype.kind in "fiub"}
    if isinstance(found, torch.Tensor):
        assert found.device.type in ("cpu", DEVICE.type)
        return {"": found.detach().cpu().numpy()}
    return {"": np.array(found, float)}


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=NEEDS_CUDA)])
def check(request):
    """Compares what a run gives on the CPU with what it gives on another device."""

    def compare(run, *, same_draws=False):
        if same_draws and request.param == "cuda":
            pytest.skip("CUDA draws other numbers, or a threshold decides")
        here = as_numbers(run(CPU))
        with pretended() if request.param == "pretended" else nullcontext(CUDA) as device:
            there = as_numbers(run(device))
        assert here.keys() == there.keys()
        for name, values in here.items():
            options = TOLERANCES[request.param] | {"err_msg": name}
            np.testing.assert_allclose(there[name], values, **options)

    return compare


# --- the pretended device refuses what a real one refuses ---------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x + torch.ones(3),
        lambda x: x @ torch.ones(3),
        lambda x: torch.stack([x.sum(), torch.tensor(1.0)]),
        lambda x: torch.ones(3)[(x > 0).nonzero()[:, 0]],
        lambda x: x.index_select(0, torch.tensor([0])),
        lambda x: x.numpy(),
        lambda x: x + torch.randn(x.shape, generator=torch.Generator().manual_seed(0)),
        lambda x: torch.zeros(3).add_(x),
    ],
)
def test_it_refuses_two_devices(wrong):
    with pretended() as device:
        x = torch.arange(3.0).to(device)
        with pytest.raises((RuntimeError, TypeError), match=r"device|pretended"):
            wrong(x)


@pytest.mark.parametrize(
    "right",
    [
        lambda x: x + torch.tensor(1.0),
        lambda x: x[torch.tensor([0])],
        lambda x: x.cpu() + torch.ones(3),
        lambda x: x + torch.ones(3).to(x),
        lambda x: x + torch.tensor([1.0, 2.0, 3.0], device=x.device),
    ],
)
def test_it_allows_what_a_real_one_allows(right):
    with pretended() as device:
        right(torch.arange(3.0).to(device))


# --- measuring -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("samples", [None, 6])
def test_looks_of_all_observables(kind, samples, check):
    def run(device):
        model, x, y = made(kind, device)
        # ε: the bias of an attention's keys has no gradient, and Adam would make steps of rounding
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, eps=1e-3)
        options = {"observables": list(quantities()), "samples": samples, "directions": 2}
        probe = lr.Probe(model.eval(), (x, y), "mse", **options)
        with probe.watch(optimizer, when=1):
            for _ in range(2):
                optimizer.zero_grad()
                (outputs_of(model, x) - y).square().mean().backward()
                optimizer.step()
        probe.verdict()
        return probe.history

    check(run)


@pytest.mark.parametrize("first", [True, False])
def test_a_trainer_moves_the_model_and_the_batch_comes_after_it(first, check):
    """As those of Lightning and Hugging Face do, when the probe is made."""

    def run(device):
        model, x, y = made("mlp", CPU)
        if first:
            model.to(device)
        probe = lr.Probe(model, (x, y), samples=6)
        model.to(device)
        before = probe.forecast(max_steps=3)
        look = Stepwise(probe, lr.every(1))
        look(0, None, now=True)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1.1)
        last = look(1, None)
        return [before.richness, *last.values()]

    check(run)


def test_looks_with_classes_and_learning_rates(check):
    def run(device):
        model, x, _ = made("mlp", device)
        labels = torch.arange(8, device=device) % 3
        probe = lr.Probe(model, (x, labels), "cross_entropy", lrs={"0": 0.1, "": 1.0})
        probe.measure(0)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1.1)
        probe.measure(1)
        return probe.history

    check(run)


OPTIMISERS = {
    "none": lambda model: None,
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    "adam": lambda model: torch.optim.Adam(model.parameters(), lr=0.01),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01),
    "rmsprop": lambda model: torch.optim.RMSprop(model.parameters(), lr=0.01),
    "speed limited": lambda model: lr.optim.SpeedLimited(
        torch.optim.SGD(model.parameters(), lr=0.05), model=model
    ),
}


@pytest.mark.parametrize("kind", ["mlp", "residual", "attention"])
@pytest.mark.parametrize("optimizer", ["none", "sgd", "adam", "adamw", "rmsprop"])
def test_forecast(kind, optimizer, check):
    def run(device):
        model, x, y = made(kind, device)
        chosen = OPTIMISERS[optimizer](model)
        found = lr.forecast(model, (x, y), "mse", optimizer=chosen, max_steps=6, directions=2)
        first = lr.first_step(model, (x, y), "mse", optimizer=chosen, directions=2)
        return [
            *(found.predicted_ntk_change, found.predicted_kernel_distance, found.linearisation_gap),
            *(found.richness, found.time_to_fit, first.richness, first.time_to_fit),
        ]

    check(run)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("equal_speed", [False, True])
def test_dial(optimizer, equal_speed, check):
    def run(device):
        model, x, y = made("mlp", device)
        chosen = OPTIMISERS[optimizer](model)
        dialled = lr.dial(
            model, (x, y), optimizer=chosen, richness=0.3, equal_speed=equal_speed, directions=2
        )
        outputs = dialled.model(x)
        assert outputs.device.type == device.type
        rates = [group["lr"] for group in chosen.param_groups]
        return [dialled.richness, dialled.output_scale, *rates, *outputs.flatten().tolist()]

    check(run)


def test_coordinate_check(check):
    def run(device):
        x = torch.linspace(-1, 1, 16).view(4, 4).to(device)
        y = x[:, :2] ** 2
        found = lr.coordinate_check(
            lambda width: mlp(width, 2).to(device),
            (x, y),
            widths=[4, 6, 8],
            optimizer=0.1,
            steps=2,
            seeds=2,
            kernel=True,
        )
        return found.data

    check(run)


@pytest.mark.parametrize("kind", ["mlp", "residual", "attention"])
def test_the_one_shot_calls(kind, check):
    def run(device):
        model, x, y = made(kind, device)
        start = copy.deepcopy(model)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1.1)
        found = [
            lr.nfa(model, x, start),
            lr.nfa(model, x, start, directions="all", double_centred=True, correlation="pearson"),
            lr.initial_cnfa(model, (x, y)),
            lr.cka(model, model, x),
            lr.ntk(model, x),
        ]
        return np.concatenate(
            [value.ravel() for one in found for value in as_numbers(one).values()]
        )

    check(run)


def test_heads(check):
    def run(device):
        model, x, _ = made("attention", device)
        start = {name: p.detach().clone() for name, p in model.state_dict().items()}
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1.1)
        return lr.nfa(model, x, start, heads={"attention.qkv": 6})

    check(run)


def test_the_optimiser_that_steers(check):
    def run(device):
        model, x, y = made("mlp", device)
        optimizer = lr.optim.SpeedLimited(
            torch.optim.SGD(model.parameters(), lr=0.05), model=model, x=x
        )
        for _ in range(3):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
        return [v for p in model.parameters() for v in p.detach().flatten().tolist()]

    check(run)


# --- studies -------------------------------------------------------------------------------------

POINTS = {
    "plain": {},
    "regression on a line": {"data": "line", "activation": "linear", "loss": "squared_error"},
    "two decimals": {"precision": "float64", "centred": True, "loss": "squared_error"},
    "batches": {"batch_size": 16, "loss": "cross_entropy", "momentum": 0.9, "weight_decay": 1e-3},
    "adam": {"optimizer": "adam", "lr": "parametrisation", "schedule": "cosine"},
    "convolutions": {"model": "cnn", "width": 2, "augment": True, "batch_size": 16},
    "attention": {"model": "transformer", "width": 8, "model_options": {"head_size": 4}},
    "largest stable": {"lr": "largest-stable", "steps": 3},
    "accuracy": {"lr": "accuracy", "accuracy": 0.2, "loss": "cross_entropy"},
}
SMALL = {"samples": 48, "test_samples": 20, "width": 8, "steps": 4, "measurements": 2}


def on(device):
    """The environment in which a study runs on a device."""
    return study.Compute(device=device.type).environment


@pytest.mark.parametrize("name", POINTS)
def test_points_of_a_study(name, monkeypatch, check):
    point = study.Training(**{**SMALL, "probe_samples": 8, **POINTS[name]})

    def run(device):
        for key, value in on(device).items():
            monkeypatch.setenv(key, value)
        result = point.run()
        assert re.fullmatch(rf"{device.type}( \(.+\))?, full", result.computed_on)
        return result.data

    check(run, same_draws="steps" in POINTS[name] or "accuracy" in POINTS[name])


@pytest.mark.parametrize("more", [{}, {"batch_size": 16}, {"batch_size": 16, "optimizer": "adam"}])
def test_points_that_train_together(more, monkeypatch, check):
    axes = [(0, 0.1), (1, 0.2), (0, 1e9)]
    points = [study.Training(**SMALL, seed=seed, lr=lr, **more) for seed, lr in axes]

    def run(device):
        for key, value in on(device).items():
            monkeypatch.setenv(key, value)
        results = study.Training.run_together(points)
        assert {result.status for result in results} == {"finished", "diverged"}
        return np.concatenate([result.data.loss.values for result in results])

    check(run)


def test_training_together_with_images_that_move(check):
    data = study.digits().take(48, 20, seed=0)
    recipe = study.Recipe(lr=0.1, steps=3, batch_size=16, augment=True, stop_loss=0.1)

    def run(device):
        torch.manual_seed(0)
        models = [
            study.fcn(data.inputs, data.outputs, width=8, depth=1).to(device) for _ in range(3)
        ]
        seen = []
        members = [
            study.Member(model=model, seed=seed, observe=seen.append)
            for seed, model in enumerate(models)
        ]
        outcomes = study.train_together(members, data, recipe, when=1)
        return [*(outcome.loss for outcome in outcomes), *seen]

    check(run)


def test_training_with_dropout_draws_the_same(check):
    data = study.digits().take(48, 20, seed=0)

    def run(device):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Dropout(), nn.Linear(8, 10))
        recipe = study.Recipe(lr=0.1, steps=3, batch_size=16)
        return [study.train(model.to(device), data, recipe, seed=0).loss]

    check(run, same_draws=True)


# --- papers --------------------------------------------------------------------------------------

IMAGES = {"data": "digits", "samples": 40, "test_samples": 20, "seed": 0}
RUNS = {
    "images": Images(
        **IMAGES, width=4, parametrisation="ntk", steps=4, evaluations=2, measurements=2
    ),
    "resnet": Images(
        **{**IMAGES, "network": "resnet18", "width": 1, "parametrisation": "default", "lr": 0.01},
        **{"steps": 1, "augment": True, "batch_size": 20, "measurements": 1},
    ),
    "watched": Watched(**IMAGES, width=4, lr=0.01, epochs=2, points=2, measured=20, batch_size=20),
    "adaptive": Watched(
        **IMAGES, width=4, lr=0.01, epochs=1, points=2, measured=20, batch_size=20, rule="adaptive"
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_runs_of_papers(name, monkeypatch, check):
    def run(device):
        for key, value in on(device).items():
            monkeypatch.setenv(key, value)
        return RUNS[name].run().data

    check(run)


# --- what only a real device can show ------------------------------------------------------------


def test_the_clock_of_measuring_waits_for_what_is_queued(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    model = nn.Linear(1, 1)
    monkeypatch.setattr(model, "parameters", lambda: [SimpleNamespace(device=CUDA)] * 2)
    wait_for(model)
    assert waited == [CUDA]
    wait_for(nn.Linear(1, 1))
    assert waited == [CUDA]


@NEEDS_CUDA
def test_cuda_generators_are_left_alone_and_used(monkeypatch):
    monkeypatch.setenv("LAZYRICH_DEVICE", "cuda")
    torch.cuda.manual_seed(1)
    before = torch.cuda.get_rng_state()
    study.Training(**SMALL).run()
    assert torch.equal(torch.cuda.get_rng_state(), before)
    data = study.digits().take(48, 20, seed=0)
    recipe = study.Recipe(lr=0.1, steps=3, batch_size=16)
    losses = []
    for seed in (0, 1):
        torch.cuda.manual_seed(seed)  # of which the seed of `train` makes nothing
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Dropout(), nn.Linear(8, 10))
        losses.append(study.train(model.to(CUDA), data, recipe, seed=0).loss)
    assert losses[0] == losses[1]


@NEEDS_CUDA
def test_cuda_convolutions_are_measured_in_float32():
    """By TF32, the default, the kernel would be wrong in its fourth digit."""
    torch.manual_seed(0)
    net = study.cnn((3, 16, 16), 4, width=8)
    x = torch.randn(6, 3, 16, 16)
    here, there = lr.ntk(net, x), lr.ntk(net.to(CUDA), x.to(CUDA)).cpu()
    assert (there - here).norm() < 1e-5 * here.norm()


@NEEDS_CUDA
def test_cuda_in_mixed_precision(monkeypatch):
    point = study.Training(**SMALL, lr=0.1)
    monkeypatch.setenv("LAZYRICH_DEVICE", "cuda")
    full = point.run()
    monkeypatch.setenv("LAZYRICH_PRECISION", "bfloat16-mixed")
    mixed = point.run()
    np.testing.assert_allclose(mixed.data.loss, full.data.loss, rtol=0.02)
    assert mixed.data.loss.values[0] == full.data.loss.values[0]
    assert mixed.data.loss.values[-1] != full.data.loss.values[-1]
