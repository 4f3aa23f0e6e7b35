"""Measuring from a framework's callbacks, which only say how many steps were made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lazyrich.capture.isolation import unwrap
from lazyrich.probe.history import scalars
from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import Schedule, cadence

Measure = Callable[[int, Optimizer | None], dict[str, float]]
"""Takes the step and the optimiser; returns the scalars that were measured, if any."""


class Stepwise:
    """Measures a probe when a step is due, each step once.

    A second training with the same callback goes on counting where the first one stopped.

    Args:
        probe: measures.
        when: the same as in `Probe.watch`.
        budget: the same as in `Probe.watch`.
    """

    def __init__(
        self, probe: Probe, when: Schedule | int | None = None, budget: float | None = None
    ) -> None:
        self._probe = probe
        self._due = cadence(when, budget)
        self._earlier = 0  # steps of trainings before this one
        self._made = 0  # all of them, with those of this one

    def begin(self, step: int, optimizer: Optimizer | None) -> dict[str, float]:
        """Take the reference, unless the probe has it; a training begins.

        Args:
            step: the step as the framework counts; not 0 if it goes on from a checkpoint.
            optimizer: the optimiser that is going to make steps.

        Returns:
            As a call.
        """
        self._probe.clock.start()
        if step == 0 and self._probe.step is not None:
            self._earlier = self._made = max(self._made, self._probe.step)
        return self(step, optimizer, now=self._probe.step is None)

    def __call__(
        self, step: int, optimizer: Optimizer | None, *, now: bool = False
    ) -> dict[str, float]:
        """Measure if this step is due and new.

        Args:
            step: optimiser steps made so far in this training.
            optimizer: the optimiser that makes them.
            now: whether it is due whatever the schedule and the budget say.

        Returns:
            The scalars that were measured; empty if nothing was.
        """
        self._made = self._earlier + step
        if self._made == self._probe.step:
            return {}
        if not (now or self._due(self._made, self._probe.clock)):
            return {}
        self._probe.measure(self._made, optimizer=optimizer)
        last = self._probe.history.isel(step=-1)
        return scalars(
            {
                str(name): dict(zip(last.layer.values.tolist(), part.values.tolist(), strict=True))
                if part.ndim
                else part.item()
                for name, part in last.data_vars.items()
            }
        )

    def trainer_of(self, optimizers: Sequence[Optimizer]) -> Optimizer | None:
        """The only optimiser, or the one that owns parameters of the model; None if several do.

        Args:
            optimizers: all that a framework has.
        """
        own = set(map(id, self._probe.model.parameters()))
        owners = [
            one
            for one in optimizers
            if len(optimizers) == 1
            or own & {id(p) for group in one.param_groups for p in group["params"]}
        ]
        return owners[0] if len(owners) == 1 else None

    def key(self, trained: nn.Module) -> str:
        """A name for the probe in a checkpoint, the same in every process that makes it alike.

        Args:
            trained: the network of which the probe's model is a part.
        """
        own = unwrap(self._probe.model)
        path = next((name for name, module in trained.named_modules() if module is own), "")
        return blake2b(f"{path} {self._probe.made_with}".encode(), digest_size=8).hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint; see `Probe.state_dict`."""
        return {"earlier": self._earlier, "made": self._made, "probe": self._probe.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a training was interrupted; see `Probe.load_state_dict`."""
        self._probe.load_state_dict(state["probe"])
        self._earlier, self._made = state["earlier"], state["made"]

    def save(self, file: Path) -> None:
        """Write the state to a file of a checkpoint."""
        torch.save(self.state_dict(), file)

    def load(self, file: Path) -> None:
        """Go on from such a file."""
        self.load_state_dict(torch.load(file, weights_only=True))
