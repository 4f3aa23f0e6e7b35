from itertools import pairwise

import pytest
import torch
from torch import nn

from lazyrich import InputError
from lazyrich.study.data.datasets import digits
from lazyrich.study.data.samples import DataSet, Samples
from lazyrich.study.networks.catalogue import fcn
from lazyrich.study.networks.parametrisation import Parametrised, parametrise
from lazyrich.study.training import search
from lazyrich.study.training.train import Recipe, accuracy, train


@pytest.fixture(scope="module")
def data():
    torch.set_num_threads(1)
    return digits().take(100, 30, seed=0)


def line(scale):
    """A regression whose Hessian is known: E(wx − x)² has curvature 2 scale²."""
    x = scale * torch.tensor([[1.0], [-1.0]])
    samples = Samples(x=x, y=x.clone())
    return DataSet(name="line", train=samples, test=samples, classes=0)


def linear(weight=0.0):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, weight)
    return Parametrised(model=model, lr_factors={"weight": 0.5}, lr=1.0)


def net(data, output_scale=1.0):
    network = fcn(data.inputs, data.outputs, width=32)
    return parametrise(network, "default", output_scale=output_scale, seed=0)


@pytest.mark.parametrize("start", [1e-3, 0.2, 1e4])
@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_gradient_descent_is_stable_below_two_over_the_curvature(scale, start):
    exact = 2 / (2 * scale**2) / 0.5  # the factor of the parameter is a half
    found = search.largest_stable_lr(
        linear, line(scale), Recipe(loss="squared_error", lr=start, steps=60), seed=0
    )
    assert exact / search.PRECISE <= found.lr <= exact * (1 + 1e-6)
    assert found.steps == sum(one.steps for one in found.tries)
    assert all(one.passed == (one.lr < exact) for one in found.tries)


def test_the_grid_then_bisection():
    found = search.largest_stable_lr(
        linear, line(1.0), Recipe(loss="squared_error", lr=0.1, steps=60), seed=0
    )
    lrs = [one.lr for one in found.tries]
    grid = next(i for i, one in enumerate(found.tries) if not one.passed) + 1
    assert [b / a for a, b in pairwise(lrs[:grid])] == pytest.approx([4.0] * (grid - 1))
    assert len(lrs) == grid + 4
    assert found.lr == max(one.lr for one in found.tries if one.passed)


def test_a_dead_network_is_not_stable(data):
    recipe = Recipe(loss="squared_error", lr=0.16, steps=20, batch_size=20)
    found = search.largest_stable_lr(lambda: net(data, 3.0), data, recipe, seed=0)
    first = found.tries[0]
    assert first.sentence.endswith("The network is dead: its output is the same everywhere.")
    assert not first.passed
    assert found.lr < first.lr


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_the_search_is_deterministic_and_its_result_trains(data, loss):
    recipe = Recipe(lr=0.01, steps=150, batch_size=20, loss=loss)
    first, second = (
        search.largest_stable_lr(lambda: net(data, 3.0), data, recipe, seed=0, steps=20)
        for _ in range(2)
    )
    assert first == second
    made = net(data, 3.0)
    quarter = Recipe(lr=first.lr / 4, steps=150, batch_size=20, loss=loss)
    assert train(made.model, data, quarter, seed=0).status == "finished"
    assert accuracy(made.model, data.train) > 0.5


def test_the_first_halving_that_passes_the_level(data):
    recipe = Recipe(loss="squared_error", lr=0.1, steps=5, batch_size=20)
    found = search.lr_for_accuracy(
        lambda: net(data), data, recipe, level=0.95, within=150, seed=0, steps=20
    )
    edge = max(one.lr for one in found.tries[:-1] if one.passed)
    tried = [one for one in found.tries if one.sentence.startswith("The training accuracy")]
    assert [edge / one.lr for one in tried] == [2.0 ** (i + 1) for i in range(len(tried))]
    assert [one.passed for one in tried] == [False] * (len(tried) - 1) + [True]
    made, reached = net(data), []
    train(
        made.model,
        data,
        Recipe(loss="squared_error", lr=found.lr, steps=150, batch_size=20),
        seed=0,
        observe=lambda step: reached.append(accuracy(made.model, data.train)),
        when=lambda step: True,
    )
    assert reached[tried[-1].steps] > 0.95
    assert tried[-1].steps <= 150


def test_what_cannot_be_found_is_refused(data):
    recipe = Recipe(loss="squared_error", lr=1.0, steps=3)
    flat = line(1.0)
    with pytest.raises(InputError, match=r"none from there to 5.96e-08 is stable"):
        search.largest_stable_lr(lambda: linear(1.0), flat, recipe, seed=0)
    slow = line(1e-5), Recipe(loss="squared_error", lr=1e3, steps=60)
    with pytest.raises(InputError, match=r"none from there to 1.68e\+10 is unstable"):
        search.largest_stable_lr(linear, *slow, seed=0)
    with pytest.raises(InputError, match=r"`level` = 0.99 must be passed within 2 steps"):
        search.lr_for_accuracy(lambda: net(data), data, recipe, level=0.99, within=2, seed=0)
    with pytest.raises(InputError, match="`level` must be a share ≥ 0 and < 1, got 95"):
        search.lr_for_accuracy(lambda: net(data), data, recipe, level=95, within=2, seed=0)
