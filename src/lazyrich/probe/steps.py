"""The steps of an optimiser as they are made, whatever wraps it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch.optim import Optimizer

from lazyrich.capture.optimizer_step import has_hooks


def on_steps(optimizer: Optimizer, made: Callable[[], None]) -> Callable[[], None]:
    """Call a function after every step of an optimiser.

    A step of one that it holds and calls counts where it is not within a step of the outer one: as
    sharpness-aware minimisation by half steps calls it, which never calls its own. Of an optimiser
    that never ran `Optimizer.__init__`, and so has no hooks, `step` is wrapped meanwhile.

    Args:
        optimizer: the optimiser.
        made: what is called.

    Returns:
        What ends this, and leaves the optimiser as it was.
    """
    within: list[None] = []

    def begin(*_: object) -> None:
        within.append(None)

    def end(*_: object) -> None:
        within.clear()
        made()

    def inner(*_: object) -> None:
        if not within:
            made()

    held = [one for one in vars(optimizer).values() if isinstance(one, Optimizer)]
    stack = ExitStack()
    if not has_hooks(optimizer):
        stack.callback(_wrap_step(optimizer, begin, end))
    else:
        stack.callback(optimizer.register_step_post_hook(_outside(end)).remove)
        if held:
            stack.callback(optimizer.register_step_pre_hook(_outside(begin)).remove)
    for one in filter(has_hooks, held):
        stack.callback(one.register_step_post_hook(_outside(inner)).remove)
    return stack.close


def _outside(hook: Callable[..., None]) -> Callable[..., None]:
    """A step inside a compiled function is made there, but looked at outside."""
    found: Callable[..., None] = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]
    return found


def _wrap_step(
    optimizer: Optimizer, begin: Callable[[], None], end: Callable[[], None]
) -> Callable[[], None]:
    own, before = vars(optimizer), optimizer.step
    had, ended = "step" in own, list[None]()

    @wraps(before)
    def step(_: Optimizer, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever one takes
        if ended:
            return before(*args, **kwargs)
        begin()
        result = before(*args, **kwargs)
        end()
        return result

    def restore() -> None:
        ended.append(None)
        if own.get("step") is not wrapped:  # a scheduler has wrapped it meanwhile
            return
        if had:
            own["step"] = before
        else:
            del own["step"]

    wrapped = own["step"] = MethodType(step, optimizer)  # schedulers ask for a method
    return restore
