"""What a training is told, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, inf, isfinite, pi
from typing import Literal

from lazyrich._errors import InputError
from lazyrich.study.networks.width_rule import OptimizerName
from lazyrich.vocabulary.losses import LOSSES, LossName
from lazyrich.vocabulary.numerals import in_words


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        loss: `"mse"`, the mean over samples and outputs; `"squared_error"`, E‖f − y‖² summed over
            outputs; or `"cross_entropy"`.
        optimizer: `"sgd"` or `"adam"`, as in `torch.optim`.
        lr: the learning rate η > 0; each parameter's is η times its factor.
        momentum: momentum of SGD, 0 ≤ μ < 1.
        weight_decay: λ ≥ 0, added to the gradient as λθ.
        batch_size: samples a step; None is the full batch.
        steps: how many at most, ≥ 1.
        stop_loss: stop when the loss of all training samples is this or less; looked at before
            every step with the full batch, before every epoch with smaller ones, and at the end.
        schedule: `"constant"`, or `"cosine"`: step t of T has η (1 + cos(πt/T))/2.
        augment: each image of a batch shifted by up to 4 pixels each way and mirrored at random.
        mixed: whether the forward passes of the steps are made in bfloat16 where PyTorch's autocast
            does so; the weights stay as they are, and losses are taken in float32.

    Raises:
        InputError: a number out of its range, or a momentum for Adam.

    Example:
        >>> Recipe(lr=0.1, steps=100).loss
        'mse'
    """

    loss: LossName = "mse"
    optimizer: OptimizerName = "sgd"
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int | None = None
    steps: int
    stop_loss: float | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    augment: bool = False
    mixed: bool = False

    def __post_init__(self) -> None:
        size = 1 if self.batch_size is None else self.batch_size
        stop = -inf if self.stop_loss is None else self.stop_loss
        checks = (
            ("loss", self.loss in LOSSES, f"one of {', '.join(LOSSES)}", "mse"),
            ("optimizer", self.optimizer in ("sgd", "adam"), '"sgd" or "adam"', "sgd"),
            ("lr", 0 < self.lr < inf, "a positive number", 0.1),
            ("momentum", 0 <= self.momentum < 1, "at least 0 and less than 1", 0.9),
            ("weight_decay", 0 <= self.weight_decay < inf, "a number ≥ 0", 0.0001),
            (
                "batch_size",
                size == int(size) and size >= 1,
                "a whole number ≥ 1, or None for all",
                128,
            ),
            ("steps", self.steps == int(self.steps) and self.steps >= 1, "a whole number ≥ 1", 100),
            ("stop_loss", stop < inf, "a finite number or None", 0.01),
            (
                "schedule",
                self.schedule in ("constant", "cosine"),
                '"constant" or "cosine"',
                "constant",
            ),
        )
        for name, good, wanted, example in checks:
            if not good:
                raise InputError(
                    f"`{name}` must be {wanted}, got {getattr(self, name)!r}. "
                    f"Write, for instance, {name}={example!r}."
                )
        if self.optimizer == "adam" and self.momentum:
            raise InputError(
                f"`momentum` must be 0 for Adam, which has its own, got {self.momentum}. Leave it "
                "out."
            )

    @property
    def batch_is_all(self) -> bool:
        """Whether each step takes all samples as they are."""
        return self.batch_size is None and not self.augment

    def lr_share(self, step: int) -> float:
        """The share of the learning rate that the schedule gives to a step, counted from 0.

        Example:
            >>> recipe = Recipe(lr=0.1, steps=4, schedule="cosine")
            >>> [round(recipe.lr_share(step), 3) for step in range(4)]
            [1.0, 0.854, 0.5, 0.146]
        """
        return 1.0 if self.schedule == "constant" else (1 + cos(pi * step / self.steps)) / 2

    def epoch(self, samples: int) -> int:
        """Steps in which each of so many samples is seen once.

        Example:
            >>> Recipe(lr=0.1, steps=100, batch_size=32).epoch(100)
            3
        """
        return 1 if self.batch_size is None else samples // min(self.batch_size, samples)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended.

    Attributes:
        status: `"fitted"` (the loss to stop at is reached), `"finished"` (all steps are made) or
            `"diverged"` (the loss is not finite, or more than a million times the larger of the
            loss at the start and that of outputs that are all zero).
        sentence: the same in words.
        steps: optimiser steps made.
        loss: loss of all training samples at the end, in evaluation mode; after a divergence that
            of the batch at which it was seen, not finite or very large.
        lr: the learning rate η that was taken.
    """

    status: Literal["fitted", "finished", "diverged"]
    sentence: str
    steps: int
    loss: float
    lr: float


def ended(recipe: Recipe, steps: int, loss: float, limit: float) -> Outcome:
    """The outcome after so many steps, from the training loss and the limit of divergence."""
    status: Literal["fitted", "finished", "diverged"]
    if not isfinite(loss):
        status, sentence = "diverged", f"The loss was {loss} after {steps} steps."
    elif loss > limit:
        status = "diverged"
        sentence = (
            f"The loss was {in_words(loss, 3)} after {steps} steps, above {in_words(limit, 3)}: "
            "more than a million times where it began."
        )
    elif recipe.stop_loss is not None and loss <= recipe.stop_loss:
        status = "fitted"
        stop = in_words(recipe.stop_loss, 3)
        sentence = f"The loss fell to {in_words(loss, 3)} (≤ {stop}) after {steps} steps."
    else:
        status, sentence = "finished", f"The loss was {in_words(loss, 3)} after all {steps} steps."
    return Outcome(status=status, sentence=sentence, steps=steps, loss=loss, lr=recipe.lr)
