"""The dial: the richness asked for, the function it leaves, and what it promises not to touch."""

from __future__ import annotations

import copy
import io
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

from lazyrich import (
    CentredOutput,
    ConvergenceError,
    InputError,
    Probe,
    dial,
    first_step,
    nfa,
    richness,
)
from lazyrich.capture.isolation import undisturbed
from lazyrich.probe.forecast.first_step import start_of_training
from lazyrich.probe.steer.feature_speed import own_speeds
from tests.architectures import ARCHITECTURES, targets
from tests.zoo import made

F64 = torch.float64
FEW = 20  # steps of a rehearsal, where it is not what is tested


def net() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3)
    ).double()


def batch(loss: str = "mse") -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(5)
    x, y = torch.randn(6, 4, generator=g, dtype=F64), torch.randn(6, 3, generator=g, dtype=F64)
    return x, y if loss == "mse" else y.argmax(1)


def two_groups(kind: type, model: nn.Sequential, **options: float) -> torch.optim.Optimizer:
    first = {"params": list(model[0].parameters()), "lr": 0.05}
    rest = {"params": [*model[2].parameters(), *model[4].parameters()]}
    return kind([first, rest], lr=0.01, **options)


@pytest.mark.parametrize("target", [0.02, 1.0, 15.0])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize(
    ("kind", "power", "options"),
    [
        (SGD, 2, {"momentum": 0.9, "nesterov": True}),
        (Adam, 1, {"eps": 1e-30}),
        (AdamW, 1, {"eps": 1e-30, "weight_decay": 0.0}),
    ],
)
def test_sets_the_richness_and_keeps_the_time_to_fit(kind, power, options, loss, target):
    model, data = net(), batch(loss)
    optimizer = two_groups(kind, model, **options)
    before = first_step(CentredOutput(model), data, loss, optimizer=optimizer)
    result = dial(model, data, loss, optimizer=optimizer, richness=target, max_steps=FEW)
    after = first_step(result.model, data, loss, optimizer=optimizer)
    exact = kind is SGD  # for the others ρ is taken over a few steps, 5 % of the way
    assert after.richness == result.richness == pytest.approx(target, rel=1e-6 if exact else 0.01)
    assert after.time_to_fit == pytest.approx(before.time_to_fit, rel=1e-6 if exact else 0.3)
    assert result.richness_before == before.richness
    by_rule = before.richness / target
    assert result.output_scale == pytest.approx(by_rule, rel=1e-6 if exact else 0.3)
    rates = [group["lr"] for group in optimizer.param_groups]
    factor = result.output_scale**power
    assert rates == pytest.approx([0.05 / factor, 0.01 / factor])
    assert result.learning_rates["0"].before == 0.05
    assert result.learning_rates["4"].after == rates[1]
    assert torch.equal(result.model(data[0]), torch.zeros(6, 3, dtype=F64))


def test_the_dial_does_what_it_says_to_training():
    """From the same weights: dialled lazy, the NTK hardly changes; dialled rich, it does."""
    changes = {}
    for target in (0.03, 3.0):
        model, (x, y) = net(), batch()
        optimizer = SGD(model.parameters(), lr=0.05)
        dialled = dial(model, (x, y), optimizer=optimizer, richness=target).model
        first = None
        kernel = []
        for step in range(400):
            if step in (0, 399):
                rows = []
                for f in dialled(x).reshape(-1):
                    g = torch.autograd.grad(f, list(model.parameters()), retain_graph=True)
                    rows.append(torch.cat([d.reshape(-1) for d in g]))
                kernel.append(torch.stack(rows) @ torch.stack(rows).T)
            optimizer.zero_grad()
            loss = (dialled(x) - y).square().sum(1).mean()
            first = loss.item() if first is None else first
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.5 * first
        changes[target] = ((kernel[1] - kernel[0]).norm() / kernel[0].norm()).item()
    assert changes[0.03] < 0.05
    assert changes[3.0] > 0.5


def test_weight_decay_is_followed_by_iterating():
    model, data = net(), batch()
    optimizer = SGD(model.parameters(), lr=0.01, weight_decay=1.0)
    result = dial(
        model,
        data,
        "squared_error",
        optimizer=optimizer,
        richness=20.0,
        directions="all",
        max_steps=50,
    )
    measured = richness(result.model, data, "squared_error", optimizer=optimizer, directions="all")
    assert measured == pytest.approx(result.richness)
    assert abs(measured / 20 - 1) <= 0.01
    rule = result.richness_before / 20  # what would do without weight decay
    assert abs(result.output_scale / rule - 1) > 0.2
    assert "Weight decay keeps its coefficient" in str(result)


def snapshot(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple:
    return (
        {k: t.clone() for k, t in model.state_dict().items()},
        [(m, m.training) for m in model.modules()],
        [p.requires_grad for p in model.parameters()],
        copy.deepcopy([{**g, "params": None} for g in optimizer.param_groups]),
        [[id(p) for p in g["params"]] for g in optimizer.param_groups],
        torch.get_rng_state().tolist(),
    )


def same_snapshot(a: tuple, b: tuple) -> bool:
    return a[1:] == b[1:] and all(torch.equal(a[0][k], b[0][k]) for k in a[0])


@pytest.mark.parametrize("equal_speed", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_dry_run_changes_nothing(again, equal_speed):
    model, data = net(), batch()
    optimizer = two_groups(SGD, model)
    model[2].eval()
    given = (
        dial(model, data, optimizer=optimizer, richness=0.5, max_steps=FEW).model
        if again
        else model
    )
    before = snapshot(given, optimizer)
    result = dial(
        given,
        data,
        optimizer=optimizer,
        richness=2.0,
        dry_run=True,
        equal_speed=equal_speed,
        max_steps=FEW,
    )
    assert same_snapshot(before, snapshot(given, optimizer))
    assert result.model is given
    assert not result.applied
    text = str(result)
    assert text.startswith("Advice (nothing was changed)")
    rate = result.learning_rates["network.2" if again else "2"]
    assert f"{rate.before:.4g} → {rate.after:.4g}" in text


@pytest.mark.parametrize(
    ("target", "rounds", "error", "message"),
    [
        (1e4, 8, InputError, "weight decay may outweigh the gradient"),
        (20.0, 1, ConvergenceError, "could not be set to 20 within 10%: after 1 rounds it is"),
    ],
)
def test_a_failed_dial_changes_nothing(monkeypatch, target, rounds, error, message):
    """With strong weight decay one round is not enough; far out no scale helps."""
    monkeypatch.setattr("lazyrich.probe.steer.aim.MAX_ROUNDS", rounds)
    model, data = net(), batch()
    optimizer = SGD(model.parameters(), lr=0.01)
    given = dial(model, data, optimizer=optimizer, richness=0.5, max_steps=FEW).model
    optimizer.param_groups[0].update(weight_decay=1.0, lr=0.01)
    given.set_output_scale(1.0)
    before = snapshot(given, optimizer)
    with pytest.raises(error, match=message):
        dial(given, data, optimizer=optimizer, richness=target, max_steps=FEW)
    assert same_snapshot(before, snapshot(given, optimizer))


def test_a_dial_may_be_turned_again():
    model, data = net(), batch()
    optimizer = SGD(model.parameters(), lr=0.1)
    once = dial(model, data, optimizer=optimizer, richness=1.0, max_steps=FEW)
    there = optimizer.param_groups[0]["lr"]
    dial(once.model, data, optimizer=optimizer, richness=0.1, max_steps=FEW)
    back = dial(once.model, data, optimizer=optimizer, richness=1.0, max_steps=FEW)
    assert back.model is once.model
    assert isinstance(back.model.network, nn.Sequential)  # not centred twice
    assert optimizer.param_groups[0]["lr"] == pytest.approx(there)
    assert back.output_scale == pytest.approx(once.output_scale)


@pytest.mark.parametrize(("kind", "options"), [(SGD, {"momentum": 0.5}), (Adam, {"eps": 1e-30})])
def test_equal_speed_in_all_layers(kind, options):
    model, data = net(), batch()
    optimizer = two_groups(kind, model, **options)
    centred = first_step(CentredOutput(model), data, optimizer=optimizer)
    result = dial(model, data, optimizer=optimizer, richness=1.0, equal_speed=True, max_steps=FEW)
    start = start_of_training(result.model, data, "mse", optimizer, 2)
    with undisturbed(result.model, twice=True):
        speeds = own_speeds(start.network, start.step)
    assert list(speeds) == ["network.0", "network.2", "network.4"]
    within = 1e-6 if kind is SGD else 0.05
    assert max(speeds.values()) == pytest.approx(min(speeds.values()), rel=within)
    assert start.time_to_fit == pytest.approx(centred.time_to_fit, rel=within)
    assert result.richness == pytest.approx(1.0, rel=within)
    owned = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())
    assert len(optimizer.param_groups) == 3
    assert "split layer by layer" in str(result)
    result.model(data[0]).sum().backward()
    optimizer.step()  # the optimiser still works


def test_own_speed_equals_a_finite_difference():
    model, data = net(), batch()
    start = start_of_training(model, data, "mse", None, 2)
    with undisturbed(model, twice=True):
        speeds = own_speeds(start.network, start.step)
    h = torch.tanh(model[0](data[0]))
    z, v = model[2](h), start.step.velocity
    z_dot = h @ v["2.weight"].T + v["2.bias"]
    assert speeds["2"] == pytest.approx((z_dot.norm() / z.norm()).item(), rel=1e-12)


def test_layers_without_a_speed_keep_their_place_and_are_named():
    model, data = net(), batch()
    model[4].weight.data.zero_()
    model[4].bias.data.zero_()
    optimizer = SGD(model.parameters(), lr=0.1)
    result = dial(model, data, optimizer=optimizer, richness=1.0, equal_speed=True, max_steps=FEW)
    assert "Without a feature speed of their own, not balanced: 0, 2, 4" in str(result)


def test_a_layer_with_two_rates_is_listed_by_parameter():
    model, data = net(), batch()
    biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
    weights = [p for n, p in model.named_parameters() if n.endswith("weight")]
    optimizer = SGD([{"params": biases, "lr": 0.2}, {"params": weights}], lr=0.1)
    rates = dial(model, data, optimizer=optimizer, richness=1.0, max_steps=FEW).learning_rates
    assert rates["0.bias"].before == 0.2
    assert rates["0.weight"].before == 0.1


def test_tensor_rates_and_named_parameters_stay_so():
    model, data = net(), batch()
    rate = torch.tensor(0.1, dtype=F64)
    optimizer = Adam(model.named_parameters(), lr=rate)
    result = dial(model, data, optimizer=optimizer, richness=1.0, max_steps=FEW)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.1 / result.output_scale)
    dial(result.model, data, optimizer=optimizer, richness=1.0, equal_speed=True, max_steps=FEW)
    names = [n for group in optimizer.param_groups for n in group["param_names"]]
    assert names == [n for n, _ in model.named_parameters()]


# --- the centred module ------------------------------------------------------------------------


def test_centred_survives_state_dict_and_save():
    x, _ = batch()
    centred = CentredOutput(net(), output_scale=3.0)
    with torch.no_grad():
        centred.network[0].weight.add_(0.1)
    other = CentredOutput(nn.Sequential(*[copy.deepcopy(m) for m in net()]), output_scale=1.0)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(-1)
    other.load_state_dict(centred.state_dict())
    assert torch.equal(other(x), centred(x))
    file = io.BytesIO()
    torch.save(centred, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(again(x), centred(x))
    assert again.output_scale.item() == 3.0


def test_centred_compiles_without_a_graph_break():
    """In a process of its own, since the checks of shapes in these tests cannot be compiled."""
    script = """
import torch
from lazyrich import CentredOutput
network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh())
centred = CentredOutput(network, output_scale=3.0)
with torch.no_grad():
    centred.network[0].weight.add_(0.1)
x = torch.randn(5, 4)
compiled = torch.compile(centred, backend="eager", fullgraph=True)
assert compiled(x).abs().max() > 0
assert torch.allclose(compiled(x), centred(x))
assert list(compiled.state_dict()) == ["_orig_mod." + key for key in centred.state_dict()]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_centred_trains_the_given_parameters_only():
    x, _ = batch()
    model = net()
    centred = CentredOutput(model, output_scale=3.0)
    centred(x).square().sum().backward()
    trained = [p for p in centred.parameters() if p.requires_grad]
    assert [id(p) for p in trained] == [id(p) for p in model.parameters()]
    assert all(p.grad is None for p in centred.reference.parameters())
    frozen = {k: t.clone() for k, t in centred.reference.state_dict().items()}
    SGD(centred.parameters(), lr=0.1, weight_decay=0.1).step()
    assert all(torch.equal(t, frozen[k]) for k, t in centred.reference.state_dict().items())


def test_centred_output_is_zero_in_both_modes_with_batch_norm():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    centred = CentredOutput(model, output_scale=5.0)
    x = torch.randn(10, 4)
    for mode in (True, False, True):
        centred.train(mode)
        assert torch.equal(centred(x), torch.zeros(10, 2))


def test_the_frozen_copy_is_no_layer_of_the_network():
    """All of it is studied: nothing is said to be left out, and no row is the copy's."""
    whole = CentredOutput(net(), output_scale=2.0)
    for model in (whole, nn.Sequential(whole)):
        probe = Probe(model, batch())
        probe.measure(0)
        assert probe.history.studied == pytest.approx(1)
        assert probe.history.skipped == ""
        assert "Not studied" not in str(probe.verdict())
        assert all("network" in str(name) for name in nfa(model, batch()[0]).layer.values)


def test_a_network_that_takes_gradients_by_its_weights_has_no_frozen_copy():
    model, x = made("inner gradient step")
    optimizer = SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match="A frozen copy of a network that does so, as `dial`"):
        dial(model, (x, torch.zeros(3, 2, dtype=F64)), optimizer=optimizer, richness=1.0)


def test_dropout_is_off_in_the_reference_and_said():
    model, data = net(), batch()
    model.append(nn.Dropout(0.5))
    optimizer = SGD(model.parameters(), lr=0.1)
    result = dial(model, data, optimizer=optimizer, richness=1.0, max_steps=FEW)
    assert result.model.training
    assert not any(m.training for m in result.model.reference.modules())
    result.model.eval().train()
    assert "In train mode dropout" in str(result)
    assert not any(m.training for m in result.model.reference.modules())
    assert result.model.eval()(data[0]).abs().max() == 0


def test_wrappers_are_taken_off_and_said():
    model, data = net(), batch()
    optimizer = SGD(model.parameters(), lr=0.1)
    result = dial(
        torch.compile(model, backend="eager"),
        data,
        optimizer=optimizer,
        richness=1.0,
        max_steps=FEW,
    )
    assert result.model.network is model
    assert "wrap the result again" in str(result)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_bad_scale_is_refused(scale):
    with pytest.raises(InputError, match="`output_scale` must be a positive number"):
        CentredOutput(net(), scale)


@pytest.mark.parametrize("target", [0.0, -1.0, math.inf, math.nan])
def test_bad_richness_is_refused(target):
    model = net()
    with pytest.raises(InputError, match="`richness` must be a positive number"):
        dial(
            model,
            batch(),
            optimizer=SGD(model.parameters(), lr=0.1),
            richness=target,
            max_steps=FEW,
        )


def test_running_optimisers_and_linear_models_are_refused():
    model, data = net(), batch()
    stepped = Adam(model.parameters())
    model(data[0]).sum().backward()
    stepped.step()
    with pytest.raises(InputError, match="before the first step"):
        dial(model, data, optimizer=stepped, richness=1.0, max_steps=FEW)
    scheduled = SGD(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.StepLR(scheduled, 10)
    with pytest.raises(InputError, match="before the learning-rate scheduler"):
        dial(model, data, optimizer=scheduled, richness=1.0, max_steps=FEW)
    linear = nn.Linear(4, 3, dtype=F64)
    with pytest.raises(InputError, match="linear in its trainable parameters"):
        dial(linear, data, optimizer=SGD(linear.parameters(), lr=0.1), richness=1.0, max_steps=FEW)


@pytest.mark.parametrize(
    "name",
    [
        "functional dropout",
        "noise",
        "noise of numpy",
        "noise of its own",
        "noise of the file",
        "vae",
        "stochastic depth",
        "batch norm, by function",
    ],
)
def test_the_initial_function_draws_what_the_network_draws(name):
    model, x = ARCHITECTURES[name]()
    y = targets(model, x)
    result = dial(
        model, (x, y), optimizer=SGD(model.parameters(), lr=0.01), richness=0.5, max_steps=FEW
    )
    assert result.richness == pytest.approx(0.5, rel=0.01)
    assert not any("initial output" in note for note in result.notes)
    for _ in range(2):  # in training, too, and with other noise in every pass
        assert not result.model.train()(x).any()


def test_a_centred_pass_draws_as_much_as_one_of_the_network():
    model, x = ARCHITECTURES["noise"]()
    centred = CentredOutput(model)
    after = []
    for one in (model, centred):
        torch.manual_seed(3)
        one(x)
        after.append(torch.rand(()))
    assert after[0] == after[1]
