"""Watching a network that Lightning trains."""

from __future__ import annotations

from typing import Any

from lazyrich._errors import MissingExtraError
from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import Schedule, every

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    raise MissingExtraError("Lightning", "lightning") from error


class ProbeCallback(Callback):
    """Measures before the first step, after the last one, and in between on a schedule.

    Where several processes train, the first one measures. The scalars of each measurement go to
    the trainer's loggers as `lazyrich/<quantity>/<layer>`.

    Args:
        probe: of the network that is trained, or of a part of it; make it before training.
        when: a function of the optimiser step.

    Example:
        >>> from lightning.pytorch import Trainer  # doctest: +SKIP
        >>> trainer = Trainer(callbacks=[ProbeCallback(probe, when=every(100))])  # doctest: +SKIP
    """
