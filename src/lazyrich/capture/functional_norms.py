"""Normalisation by a function, `torch.nn.functional.batch_norm`, in somebody's forward pass.

What normalises is known by the call, not by the class that makes it nor by the names of its
buffers. A call is told from others by the module whose forward makes it, and by its turn there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lazyrich.capture.belongings import every_module
from lazyrich.capture.generators import is_foreign
from lazyrich.capture.statistics import Values, batch_statistics

_OF_TORCH = ("input", "weight", "bias", "running_mean", "running_var")
_BATCH = (functional.batch_norm, torch.batch_norm, torch.native_batch_norm)
_ARGUMENTS: dict[Any, tuple[str, ...]] = {
    functional.batch_norm: tuple(inspect.signature(functional.batch_norm).parameters),
    torch.batch_norm: (*_OF_TORCH, "training", "momentum", "eps", "cudnn_enabled"),
    torch.native_batch_norm: (*_OF_TORCH, "training", "momentum", "eps"),
    functional.instance_norm: tuple(inspect.signature(functional.instance_norm).parameters),
    torch.instance_norm: (*_OF_TORCH, "use_input_stats", "momentum", "eps", "cudnn_enabled"),
}
"""The functions, and the names of their arguments in order."""
_NAMES = frozenset(function.__name__ for function in _ARGUMENTS)


@dataclass(frozen=True, kw_only=True)
class NormCall:
    """One call of such a function.

    Attributes:
        path: path of the module whose forward makes it.
        arguments: arguments of the function, by name.
        over_batch: whether it is one over the batch; an instance norm is not.
    """

    path: str
    arguments: dict[str, Any]
    over_batch: bool

    @property
    def by_input(self) -> bool:
        """Whether it normalises by what it is given now, not by running statistics."""
        return bool(self.arguments.get(self._switch, not self.over_batch))

    @property
    def running(self) -> tuple[Tensor, ...]:
        """The running statistics that it was given."""
        given = (self.arguments.get(name) for name in ("running_mean", "running_var"))
        return tuple(tensor for tensor in given if tensor is not None)

    def statistics(self) -> Values:
        """By what it normalises where it does so by its input; call this without a graph."""
        if not self.over_batch:
            return {"running_mean": None, "running_var": None}
        return batch_statistics(self.arguments["input"], "a call of `batch_norm`")

    def by(self, values: Values) -> dict[str, Any]:
        """The arguments with which it normalises by these statistics and updates none."""
        return {**self.arguments, **values, self._switch: None in values.values()}

    @property
    def _switch(self) -> str:
        return "training" if self.over_batch else "use_input_stats"


Answer = Callable[[NormCall], dict[str, Any]]
"""What a call's arguments become."""


@contextmanager
def norm_calls(model: nn.Module, answer: Answer) -> Iterator[None]:
    """Answer all calls of such functions by the modules of a model, outside of known norms.

    Args:
        model: the plain module.
        answer: the same as there.
    """
    watch = _Watch(answer)
    with ExitStack() as stack:
        for path, module in every_module(model).items():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # nothing inside is seen
            stack.callback(module.register_forward_pre_hook(watch.enter(path)).remove)
            stack.callback(module.register_forward_hook(watch.leave, always_call=True).remove)
        stack.enter_context(watch)
        yield


def calls_norm(function: object, known: set[int] | None = None) -> bool:
    """Whether a function's code names such a function, also by its helpers.

    Args:
        function: somebody's, such as a module's forward; libraries' are not looked into.
        known: functions that were looked at.
    """
    known = set() if known is None else known
    if not isinstance(function, FunctionType) or id(function) in known or is_foreign(function):
        return False
    known.add(id(function))
    names = function.__code__.co_names
    here = (function.__globals__.get(name) for name in names)
    return not _NAMES.isdisjoint(names) or any(
        (isinstance(value, Hashable) and value in _ARGUMENTS) or calls_norm(value, known)
        for value in here
    )


class _Watch(TorchFunctionMode):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer
        self._inside = [""]

    def enter(self, path: str) -> Callable[..., None]:
        return lambda *_: self._inside.append(path)

    def leave(self, *_: object) -> None:
        self._inside.pop()

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401 - any function of torch
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        names = _ARGUMENTS.get(func)
        if names is None:
            return func(*args, **(kwargs or {}))
        call = NormCall(
            path=self._inside[-1],
            arguments=dict(zip(names, args, strict=False)) | (kwargs or {}),
            over_batch=func in _BATCH,
        )
        return func(**self._answer(call))
