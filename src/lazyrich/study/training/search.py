"""Learning rates by search: the largest stable one, or one that reaches an accuracy in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.isolation import undisturbed
from lazyrich.study.data.samples import DataSet
from lazyrich.study.networks.parametrisation import Parametrised
from lazyrich.study.training.recipe import Recipe
from lazyrich.study.training.task import CHUNK, accuracy, mean_loss, task_of
from lazyrich.study.training.train import train

FACTOR = 4.0  # of the geometric grid
REACH = 12  # grid points on either side of the start: 4^12 = 1.7e7
PRECISE = 1.1  # ratio of the smallest unstable to the largest stable learning rate at the end
HALVINGS = 8
LOOKS = 50  # at the accuracy, in a run


@dataclass(frozen=True, kw_only=True)
class LearningRateTrial:
    """One learning rate that was tried.

    Attributes:
        lr: the learning rate.
        passed: whether it met the criterion of the search.
        steps: optimiser steps that it cost.
        sentence: what came of it.
    """

    lr: float
    passed: bool
    steps: int
    sentence: str


@dataclass(frozen=True, kw_only=True)
class LearningRateSearch:
    """The outcome of a search for a learning rate.

    Attributes:
        lr: the learning rate found.
        tries: all that was tried, in order.
    """

    lr: float
    tries: tuple[LearningRateTrial, ...]

    @property
    def steps(self) -> int:
        """The cost of the search: optimiser steps made."""
        return sum(one.steps for one in self.tries)


def largest_stable_lr(
    build: Callable[[], Parametrised],
    data: DataSet,
    recipe: Recipe,
    *,
    seed: int,
    steps: int = 100,
) -> LearningRateSearch:
    """The largest learning rate with which short training ends below the loss at the start.

    From the recipe's learning rate up in factors of 4 while it is stable, or down until it is;
    then bisection on the logarithm until stable and unstable are less than 10 % apart. Each try
    builds the network anew and makes at most `steps` steps with a constant learning rate. It is
    stable when it does not diverge, the loss of all training samples ends below that at the start,
    and the output is not the same for all samples (as of ReLUs that are all dead). The search
    takes the smaller rates to be stable when a larger one is. Loss that rises first and then falls
    (the catapult) counts as stable. Near the edge many ReLUs die, and longer training may be less
    forgiving: take a share of it, such as a quarter.

    Args:
        build: makes the network, always the same one.
        data: what it learns.
        recipe: how; its `lr` is where the search begins.
        seed: seed of the training.
        steps: steps of a try, at most the recipe's own.

    Returns:
        The learning rate and what was tried: about 4 tries and one for each factor of 4.

    Raises:
        InputError: no learning rate within a factor of 4^12 of the start is stable, or all are.

    Example:
        >>> from lazyrich.study import digits, fcn, parametrise
        >>> data = digits().take(100, seed=0)
        >>> def build():
        ...     return parametrise(fcn(data.inputs, data.outputs, width=32), "default", seed=0)
        >>> search = largest_stable_lr(build, data, Recipe(lr=0.1, steps=500), seed=0, steps=30)
        >>> 0.1 < search.lr < 10.0
        True
    """
    short = replace(recipe, steps=min(steps, recipe.steps), schedule="constant", stop_loss=None)
    tries: list[LearningRateTrial] = []

    def stable(lr: float) -> bool:
        tries.append(_stability(build(), data, replace(short, lr=lr), seed))
        return tries[-1].passed

    below, above = _bracket(stable, recipe.lr)
    while above / below > PRECISE:
        middle = sqrt(below * above)
        below, above = (middle, above) if stable(middle) else (below, middle)
    return LearningRateSearch(lr=below, tries=tuple(tries))


def lr_for_accuracy(
    build: Callable[[], Parametrised],
    data: DataSet,
    recipe: Recipe,
    *,
    level: float,
    within: int,
    seed: int,
    steps: int = 100,
) -> LearningRateSearch:
    """The first of η*/2, η*/4, η*/8, … whose training accuracy passes a level within some steps.

    η* is the largest stable learning rate. The accuracy is looked at 50 times in a run, which ends
    when it has passed.

    Args:
        build: makes the network, always the same one.
        data: what it learns; with classes.
        recipe: how, over `within` steps; its `lr` is where the search begins.
        level: training accuracy to pass, 0 ≤ level < 1.
        within: steps in which it has to, ≥ 1.
        seed: seed of the training.
        steps: steps of a try in the search of η*.

    Returns:
        The learning rate and what was tried, the search of η* included.

    Raises:
        InputError: none of 8 halvings passes the level, the level is no share, or see
            `largest_stable_lr`.

    Example:
        >>> from lazyrich.study import digits, fcn, parametrise
        >>> data = digits().take(100, seed=0)
        >>> def build():
        ...     return parametrise(fcn(data.inputs, data.outputs, width=32), "default", seed=0)
        >>> recipe = Recipe(lr=0.1, steps=200)
        >>> search = lr_for_accuracy(
        ...     build, data, recipe, level=0.95, within=200, seed=0, steps=30)
        >>> search.tries[-1].passed
        True
    """
    if not 0 <= level < 1:
        raise InputError(f"`level` must be a share ≥ 0 and < 1, got {level}. 0.95 is usual.")
    recipe = replace(recipe, steps=within, stop_loss=None)
    edge = largest_stable_lr(build, data, recipe, seed=seed, steps=steps)
    tries = list(edge.tries)
    for halving in range(1, HALVINGS + 1):
        chosen = replace(recipe, lr=edge.lr / 2**halving)
        tries.append(_reaching(build(), data, chosen, seed, level))
        if tries[-1].passed:
            return LearningRateSearch(lr=chosen.lr, tries=tuple(tries))
    raise InputError(
        f"`level` = {level:g} must be passed within {within} steps by one of {HALVINGS} learning "
        f"rates from {edge.lr / 2:.3g} down, got: {tries[-HALVINGS].sentence} Allow more steps, "
        "lower the level or take a wider network."
    )


def _bracket(stable: Callable[[float], bool], start: float) -> tuple[float, float]:
    """A stable learning rate and an unstable one, a grid point apart."""
    up = stable(start)
    lr = start
    for _ in range(REACH):
        following = lr * FACTOR if up else lr / FACTOR
        if stable(following) != up:
            return (lr, following) if up else (following, lr)
        lr = following
    kind = "unstable" if up else "stable"
    raise InputError(
        f"`lr` of the recipe must lie within a factor of {FACTOR**REACH:.2g} of the largest stable "
        f"learning rate, got {start:g}: none from there to {lr:.3g} is {kind}. Check the network, "
        "or begin elsewhere."
    )


def _stability(made: Parametrised, data: DataSet, recipe: Recipe, seed: int) -> LearningRateTrial:
    task = task_of(made.model, data, recipe.loss)
    before = mean_loss(made.model, task)
    outcome = train(made.model, data, recipe, seed=seed, lr_factors=made.lr_factors)
    sentence, passed = f"{outcome.sentence} It was {before:.3g} at the start.", False
    if outcome.status != "diverged" and outcome.loss < before:
        passed = not _constant(made.model, task.x[:CHUNK])
        sentence += "" if passed else " The network is dead: its output is the same everywhere."
    return LearningRateTrial(lr=recipe.lr, passed=passed, steps=outcome.steps, sentence=sentence)


def _constant(model: nn.Module, x: Float[Tensor, "n *shape"]) -> bool:
    """Whether the output is the same for all inputs, up to rounding."""
    with undisturbed(model), torch.no_grad():
        f = model(x)
    return bool((f - f[0]).abs().max() <= 1e-6 * f.abs().max())


class _PassedError(Exception):
    """Ends a training whose accuracy has passed the level."""


def _reaching(
    made: Parametrised, data: DataSet, recipe: Recipe, seed: int, level: float
) -> LearningRateTrial:
    best, last = 0.0, 0

    def look(step: int) -> None:
        nonlocal best, last
        best, last = max(best, accuracy(made.model, data.train)), step
        if best > level:
            raise _PassedError

    interval = max(1, recipe.steps // LOOKS)
    try:
        outcome = train(
            made.model,
            data,
            recipe,
            seed=seed,
            lr_factors=made.lr_factors,
            observe=look,
            when=lambda step: step % interval == 0,
        )
    except _PassedError:
        sentence = f"The training accuracy was {best:.3g} after {last} steps."
        return LearningRateTrial(lr=recipe.lr, passed=True, steps=last, sentence=sentence)
    sentence = f"The training accuracy was {best:.3g} at best. {outcome.sentence}"
    return LearningRateTrial(lr=recipe.lr, passed=False, steps=outcome.steps, sentence=sentence)
