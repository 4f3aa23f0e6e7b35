"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from lazyrich.vocabulary.losses import LOSSES

LossOption = Annotated[
    str,
    Option(
        help="What to minimise: cross_entropy, mse, squared_error, or a function of your own, "
        "MODULE:FUNCTION, of outputs and targets.",
        metavar="LOSS",
        autocompletion=lambda: list(LOSSES),
    ),
]

DataOption = Annotated[
    str,
    Option(
        help="What to learn: digits, or a function of your own, MODULE:FUNCTION, that returns "
        "(inputs, targets) or batches of them.",
        metavar="DATA",
    ),
]
