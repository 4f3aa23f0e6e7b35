"""A rehearsal: training on the probe batch, of copies, down to a loss or for a number of steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor

from lazyrich.capture.losses import Loss, OutputLoss
from lazyrich.capture.network import Parameters, gradient
from lazyrich.probe.forecast.linearised import Function, Linearisation
from lazyrich.probe.forecast.training import Apprentice
from lazyrich.vocabulary.regimes import Word

BLOWN_UP = 1e3  # times the loss at the start
LEFT_BEHIND = 1.0  # gap between a network and its linearisation at which there is no more to learn
FLOOR_STEPS = 200  # of L-BFGS on the outputs, to the least possible loss

Progress = Callable[[str, int, float], None]
"""`(what is rehearsed, steps made, loss)`, called before every step and after the last one."""


class Ended(Word):
    """How a rehearsal ended."""

    FITTED = "fitted"
    ALL_STEPS = "all steps made"
    OUT_OF_STEPS = "out of steps"
    OUT_OF_TIME = "out of time"
    INTERRUPTED = "interrupted"
    LEFT_BEHIND = "left behind"
    DIVERGED = "diverged"


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """The course of one rehearsal.

    Attributes:
        losses: the loss before every step, and after the last one.
        ended: how; `"left behind"` is the linearised network when the true network at its weights
            gives something else, as far from it as it has come.
        gradients: what it cost, in gradients of the network on the batch.
    """

    losses: tuple[float, ...]
    ended: Ended
    gradients: float

    @property
    def steps(self) -> int:
        """Made."""
        return len(self.losses) - 1


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Where a rehearsal stops.

    Attributes:
        loss: loss at which training has fitted; None if it makes all its steps whatever the loss.
        least: the least possible loss of any outputs.
        steps: number of steps to make; None if the loss decides.
        most_steps: budget.
        until: budget, as `time.monotonic()` tells the time.
        blown_up: how far the loss may rise, in units of the loss at the start.
    """

    loss: float | None
    least: float
    steps: int | None
    most_steps: int
    until: float
    blown_up: float = BLOWN_UP

    def reached(self, losses: list[float]) -> Ended | None:
        """Whether the rehearsal is over, by the losses so far."""
        made = len(losses) - 1
        if not isfinite(losses[-1]) or losses[-1] > losses[0] + self.blown_up * abs(losses[0]):
            return Ended.DIVERGED
        if self.loss is not None and losses[-1] <= self.loss:
            return Ended.FITTED
        if self.steps is not None and made >= self.steps:
            return Ended.ALL_STEPS
        if made >= self.most_steps:
            return Ended.OUT_OF_STEPS
        return Ended.OUT_OF_TIME if time.monotonic() >= self.until else None


Evaluate = Callable[[Parameters], tuple[Tensor, Parameters]]
"""θ ↦ the loss and its gradient."""


def of_linearisation(linear: Linearisation, loss: OutputLoss) -> Evaluate:
    """The loss of the linearised network."""

    def evaluate(theta: Parameters) -> tuple[Tensor, Parameters]:
        f = linear.at_displaced({name: p.detach() for name, p in theta.items()})
        return loss(f).detach(), linear.transposed(gradient(loss, f))

    return evaluate


def of_network(function: Function, loss: OutputLoss) -> Evaluate:
    """The loss of the network itself."""

    def evaluate(theta: Parameters) -> tuple[Tensor, Parameters]:
        with torch.enable_grad():
            leaves = {name: p.detach().requires_grad_() for name, p in theta.items()}
            value = loss(function(leaves))
            rows = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        slope = {
            name: torch.zeros_like(p) if row is None else row.to_dense()
            for (name, p), row in zip(leaves.items(), rows, strict=True)
        }
        return value.detach(), slope

    return evaluate


def rehearse(
    what: str,
    evaluate: Evaluate,
    apprentice: Apprentice,
    goal: Goal,
    *,
    cost: float = 1.0,
    left: Callable[[Parameters], bool] | None = None,
    progress: Progress | None = None,
) -> Rehearsal:
    """Train to the goal; the apprentice's leaves are then where training ended.

    Ctrl-C ends the rehearsal and not the forecast: what was learned so far counts.

    Args:
        what: is rehearsed, for `progress`.
        evaluate: θ ↦ loss and gradient.
        apprentice: the optimiser.
        goal: where to stop.
        cost: gradients of the network that one evaluation costs.
        left: whether to give up, asked after 1, 2, 4, 8, … steps.
        progress: the same as in `Progress`.
    """
    losses: list[float] = []
    count = 0

    def at_leaves() -> tuple[Tensor, Parameters]:
        nonlocal count
        count += 1
        return evaluate({name: leaf.detach() for name, leaf in apprentice.leaves.items()})

    def again() -> Tensor:
        value, gradient = at_leaves()
        apprentice.set_gradient(gradient)
        return value

    try:
        while True:
            value, gradient = at_leaves()
            losses.append(value.item())
            if progress is not None:
                progress(what, len(losses) - 1, losses[-1])
            ended = goal.reached(losses)
            if ended is None and left is not None and _is_power_of_two(len(losses) - 1):
                ended = Ended.LEFT_BEHIND if left(apprentice.leaves) else None
            if ended is not None:
                break
            apprentice.step(losses[-1], gradient, again)
    except KeyboardInterrupt:
        ended = Ended.INTERRUPTED
        losses = losses or [at_leaves()[0].item()]
    return Rehearsal(losses=tuple(losses), ended=ended, gradients=cost * count)


def _is_power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


def least_loss(loss: Loss, value: OutputLoss, outputs: Tensor, targets: object) -> float:
    """The least possible loss of any outputs.

    0 for a squared error and for class labels, their entropy for class probabilities; for a loss
    without a name it is looked for. −∞ if there is none.

    Args:
        loss: the loss as the user gave it.
        value: the loss as a function of the outputs.
        outputs: at the start.
        targets: what it compares them with.
    """
    if loss == "cross_entropy" and isinstance(targets, Tensor) and targets.is_floating_point():
        tiny = torch.finfo(outputs.dtype).tiny
        return value(targets.to(outputs).clamp_min(tiny).log()).item()
    return 0.0 if isinstance(loss, str) else _searched_least(value, outputs)


def _searched_least(value: OutputLoss, outputs: Tensor) -> float:
    f = outputs.detach().clone().requires_grad_()
    search = torch.optim.LBFGS([f], max_iter=FLOOR_STEPS, line_search_fn="strong_wolfe")
    first = value(outputs).item()
    found = [first]

    def closure() -> float:
        search.zero_grad()
        now = value(f)
        now.backward()  # type: ignore[no-untyped-call]
        found.append(now.item())
        return found[-1]

    search.step(closure)  # type: ignore[no-untyped-call]
    least = min((x for x in found if isfinite(x)), default=-inf)
    return least if first - least <= BLOWN_UP * max(abs(first), 1.0) else -inf
