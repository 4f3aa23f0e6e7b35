"""The standard experiment: bitwise the same, together as alone, and beside its exact solution."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from docs.vocabulary import vocabulary

from lazyrich import InputError, first_step, order_parameters
from lazyrich.study import prepare as start
from lazyrich.study.config import OBSERVABLES
from lazyrich.study.data.samples import targets
from lazyrich.study.exact import exact_solution, line_problem
from lazyrich.study.experiment import Training
from lazyrich.study.observe import times
from lazyrich.study.prepare import built, data_of, started
from lazyrich.study.training import together
from lazyrich.study.training.search import largest_stable_lr
from lazyrich.study.training.train import learning_rate
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.store.results import assemble
from lazyrich.theory.two_layer_linear import flow
from lazyrich.vocabulary.losses import under

SMALL = Training(
    loss="squared_error",
    width=16,
    samples=60,
    test_samples=40,
    steps=12,
    measurements=3,
    probe_samples=8,
)
LINE = Training(
    data="line",
    activation="linear",
    width=12,
    steps=60,
    measurements=4,
    observables=("ntk_change",),
)


def test_the_same_fields_give_the_same_bits():
    torch.manual_seed(1)
    first = SMALL.run()
    torch.manual_seed(2)
    again = replace(SMALL).run()
    xr.testing.assert_identical(first.data, again.data)
    assert (first.status, first.sentence) == (again.status, again.sentence)
    other = replace(SMALL, seed=1).run()
    assert (other.data.loss != first.data.loss).all()


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    SMALL.run()
    assert torch.equal(torch.get_rng_state(), before)


def test_everything_measured_is_in_the_vocabulary():
    data = SMALL.run().data
    assert set(map(str, data.data_vars)) <= set(vocabulary())
    for name, values in data.data_vars.items():
        assert set(values.dims) <= {"layer", "step"}
        if name in vocabulary():
            known = vocabulary()[name]
            is_loss = name in ("loss", "test_loss")
            assert values.attrs == (under("squared_error", known) if is_loss else known).attrs
    assert data.layer.values.tolist() == ["layer1", "readout"]
    assert data.step.values.tolist() == [0, 1, 3, 12]


def test_losses_and_accuracies_are_those_of_the_whole_data():
    """Recomputed from a network that is built and trained by hand."""
    point = replace(SMALL, lr=0.01, measure_at=(12,))
    got = point.run().data.isel(step=-1)
    data = data_of(point)
    assert (len(data.train), len(data.test)) == (60, 40)
    model = built(point, data).model
    y = targets(data.train, data.classes, "squared_error")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(12):
        optimizer.zero_grad()
        (model(data.train.x) - y).square().sum(1).mean().backward()
        optimizer.step()
    with torch.no_grad():
        f, f_test = model(data.train.x), model(data.test.x)
    y_test = targets(data.test, data.classes, "squared_error")
    assert got.loss.item() == pytest.approx((f - y).square().sum(1).mean().item(), rel=1e-5)
    test_loss = (f_test - y_test).square().sum(1).mean().item()
    assert got.test_loss.item() == pytest.approx(test_loss, rel=1e-5)
    assert got.train_accuracy.item() == (f.argmax(1) == data.train.y).double().mean().item()
    assert got.test_accuracy.item() == pytest.approx(
        (f_test.argmax(1) == data.test.y).double().mean().item()
    )
    assert got.learning_rate.item() == 0.01


def test_powers_of_the_width_scale_output_weights_and_rate():
    plain = Training(width=64, samples=60, lr=0.1)
    powers = replace(
        plain,
        output_scale=3.0,
        output_scale_exponent=0.5,
        init_var_w_exponent=-1.0,
        init_var_u_exponent=2.0,
        lr_exponent=-1.0,
        lr_scale=0.5,
    )
    data = data_of(plain)
    one, other = (built(point, data).model for point in (plain, powers))
    assert other.output_scale.item() == pytest.approx(24 * one.output_scale.item(), rel=1e-6)
    for name, factor in (("layer1", 1 / 8), ("readout", 64.0)):
        w, scaled = (getattr(m.network, name).weight for m in (one, other))
        torch.testing.assert_close(scaled, factor * w)
    assert started(powers).recipe.lr == pytest.approx(0.1 * 0.5 / 64)


def test_networks_on_a_line_follow_their_own_exact_solution():
    """Over widths and scales; the recursion is exact, so that only float32 separates them."""
    pairs = []
    for width in (8, 32):
        for scale in (0.3, 1.0):
            point = replace(LINE, width=width, init_scale=scale, output_scale=2.0)
            pairs.append(({"width": width, "init_scale": scale, "seed": 0}, point.run()))
    axes = {"width": [8, 32, 64], "init_scale": [0.3, 1.0], "seed": [0]}
    data = assemble(pairs, axes)
    theory = exact_solution(data)
    for name in ("uu", "uw", "ww", "alignment", "ntk_change", "loss"):
        assert theory[name].dims == data[name].dims
        known = data[name].notnull()
        assert bool((known == theory[name].notnull()).all())
        gap = abs(theory[name] - data[name]).where(known, 0)
        assert float(gap.max()) < 2e-5 * float(abs(data[name]).max()), name
    assert bool(data.uu.sel(width=64).isnull().all())


def test_without_axes_the_theory_is_that_of_flow_in_small_steps():
    data = replace(LINE, lr_scale=0.02, steps=200).run().data
    exact = flow(*line_problem(data), data.step.values.astype(float))
    np.testing.assert_allclose(exact_solution(data).alignment, exact.alignment, atol=2e-3)


def test_the_forecast_is_that_of_the_learning_rates_in_use():
    """With equal rates and zero output ρ is the order parameter F of the exact theory."""
    data = replace(LINE, init_scale=0.05, width=4096).run().data
    order = order_parameters(*line_problem(data)).order_parameter.item()
    assert data.richness.item() == pytest.approx(order, rel=0.02)


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_together_as_alone(loss, monkeypatch):
    monkeypatch.setattr(together, "LEAST", 2)
    points = [
        replace(SMALL, seed=seed, output_scale=scale, loss=loss, lr=lr, width=width)
        for seed, scale, lr, width in (
            *((0, 1.0, "forecast", 16), (1, 3.0, 0.01, 16), (2, 0.3, "forecast", 16)),
            *((0, 1.0, "forecast", 8), (1, 1.0, "parametrisation", 8)),
        )
    ]
    for one, point in zip(Training.run_together(points), points, strict=True):
        alone = point.run()
        assert one.status == alone.status
        assert set(one.data.data_vars) == set(alone.data.data_vars)
        assert one.data.data_digest == alone.data.data_digest
        for name, values in alone.data.data_vars.items():
            np.testing.assert_allclose(one.data[name], values, rtol=2e-3, atol=1e-4, err_msg=name)


def test_rates_that_are_searched_for():
    """The first by the search's own function, of this very network; the other by its effect."""
    point = replace(SMALL, activation="tanh", lr="largest-stable", lr_scale=0.5, steps=60)
    data, start = data_of(point), started(point)
    recipe = point.recipe(learning_rate(start.first))
    largest = largest_stable_lr(lambda: built(point, data), data, recipe, seed=0).lr
    assert start.recipe.lr == largest / 2
    quick = replace(point, lr="accuracy", lr_scale=1.0, accuracy=0.5, steps=200).run()
    assert quick.data.train_accuracy.max() > 0.5
    assert quick.data.learning_rate.item() > 0


def test_a_rate_that_is_too_large_is_a_status():
    result = replace(SMALL, lr=1e3, steps=50).run()
    assert result.status == "diverged"
    assert np.isfinite(result.data.loss[0])


def test_an_output_that_overflows_is_a_status():
    point = replace(SMALL, output_scale=1e30, init_scale=1e30)
    for result in (point.run(), *Training.run_together([point, replace(point, seed=1)])):
        assert result.status == "diverged"
        assert result.sentence.startswith("Not finite before training")


def test_a_loss_that_overflows_is_a_status():
    result = replace(SMALL, output_scale=1e18).run()
    assert result.status == "diverged"
    assert result.sentence == "Not finite before training: the loss overflows."


def test_a_loss_to_stop_at_ends_the_run():
    result = replace(SMALL, steps=2000, stop_loss=0.9).run()
    assert result.status == "fitted"
    assert result.data.step[-1] == result.data.steps < 2000


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"measurements": 3}, (1, 10, 100)),
        ({"measurements": 4, "spacing": "linear"}, (25, 50, 75, 100)),
        ({"measure_at": (7, 3)}, (3, 7)),
        ({"measurements": 1}, (100,)),
    ],
)
def test_when_it_measures(fields, expected):
    assert times(Training(steps=100, **fields)).steps == expected


def test_networks_of_all_kinds_run():
    for model, width in (("cnn", 4), ("transformer", 8)):
        point = replace(SMALL, model=model, width=width, steps=2, observables=("ntk_change",))
        data = point.run().data
        assert data.ntk_change[-1] > 0
        assert "alignment" not in data


def test_it_is_the_standard_experiment_of_a_study():
    study = Study(
        name="scales",
        base={"samples": 60, "steps": 3},
        axes={"output_scale": {"log": [0.1, 10, 3]}, "init_scale": [1.0, [1.0, 0.5]]},
        seeds=2,
    )
    points = list(study.points())
    assert len({point.key for point in points}) == 12
    assert points[-1].experiment == Training(
        samples=60, steps=3, output_scale=10.0, init_scale=(1.0, 0.5), seed=1
    )
    assert points[0].experiment.observables == OBSERVABLES


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": "letters"}, "`data` must be one of digits.*got 'letters'"),
        ({"model": "mlp"}, "`model` must be one of fcn.*got 'mlp'"),
        ({"activation": "sine"}, "`activation` must be one of linear.*got 'sine'"),
        ({"parametrisation": "mu"}, "`parametrisation` must be one of default.*got 'mu'"),
        ({"width": 0}, "`width` must be ≥ 1, got 0"),
        ({"measurements": 0}, "`measurements` must be ≥ 1, got 0"),
        ({"output_scale": 0.0}, "`output_scale` must be a positive number, got 0.0"),
        ({"lr_scale": float("inf")}, "`lr_scale` must be a positive number, got inf"),
        ({"seed": -1}, "`seed` must be ≥ 0, got -1"),
        ({"lr": "large"}, "`lr` must be a positive number or one of forecast.*got 'large'"),
        ({"lr": -0.1}, "`lr` must be a positive number or one of.*got -0.1"),
        ({"lr": "accuracy", "accuracy": 1.5}, "`accuracy` must be a share.*got 1.5"),
        ({"model": "cnn", "depth": 2}, "`depth` must be left at 1 for cnn, got 2"),
        ({"init_scale": (1.0, 2.0, 3.0)}, "`init_scale` must be one number or 2.*got 3"),
        ({"init_scale": -1.0}, "`init_scale` must be positive.*got -1.0"),
        ({"measure_at": (500,)}, r"`measure_at` must lie in 0 to 200.*\(500,\)"),
        ({"observables": ("loss", "charm")}, "observables` must be among"),
        ({"observables": ()}, "`observables` must name at least one quantity"),
        ({"steps": 0}, "`steps` must be"),
        ({"data": "csv"}, "csv needs the option 'path'"),
        ({"data_options": {"slope": 1}}, "options of digits must be among none, got 'slope'"),
        ({"data": "line", "loss": "cross_entropy"}, "`loss` must not be 'cross_entropy' for line"),
        ({"data": "gaussian", "lr": "accuracy"}, "`lr` must not be 'accuracy' for gaussian"),
        ({"data": "line", "augment": True}, "`augment` must not be True for line"),
        ({"data": "line", "model": "cnn"}, "`model` must not be 'cnn' for line"),
        ({"data": "staircase", "model": "transformer"}, "must not be 'transformer' for staircase"),
        ({"model_options": {"width": 4}}, "of fcn must be among none, got 'width'"),
        ({"model_options": {"depth": 2}}, "of fcn must be among none, got 'depth'"),
        (
            {"model": "transformer", "model_options": {"heads": 4}},
            "of transformer must be among depth, patch, head_size, got 'heads'",
        ),
        ({"momentum": 1.0}, "`momentum` must be"),
    ],
)
def test_refusals(fields, message):
    with pytest.raises(InputError, match=message):
        Training(**fields)


def test_the_time_to_fit_is_in_steps_of_the_learning_rate():
    for optimizer in ("sgd", "adam"):
        point = replace(SMALL, centred=True, optimizer=optimizer, lr=1e-3, steps=2)
        data = point.run().data
        begun = started(point)
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
        groups = [
            {"params": [p], "lr": 1e-3 * begun.lr_factors[name]}
            for name, p in begun.model.named_parameters()
            if p.requires_grad
        ]
        train = begun.data.train
        expected = first_step(
            begun.model,
            (train.x, targets(train, 10, "squared_error")),
            "squared_error",
            optimizer=kind(groups),
            directions=8,
        )
        # where the rates adapt, both are taken over a few steps, 5 % of the way
        within = 1e-4 if optimizer == "sgd" else 0.03
        assert float(data.time_to_fit) == pytest.approx(expected.time_to_fit, rel=within)
        assert float(data.richness) == pytest.approx(expected.richness, rel=within)


def test_a_rate_that_needs_no_forecast_trains_without_one():
    """Weight decay outweighs the gradient at the start: no minimum lies along the first step."""
    point = replace(SMALL, output_scale=1e-6, weight_decay=0.1, steps=2)
    for lr in (0.05, "parametrisation"):
        result = replace(point, lr=lr).run()
        assert result.status == "finished", result.sentence
        assert np.isnan(float(result.data.richness))
        assert np.isnan(float(result.data.time_to_fit))
    with pytest.raises(InputError, match="must lead towards a minimum"):
        replace(point, lr="forecast").run()


def test_other_contents_of_a_file_show(tmp_path):
    file, seen = tmp_path / "table.csv", []
    point = Training(
        data="csv", data_options={"path": str(file), "y": "y"}, steps=1, measurements=1, lr=0.01
    )
    for factor in (1, 1, 2):
        rows = [f"{i},{(i * 7) % 5},{factor * i % 3}" for i in range(20)]
        file.write_text("\n".join(["a,b,y", *rows]))
        start._loaded.cache_clear()  # as another process
        seen.append(str(point.run().data.data_digest.values))
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize(
    "fields",
    [
        {"momentum": 0.5},
        {"weight_decay": 0.1},
        {"schedule": "cosine"},
        {"batch_size": 10},
        {"optimizer": "adam"},
    ],
)
def test_only_plain_descent_has_an_exact_solution(fields):
    point = replace(LINE, steps=3, measurements=1, **fields)
    with pytest.raises(InputError, match="by plain gradient descent on all samples"):
        exact_solution(point.run().data)


def test_only_linear_networks_on_a_line_have_an_exact_solution():
    for solve in (exact_solution, line_problem):
        with pytest.raises(InputError, match="two-layer linear networks on a line"):
            solve(SMALL.run().data)


def test_a_point_that_was_not_trained_has_no_exact_solution():
    data = assemble([({"seed": 0}, replace(LINE, steps=1).run())], {"seed": [0, 1]})
    with pytest.raises(InputError, match="every network's start, got 1 points without one"):
        line_problem(data)
    with pytest.raises(InputError, match="must hold a network that was measured, got none"):
        exact_solution(data.isel(seed=[1]))
