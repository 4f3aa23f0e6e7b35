"""Watching a network that Lightning trains."""

from __future__ import annotations

from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lazyrich.probe.callbacks.stepwise import Measure, Stepwise
from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import Schedule

_ENTRY = "lazyrich"


class LightningCallback(Callback):
    """Measures before the first step, after the last one, and in between on a schedule.

    The scalars of each measurement go to the trainer's loggers, named `lazyrich/<quantity>` and
    `lazyrich/<quantity>/<layer>`. The trainer's checkpoints hold what the probe has seen, and a
    training that goes on from one has the reference that it began with; a second `fit` goes on
    counting. Where several processes train, the first one measures; a model
    whose parameters are spread over processes (FSDP, DeepSpeed) cannot be watched.

    Args:
        probe: the probe of the network that is trained or of a part of it; the LightningModule
            itself will do if its `forward` takes the probe's inputs.
        when: a schedule, or after how many optimiser steps to measure again, see `Probe.watch`.
        budget: share of wall time that measuring may take, likewise.

    Example:
        >>> import torch
        >>> from lazyrich import Probe
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> probe = Probe(net, (torch.ones(4, 2), torch.ones(4, 1)))
        >>> trainer = Trainer(
        ...     callbacks=[LightningCallback(probe, when=100)], accelerator="cpu",
        ...     enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        ...     logger=False,
        ... )
    """

    def __init__(
        self, probe: Probe, *, when: Schedule | int | None = None, budget: float | None = None
    ) -> None:
        super().__init__()
        self._measure = Stepwise(probe, when, budget)

    def on_save_checkpoint(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Put what the probe has seen into the trainer's checkpoint."""
        # not by `state_dict`, for which no two callbacks of one class may be alike
        checkpoint.setdefault(_ENTRY, {})[self._place(trainer)] = self._measure.state_dict()

    def on_load_checkpoint(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Take it from there; not to validate or test, which is no training that goes on."""
        saved = checkpoint.get(_ENTRY, {}).get(self._place(trainer))
        if saved is not None and trainer.state.fn == TrainerFn.FITTING:
            self._measure.load_state_dict(saved)

    def _place(self, trainer: Trainer) -> int:
        """Which of the trainer's callbacks of this kind it is."""
        return [one for one in trainer.callbacks if isinstance(one, type(self))].index(self)  # type: ignore[attr-defined]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the reference, unless a checkpoint had it."""
        self._look(trainer, self._measure.begin)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's signature
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Measure if the step is due."""
        self._look(trainer, self._measure)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the result."""
        self._look(trainer, partial(self._measure, now=True))

    def _look(self, trainer: Trainer, measure: Measure) -> None:
        if not trainer.is_global_zero:
            return
        values = measure(trainer.global_step, self._measure.trainer_of(trainer.optimizers))
        if values:
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)
