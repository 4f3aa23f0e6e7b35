"""A run in one go and one that a checkpoint interrupts: the same history, to the last bit."""

import copy
import io
import pickle

import pytest
import torch
import xarray as xr
from torch import nn

import lazyrich
from lazyrich._errors import InputError
from lazyrich.observables.catalogue import observables

ALL = sorted(name for observable in observables() for name in observable.names)


def network():
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 6)
    )


def batch():
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
    return x, torch.sin(3 * x[:, :1]).expand(-1, 6).contiguous()


class Run:
    """A network, its optimiser and its probe."""

    def __init__(self, made=None, **options):
        self.model = network()
        self.x, self.y = batch()
        make = made or (lambda model: torch.optim.Adam(model.parameters(), lr=0.02))
        self.optimizer = make(self.model)
        self.probe = lazyrich.Probe(self.model, (self.x, self.y), **options)

    def train(self, steps, when=5):
        with self.probe.watch(self.optimizer, when=when):
            self.steps(steps)

    def steps(self, steps):
        for step in range(steps):
            torch.manual_seed(step)
            self.optimizer.zero_grad()
            (self.model(self.x) - self.y).square().mean().backward()
            self.optimizer.step()

    def checkpoint(self):
        file = io.BytesIO()
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "probe": self.probe.state_dict(),
            },
            file,
        )
        file.seek(0)
        return file

    def resume(self, file, *, probe=True):
        found = torch.load(file, weights_only=True)
        self.model.load_state_dict(found["model"])
        self.optimizer.load_state_dict(found["optimizer"])
        if probe:
            self.probe.load_state_dict(found["probe"])
        return self


def values(history):
    return history.drop_attrs(deep=False)


def two_groups(model):
    return torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[4].parameters()}],
        lr=0.05, momentum=0.9,
    )  # fmt: skip


@pytest.mark.parametrize("made", [None, two_groups])
@pytest.mark.parametrize("directions", [2, "all"])
def test_a_resumed_run_is_the_run_in_one_go(made, directions):
    options = {"directions": directions, "observables": ALL}
    whole = Run(made, **options)
    whole.train(7)
    whole.train(8)
    first = Run(made, **options)
    first.train(7)
    second = Run(made, **options).resume(first.checkpoint())
    assert second.probe.step == 7
    xr.testing.assert_identical(values(second.probe.history), values(first.probe.history))
    second.train(8)
    assert second.probe.history.step.values.tolist() == [0, 5, 7, 10, 15]
    xr.testing.assert_identical(values(second.probe.history), values(whole.probe.history))
    assert second.probe.verdict() == whole.probe.verdict()
    for name in ("setting", "notes", "skipped"):
        assert second.probe.history.attrs[name] == whole.probe.history.attrs[name]


def test_a_checkpoint_between_two_looks_adds_none():
    whole = Run()
    whole.train(10)
    first = Run()
    files = []
    with first.probe.watch(first.optimizer, when=5):
        first.steps(7)
        files.append(first.checkpoint())
    second = Run().resume(files[0])
    with second.probe.watch(second.optimizer, when=5):
        for step in range(7, 10):
            torch.manual_seed(step)
            second.optimizer.zero_grad()
            (second.model(second.x) - second.y).square().mean().backward()
            second.optimizer.step()
    xr.testing.assert_identical(values(second.probe.history), values(whole.probe.history))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_probe_is_pickled(copied):
    run = Run()
    run.probe.forecast(optimizer=run.optimizer, steps=3)
    run.train(5)
    other = copied(run.probe)
    xr.testing.assert_identical(values(other.history), values(run.probe.history))
    assert other.verdict() == run.probe.verdict()
    assert other.forecasted == run.probe.forecasted
    run.steps(3)
    other.model.load_state_dict(run.model.state_dict())
    for probe in (run.probe, other):
        probe.measure(8)
    xr.testing.assert_identical(values(other.history), values(run.probe.history))


def test_a_probe_that_has_seen_nothing_has_a_state():
    run, other = Run(), Run()
    other.probe.load_state_dict(run.probe.state_dict())
    assert other.probe.step is None
    other.train(5)
    assert "not the initial network" not in other.probe.history.notes


def test_a_state_shares_nothing_with_the_model():
    run = Run()
    run.probe.measure(0)
    state = run.probe.state_dict()
    kept = copy.deepcopy(state["start"])
    run.steps(3)
    assert all(torch.equal(kept[name], tensor) for name, tensor in state["start"].items())


def test_a_lost_reference_is_said_aloud():
    first = Run()
    first.train(5)
    second = Run().resume(first.checkpoint(), probe=False)
    second.train(5)
    (note,) = [n for n in second.probe.verdict().notes if "not the initial network" in n]
    assert "the optimiser had made steps before the first look" in note
    assert note in second.probe.history.notes
    assert not [n for n in first.probe.verdict().notes if "not the initial network" in n]


def test_a_first_look_at_a_later_step_is_said_aloud():
    run = Run()
    run.probe.measure(40)
    assert "the first look came at step 40" in run.probe.history.notes


def test_what_does_not_fit_is_refused():
    run = Run()
    run.probe.measure(0)
    state = run.probe.state_dict()
    x, y = batch()
    with pytest.raises(InputError, match=r"`state` must be what `Probe.state_dict` gave, got"):
        run.probe.load_state_dict({"step": 3})
    with pytest.raises(InputError, match="a probe with the same batch, got one with"):
        lazyrich.Probe(network(), (x + 1, y)).load_state_dict(state)
    with pytest.raises(InputError, match="a probe with the same seed, got one with 0 for 1"):
        lazyrich.Probe(network(), (x, y), seed=1).load_state_dict(state)
    wider = nn.Sequential(nn.Linear(3, 9), nn.Linear(9, 6))
    with pytest.raises(InputError, match=r"got \(8, 3\) at `0.weight`, where the model has \(9, 3"):
        lazyrich.Probe(wider, (x, y)).load_state_dict(state)
    deeper = nn.Sequential(*network(), nn.Linear(6, 6))
    with pytest.raises(InputError, match=r"got nothing at `5.weight`"):
        lazyrich.Probe(deeper, (x, y)).load_state_dict(state)
