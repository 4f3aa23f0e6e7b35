"""Hooks that a forward pass registers by itself, as one does that wants what its parts give.

They are state like any other that a pass changes: every pass begins without them and makes them
anew. Once they are on the model, from its training, they are told from its owner's by their code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn

RegisteredHook = tuple[str, str, object]
"""Path of the module, name of the table of hooks, and what runs."""

_TABLES = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def hooks_on(model: nn.Module) -> dict[RegisteredHook, int]:
    """How many hooks of each kind are on the modules of a model.

    Args:
        model: the plain module.
    """
    found: dict[RegisteredHook, int] = {}
    for path, table, hooks in _tables(model):
        for hook in hooks.values():
            kind = path, table, _code(hook)
            found[kind] = found.get(kind, 0) + 1
    return found


@contextmanager
def without_registered(model: nn.Module, registered: frozenset[RegisteredHook]) -> Iterator[None]:
    """The pass inside begins without hooks of these kinds, and leaves none behind.

    Args:
        model: the plain module; call this inside `undisturbed`, which puts hooks back.
        registered: what its forward pass registers.
    """
    _drop(model, registered)
    try:
        yield
    finally:
        _drop(model, registered)


def _drop(model: nn.Module, registered: frozenset[RegisteredHook]) -> None:
    if not registered:
        return
    for path, table, hooks in _tables(model):
        for key in [k for k, hook in hooks.items() if (path, table, _code(hook)) in registered]:
            del hooks[key]


def _tables(model: nn.Module) -> Iterator[tuple[str, str, dict[int, Callable[..., Any]]]]:
    for path, module in model.named_modules():
        for table in _TABLES:
            if hooks := vars(module).get(table):
                yield path, table, hooks


def _code(hook: Any) -> object:  # noqa: ANN401 - any callable
    """What is the same in all that one line registers: closures and methods are made anew."""
    while isinstance(hook, partial):
        hook = hook.func
    hook = getattr(hook, "__func__", hook)
    return getattr(hook, "__code__", type(hook))
