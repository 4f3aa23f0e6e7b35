"""Tuning richness on small networks: against training by hand, resumed, interrupted, refused."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from torch.optim import LBFGS, SGD, Adam
from torch.utils.data import DataLoader, TensorDataset

import lazyrich
from lazyrich import CentredOutput, InputError, best_richness
from lazyrich.study.tuning import trainings
from lazyrich.study.tuning.trainings import task_key
from lazyrich.study.tuning.trial import NAMES, RichnessTrial, TuningTask
from lazyrich.study.tuning.trial import trained as run_trial
from lazyrich.sweeps import Result

G = torch.Generator().manual_seed(0)
X = torch.randn(24, 3, generator=G)
Y = X[:, :1] * X[:, 1:2]
BATCH, TEST = (X[:16], Y[:16]), (X[16:], Y[16:])
LEVELS = (0.03, 0.3, 3.0)


def make(width):
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))


def sgd(model, width):
    return SGD(model.parameters(), lr=0.1)


def tuned(**given):
    asked = {
        "width": 8, "optimizer": sgd, "steps": 5, "test": TEST, "richness": LEVELS, "seeds": 2,
        "progress": False,
    }  # fmt: skip
    return best_richness(make, BATCH, **(asked | given))


def trained(model, optimizer, steps=5):
    for _ in range(steps):
        optimizer.zero_grad()
        (model(X[:16]) - Y[:16]).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        return (model(X[16:]) - Y[16:]).square().mean().item()


def task(**given):
    asked = {
        "factory": make, "batch": BATCH, "loss": "mse", "width": 8, "optimizer": sgd, "steps": 5,
        "batches": [BATCH], "test": TEST, "schedule": None,
    }  # fmt: skip
    return TuningTask(**(asked | given))


@pytest.fixture(scope="module")
def found():
    return tuned(lr_scales=(0.5, 1.0, 1e6))


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_as_it_stands_it_is_the_users_own_training(found, scale):
    for seed in range(2):
        torch.manual_seed(seed)
        model = make(8)
        rho = lazyrich.richness(model, BATCH, optimizer=sgd(model, 8))
        test_loss = trained(model, SGD(model.parameters(), lr=0.1 * scale))
        row = found.standing.sel(lr_scale=scale, seed=seed)
        assert row.test_loss.item() == pytest.approx(test_loss, rel=1e-5)
        assert row.richness.item() == pytest.approx(rho, rel=1e-4)


def test_dialled_it_has_the_richness_asked_for_at_the_speed_it_had(found):
    for seed in range(2):
        torch.manual_seed(seed)
        model = make(8)
        first = lazyrich.first_step(CentredOutput(model), BATCH, optimizer=sgd(model, 8))
        for rho in LEVELS:
            row = found.data.sel(richness=rho, lr_scale=1.0, seed=seed)
            assert row.time_to_fit.item() == pytest.approx(first.time_to_fit, rel=1e-3)
            scale = row.output_scale.item()
            again = CentredOutput(make(8), output_scale=scale)
            again.network.load_state_dict(model.state_dict())
            again.reference.load_state_dict(model.state_dict())
            optimizer = SGD(again.parameters(), lr=0.1 / scale**2)
            told = lazyrich.richness(again, BATCH, optimizer=optimizer)
            assert told == pytest.approx(rho, rel=0.1)  # by other directions
            assert row.test_loss.item() == pytest.approx(trained(again, optimizer), rel=1e-3)


def test_the_richer_the_further_the_kernel_goes(found):
    change = found.data.ntk_change.sel(lr_scale=1.0).mean("seed")
    assert (change.diff("richness") > 0).all()


def test_applied_at_another_width_it_is_as_rich_and_as_fast(found):
    torch.manual_seed(7)
    model = make(64)
    optimizer = sgd(model, 64)
    before = [p.clone() for p in model.parameters()]
    set_ = found.apply(model, optimizer=optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    first = lazyrich.first_step(set_.model, BATCH, optimizer=optimizer, directions="all")
    at_best = found.best.sel(richness=found.richness)
    wanted = np.exp(np.log(at_best.time_to_fit).mean().item())
    assert first.time_to_fit == pytest.approx(wanted, rel=1e-3)
    assert first.richness == pytest.approx(found.richness, rel=0.3)  # by few directions


@pytest.fixture
def at_once(monkeypatch):
    """Trainings that are over at once, and end by Ctrl-C after so many."""

    def allow(most):
        left = iter(range(most))

        def train(task, trial):
            if next(left, None) is None:
                raise KeyboardInterrupt
            row = dict.fromkeys(NAMES, 1.0) | {"test_loss": trial.seed + (trial.richness or 0.0)}
            return Result(status="finished", sentence="", data=xr.Dataset(row), seconds=1.0)

        monkeypatch.setattr(trainings, "trained", train)

    allow(99)
    return allow


def test_what_is_stored_is_not_trained_again(tmp_path, at_once):
    out = tmp_path / "trainings"
    first = tuned(out=out)
    assert first.trainings == 8
    at_once(0)
    again = tuned(out=out)
    assert again.trainings == 0
    assert again.data.identical(first.data)
    assert "Cost: 8 trainings, 8 of them from the store, 8 seconds." in str(again)
    at_once(99)
    more = tuned(out=out, seeds=3, richness=(*LEVELS, 30.0))
    assert more.trainings == 15 - 8
    settings = set(lazyrich.results(out).setting.values)
    assert settings == {"as it stands", "0.03", "0.3", "3", "30"}


def test_the_trainings_of_another_task_stay_apart(tmp_path, at_once):
    assert tuned(out=tmp_path / "trainings").trainings == 8
    assert tuned(out=tmp_path / "trainings", steps=6).trainings == 8
    assert tuned(out=tmp_path / "trainings").trainings == 0


def test_ctrl_c_keeps_whole_seeds(tmp_path, at_once):
    at_once(9)
    found = tuned(seeds=4, out=tmp_path / "trainings")
    assert found.data.seed.values.tolist() == [0, 1]
    assert (found.trainings, found.missing) == (9, 7)
    assert "Interrupted: 7 trainings of those planned are missing." in str(found)
    at_once(99)
    again = tuned(seeds=4, out=tmp_path / "trainings")
    assert (again.trainings, again.missing) == (7, 0)


def test_ctrl_c_before_two_seeds_are_through_says_how_to_go_on(tmp_path, at_once):
    out = tmp_path / "trainings"
    at_once(5)
    with pytest.raises(KeyboardInterrupt, match=r"5 of 8 trainings are done, and stored in .*trai"):
        tuned(out=out)
    at_once(99)
    assert tuned(out=out).trainings == 3
    at_once(5)
    with pytest.raises(KeyboardInterrupt, match=r"5 of 8 trainings are done\.$"):
        tuned()


def test_progress_is_told_on_stderr(at_once, monkeypatch, capsys):
    monkeypatch.setattr("lazyrich.sweeps.run.progress.LINE_EVERY", -1.0)
    tuned(progress=True)
    assert "best richness: 8 of 8 points, 0 failed" in capsys.readouterr().err
    tuned()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "other",
    [
        {"steps": 6},
        {"test": (X[16:], 2 * Y[16:])},
        {"batches": [(X[:8], Y[:8])]},
        {"optimizer": lambda model, width: SGD(model.parameters(), lr=0.2)},
        {"optimizer": lambda model, width: Adam(model.parameters(), lr=0.1)},
        {"width": 9},
        {"loss": "squared_error"},
        {"schedule": lambda step: 0.9**step},
        {"test": lambda model: 1.0},
    ],
)
def test_another_task_has_another_key(other):
    assert task_key(task()) == task_key(task())
    assert task_key(task(**other)) != task_key(task())


def test_what_diverges_is_a_status(found):
    wild = found.data.sel(lr_scale=1e6)
    assert (wild.status == "diverged").all()
    assert wild.test_loss.isnull().all()
    assert (found.best.lr_scale < 1e6).all()
    assert "8 trainings diverged, or could not be dialled" in str(found)


def test_what_cannot_be_dialled_is_a_status():
    """A loss that is flat within rounding: no rehearsal falls."""
    still = task(loss=lambda outputs, targets: outputs.sum() * 0 + 1)
    ended = run_trial(still, RichnessTrial(task="", richness=1.0))
    assert ended.status == "failed"
    assert np.isnan(ended.data.test_loss)


def test_richness_is_tried_around_where_the_network_stands(at_once):
    found = tuned(richness=None)
    torch.manual_seed(0)
    model = make(8)
    rho = lazyrich.richness(model, BATCH, optimizer=sgd(model, 8))
    np.testing.assert_allclose(found.data.richness.values, rho * 4.0 ** np.arange(-3, 4), rtol=0.06)


def standing(**given):
    return run_trial(task(**given), RichnessTrial(task="")).data.test_loss.item()


def test_batches_of_a_loader_are_drawn_by_the_seed():
    loader = DataLoader(TensorDataset(*BATCH), batch_size=4, shuffle=True)
    assert standing(batches=loader) == standing(batches=loader) != standing()


def test_mappings_and_optimisers_with_closures_are_taken():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = make(8)

        def forward(self, x):
            return self.network(x)

    batch = {"x": X[:16], "labels": Y[:16]}
    ended = run_trial(
        task(
            factory=lambda width: Named(), batch=batch, batches=[batch],
            optimizer=lambda model, width: LBFGS(model.parameters(), lr=0.1),
            test={"x": X[16:], "labels": Y[16:]},
        ),
        RichnessTrial(task=""),
    )  # fmt: skip
    assert ended.status == "finished"


def test_a_schedule_multiplies_the_rates():
    assert standing(schedule=lambda step: float(step == 0)) == pytest.approx(standing(steps=1))


def test_global_random_numbers_stay_where_they_were():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    standing()
    assert torch.equal(torch.rand(3), expected)


def test_a_store_cannot_run_what_it_does_not_know():
    with pytest.raises(InputError, match="must be run by `best_richness`, which has the network"):
        RichnessTrial(task="").run()


def generator():
    yield BATCH


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"steps": 0}, "`steps` must be a whole number ≥ 1, got 0"),
        ({"width": 1.5}, "`width` must be a whole number ≥ 1, got 1.5"),
        ({"seeds": 1}, "`seeds` must be a whole number ≥ 2, got 1. The spread over the seeds is"),
        ({"richness": (1.0, 2.0)}, "`richness` must hold at least 3 different numbers > 0"),
        ({"richness": (1.0, 2.0, 2.0, 3.0)}, "`richness` must hold at least 3 different"),
        ({"richness": (-1.0, 2.0, 3.0)}, "`richness` must hold at least 3 different numbers > 0"),
        ({"richness": 3.0}, "`richness` must hold at least 3 different numbers > 0, got 3.0"),
        ({"richness": "abc"}, "`richness` must hold at least 3 different numbers > 0, got 'abc'"),
        ({"lr_scales": ()}, r"`lr_scales` must hold different numbers > 0, got \(\)"),
        ({"lr_scales": (0.0,)}, "`lr_scales` must hold different numbers > 0"),
        ({"test": X}, r"`test` must be a pair \(inputs, targets\) or a mapping with `labels`, or"),
        ({"test": lambda model: "low"}, "`test` must return a number, got 'low'"),
        ({"batches": generator()}, "`batches` must be gone through again and again"),
        ({"batches": []}, "`batches` must give a batch each time they are gone through, got none"),
        ({"batches": 3}, "`batches` must be gone through again and again"),
        ({"optimizer": 0.1}, r"`optimizer` must be a function \(model, width\) -> optimizer, got"),
        ({"schedule": 0.1}, "`schedule` must be a function of the step, got 0.1"),
        ({"loss": "hinge"}, "`loss` must be 'mse'"),
    ],
)
def test_what_is_refused(given, match):
    with pytest.raises(InputError, match=match):
        tuned(**given)


def test_what_makes_no_networks_is_refused():
    with pytest.raises(InputError, match="`factory` must be a function that makes the model of a"):
        best_richness(make(8), BATCH, width=8, optimizer=sgd, steps=1, test=TEST)
    with pytest.raises(InputError, match=r"`factory` must return a torch.nn.Module, got 8"):
        best_richness(lambda width: width, BATCH, width=8, optimizer=sgd, steps=1, test=TEST)
    with pytest.raises(
        InputError, match=r"`batch` must be a pair \(inputs, targets\) or a mapping"
    ):
        best_richness(make, X, width=8, optimizer=sgd, steps=1, test=TEST)
    with pytest.raises(InputError, match="cannot be tuned"):
        best_richness(
            lambda width: nn.Linear(3, 1), BATCH, width=8, optimizer=sgd, steps=1, test=TEST
        )


def test_without_a_first_step_richness_has_to_be_given():
    def fitted(width):
        model = make(width)
        nn.init.zeros_(model[2].weight)
        nn.init.zeros_(model[2].bias)
        return model

    batch = (X[:16], torch.zeros(16, 1))
    with pytest.raises(InputError, match="`richness` must be given"):
        best_richness(fitted, batch, width=8, optimizer=sgd, steps=1, test=TEST)


def test_a_test_without_a_value_is_no_divergence():
    found = tuned(test=lambda model: float("nan"))
    assert set(found.data.status.values.flat) == {"failed"}
    assert set(found.data.sentence.values.flat) == {"The test gave nan."}
    assert np.isfinite(found.data.loss).all()
    assert "8 trainings diverged, or could not be dialled or tested: see `data.sentence`" in str(
        found
    )


def test_seeds_that_make_one_training_are_refused():
    """Their spread is 0, and every difference would be told with certainty."""

    def fixed(width):
        torch.manual_seed(0)
        return make(width)

    given = {"width": 8, "optimizer": sgd, "steps": 5, "test": TEST, "richness": LEVELS}
    with pytest.raises(InputError, match="the same weights and the same first batch from two"):
        best_richness(fixed, BATCH, **given, seeds=2, progress=False)
    shuffled = DataLoader(TensorDataset(*BATCH), batch_size=4, shuffle=True)
    state = make(8).state_dict()

    def loaded(width):
        model = make(width)
        model.load_state_dict(state)
        return model

    found = best_richness(loaded, BATCH, **given, seeds=2, progress=False, batches=shuffled)
    assert (found.data.test_loss.std("seed") > 0).all()


def test_an_optimiser_of_one_argument_is_refused():
    with pytest.raises(InputError, match=r"a function \(model, width\) -> optimizer"):
        tuned(optimizer=lambda model: sgd(model, 1))
