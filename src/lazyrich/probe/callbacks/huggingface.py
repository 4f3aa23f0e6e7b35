"""Watching a network that the Hugging Face Trainer trains."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from lazyrich.probe.callbacks.stepwise import Measure, Stepwise
from lazyrich.probe.history import as_sink
from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import Schedule


class HuggingFaceCallback(TrainerCallback):
    """Measures before the first step, after the last one, and in between on a schedule.

    Every checkpoint that the trainer saves gets a file with what the probe has seen, and a training
    that goes on from one in its `output_dir` has the reference that it began with; a second
    `train` goes on counting. Where several processes train, the first one measures; a model whose
    parameters are spread over processes (FSDP, DeepSpeed) cannot be watched.

    Args:
        probe: the probe of the network that is trained or of a part of it.
        when: a schedule, or after how many optimiser steps to measure again, see `Probe.watch`.
        budget: share of wall time that measuring may take, likewise.
        log: a callable `(dict, step)` or a TensorBoard writer that gets all scalars, named
            `lazyrich/<quantity>` and `lazyrich/<quantity>/<layer>`.

    Example:
        >>> import torch
        >>> from lazyrich import Probe
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        >>> probe = Probe(net, (torch.ones(4, 2), torch.ones(4, 1)))
        >>> callback = HuggingFaceCallback(probe, when=100)  # Trainer(callbacks=[callback])
    """

    def __init__(
        self,
        probe: Probe,
        *,
        when: Schedule | int | None = None,
        budget: float | None = None,
        log: Any = None,  # noqa: ANN401 - a callable or a writer
    ) -> None:
        self._measure = Stepwise(probe, when, budget)
        self._sink = None if log is None else as_sink(log)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - the trainer's signature
    ) -> None:
        """Take the reference, unless a checkpoint has it."""
        if state.global_step and state.is_world_process_zero:
            self._resume(args, state, kwargs)
        self._look(state, kwargs, self._measure.begin)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Put what the probe has seen beside the rest of a checkpoint."""
        folder = _checkpoint(args, state)
        if state.is_world_process_zero and folder.is_dir():
            self._measure.save(folder / self._file(kwargs))

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Measure if the step is due."""
        self._look(state, kwargs, self._measure)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Measure the result."""
        self._look(state, kwargs, partial(self._measure, now=True))

    def _file(self, kwargs: dict[str, Any]) -> str:
        return f"lazyrich-{self._measure.key(kwargs['model'])}.pt"

    def _resume(self, args: TrainingArguments, state: TrainerState, kwargs: dict[str, Any]) -> None:
        given = args.resume_from_checkpoint
        folders = [_checkpoint(args, state), *([Path(given)] if given else [])]
        files = [folder / self._file(kwargs) for folder in folders]
        file = next((file for file in files if file.is_file()), None)
        if file is not None:
            self._measure.load(file)

    def _look(self, state: TrainerState, kwargs: dict[str, Any], measure: Measure) -> None:
        if not state.is_world_process_zero:
            return
        values = measure(state.global_step, kwargs.get("optimizer"))
        if values and self._sink is not None:
            self._sink(values, state.global_step)


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    """Where the trainer saves at this step."""
    return Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
