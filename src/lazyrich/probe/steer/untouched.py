"""An optimiser that has not begun: whatever sets its learning rates has to come first."""

from __future__ import annotations

from torch.optim import Optimizer

from lazyrich._errors import InputError
from lazyrich.capture.optimizer_step import has_stepped


def refuse_begun(optimizer: Optimizer, who: str, *, scheduler: bool) -> None:
    """Refuse an optimiser whose learning rates are in use.

    Args:
        optimizer: the optimiser, which is only read.
        who: wants to set them, as the user calls it.
        scheduler: whether one that a scheduler holds is refused, too.

    Raises:
        InputError: it has made steps, or has a scheduler.
    """
    if has_stepped(optimizer):
        raise InputError(
            f"`{who}` must come before the first step, got an optimiser that has already made "
            "steps. Build a new one."
        )
    if scheduler and any("initial_lr" in group for group in optimizer.param_groups):
        raise InputError(
            f"`{who}` must come before the learning-rate scheduler, got an optimiser that has one, "
            f"which would set the old rates again. Build the scheduler afterwards."
        )
