"""Measuring from a framework's callbacks, which only say how many steps were made."""

from __future__ import annotations

from torch.optim import Optimizer

from lazyrich.probe.history import scalars
from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import Schedule


class Stepwise:
    """Measures a probe when a step is due, each step once.

    Args:
        probe: measures.
        when: a function of the optimiser step.
    """

    def __init__(self, probe: Probe, when: Schedule) -> None:
        self._probe = probe
        self._when = when
        self._seen = -1

    def __call__(
        self, step: int, optimizer: Optimizer | None, *, now: bool = False
    ) -> dict[str, float]:
        """Measure if this step is due and new.

        Args:
            step: optimiser steps made so far.
            optimizer: that makes them.
            now: whether it is due whatever the schedule says.

        Returns:
            The scalars that were measured; empty if nothing was.
        """
        if step == self._seen or not (now or self._when(step)):
            return {}
        self._seen = step
        self._probe.measure(step, optimizer=optimizer)
        last = self._probe.history.isel(step=-1)
        return scalars(
            {
                str(name): dict(zip(last.layer.values.tolist(), part.values.tolist(), strict=True))
                if part.ndim
                else part.item()
                for name, part in last.data_vars.items()
            }
        )
