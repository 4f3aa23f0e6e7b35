import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from lazyrich import InputError, Probe, every, first_step
from lazyrich.capture.losses import output_loss
from lazyrich.study.data.datasets import digits
from lazyrich.study.training import train as training
from lazyrich.study.training.augment import shifted_and_mirrored
from lazyrich.study.training.train import Recipe, train
from lazyrich.vocabulary.losses import LOSSES


@pytest.fixture(scope="module")
def data():
    torch.set_num_threads(1)
    return digits().take(60, 30, seed=0)


def network(width=16, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10, bias=False)
        )


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


RECIPES = {
    "sgd": Recipe(
        loss="squared_error", lr=0.03, steps=12, momentum=0.9, weight_decay=1e-2, batch_size=16
    ),
    "adam": Recipe(
        loss="squared_error",
        lr=0.01,
        steps=12,
        optimizer="adam",
        weight_decay=1e-2,
        schedule="cosine",
    ),
    "entropy": Recipe(lr=0.2, steps=12, loss="cross_entropy", batch_size=20, schedule="cosine"),
    "images": Recipe(loss="squared_error", lr=0.03, steps=12, batch_size=16, augment=True),
}


def by_hand(model, data, recipe, seed):
    """The same in the words of PyTorch's tutorial, for samples in the order of `batches`."""
    x, y = data.train.x, data.train.y
    if recipe.loss == "squared_error":
        y = functional.one_hot(y, 10) - 0.1
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[recipe.optimizer]
    extra = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
    optimizer = kind(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, **extra)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    for rows in training.batches(60, recipe.batch_size or 60, recipe.steps, seed=seed):
        rows = rows if recipe.batch_size else torch.arange(60)
        f = model(x[rows])
        if recipe.loss == "squared_error":
            loss = functional.mse_loss(f, y[rows], reduction="sum") / len(rows)
        else:
            loss = functional.cross_entropy(f, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if recipe.schedule == "cosine":
            cosine.step()


@pytest.mark.parametrize("name", ["sgd", "adam", "entropy"])
def test_a_recipe_is_what_pytorch_does(data, name):
    ours, theirs = network(), network()
    outcome = train(ours, data, RECIPES[name], seed=5)
    by_hand(theirs, data, RECIPES[name], seed=5)
    assert torch.allclose(weights(ours), weights(theirs), rtol=1e-5, atol=1e-6)
    assert (weights(ours) - weights(network())).abs().max() > 0.01
    assert (outcome.status, outcome.steps) == ("finished", 12)
    y = training.targets(data.train, 10, RECIPES[name].loss)
    exact = training.loss_value(RECIPES[name].loss, ours(data.train.x), y).item()
    assert outcome.loss == pytest.approx(exact, rel=1e-6)


SCRIPT = """
import hashlib, sys, torch
from tests.study.training.test_training import RECIPES, network, weights
from lazyrich.study.data.datasets import digits
from lazyrich.study.training.train import train
torch.set_num_threads(1)
torch.manual_seed(int(sys.argv[1]))
for recipe in RECIPES.values():
    model = network()
    model.insert(2, torch.nn.Dropout(0.2))
    train(model, digits().take(60, seed=0), recipe, seed=3)
    print(hashlib.sha256(weights(model).numpy().tobytes()).hexdigest())
"""


def test_two_processes_train_the_same_bits(request):
    def run(state):
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(state)],
            stdout=subprocess.PIPE,
            cwd=request.config.rootpath,
        )

    both = [run(1), run(2)]
    first, second = (process.communicate()[0] for process in both)
    assert first == second
    assert len(set(first.split())) == len(RECIPES)


def test_the_seed_decides_the_order_and_nothing_else_is_touched(data):
    before = torch.get_rng_state()
    models = [network() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        train(model, data, RECIPES["images"], seed=seed)
    assert torch.equal(weights(models[0]), weights(models[1]))
    assert not torch.equal(weights(models[0]), weights(models[2]))
    assert torch.equal(before, torch.get_rng_state())
    assert all(p.grad is None for p in models[0].parameters())


@pytest.mark.parametrize("name", RECIPES)
def test_observing_changes_no_bit(data, name):
    def dropped():
        model = network()
        return model.insert(2, nn.Dropout(0.2))

    plain, seen = dropped(), dropped()
    probe = Probe(seen, (data.train.x[:10], torch.zeros(10, 10)), samples=None)
    modes = []

    def observe(step):
        modes.append(seen.training)
        probe.measure(step)
        torch.rand(3), seen.train()

    train(plain, data, RECIPES[name], seed=0)
    train(seen, data, RECIPES[name], seed=0, observe=observe, when=every(5))
    assert torch.equal(weights(plain), weights(seen))
    assert probe.history.step.values.tolist() == [0, 5, 10, 12]
    assert modes == [False] * 4
    assert seen.training


@pytest.mark.parametrize("batch_size", [None, 16])
def test_it_stops_at_the_first_look_below_the_loss(data, batch_size):
    recipe = Recipe(loss="squared_error", lr=0.02, steps=400, batch_size=batch_size)
    losses = {}
    y = training.targets(data.train, 10, "squared_error")

    def observe(step):
        losses[step] = training.loss_value("squared_error", model(data.train.x), y).item()

    model = network()
    train(model, data, recipe, seed=0, observe=observe, when=lambda step: True)
    level = 0.3
    first = min(s for s, v in losses.items() if v <= level and s % recipe.epoch(60) == 0)
    seen = []
    model = network()
    outcome = train(
        model, data, replace(recipe, stop_loss=level), seed=0, observe=seen.append, when=every(7)
    )
    assert (outcome.status, outcome.steps) == ("fitted", first)
    assert outcome.loss == pytest.approx(losses[first], rel=1e-5)
    assert outcome.sentence.startswith(f"The loss fell to {outcome.loss:.3g} (≤ 0.3) after")
    assert seen == sorted({*range(0, first, 7), first})


def test_a_network_that_knows_it_already_makes_no_step(data):
    model = network()
    outcome = train(model, data, Recipe(lr=0.1, steps=9, stop_loss=1e3), seed=0)
    assert (outcome.status, outcome.steps) == ("fitted", 0)
    assert torch.equal(weights(model), weights(network()))


@pytest.mark.parametrize("loss", LOSSES)
def test_divergence_is_a_status(data, loss):
    seen = []
    recipe = Recipe(lr=1e5, steps=300, loss=loss, batch_size=10)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Linear(16, 10))
    outcome = train(model, data, recipe, seed=0, observe=seen.append, when=every(1))
    assert outcome.status == "diverged"
    assert outcome.steps < 300
    assert "more than a million times" in outcome.sentence or "nan" in outcome.sentence
    assert seen[0] == 0
    assert max(seen) <= outcome.steps


def test_a_network_that_is_not_finite_is_not_shown(data):
    seen, model = [], network()
    with torch.no_grad():
        model[1].weight[0, 0] = float("nan")
    outcome = train(model, data, RECIPES["sgd"], seed=0, observe=seen.append)
    assert (outcome.status, outcome.steps, seen) == ("diverged", 0, [])
    assert outcome.sentence == "The loss was nan after 0 steps."


def test_each_parameter_has_its_learning_rate(data):
    factors = {"1.weight": 0.0, "1.bias": 0.5, "3.weight": 2.0}
    start, model = network(), network()
    train(model, data, Recipe(loss="squared_error", lr=1e-3, steps=1), seed=0, lr_factors=factors)
    y = training.targets(data.train, 10, "squared_error")
    training.loss_value("squared_error", start(data.train.x), y).backward()
    for name, before in start.named_parameters():
        after = dict(model.named_parameters())[name]
        assert torch.allclose(after, before - 1e-3 * factors[name] * before.grad, atol=1e-7)


def test_data_take_the_precision_of_the_model(data):
    model = network().double()
    assert train(model, data, RECIPES["sgd"], seed=0).status == "finished"
    assert training.accuracy(model, data.train) > 0.3


def test_accuracy_counts(data):
    class Fixed(nn.Module):
        def forward(self, x):
            return functional.one_hot((10 * x[:, 0]).long(), 10)

    samples = replace(
        data.train,
        x=torch.arange(10.0)[:, None].repeat(300, 1) / 10,
        y=torch.arange(10).repeat(300),
    )
    assert training.accuracy(Fixed(), samples) == pytest.approx(1.0)
    wrong = replace(samples, y=samples.y.clone().index_fill_(0, torch.arange(750), 0))
    assert training.accuracy(Fixed(), wrong) == pytest.approx((2250 + 75) / 3000)


def test_augmented_images_are_mirrored_crops_of_the_padded_ones():
    x = torch.arange(1.0, 1 + 40 * 2 * 5 * 6).view(40, 2, 5, 6)
    found = shifted_and_mirrored(x, torch.Generator().manual_seed(0), padding=2)
    padded = functional.pad(x, (2, 2, 2, 2))
    chosen = set()
    for image, crop in zip(padded, found, strict=True):
        options = {
            (i, j, flip): (
                image[:, i : i + 5, j : j + 6].flip(2) if flip else image[:, i : i + 5, j : j + 6]
            )
            for i in range(5)
            for j in range(5)
            for flip in (False, True)
        }
        match = [key for key, option in options.items() if torch.equal(option, crop)]
        assert len(match) == 1
        chosen.add(match[0])
    assert len(chosen) > 20


def test_every_epoch_sees_each_sample_once_in_a_new_order():
    first, second = torch.stack(list(training.batches(12, 4, steps=6, seed=0))).view(2, 12)
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(12))
    assert not torch.equal(first, second)


def test_a_batch_larger_than_the_data_is_the_data():
    assert [len(rows) for rows in training.batches(5, 64, steps=1, seed=0)] == [5]
    assert Recipe(loss="squared_error", lr=1.0, steps=1, batch_size=64).epoch(5) == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_the_probes_own(data, loss):
    outputs, y = torch.randn(60, 10), training.targets(data.train, 10, loss)
    expected = output_loss(loss, outputs, y)(outputs)
    assert torch.allclose(training.loss_value(loss, outputs, y), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop_loss": float("nan")}, "`stop_loss` must be a finite number or None, got nan"),
        ({"lr": 0.0}, "`lr` must be a positive number, got 0.0"),
        ({"lr": float("nan")}, "`lr` must be a positive number"),
        ({"momentum": 1.0}, "`momentum` must be at least 0 and less than 1, got 1.0"),
        ({"weight_decay": -1.0}, "`weight_decay` must be a number ≥ 0"),
        ({"batch_size": 0}, "`batch_size` must be a whole number ≥ 1, or None"),
        ({"steps": 0}, "`steps` must be a whole number ≥ 1, got 0"),
        ({"loss": "mae"}, "`loss` must be one of mse, squared_error, cross_entropy, got 'mae'"),
        ({"optimizer": "lion"}, '`optimizer` must be "sgd" or "adam"'),
        ({"schedule": "step"}, '`schedule` must be "constant" or "cosine"'),
        ({"optimizer": "adam", "momentum": 0.9}, "`momentum` must be 0 for Adam"),
    ],
)
def test_bad_recipes_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Recipe(**{"lr": 0.1, "steps": 1, **change})


def test_what_does_not_fit_is_refused(data):
    recipe = Recipe(loss="squared_error", lr=0.1, steps=1)
    with pytest.raises(InputError, match=r"to outputs \(2, 10\), got \(2, 3\)"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), data, recipe, seed=0)
    with pytest.raises(InputError, match=r"`lr_factors` .* got '9.weight': 2.0"):
        train(network(), data, recipe, seed=0, lr_factors={"9.weight": 2.0})
    with pytest.raises(InputError, match=r"`lr_factors` .* got '1.weight': -1.0"):
        train(network(), data, recipe, seed=0, lr_factors={"1.weight": -1.0})
    with pytest.raises(InputError, match="`seed` must be a whole number ≥ 0, got -1"):
        train(network(), data, recipe, seed=-1)
    with pytest.raises(InputError, match=r"augmentation needs images .*, got \(3, 64\)"):
        shifted_and_mirrored(torch.ones(3, 64), torch.Generator())
    with pytest.raises(InputError, match="`samples` must have labels"):
        training.accuracy(network(), replace(data.train, y=torch.ones(60, 2)))


def test_the_learning_rate_of_a_linear_network_is_a_tenth_of_its_time_to_fit():
    x = torch.eye(3, dtype=torch.float64)
    linear = nn.Linear(3, 1, bias=False).double()
    nn.init.zeros_(linear.weight)
    before = first_step(linear, (x, x[:, :1]))  # E(w − e₁)²: curvature 2/3, ρ = 0
    assert training.learning_rate(before) == pytest.approx(0.15)
