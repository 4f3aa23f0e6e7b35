"""Where no weight moved, nothing was learned: no observable, verdict or forecast says otherwise."""

import copy
import json
import sys
from itertools import cycle

import pytest
import torch
from typer.testing import CliRunner

import lazyrich
from lazyrich.cli import app
from lazyrich.observables.catalogue import observables
from tests.architectures import ARCHITECTURES, Between, Fn, output_of, targets
from tests.models import brute_kernel

STEPS = 50
ALL = sorted(name for observable in observables() for name in observable.names)


def train(model, x, y, optimizer, steps=STEPS):
    """Ordinary steps on batches of their own, each like the probe's, with some shift."""
    for step in range(steps):
        batch = x if not x.is_floating_point() else x + torch.randn_like(x) + step % 3
        optimizer.zero_grad()
        (output_of(model(batch)) - y).square().mean().backward()
        optimizer.step()


def test_a_batch_that_is_loaded_into_the_same_tensors():
    """As static inputs of a graph are, or memory shared with NumPy."""
    x, y = torch.randn(16, 3), torch.randn(16, 1)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    probe = lazyrich.Probe(model, ({"input": x}, y))
    with probe.watch(optimizer, when=1):
        for _ in range(3):
            x.normal_(), y.normal_()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    assert probe.verdict().regime == "frozen"
    assert len(set(probe.history.loss.values.tolist())) == 1
    assert (probe.history.ntk_change == 0).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("lr", [0.0, 1e-12])
def test_a_network_that_does_not_train_is_never_rich(name, lr):
    model, x = ARCHITECTURES[name]()
    y = targets(model, x)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    probe = lazyrich.Probe(model, (x, y), observables=ALL)
    with probe.watch(optimizer, when=lazyrich.every(25)):
        train(model, x, y, optimizer)
    assert probe.verdict().regime == "frozen"
    changes = probe.history[["ntk_change", "kernel_distance", "output_change", "layer_ntk_change"]]
    bound = 1e-6 if lr or name == "embedding, max norm" else 0.0  # renormed again: last digits
    for change in changes.data_vars.values():
        assert float(change.max()) <= bound


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equal_weights_give_equal_numbers(name):
    """Whatever running statistics and random generators have seen in between."""
    model, x = ARCHITECTURES[name]()
    y = targets(model, x)
    before = lazyrich.richness(model, (x, y), directions=2), lazyrich.ntk(model, x)
    if name in HELD:
        return  # each call is a first look: at another state, another function
    for _ in range(30):
        model(x if not x.is_floating_point() else x + torch.randn_like(x) + 1)
    after = lazyrich.richness(model, (x, y), directions=2), lazyrich.ntk(model, x)
    assert after[0] == pytest.approx(before[0], rel=1e-5)
    torch.testing.assert_close(after[1], before[1], rtol=1e-5, atol=1e-6)


# state of the forward pass that is neither a weight nor settles on the batch
HELD = {
    "codebook",
    "moving average",
    "counter, buffer",
    "counter, attribute",
    "remembering",
    "plain tensors",
    "helper",
}


def test_what_cannot_be_repeated_is_refused():
    moved = cycle((0.0, 0.5, 1.0))  # within the slope of tanh
    model = Between(Fn(lambda x: x + next(moved)))
    x, y = torch.randn(12, 5), torch.randn(12, 2)
    probe = lazyrich.Probe(model, (x, y))
    for measure in (lambda: lazyrich.ntk(model, x), lambda: probe.measure(0)):
        with pytest.raises(lazyrich.InputError, match="must be the same for the same weights"):
            measure()


NOTES = {
    "batch norm": "Normalisation over the batch uses the statistics of these samples",
    "batch norm, handwritten": "Normalisation over the batch uses the statistics of these samples",
    "batch norm, by function": "Normalisation over the batch uses the statistics of these samples",
    "batch norm, unusual": "Normalisation over the batch uses the statistics of these samples",
    "batch norm, frozen": "In eval mode, with their running statistics: middle.",
    "functional dropout": "The forward pass draws random numbers: every look draws the same ones.",
    "vae": "The forward pass draws random numbers: every look draws the same ones.",
    "codebook": "The forward pass changes codes by itself: held as at the first look.",
    "counter, attribute": "The forward pass changes calls by itself: held as at the first look.",
    "dropout": "Measured in eval mode: dropout is off.",
}


@pytest.mark.parametrize("name", NOTES)
def test_one_sentence_says_so(name):
    model, x = ARCHITECTURES[name]()
    y = targets(model, x)
    probe = lazyrich.Probe(model, (x, y))
    probe.measure(0)
    forecast = lazyrich.forecast(model, (x, y), directions=2)
    for notes in (probe.history.notes.splitlines(), probe.verdict().notes, forecast.notes):
        (note,) = (one for one in notes if one.startswith(NOTES[name]))
        assert note.endswith(".")
        assert note.count(". ") == 0


@pytest.mark.parametrize("name", ["mlp", "layer norm", "encoder layer", "storing", "residual"])
def test_nothing_is_said_of_what_does_not_apply(name):
    model, x = ARCHITECTURES[name]()
    notes = lazyrich.forecast(model, (x, targets(model, x)), directions=2).notes
    assert not any(note.startswith(("The forward pass", "In eval mode,")) for note in notes)


def test_the_mode_of_the_whole_model_does_not_matter():
    """It is put into eval mode to be looked at; a part in eval mode is frozen."""
    model, x = ARCHITECTURES["batch norm"]()
    for _ in range(5):
        model(3 * x + 1)
    as_trained = lazyrich.ntk(model.train(), x)
    assert torch.equal(lazyrich.ntk(model.eval(), x), as_trained)
    model.train().middle.eval()
    frozen = lazyrich.ntk(model, x)
    assert not torch.allclose(frozen, as_trained, rtol=0.1)
    torch.testing.assert_close(frozen, jacobian_kernel(model, x, model.eval()))


def test_a_norm_at_two_depths_has_the_statistics_of_each():
    """Against a formula in which the statistics are cut off from the derivative."""
    model, x = ARCHITECTURES["batch norm, shared"]()
    model = model.double()

    class Formula(type(model)):
        def forward(self, x):
            h = torch.tanh(self.by_hand(self.first(x)))
            return self.last(torch.tanh(self.by_hand(3 * self.second(h) + 1)))

        def by_hand(self, z):
            mean, var = z.mean(0).detach(), z.var(0, correction=0).detach()
            return self.norm.weight * (z - mean) / (var + self.norm.eps).sqrt() + self.norm.bias

    oracle = copy.copy(model)
    oracle.__class__ = Formula
    torch.testing.assert_close(
        lazyrich.ntk(model, x.double()), jacobian_kernel(model, x.double(), oracle)
    )


def jacobian_kernel(model, x, oracle):
    """Θ by one backward pass for each output of each sample."""
    f = oracle(x)
    rows = []
    for one in f.flatten():
        gradients = torch.autograd.grad(one, list(model.parameters()), retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in gradients]))
    j = torch.stack(rows)
    return (j @ j.T).view(*f.shape, *f.shape)


def test_a_network_that_trains_is_still_seen_to_move():
    """And its statistics are those of its weights: the kernel's change is that of the oracle."""
    model, x = ARCHITECTURES["batch norm"]()
    model, x = model.double(), x.double()
    y = targets(model, x)
    before = brute_kernel(model, x)
    probe = lazyrich.Probe(model, (x, y), directions="all")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with probe.watch(optimizer):
        for _ in range(60):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    change = (brute_kernel(model, x) - before).norm() / before.norm()
    low, high = probe.verdict().interval
    assert 0.1 < low < change < high
    assert "had changed" in probe.verdict().sentence
    assert probe.history.ntk_change[-1].item() == pytest.approx(change.item(), rel=1e-9)


@pytest.mark.parametrize("middle", ["nn.BatchNorm2d(6)", "Dropping()"])
def test_the_commands_gate_agrees(middle, tmp_path, monkeypatch):
    (tmp_path / "still.py").write_text(
        "from torch import nn\n\n\n"
        "class Dropping(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return nn.functional.dropout(x)\n\n\n"
        "def network():\n"
        f"    return nn.Sequential(nn.Conv2d(1, 6, 3), {middle}, nn.ReLU(inplace=True),\n"
        "                         nn.Flatten(), nn.Linear(216, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "still", raising=False)
    quick = ["--samples", "128", "--epochs", "2", "--lr", "1e-12", "--json"]
    done = CliRunner().invoke(app, ["diagnose", "still:network", *quick, "--fail-if", "rich"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["regime"] == "frozen"
    assert found["ntk_change"] < 1e-6
