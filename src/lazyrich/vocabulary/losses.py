"""What the named losses are: their conventions, said wherever a loss is printed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lazyrich.vocabulary.quantity import Quantity

LossName = Literal["mse", "squared_error", "cross_entropy"]


@dataclass(frozen=True, kw_only=True)
class LossConvention:
    """A loss with a name.

    Attributes:
        name: what users call it by.
        formula: formula of the loss; E is their mean, k the number of outputs.
        meaning: the loss in words, with what is summed and what is averaged.
        units: units of the loss, in those of the targets y.
    """

    name: LossName
    formula: str
    meaning: str
    units: str


LOSSES: dict[str, LossConvention] = {
    loss.name: loss
    for loss in (
        LossConvention(
            name="mse",
            formula="E‖f − y‖²/k",
            meaning="mean squared error: mean over samples and outputs",
            units="y^2",
        ),
        LossConvention(
            name="squared_error",
            formula="E‖f − y‖²",
            meaning="squared error: mean over samples of the sum over outputs",
            units="y^2",
        ),
        LossConvention(
            name="cross_entropy",
            formula="−E log softmax(f)_y",
            meaning="cross-entropy: mean over samples",
            units="nat",
        ),
    )
}
"""`mse` is that of PyTorch, `squared_error` the theory's; with one output they are the same."""


def meaning_of(loss: str) -> str:
    """What a loss is, in words; a loss without a convention is called what it came as.

    Args:
        loss: a name of `LOSSES`, or what the user's own function is called.

    Example:
        >>> meaning_of("mse")
        'mean squared error: mean over samples and outputs'
        >>> meaning_of("the user's loss hinge")
        "the user's loss hinge"
    """
    return LOSSES[loss].meaning if loss in LOSSES else loss


def under(loss: str, quantity: Quantity) -> Quantity:
    """A quantity that is a loss, with the convention of the loss used; the named are ≥ 0.

    Args:
        loss: a name of `LOSSES`, or what the user's own function is called.
        quantity: `loss`, `test_loss`, `excess_loss` …

    Example:
        >>> from lazyrich.vocabulary.shared import LOSS
        >>> under("cross_entropy", LOSS).attrs["long_name"]
        'loss (cross-entropy: mean over samples)'
    """
    said = replace(quantity, meaning=f"{quantity.meaning} ({meaning_of(loss)})")
    return replace(said, units=LOSSES[loss].units, low=0.0) if loss in LOSSES else said
