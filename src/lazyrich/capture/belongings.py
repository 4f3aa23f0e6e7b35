"""What modules hold besides parameters and buffers: lent to a look, and put back after it.

A forward pass may store what it computed (`self.features = h`), fill a cache, count its calls or
write on a tensor that is no buffer. During a look plain tensors are copies; afterwards every
`__dict__`, list, dict, set and deque that can be reached from a module holds what it held before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from operator import is_not
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lazyrich.capture.generators import FOREIGN, KINDS, Generator, generators_of

MACHINERY = frozenset(vars(nn.Module()))
"""What every module has: flags, hooks, and its registers of parameters, buffers and modules."""
_REGISTERS = ("_parameters", "_buffers", "_modules")
_OWN_LABELS = ("_is_param", "_is_buffer")
"""By which PyTorch takes tensors of other classes for parameters and buffers."""
_HOLDERS = (dict, list, tuple, nn.Module)

_Container = dict[Any, Any] | list[Any] | set[Any] | deque[Any]


class Belongings:
    """The contents of a model's modules.

    Lists and dicts stay the objects that they are, whoever else holds them; their plain tensors
    and arrays, and those in attributes, are replaced by copies from `lend` until `put_back`.

    Attributes:
        generators: generators of random numbers, that modules hold or whose forward passes name.
    """

    def __init__(self) -> None:
        self.generators: list[Generator] = []
        self._kept: list[tuple[_Container, Any]] = []
        self._empty: list[dict[Any, Any]] = []
        self._lent: dict[int, tuple[Any, Any]] = {}  # id → the object, and what takes its place
        self._registered: set[int] = set()

    def lend(self, model: nn.Module) -> None:
        """Remember everything, and put copies in the place of tensors.

        Args:
            model: the plain module. Modules that it holds without registering them are lent
                whole, their parameters and buffers included.
        """
        self._registered = {id(module) for module in model.modules()}
        for module in model.modules():
            self._lend_module(module)
        for kind in {type(module) for module in model.modules()}:
            self.generators += generators_of(kind.forward)

    def put_back(self) -> None:
        """Give everything back that was lent so far."""
        for container, content in self._kept:
            refill(container, content)
        for table in self._empty:
            if table:
                table.clear()

    def _lend_module(self, module: nn.Module) -> None:
        content = vars(module)
        self._keep(content)
        for name in tuple(content):
            value = content[name]
            if isinstance(value, dict) and not value:
                self._empty.append(value)  # most hooks: as few new objects as possible
            elif name in _REGISTERS and id(module) in self._registered:
                self._keep(value)  # its tensors are replaced by name
            else:
                content[name] = self._lend_value(value)

    def _lend(self, content: dict[Any, Any], *, deep: bool) -> None:
        self._keep(content)
        for key, value in list(content.items()):
            content[key] = self._lend_value(value, deep=deep)

    def _keep(self, container: _Container) -> None:
        self._kept.append((container, container.copy()))

    def _lend_value(self, value: Any, *, deep: bool = True) -> Any:  # noqa: ANN401 - any attribute
        """What takes the value's place during the look: itself, or a copy of a tensor or an array.

        Args:
            value: value of an attribute, or in a list or dict.
            deep: whether the attributes of plain objects are lent, too; not of those inside one,
                since that may lead anywhere.
        """
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if id(value) not in self._lent:
            self._lent[id(value)] = (value, value)
            self._lent[id(value)] = (value, self._lend_once(value, deep))
        return self._lent[id(value)][1]

    def _lend_once(self, value: Any, deep: bool) -> Any:  # noqa: ANN401 - any attribute
        if isinstance(value, Tensor):
            return value.detach().clone()
        if isinstance(value, np.ndarray):
            return value.copy()
        if isinstance(value, tuple):
            return _rebuilt(value, lambda one: self._lend_value(one, deep=deep))
        if isinstance(value, KINDS):
            self.generators.append(value)
        elif isinstance(value, FunctionType):
            self.generators += generators_of(value)
        elif isinstance(value, nn.Module):
            if id(value) not in self._registered:
                self._lend_module(value)
        elif isinstance(value, dict):
            self._lend(value, deep=deep)
        elif isinstance(value, list | deque):
            self._keep(value)
            for i, one in enumerate(list(value)):
                value[i] = self._lend_value(one, deep=deep)
        elif isinstance(value, set):
            self._keep(value)
        elif deep and is_plain_object(value):
            self._lend(vars(value), deep=False)
        return value


def _rebuilt(value: tuple[Any, ...], change: Callable[[Any], Any]) -> tuple[Any, ...]:
    parts = [change(one) for one in value]
    if all(new is old for new, old in zip(parts, value, strict=True)):
        return value
    named = getattr(type(value), "_make", None)
    made: tuple[Any, ...] = named(parts) if named else tuple(parts)
    return made


def is_plain_object(value: object) -> bool:
    """Whether it is somebody's record, such as a cache: no part of a library, no code."""
    if isinstance(value, SimpleNamespace):
        return True
    kind = type(value)
    room = kind.__module__.partition(".")[0]
    return not isinstance(value, type) and room not in FOREIGN and hasattr(value, "__dict__")


def refill(container: _Container, content: Any) -> None:  # noqa: ANN401 - of the container's kind
    """Put into a container what it held; it stays the object that it is."""
    match container:
        case dict():
            # the same keys in the same order: nothing was added or removed
            if len(container) != len(content) or any(map(is_not, container, content)):
                container.clear()
            container.update(content)
        case list():
            container[:] = content
        case set():
            if container != content:
                container.clear()
                container.update(content)
        case deque():
            container.clear()
            container.extend(content)


def label_alike(model: nn.Module, copies: Mapping[str, Tensor]) -> None:
    """Write on copies what somebody wrote on the parameters and buffers, as mup does its shapes.

    What a copy has already stays: a tensor that wraps another one holds its values so.

    Args:
        model: the model, which is only read.
        copies: copies of its parameters and buffers, by name.
    """
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if (labels := vars(tensor)) and name in copies:
            own = vars(copies[name])
            own.update({k: v for k, v in labels.items() if k not in {*own, *_OWN_LABELS}})


def attributes(model: nn.Module) -> Iterator[tuple[object, str, Any]]:
    """What the registered modules, and plain objects in their attributes, hold of their own.

    Yields:
        The holder, the name and the value of each attribute.
    """
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in MACHINERY:
                yield module, name, value
                if not isinstance(value, nn.Module) and is_plain_object(value):
                    yield from ((value, inside, one) for inside, one in vars(value).items())


def every_module(model: nn.Module) -> dict[str, nn.Module]:
    """The modules by their paths; also those in lists and dicts, which are not registered."""
    found = dict(model.named_modules())
    known = set(map(id, found.values()))
    for path, owner in list(found.items()):
        for name, value in vars(owner).items():
            if name in MACHINERY or not isinstance(value, _HOLDERS):
                continue
            for i, hidden in enumerate(_modules_in(value)):
                prefix = f"{path}.{name}[{i}]".removeprefix(".")
                for inside, module in hidden.named_modules(prefix=prefix):
                    if id(module) not in known:
                        known.add(id(module))
                        found[inside] = module
    return found


def _modules_in(value: Any) -> Iterator[nn.Module]:  # noqa: ANN401 - any attribute
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _modules_in(one)


def copied(value: Any) -> Any:  # noqa: ANN401 - any attribute
    """The same with copies of lists, dicts, sets, tensors and arrays; other objects are shared."""
    match value:
        case Tensor():
            return value.detach().clone()
        case set() | np.ndarray():
            return value.copy()
        case dict():
            table = value.copy()
            table.update({key: copied(one) for key, one in value.items()})
            return table
        case list() | deque():
            row = value.copy()
            for i, one in enumerate(value):
                row[i] = copied(one)
            return row
        case tuple():
            return _rebuilt(value, copied)
    return value


def same(one: Any, other: Any) -> bool:  # noqa: ANN401 - any attributes
    """Whether two values, one of them `copied` before, are still the same."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    match one:
        case Tensor():
            alike = (one.shape, one.dtype, one.layout) == (other.shape, other.dtype, other.layout)
            return alike and all(map(torch.equal, _stored(one), _stored(other)))
        case np.ndarray():
            return np.array_equal(one, other)
        case dict():
            return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
        case list() | deque() | tuple():
            return len(one) == len(other) and all(map(same, one, other))
        case bool() | int() | float() | complex() | str() | bytes() | set():
            return bool(one == other)
    return False


def _stored(tensor: Tensor) -> tuple[Tensor, ...]:
    """What a tensor is made of: itself, or of a sparse one where it has entries, and these."""
    tensor = tensor.detach()
    match tensor.layout:
        case torch.strided:
            return (tensor,)
        case torch.sparse_coo:
            return tensor._indices(), tensor._values()
        case torch.sparse_csr | torch.sparse_bsr:
            return tensor.crow_indices(), tensor.col_indices(), tensor.values()
        case torch.sparse_csc | torch.sparse_bsc:
            return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    return (tensor,)
