"""Every named loss: its value is PyTorch's, and wherever it is printed its convention stands."""

import re
from dataclasses import replace
from html import unescape
from typing import get_args

import pytest
import torch
from docs.vocabulary import vocabulary
from torch import nn
from torch.nn import functional

import lazyrich as lr
from lazyrich import plot
from lazyrich.optim.speed_limited import SpeedLimited
from lazyrich.probe import Forecast
from lazyrich.probe.history import as_dataset
from lazyrich.report.write import write_report
from lazyrich.study import Training
from lazyrich.study.config import TrainingConfig
from lazyrich.study.data.datasets import digits
from lazyrich.study.networks.parametrisation import parametrise
from lazyrich.study.training.search import largest_stable_lr
from lazyrich.study.training.task import loss_value, task_of
from lazyrich.study.training.train import Recipe, learning_rate, targets, train
from lazyrich.sweeps.store.results import assemble
from lazyrich.vocabulary.losses import LOSSES, LossName
from tests.cli.run import run

OUTPUTS = 10
PYTORCH = {
    "mse": functional.mse_loss,
    "squared_error": lambda f, y: functional.mse_loss(f, y, reduction="sum") / len(f),
    "cross_entropy": functional.cross_entropy,
}


def mse(outputs, targets):
    """A user's own loss, with the name of another one."""
    return (outputs - targets).square().sum() / 2


def hinge(outputs, targets):
    """A user's own loss."""
    return (1 - outputs * targets).relu().square().mean()


OWN = {
    "the user's loss mse": mse,
    "the user's loss hinge": hinge,
    "the user's loss <lambda>": lambda f, y: (f - y).abs().square().mean(),
    "the user's loss MSELoss": nn.MSELoss(),
    "the user's loss cross_entropy": functional.cross_entropy,
}
SAID = {**{name: (name, known.meaning) for name, known in LOSSES.items()}} | {
    name: (function, name) for name, function in OWN.items()
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, OUTPUTS)).double()


def batch(loss):
    torch.manual_seed(1)
    x, y = torch.randn(12, 4).double(), torch.randn(12, OUTPUTS).double()
    return x, y.argmax(1) if "cross_entropy" in str(loss) else y


def assert_says(text, name):
    """The text says the convention of this loss and of no other one."""
    text = " ".join(text.split())
    meaning = SAID[name][1]
    assert meaning in text
    for other in LOSSES.values():
        assert other.name == name or other.meaning not in text, other.name
    if "cross_entropy" in name:
        assert "squared error" not in text


def probed(name):
    """Forecast, and measured twice."""
    loss, model = SAID[name][0], network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    probe = lr.Probe(model, batch(name), loss)
    probe.forecast(optimizer=optimizer, max_steps=20)
    probe.measure(0)
    with torch.no_grad():
        model[2].weight.mul_(1.1)
    probe.measure(1)
    return probe


def test_every_named_loss_is_here():
    assert get_args(LossName) == tuple(LOSSES) == tuple(PYTORCH)
    for name, known in LOSSES.items():
        assert known.name == name
    assert len({known.meaning for known in LOSSES.values()}) == len(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_the_value_is_that_of_pytorch(name):
    model, (x, y) = network(), batch(name)
    expected = pytest.approx(PYTORCH[name](model(x), y).item(), rel=1e-12)
    assert lr.first_step(model, (x, y), name).initial_loss == expected
    assert loss_value(name, model(x), y).item() == expected
    probe = lr.Probe(model, (x, y), name, observables=["loss"])
    probe.measure(0)
    assert probe.history.loss.item() == expected


def test_ten_outputs_have_the_time_to_fit_of_pytorch():
    """Per output it would be a tenth of the loss, and ten times the time."""
    model, data = network(), batch("mse")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    of_pytorch, mean, summed = (
        lr.first_step(model, data, loss, optimizer=optimizer, directions="all")
        for loss in (nn.MSELoss(), "mse", "squared_error")
    )
    for name in ("richness", "time_to_fit", "initial_loss"):
        assert getattr(mean, name) == pytest.approx(getattr(of_pytorch, name), rel=1e-12), name
    assert summed.richness == pytest.approx(mean.richness, rel=1e-12)
    assert summed.initial_loss == pytest.approx(OUTPUTS * mean.initial_loss, rel=1e-12)
    assert summed.time_to_fit == pytest.approx(mean.time_to_fit / OUTPUTS, rel=1e-12)


@pytest.mark.parametrize("name", SAID)
def test_a_probe_says_it(name):
    probe = probed(name)
    assert probe.history.loss.attrs["long_name"] == f"loss ({SAID[name][1]})"
    assert probe.history.loss.attrs["units"] == (LOSSES[name].units if name in LOSSES else "1")
    assert_says(str(probe.forecasted), name)
    assert_says(str(Forecast.from_json(probe.forecasted.to_json())), name)
    assert_says(plot.loss_curve(probe.history).get_title(), name)
    assert_says(plot.trajectory(probe.history, "loss").get_title(), name)


@pytest.mark.parametrize("name", SAID)
def test_a_report_says_it(name, tmp_path):
    target = tmp_path / "report.html"
    write_report(probed(name).history, target)
    page = re.sub('srcdoc="[^"]*"', "", target.read_text("utf-8"))  # the map names them all
    text = unescape(page)
    assert_says(text, name)
    tile = re.search(r"<dt>loss on the probe batch</dt>.*?</div>", page, re.DOTALL)
    assert_says(unescape(tile[0]), name)
    row = re.search(r"<td>loss</td>.*?</tr>|<th[^>]*>loss</th>.*?</tr>", page, re.DOTALL)
    assert_says(unescape(row[0]), name)
    assert "<lambda>" not in page


@pytest.mark.parametrize("name", LOSSES)
def test_the_command_says_it(name):
    arguments = ("--width", 8, "--samples", 128, "--epochs", 1, "--loss", name)
    done = run("diagnose", *arguments)
    assert done.exit_code == 0, done.output
    assert_says(done.stdout, name)
    found = re.search(r"loss \((.*?)\) [\d.e+-]+ → [\d.e+-]+;", done.stdout)
    assert found[1] == LOSSES[name].meaning


@pytest.mark.parametrize("name", LOSSES)
def test_training_says_it(name):
    point = Training(
        loss=name, width=4, samples=20, test_samples=10, steps=1, measurements=1, probe_samples=5
    )
    data = point.run().data
    for variable, long_name in (("loss", "loss"), ("test_loss", "loss of the test samples")):
        assert data[variable].attrs["long_name"] == f"{long_name} ({LOSSES[name].meaning})"
        assert data[variable].attrs["units"] == LOSSES[name].units
    both = assemble(
        [({"seed": i}, replace(point, loss=other).run()) for i, other in enumerate(LOSSES)],
        {"seed": range(len(LOSSES))},
    )
    assert "long_name" not in both.loss.attrs  # no word is true of all
    assert both.ntk_change.attrs == data.ntk_change.attrs == vocabulary()["ntk_change"].attrs


@pytest.mark.parametrize("name", LOSSES)
def test_every_named_loss_can_be_chosen_where_a_loss_is(name):
    assert TrainingConfig(loss=name).loss == Recipe(loss=name, lr=1.0, steps=1).loss == name
    history = as_dataset([0], [{"loss": 1.0}], [], name, {})
    assert history.loss.attrs["long_name"] == f"loss ({LOSSES[name].meaning})"


def made():
    data = digits().take(40, 10, seed=0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, OUTPUTS))
    return parametrise(model.double(), "default", seed=0), data


def test_a_learning_rate_from_the_forecast_trains_the_same_network():
    """The factor between the two conventions is taken up by the rate."""
    trained, rates = [], []
    for loss in ("mse", "squared_error"):
        built, data = made()
        x, y = data.train.x.double(), targets(data.train, OUTPUTS, loss).double()
        rates.append(learning_rate(lr.first_step(built.model, (x, y), loss)))
        train(built.model, data, Recipe(loss=loss, lr=rates[-1], steps=20), seed=0)
        trained.append(nn.utils.parameters_to_vector(built.model.parameters()))
    assert rates[0] == pytest.approx(OUTPUTS * rates[1], rel=1e-10)
    torch.testing.assert_close(*trained, rtol=1e-8, atol=1e-10)


def test_stability_and_divergence_know_no_factor():
    built, data = made()
    mean, summed = (
        largest_stable_lr(
            lambda: made()[0], data, Recipe(loss=loss, lr=lr, steps=15), seed=0, steps=15
        ).lr
        for loss, lr in (("mse", 1.0), ("squared_error", 0.1))
    )
    assert mean == pytest.approx(OUTPUTS * summed, rel=1e-9)
    limits = [task_of(built.model, data, loss).limit(0.0) for loss in ("mse", "squared_error")]
    assert limits[1] == pytest.approx(OUTPUTS * limits[0], rel=1e-6)


@pytest.mark.parametrize("equal_speed", [False, True])
def test_the_dial_knows_no_factor(equal_speed):
    mean, summed = (
        lr.dial(
            model := network(),
            batch("mse"),
            loss,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
            richness=2.0,
            equal_speed=equal_speed,
            directions="all",
            max_steps=20,
        )
        for loss in ("mse", "squared_error")
    )
    assert mean.output_scale == pytest.approx(summed.output_scale, rel=1e-10)
    assert mean.learning_rates.keys() == summed.learning_rates.keys()
    for layer, rates in mean.learning_rates.items():
        expected = vars(summed.learning_rates[layer])
        assert vars(rates) == pytest.approx(expected, rel=1e-10)


def test_what_a_probe_measures_relative_to_the_fit_knows_no_factor():
    mean, summed = (probed(name).history.isel(step=-1) for name in ("mse", "squared_error"))
    assert summed.loss.item() == pytest.approx(OUTPUTS * mean.loss.item(), rel=1e-12)
    assert mean.output_change.item() > 0
    for name in set(mean.data_vars) - {"loss"}:
        assert mean[name].values == pytest.approx(summed[name].values, rel=1e-8, nan_ok=True), name


def test_limited_speeds_know_no_factor():
    found = []
    for loss in ("mse", "squared_error"):
        model = network()
        inside = torch.optim.SGD(model.parameters(), lr=0.1)
        limited = SpeedLimited(inside, model=model, speeds={"0": 1.0, "2": 0.5}, eps=0.0)
        found.append(lr.first_step(model, batch(loss), loss, optimizer=limited, directions="all"))
    assert found[0].time_to_fit == pytest.approx(found[1].time_to_fit, rel=1e-10)
    assert found[0].richness == pytest.approx(found[1].richness, rel=1e-10)


def test_a_note_on_overshooting_is_about_the_loss_that_is_trained():
    """The rate at which one step of the sum goes too far is safe for the mean."""
    model, data = network(), batch("mse")
    tau = lr.first_step(model, data, nn.MSELoss(), directions="all").time_to_fit
    optimizer = torch.optim.SGD(model.parameters(), lr=tau)  # one step to the fit
    noted = {
        str(loss): "training may diverge"
        in str(lr.first_step(model, data, loss, optimizer=optimizer, directions="all").notes)
        for loss in (nn.MSELoss(), "mse", "squared_error")
    }
    assert noted == {"MSELoss()": False, "mse": False, "squared_error": True}
