"""What a network has to learn: its samples batch by batch, and how well it knows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, log

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lazyrich._errors import InputError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.losses import squared_error
from lazyrich.study.data.samples import DataSet, Samples, targets
from lazyrich.study.training.augment import shifted_and_mirrored
from lazyrich.study.training.recipe import Recipe
from lazyrich.vocabulary.losses import LossName

DIVERGED = 1e6  # times the loss at the start, or of outputs that are all zero
CHUNK = 1000  # samples in one forward pass of an evaluation


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learned, on a model's device and in its precision.

    Attributes:
        x: inputs.
        y: what the loss compares the outputs with.
        loss: its name.
        zero: the loss of outputs that are all zero.
    """

    x: Tensor
    y: Tensor
    loss: LossName
    zero: float

    def limit(self, first: float) -> float:
        """The loss above which a run has diverged, from its first loss."""
        return DIVERGED * max(first, self.zero) if isfinite(first) else 0.0


def task_of(model: nn.Module, data: DataSet, loss: LossName) -> Task:
    """The training part as a model takes it.

    Raises:
        InputError: the model's outputs have another shape than the targets.
    """
    like = next(model.parameters())
    x = data.train.x.to(like)
    y = targets(data.train, data.classes, loss)
    y = y.to(like) if y.is_floating_point() else y.to(like.device)
    with undisturbed(model), torch.no_grad():
        came = tuple(model(x[:2]).shape)
    if came != (len(x[:2]), data.outputs):
        raise InputError(
            f"the model must map {len(x[:2])} inputs of shape {data.inputs} to outputs "
            f"{(len(x[:2]), data.outputs)}, got {came}. Give its last layer {data.outputs} outputs."
        )
    zero = (
        log(data.outputs)
        if loss == "cross_entropy"
        else loss_value(loss, torch.zeros_like(y), y).item()
    )
    return Task(x=x, y=y, loss=loss, zero=zero)


def loss_value(loss: LossName, outputs: Float[Tensor, "n k"], y: Tensor) -> Float[Tensor, ""]:
    """The loss of a batch: see `lazyrich.vocabulary.losses` for the conventions.

    Args:
        loss: `"mse"`, `"squared_error"` or `"cross_entropy"`.
        outputs: f.
        y: labels for cross-entropy, else the targets y, of the shape of f.

    Example:
        >>> f, y = torch.ones(3, 2), torch.zeros(3, 2)
        >>> loss_value("mse", f, y).item(), loss_value("squared_error", f, y).item()
        (1.0, 2.0)
    """
    if loss == "cross_entropy":
        return functional.cross_entropy(outputs, y)
    return squared_error(loss, outputs, y)


@exact_arithmetic()
def mean_loss(model: nn.Module, task: Task) -> float:
    """The loss over all samples of a task, in evaluation mode."""
    total = 0.0
    with undisturbed(model), torch.no_grad():
        for x, y in zip(torch.split(task.x, CHUNK), torch.split(task.y, CHUNK), strict=True):
            total += loss_value(task.loss, model(x), y).item() * len(x)
    return total / len(task.x)


@exact_arithmetic()
def accuracy(model: nn.Module, samples: Samples) -> float:
    """The share of samples whose largest output is that of their class, in evaluation mode.

    Args:
        model: maps inputs to one number a class.
        samples: samples with labels.

    Raises:
        InputError: the samples have no labels.

    Example:
        >>> accuracy(nn.Identity(), Samples(x=torch.eye(2), y=torch.tensor([0, 0])))
        0.5
    """
    if samples.y.ndim != 1:
        raise InputError(
            f"`samples` must have labels, got targets {tuple(samples.y.shape)}. Look at the loss "
            "of a regression."
        )
    like = next(model.parameters(), samples.x)
    right = 0
    with undisturbed(model), torch.no_grad():
        for x, y in zip(torch.split(samples.x, CHUNK), torch.split(samples.y, CHUNK), strict=True):
            right += int((model(x.to(like)).argmax(1) == y.to(like.device)).sum())
    return right / len(samples)


def drawn(task: Task, recipe: Recipe, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs, augmented if the recipe says so, and targets of every step."""
    generator, x, y = stream(seed, 1), task.x, task.y
    if recipe.batch_size is None:
        chosen: Iterator[tuple[Tensor, Tensor]] = ((x, y) for _ in range(recipe.steps))
    else:
        rows_of_steps = batches(len(x), recipe.batch_size, recipe.steps, seed=seed, device=x.device)
        chosen = ((x[rows], y[rows]) for rows in rows_of_steps)
    for some, theirs in chosen:
        yield shifted_and_mirrored(some, generator) if recipe.augment else some, theirs


def batches(
    samples: int, size: int, steps: int, *, seed: int, device: torch.device | None = None
) -> Iterator[Int[Tensor, "batch"]]:
    """Rows of every batch, in a new order each epoch; what does not fill a batch waits.

    Args:
        samples: n.
        size: size of a batch; at most n are taken.
        steps: how many batches.
        seed: seed of the order, ≥ 0; the same order on every device.
        device: device of the rows; None is the CPU.

    Raises:
        InputError: a negative seed.

    Example:
        >>> [len(rows) for rows in batches(10, size=4, steps=3, seed=0)]
        [4, 4, 4]
    """
    generator, size = stream(seed, 0), min(size, samples)
    for step in range(steps):
        place = step % (samples // size) * size
        if place == 0:
            order = torch.randperm(samples, generator=generator).to(device or "cpu")
        yield order[place : place + size]


def stream(seed: int, number: int) -> torch.Generator:
    """The random generator of one purpose: 0 order, 1 augmentation, 2 the model's own.

    It draws on the CPU, so that the numbers are the same on every device.
    """
    if seed != int(seed) or seed < 0:
        raise InputError(f"`seed` must be a whole number ≥ 0, got {seed!r}. Count seeds from 0.")
    state = np.random.SeedSequence((int(seed), number)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
