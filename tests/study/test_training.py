import pytest
import torch
from torch import nn

from lazyrich import forecast
from lazyrich.probe.losses import output_loss
from lazyrich.study import mlp, scaled, training
from lazyrich.study.datasets import digits


@pytest.fixture(scope="module")
def images():
    torch.set_num_threads(1)
    return digits().balanced(6, seed=0)


def test_every_epoch_sees_each_image_once_in_a_new_order():
    first, second = torch.stack(list(training.batches(12, 4, epochs=2, seed=0))).view(2, 12)
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(12))
    assert not torch.equal(first, second)


def test_a_batch_larger_than_the_data_is_the_data():
    assert [len(rows) for rows in training.batches(5, 64, epochs=1, seed=0)] == [5]


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_the_loss_is_the_probes_own(images, loss):
    outputs, y = torch.randn(60, 10), training.targets(images, loss)
    expected = output_loss(loss, outputs, y)(outputs)
    assert torch.allclose(training.loss_value(loss, outputs, y), expected)


def test_the_learning_rate_of_a_linear_network_is_a_tenth_of_its_time_to_fit():
    x = torch.eye(3, dtype=torch.float64)
    linear = nn.Linear(3, 1, bias=False).double()
    nn.init.zeros_(linear.weight)
    before = forecast(linear, (x, x[:, :1]))  # E(w − e₁)²: curvature 2/3, ρ = 0
    assert training.learning_rate(before) == pytest.approx(0.15)


@pytest.mark.parametrize("output_scale", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_the_learning_rate_is_stable_over_three_decades_of_scale(images, loss, output_scale):
    model = scaled(lambda: mlp(images, 24), output_scale=output_scale, seed=0)
    y = training.targets(images, loss)
    start = training.loss_value(loss, model(images.x), y).item()
    rate = training.learning_rate(forecast(model, (images.x, y), loss))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    ticks = []
    steps = training.train(
        model,
        optimizer,
        images,
        loss=loss,
        batch_size=60,
        epochs=80,
        seed=0,
        tick=lambda: ticks.append(1),
    )
    assert steps == len(ticks) == 80
    assert training.loss_value(loss, model(images.x), y).item() < 0.8 * start


def test_training_that_diverges_ends(images):
    model = scaled(lambda: mlp(images, 8), seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e6)
    steps = training.train(
        model,
        optimizer,
        images,
        loss="mse",
        batch_size=10,
        epochs=50,
        seed=0,
        tick=lambda: None,
    )
    assert steps < 300


def test_balanced_takes_as_many_of_every_class(images):
    assert torch.bincount(images.y).tolist() == [6] * 10
    assert torch.unique(images.x.flatten(1), dim=0).shape[0] == 60
    assert not torch.equal(images.x, digits().balanced(6, seed=1).x)
