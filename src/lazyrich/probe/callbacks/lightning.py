"""Watching a network that Lightning trains."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lazyrich.probe.callbacks.stepwise import Stepwise
from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import Schedule, checked_schedule, every


class LightningCallback(Callback):
    """Measures before the first step, after the last one, and in between on a schedule.

    The scalars of each measurement go to the trainer's loggers, named `lazyrich/<quantity>` and
    `lazyrich/<quantity>/<layer>`. Where several processes train, the first one measures; a model
    whose parameters are spread over processes (FSDP, DeepSpeed) cannot be watched.

    Args:
        probe: of the network that is trained or of a part of it; the LightningModule itself will
            do if its `forward` takes the probe's inputs.
        when: a schedule, or after how many optimiser steps to measure again; None is `every(50)`.

    Example:
        >>> import torch
        >>> from lazyrich import Probe
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> probe = Probe(net, (torch.ones(4, 2), torch.ones(4, 1)))
        >>> trainer = Trainer(
        ...     callbacks=[LightningCallback(probe, when=every(100))], accelerator="cpu",
        ...     enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        ...     logger=False,
        ... )
    """

    def __init__(self, probe: Probe, *, when: Schedule | int | None = None) -> None:
        super().__init__()
        self._measure = Stepwise(probe, every(50) if when is None else checked_schedule(when))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the reference."""
        self._look(trainer, now=True)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Measure if the step is due."""
        self._look(trainer, now=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the result."""
        self._look(trainer, now=True)

    def _look(self, trainer: Trainer, *, now: bool) -> None:
        if not trainer.is_global_zero:
            return
        optimizer = trainer.optimizers[0] if len(trainer.optimizers) == 1 else None
        values = self._measure(trainer.global_step, optimizer, now=now)
        if values:
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)
