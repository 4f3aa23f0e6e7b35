"""What is refused before anything is measured; each function raises an `InputError` then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lazyrich._arguments import as_number, shown, whole
from lazyrich._errors import InputError
from lazyrich.capture.directions import checked_directions, checked_seed
from lazyrich.capture.jacobian import checked_memory
from lazyrich.capture.optimizer_step import checked_optimizer
from lazyrich.probe.thresholds import Thresholds

LabelledBatch = tuple[Any, Any] | list[Any] | Mapping[str, Any]
"""`(inputs, targets)`, or one mapping of arguments of the model with its targets as `labels`."""


def refuse_settings(
    samples: object, directions: object, memory: object, seed: object, thresholds: object
) -> None:
    """Refuse settings of a probe that are of another kind."""
    if samples is not None and samples != "auto" and (whole(samples) or 0) < 1:
        raise InputError(
            f'`samples` must be a whole number ≥ 1, "auto" or None, got {shown(samples)}. Pass how '
            "many of the batch to measure."
        )
    if directions != "auto":
        checked_directions(directions)
    checked_memory(memory)
    checked_seed(seed)
    if thresholds is not None and not isinstance(thresholds, Thresholds):
        raise InputError(
            f"`thresholds` must be a `Thresholds`, got {shown(thresholds)}. Pass such as "
            "Thresholds(rich_from=0.2)."
        )


def checked_measurement(step: object, optimizer: object) -> Optimizer | None:
    """The optimiser that made the steps, if any; what is no number of steps is refused."""
    if (made := whole(step)) is None or made < 0:
        raise InputError(
            f"`step` must be a whole number ≥ 0, got {shown(step)}. Count the optimiser's steps."
        )
    return None if optimizer is None else checked_optimizer(optimizer)


def inputs_and_targets(batch: object) -> tuple[Any, Any]:
    """The two parts of a labelled batch.

    Args:
        batch: what the user gave; of a mapping, the targets are its `labels`, and the inputs the
            rest of it.

    Raises:
        InputError: neither a pair nor a mapping with labels.
    """
    if isinstance(batch, Mapping) and batch.get("labels") is not None:
        return {name: part for name, part in batch.items() if name != "labels"}, batch["labels"]
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputError(
            "`batch` must be a pair (inputs, targets), or a mapping with `labels`, got a "
            f"{type(batch).__name__}. Pass the inputs and the targets of one batch."
        )
    return batch[0], batch[1]


def checked_watch(model: nn.Module, optimizer: object, *, inside: bool) -> Optimizer:
    """The optimiser that makes the steps; one of another model, and a watch inside, are refused."""
    if inside:
        raise InputError(
            "`watch` must be left before it is entered again, got a second one inside: every "
            "step would count twice. Use one, around the whole loop."
        )
    steps = checked_optimizer(optimizer)
    owned = {id(p) for group in steps.param_groups for p in group["params"]}
    if not any(id(p) in owned for p in model.parameters() if p.requires_grad):
        raise InputError(
            "the optimiser must own parameters of the probed model, got one that owns none. "
            "Build it from model.parameters() of this very model."
        )
    return steps


def refuse_family(
    factory: object,
    widths: object,
    steps: object,
    seeds: object,
) -> None:
    """Refuse what is no family of networks over widths."""
    if not callable(factory) or isinstance(factory, nn.Module):
        raise InputError(
            f"`factory` must be a function that makes the model of a width, got {shown(factory)}. "
            "Pass such as `lambda width: …`."
        )
    ladder = [whole(one) or 0 for one in widths] if isinstance(widths, Iterable) else []
    if len(set(ladder)) < 3 or min(ladder) < 1:
        raise InputError(
            f"`widths` must hold at least 3 different positive widths to fit an exponent with an "
            f"interval, got {shown(widths)}."
        )
    if (whole(steps) or 0) < 1 or (whole(seeds) or 0) < 1:
        raise InputError(f"`steps` and `seeds` must be ≥ 1, got {shown(steps)} and {shown(seeds)}.")


def refuse_levels(confidence: object, tolerance: object) -> None:
    """Refuse what is no level of an interval, or no size of an exponent."""
    if not 0 < (as_number(confidence) or 0) < 1:
        raise InputError(f"`confidence` must lie between 0 and 1, got {shown(confidence)}.")
    if (edge := as_number(tolerance)) is None or not edge >= 0:
        raise InputError(f"`tolerance` must be a number ≥ 0, got {shown(tolerance)}.")


def refuse_horizon(to_loss: object, steps: object, max_steps: object, max_seconds: object) -> None:
    """Refuse an end of training that is no number, or out of range."""
    for name, given in (("steps", steps), ("max_steps", max_steps)):
        made = whole(given)
        if not (name == "steps" and given is None) and (made is None or made < 1):
            raise InputError(
                f"`{name}` must be ≥ 1, got {shown(given)}. Pass a whole number of steps."
            )
    if not (as_number(max_seconds) or 0.0) > 0:
        raise InputError(
            f"`max_seconds` must be > 0, got {shown(max_seconds)}. Pass the seconds that a "
            "rehearsal may take, or leave it out for no limit."
        )
    if to_loss is not None and as_number(to_loss) is None:
        raise InputError(
            f"`to_loss` must be a number, got {shown(to_loss)}. Pass the loss at which training "
            "will stop."
        )


def refuse_training(schedule: object, progress: object) -> None:
    """Refuse what tells no learning rates, or cannot be told of progress."""
    if not (progress is None or callable(progress)):
        raise InputError(
            f"`progress` must be a function of what is rehearsed, the steps made and the loss, got "
            f"{shown(progress)}. Pass such as `print`."
        )
    if not (schedule is None or callable(schedule) or isinstance(schedule, LRScheduler)):
        raise InputError(
            f"`schedule` must be a function of the step or a scheduler of the optimiser, got "
            f"{shown(schedule)}. Pass such as lambda step: 0.99**step."
        )
