"""Watching a network that the Hugging Face Trainer trains."""

from __future__ import annotations

from typing import Any

from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from lazyrich.probe.callbacks.stepwise import Stepwise
from lazyrich.probe.history import as_sink
from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import Schedule, checked_schedule, every


class HuggingFaceCallback(TrainerCallback):
    """Measures before the first step, after the last one, and in between on a schedule.

    Where several processes train, the first one measures; a model whose parameters are spread over
    processes (FSDP, DeepSpeed) cannot be watched.

    Args:
        probe: of the network that is trained or of a part of it.
        when: a schedule, or after how many optimiser steps to measure again; None is `every(50)`.
        log: a callable `(dict, step)` or a TensorBoard writer that gets all scalars, named
            `lazyrich/<quantity>` and `lazyrich/<quantity>/<layer>`.

    Example:
        >>> import torch
        >>> from lazyrich import Probe
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> probe = Probe(net, (torch.ones(4, 2), torch.ones(4, 1)))
        >>> callback = HuggingFaceCallback(probe, when=every(100))  # Trainer(callbacks=[callback])
    """

    def __init__(
        self,
        probe: Probe,
        *,
        when: Schedule | int | None = None,
        log: Any = None,  # noqa: ANN401 - a callable or a writer
    ) -> None:
        self._measure = Stepwise(probe, every(50) if when is None else checked_schedule(when))
        self._sink = None if log is None else as_sink(log)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - the trainer's signature
    ) -> None:
        """Take the reference."""
        self._look(state, kwargs, now=True)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Measure if the step is due."""
        self._look(state, kwargs, now=False)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Measure the result."""
        self._look(state, kwargs, now=True)

    def _look(self, state: TrainerState, kwargs: dict[str, Any], *, now: bool) -> None:
        if not state.is_world_process_zero:
            return
        wrapped = kwargs.get("optimizer")
        optimizer = getattr(wrapped, "optimizer", wrapped)  # Accelerate's wrapper
        values = self._measure(state.global_step, optimizer, now=now)
        if values and self._sink is not None:
            self._sink(values, state.global_step)
