"""Plain training: stochastic gradient descent on images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite, sqrt
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from lazyrich.probe.forecast import Forecast
from lazyrich.study.datasets import Images

LossName = Literal["mse", "cross_entropy"]
STEPS_TO_FIT = 10  # of gradient descent, for the directions that are learned first


def learning_rate(before: Forecast) -> float:
    """A learning rate that a network can bear at the start and at the end of its training.

    η = τ / (10 √(1 + ρ²/4)): a tenth of the time to fit, divided by the growth of the kernel that
    the richness ρ means on the two-layer linear network. Measured on digits with an MLP, a CNN and
    a transformer, output scales 0.001 to 1000: stable with MSE throughout, with cross-entropy
    up to ρ ≈ 200 (transformer), a few hundred (CNN), 2,000 (MLP).

    Args:
        before: a forecast without an optimiser, so that τ is a learning rate.
    """
    return before.time_to_fit / STEPS_TO_FIT / sqrt(1 + before.richness**2 / 4)


def targets(images: Images, loss: LossName) -> Tensor:
    """What the loss compares the outputs with: labels, or for MSE their one-hot vectors."""
    if loss == "cross_entropy":
        return images.y
    return functional.one_hot(images.y, images.classes).to(images.x.dtype)


def loss_value(loss: LossName, outputs: Float[Tensor, "n k"], y: Tensor) -> Float[Tensor, ""]:
    """Cross-entropy, or E‖f − y‖² as everywhere here: summed over the outputs."""
    if loss == "cross_entropy":
        return functional.cross_entropy(outputs, y)
    return (outputs - y).square().sum(1).mean()


def batches(samples: int, size: int, epochs: int, seed: int) -> Iterator[Int[Tensor, "batch"]]:
    """Rows of every batch, in a new order each epoch; what does not fill a batch waits.

    Example:
        >>> [len(rows) for rows in batches(10, 4, epochs=2, seed=0)]
        [4, 4, 4, 4]
    """
    generator = torch.Generator().manual_seed(seed)
    size = min(size, samples)
    for _ in range(epochs):
        order = torch.randperm(samples, generator=generator)
        yield from order[: samples // size * size].view(-1, size)


def train(
    model: nn.Module,
    optimizer: Optimizer,
    images: Images,
    *,
    loss: LossName,
    batch_size: int,
    epochs: int,
    seed: int,
    tick: Callable[[], object],
) -> int:
    """Train a model; a loss that is not finite ends the training.

    Args:
        model: maps images to one number a class.
        optimizer: of its parameters.
        images: to learn.
        loss: `"mse"` or `"cross_entropy"`.
        batch_size: samples a step.
        epochs: how often each image is seen.
        seed: of the order.
        tick: called after each step.

    Returns:
        The number of steps made.
    """
    y = targets(images, loss)
    steps = 0
    for rows in batches(len(y), batch_size, epochs, seed):
        optimizer.zero_grad()
        value = loss_value(loss, model(images.x[rows]), y[rows])
        if not isfinite(value.item()):
            break
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
        tick()
    return steps
