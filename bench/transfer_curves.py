"""Loss against learning rate: trained cells that are kept, a search for the minimum, a fit."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from tasks import Task
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transfer_schemes import OPTIMIZERS, Family, Pair, apply

ROWS = {True: 256, False: 1024}  # that a network is judged on: windows of text, images
FARTHEST = 24  # half octaves that a search goes from its start
KEPT = 1.25  # times the best loss: points that are worse say nothing of the minimum
WINDOW = 3  # half octaves on either side of the lowest point, that the fit sees
CLIFF = 1.5  # the same for those half an octave from the lowest one: beyond is instability
PROMISE = 0.04  # of the lowest loss, that a fit may go below it
WARM_UP = 0.1  # of the steps; then the rate falls in a line to 0

Cell = dict[str, Any]


class NotTrainedError(LookupError):
    """What is asked for does not stand in a closed notebook."""


@dataclass(kw_only=True)
class Notebook:
    """What has been trained, one JSON object a line, so that a run goes on where it stopped.

    Attributes:
        path: of the file.
        closed: whether nothing may be added.
        lines: by key.
    """

    path: Path
    closed: bool = False
    lines: dict[str, Cell] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            for line in self.path.read_text("utf-8").splitlines():
                one = json.loads(line)
                self.lines[one["key"]] = one

    def get(self, key: str, make: Callable[[], Cell]) -> Cell:
        """What stands under a key, made if nothing does."""
        if key not in self.lines:
            if self.closed:
                raise NotTrainedError(key)
            start = process_time()
            made = {"key": key, **make(), "seconds": round(process_time() - start, 3)}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(made) + "\n")
            self.lines[key] = made
        return self.lines[key]

    @property
    def seconds(self) -> float:
        """Of the processor, for all of it."""
        return float(sum(one["seconds"] for one in self.lines.values()))


def trained(
    family: Family, task: Task, optimizer: str, size: int, rate: float, factors: Pair, seed: int
) -> Cell:
    """Train one network; its losses on the training part and on the other one, None if diverged.

    Args:
        family: of the network.
        task: of the family.
        optimizer: by its name in `OPTIMIZERS`.
        size: of the network.
        rate: logarithm (base 2) of the learning rate.
        factors: on learning rates and on init.
        seed: of init and batches.
    """
    model = family.model(task, size, seed)
    optimizers = OPTIMIZERS[optimizer][0](model, 2.0**rate)
    apply(model, optimizers, factors)
    if not math.isfinite(train(model, optimizers, task, family.steps, seed)[-1]):
        return {"train": None, "held_out": None}
    return {
        "train": judged(model, task, task.train),
        "held_out": judged(model, task, task.held_out),
    }


def train(
    model: nn.Module, optimizers: Sequence[Optimizer], task: Task, steps: int, seed: int
) -> list[float]:
    """Train in place; the loss of every step, up to the first that is not finite.

    Args:
        model: freshly initialised.
        optimizers: that share its parameters out.
        task: it learns.
        steps: to make.
        seed: of the batches.
    """
    schedules = [LambdaLR(one, lambda i: schedule(i, steps)) for one in optimizers]
    seen: list[float] = []
    for x, y in task.steps(steps, seed):
        value = task.loss(model(x), y)
        seen.append(value.item())
        if not math.isfinite(seen[-1]):
            break
        model.zero_grad()
        value.backward()
        for one, rates in zip(optimizers, schedules, strict=True):
            one.step()
            rates.step()
    return seen


def schedule(step: int, steps: int) -> float:
    """Up in a line, then down to 0."""
    warm = max(1, round(WARM_UP * steps))
    return min((step + 1) / warm, (steps - step) / (steps - warm + 1))


def judged(model: nn.Module, task: Task, part: tuple[torch.Tensor, torch.Tensor]) -> float | None:
    """The loss on the first rows of a part; batch norms normalise by these, as in training."""
    x, y = part
    rows = ROWS[not x.is_floating_point()]
    with torch.no_grad():
        value = task.loss(model(x[:rows]), y[:rows]).item()
    return value if math.isfinite(value) else None


Losses = dict[int, list[float]]
"""By learning rate, in half octaves: the loss of every seed, infinite where training diverged."""

Measure = Callable[[int, Sequence[int]], list[float]]
"""From half octaves and seeds to the loss of each of these seeds."""


def search(measure: Measure, start: int, seeds: Sequence[int], reach: int) -> Losses:
    """Losses around a minimum, at half octaves; found in strides of an octave with one seed.

    Args:
        measure: from half octaves and seeds to the loss of each of these.
        start: where to begin.
        seeds: all of them.
        reach: half octaves that are measured on either side of the minimum.
    """
    one = _descend(lambda place: measure(place, seeds[:1]), start, (2,))
    strides = range(1, reach + 1)
    return _descend(lambda place: measure(place, seeds), _lowest(one), strides)


def _descend(measure: Callable[[int], list[float]], start: int, strides: Sequence[int]) -> Losses:
    """Look on both sides of the lowest point until it is one, in strides of these lengths."""
    seen = {start: measure(start)}
    for stride in strides:
        while True:
            best = _lowest(seen)
            new = [one for one in (best - stride, best + stride) if one not in seen]
            if not new or abs(best - start) > FARTHEST:
                break
            seen |= {one: measure(one) for one in new}
    return dict(sorted(seen.items()))


def _lowest(losses: Losses) -> int:
    return min(losses, key=lambda place: (middle(losses[place]), place))


def middle(losses: Sequence[float]) -> float:
    """The geometric mean; infinite if one is."""
    return float(np.exp(np.mean(np.log(losses))))


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """Where a curve is lowest: of a quadratic in log₂ of the learning rate, to the log of the loss.

    Attributes:
        rate: log₂ of the best learning rate.
        stderr: of the rate, by leaving out one seed at a time.
        loss: there, by the fit.
    """

    rate: float
    stderr: float
    loss: float


def minimum(losses: Losses) -> Minimum:
    """Fit a curve.

    Args:
        losses: see `Losses`.
    """
    best = _lowest(losses)
    near = [place for place in losses if abs(place - best) <= WINDOW]
    table = np.array([losses[place] for place in near])
    rate, loss = _vertex(near, table)
    return Minimum(rate=rate, stderr=_jackknife(near, table), loss=loss)


def _jackknife(near: Sequence[int], table: np.ndarray) -> float:
    """The standard error of the vertex; NaN from one seed."""
    seeds = range(table.shape[1])
    if len(seeds) < 2:
        return math.nan
    rates = [_vertex(near, table[:, [one for one in seeds if one != out]])[0] for out in seeds]
    return math.sqrt((len(rates) - 1) * np.var(rates))


def _vertex(near: Sequence[int], table: np.ndarray) -> tuple[float, float]:
    """Rate and loss of the lowest point; the lowest measured one where the fit has none within."""
    losses = np.array([middle(row) for row in table])
    places = np.array(near)
    lowest = int(places[np.argmin(losses)])
    beside = abs(places - lowest) <= 1
    for most in (CLIFF, KEPT):  # a fit that promises more than was found leans on a cliff
        fits = losses <= np.where(beside, most, KEPT) * losses.min()
        if fits.sum() >= 3:
            x = places[fits] / 2 - lowest / 2
            curvature, slope, level = np.polyfit(x, np.log(losses[fits]), 2)
            moved = -slope / (2 * curvature) if curvature > 0 else math.inf
            found = float(np.exp(level + slope * moved / 2)) if math.isfinite(moved) else 0.0
            if x.min() <= moved <= x.max() and found > (1 - PROMISE) * losses.min():
                return lowest / 2 + float(moved), found
    return lowest / 2, float(losses.min())


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)
