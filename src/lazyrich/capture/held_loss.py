"""Somebody's loss as a function of the outputs alone, which draws the same in every evaluation.

Between two steps of a training a loss that adds noise, counts its calls or normalises by a moving
average must be left as it was, or the training would be another one than without a look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import Tensor, nn

from lazyrich.capture.belongings import is_plain_object, refill
from lazyrich.capture.generators import (
    KINDS,
    Generator,
    global_generators,
    is_foreign,
    named_by,
    restart,
    set_state,
    state_of,
)


class HeldLoss:
    """A loss with its targets, that leaves no trace in what it holds or names.

    Buffers and attributes of its modules and objects, what its functions enclose, and the
    generators of random numbers are put back after each evaluation. Its parameters are constants.

    Args:
        loss: somebody's function.
        targets: what it is given besides the outputs.
    """

    def __init__(self, loss: Callable[[Any, Any], Tensor], targets: object) -> None:
        self._loss, self._targets = loss, targets
        self._modules: list[nn.Module] = []
        self._tables: list[dict[str, Any]] = []
        self._cells: list[CellType] = []
        self._generators: list[Generator] = []
        self._find(loss, set())

    def __call__(self, outputs: Tensor) -> Tensor:
        """The loss."""
        cuda = {outputs.device.index or 0} if outputs.is_cuda else set()
        with _begun([*global_generators(*cuda), *self._generators]), self._lent():
            return self._loss(outputs, self._targets)

    def _find(self, value: object, known: set[int], *, deep: bool = True) -> None:
        """All that an evaluation may change; libraries hold nothing of somebody's.

        Args:
            value: the loss, or what it holds or names.
            known: what was looked at.
            deep: whether a plain object counts; not one inside another, which may lead anywhere.
        """
        if id(value) in known:
            return
        known.add(id(value))
        match value:
            case partial():
                inside = [value.func, *value.args, *value.keywords.values()]
            case MethodType():
                inside = [value.__self__, value.__func__]
            case FunctionType() if not is_foreign(value):
                self._cells += [cell for cell in value.__closure__ or () if _is_bound(cell)]
                inside = list(named_by(value))
            case nn.Module():
                self._modules += value.modules()
                self._tables += map(vars, value.modules())
                inside = [one for module in value.modules() for one in vars(module).values()]
                inside += [type(module).forward for module in value.modules()]
            case _ if isinstance(value, KINDS):
                self._generators.append(value)
                return
            case _ if deep and is_plain_object(value):
                self._tables.append(vars(value))
                inside, deep = [*vars(value).values(), vars(type(value)).get("__call__")], False
            case _:
                return
        for one in inside:
            self._find(one, known, deep=deep)

    @contextmanager
    def _lent(self) -> Iterator[None]:
        held = [
            one
            for table in self._tables
            for one in (table, *table.values())
            if isinstance(one, dict | list | set | deque)
        ]
        kept = [(one, one.copy()) for one in held]
        cells = [(cell, cell.cell_contents) for cell in self._cells]
        try:
            for module in self._modules:
                for table in (module._parameters, module._buffers, vars(module)):
                    table.update(_copies(table))
            for cell, content in cells:
                if isinstance(content, Tensor):
                    cell.cell_contents = _copy(content)
            yield
        finally:
            for one, content in kept:
                refill(one, content)
            for cell, content in cells:
                cell.cell_contents = content


def _copies(table: dict[str, Any]) -> dict[str, Any]:
    return {name: _copy(one) for name, one in table.items() if isinstance(one, Tensor)}


def _copy(tensor: Tensor) -> Tensor:
    """A copy of what is not learned; what is, or is computed from it, as a constant."""
    return tensor.detach() if tensor.requires_grad else tensor.clone()


def _is_bound(cell: CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


@contextmanager
def _begun(generators: list[Generator]) -> Iterator[None]:
    states = [state_of(one) for one in generators]
    try:
        for one in generators:
            restart(one)
        yield
    finally:
        for one, state in zip(generators, states, strict=True):
            set_state(one, state)
