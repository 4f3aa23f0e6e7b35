"""Training by a recipe: bitwise reproducible from a seed, watched without being disturbed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, sqrt
from types import MappingProxyType

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lazyrich._errors import InputError
from lazyrich.capture.generators import seeded
from lazyrich.capture.isolation import is_finite, undisturbed
from lazyrich.probe.forecast.result import FirstStep, Forecast
from lazyrich.probe.schedule import Schedule, checked_schedule
from lazyrich.study.compute import autocast
from lazyrich.study.data.samples import DataSet, targets
from lazyrich.study.training.recipe import Outcome, Recipe, ended
from lazyrich.study.training.task import (
    Task,
    accuracy,
    batches,
    drawn,
    loss_value,
    mean_loss,
    stream,
    task_of,
)
from lazyrich.vocabulary.losses import LossName

__all__ = [
    "LossName",
    "Outcome",
    "Recipe",
    "accuracy",
    "batches",
    "learning_rate",
    "loss_value",
    "mean_loss",
    "optimizer_of",
    "targets",
    "task_of",
    "train",
]

STEPS_TO_FIT = 10  # of gradient descent, for the directions that are learned first
EVERYWHERE_ONE: Mapping[str, float] = MappingProxyType({})


def train(
    model: nn.Module,
    data: DataSet,
    recipe: Recipe,
    *,
    seed: int,
    lr_factors: Mapping[str, float] = EVERYWHERE_ONE,
    observe: Callable[[int], None] | None = None,
    when: Schedule | int | None = None,
) -> Outcome:
    """Train a model, in place, on the training part of a data set.

    Order of the samples, augmentation and dropout come from the seed alone, and the global random
    state stays as it is: on one machine, with one number of threads, the same seed gives the same
    bits on the CPU; CUDA adds some sums in any order. The data are taken to the device and the
    precision of the model's parameters; order and augmentation are the same on every device.

    Args:
        model: maps (n, *inputs) to (n, outputs).
        data: the set.
        recipe: how.
        seed: ≥ 0.
        lr_factors: factors on the learning rates, by parameter name; 1 where not named.
        observe: called with the number of steps made, before the first step, after the last one
            and where `when` says so; the model is in evaluation mode meanwhile, and modes and
            random state are put back. A network that is not finite is not shown.
        when: the schedule, such as `lazyrich.every(50)` or 50; None is the start and the end only.

    Returns:
        How it ended; a run that diverges is a status, no error.

    Raises:
        InputError: outputs of another shape than the targets, a factor that belongs to no
            parameter or is negative, a negative seed.

    Example:
        >>> from lazyrich.study import digits
        >>> _ = torch.manual_seed(0)
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> recipe = Recipe(loss="cross_entropy", lr=0.1, batch_size=100, steps=60)
        >>> train(network, digits(), recipe, seed=0).status
        'finished'
        >>> accuracy(network, digits().train) > 0.8
        True
    """
    task = task_of(model, data, recipe.loss)
    optimizer = optimizer_of(model, recipe, lr_factors)
    observer = ScheduledObserver(model, task, observe, when)
    with seeded(stream(seed, 2).initial_seed(), task.x.device):
        outcome = _descend(model, task, recipe, seed, optimizer, observer)
    optimizer.zero_grad()
    return outcome


def _descend(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    seed: int,
    optimizer: Optimizer,
    observer: ScheduledObserver,
) -> Outcome:
    schedule = LambdaLR(optimizer, recipe.lr_share)
    epoch, stop, limit = recipe.epoch(len(task.x)), recipe.stop_loss, inf
    observer.see(0)
    for step, (x, y) in enumerate(drawn(task, recipe, seed)):
        with autocast(x.device, recipe.mixed):
            outputs = model(x)
        value = loss_value(recipe.loss, outputs.to(x) if recipe.mixed else outputs, y)
        now = value.item()
        limit = task.limit(now) if step == 0 else limit
        if not now <= limit:
            break
        if stop is not None and step % epoch == 0:
            now = now if recipe.batch_is_all else mean_loss(model, task)
            if now <= stop:
                break
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if observer.due(step + 1):
            observer.see(step + 1)
    else:
        step, now = step + 1, mean_loss(model, task)
    observer.see(step)
    return ended(recipe, step, now, limit)


def optimizer_of(
    model: nn.Module, recipe: Recipe, lr_factors: Mapping[str, float] = EVERYWHERE_ONE
) -> Optimizer:
    """The optimiser of `torch.optim` that a recipe means, with a parameter group per factor.

    Args:
        model: the model whose trainable parameters it takes.
        recipe: the recipe.
        lr_factors: factors on the learning rates, by parameter name; 1 where not named.

    Raises:
        InputError: a factor that belongs to no parameter, is negative or not finite.

    Example:
        >>> recipe = Recipe(lr=0.1, steps=1)
        >>> made = optimizer_of(nn.Linear(2, 1), recipe, {"weight": 0.5})
        >>> [group["lr"] for group in made.param_groups]
        [0.05, 0.1]
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    check_factors(lr_factors, model)
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in trainable.items():
        groups.setdefault(float(lr_factors.get(name, 1.0)), []).append(parameter)
    rates = [{"params": ps, "lr": recipe.lr * factor} for factor, ps in groups.items()]
    if recipe.optimizer == "adam":
        return Adam(rates, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return SGD(rates, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def check_factors(lr_factors: Mapping[str, float], model: nn.Module) -> None:
    """Refuse factors that belong to no parameter or are no numbers ≥ 0."""
    names = [name for name, _ in model.named_parameters()]
    for name, factor in lr_factors.items():
        if name not in names or not 0 <= factor < inf:
            raise InputError(
                f"`lr_factors` must give numbers ≥ 0 to parameters of the model, got {name!r}: "
                f"{factor}. Its parameters are {', '.join(names)}."
            )


class ScheduledObserver:
    """What an observer sees of a model, and when: each step once, finite networks only."""

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        observe: Callable[[int], None] | None,
        when: Schedule | int | None,
    ) -> None:
        self._model, self._some = model, task.x[:2]
        self._observe = observe
        self._when = None if when is None else checked_schedule(when)
        self._last = -1

    def due(self, step: int) -> bool:
        """Whether the schedule names the step."""
        return self._observe is not None and self._when is not None and self._when(step)

    def see(self, step: int) -> None:
        """Show the model, in evaluation mode; modes and random state are put back."""
        if self._observe is not None and step != self._last and self._finite():
            self._last = step
            with undisturbed(self._model):
                self._observe(step)

    def _finite(self) -> bool:
        if not all(is_finite(p) for p in self._model.parameters()):
            return False
        with undisturbed(self._model), torch.no_grad():
            return is_finite(self._model(self._some))


def learning_rate(before: FirstStep | Forecast) -> float:
    """A learning rate that a network can bear at the start and at the end of its training.

    η = τ / (10 √(1 + ρ²/4)): a tenth of the time to fit, divided by the growth of the kernel that
    the richness ρ means on the two-layer linear network. Measured on digits with an MLP, a CNN and
    a transformer, output scales 0.001 to 1000: stable with MSE throughout, with cross-entropy
    up to ρ ≈ 200 (transformer), a few hundred (CNN), 2,000 (MLP).

    Args:
        before: the first step, or a forecast, without an optimiser, or with one whose learning
            rate is 1, so that τ is a learning rate.
    """
    return before.time_to_fit / STEPS_TO_FIT / sqrt(1 + before.richness**2 / 4)
