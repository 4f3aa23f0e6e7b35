"""What forecast and verdict say of the networks of a family at the learning rate carried over."""

from __future__ import annotations

from typing import Any

from tasks import Task
from torch import nn
from torch.optim import Optimizer
from transfer_curves import train
from transfer_schemes import OPTIMIZERS, Family, Pair, apply

import lazyrich

FEW = {True: 12, False: 64}  # rows that are looked at: windows of text, images
DIRECTIONS = 16


def regimes(
    family: Family, task: Task, optimizer: str, size: int, rate: float, factors: Pair, seed: int
) -> dict[str, Any]:
    """The regime that is forecast, and the one that training came to, with the kernel's change.

    Args:
        family: of the network.
        task: of the family.
        optimizer: by its name in `OPTIMIZERS`; a forecast takes one optimiser, Muon needs two.
        size: of the network.
        rate: logarithm (base 2) of the learning rate.
        factors: on learning rates and on init.
        seed: of init and batches.
    """

    def made() -> tuple[nn.Module, list[Optimizer]]:
        model = family.model(task, size, seed)
        optimizers = OPTIMIZERS[optimizer][0](model, 2.0**rate)
        apply(model, optimizers, factors)
        return model, optimizers

    x, y = task.train
    few = FEW[not x.is_floating_point()]
    batch = (x[:few], y[:few])
    found: dict[str, Any] = {}
    model, optimizers = made()
    if len(optimizers) == 1:
        ahead = lazyrich.forecast(
            model, batch, task.loss, optimizer=optimizers[0], steps=family.steps,
            directions=DIRECTIONS, seed=seed,
        )  # fmt: skip
        found |= {"forecast": str(ahead.regime), "forecast_ntk_change": ahead.predicted_ntk_change}
    probe = lazyrich.Probe(model, batch, task.loss)
    with probe.watch(optimizers[-1], when=lazyrich.at(family.steps)):
        train(model, optimizers, task, family.steps, seed)
    verdict = probe.verdict()
    return found | {
        "verdict": str(verdict.regime),
        "ntk_change": verdict.evidence["ntk_change"],
    }
