"""The generators of random numbers that a forward pass may draw from."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import nn

Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random

KINDS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
SEED = 0
FOREIGN = frozenset({"torch", "numpy", "lazyrich", *sys.stdlib_module_names})
"""Packages whose objects and functions hold no state of the user's."""


def global_generators(*cuda: int) -> Iterator[Generator]:
    """Those that belong to nobody: of PyTorch, of the devices, of NumPy and of Python.

    They are taken as objects: `torch.manual_seed` would also seed devices that are not in use.

    Args:
        cuda: the indices of the devices that the model is on.
    """
    yield random._inst
    yield np.random.mtrand._rand
    yield torch.default_generator
    for index in cuda:
        yield torch.cuda.default_generators[index]


def cuda_devices(model: nn.Module) -> set[int]:
    """The indices of the devices that a model's parameters are on."""
    return {p.device.index for p in model.parameters() if p.device.type == "cuda"}


@contextmanager
def seeded(seed: int, *devices: torch.device) -> Iterator[None]:
    """PyTorch's global generators begin at a seed, and are put back where they were.

    Those of devices that are not named stay untouched.

    Args:
        seed: seed of all of them.
        devices: devices on which numbers may be drawn, besides the CPU.

    Example:
        >>> with seeded(0):
        ...     first = torch.rand(())
        >>> with seeded(0):
        ...     print(bool(torch.rand(()) == first))
        True
    """
    cuda = {device.index or 0 for device in devices if device.type == "cuda"}
    generators = [torch.default_generator, *(torch.cuda.default_generators[i] for i in cuda)]
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def state_of(generator: Generator) -> Any:  # noqa: ANN401 - each kind has its own
    """What `set_state` takes."""
    match generator:
        case torch.Generator():
            return generator.get_state()
        case np.random.Generator():
            return generator.bit_generator.state
        case np.random.RandomState():
            return generator.get_state(legacy=False)
    return generator.getstate()


def set_state(generator: Generator, state: Any) -> None:  # noqa: ANN401 - see `state_of`
    """Put a generator back where it was."""
    match generator:
        case np.random.Generator():
            generator.bit_generator.state = state
        case torch.Generator() | np.random.RandomState():
            generator.set_state(state)
        case random.Random():
            generator.setstate(state)


def restart(generator: Generator) -> None:
    """Let a generator draw what it draws at every look.

    Example:
        >>> own = torch.Generator()
        >>> first, second = (
        ...     (restart(own), torch.rand((), generator=own).item())[1] for _ in range(2)
        ... )
        >>> first == second
        True
    """
    match generator:
        case torch.Generator():
            generator.manual_seed(SEED)
        case np.random.Generator():
            kind: Any = type(generator.bit_generator)
            generator.bit_generator.state = kind(SEED).state
        case _:
            generator.seed(SEED)


def generators_of(function: object, known: set[int] | None = None) -> Iterator[Generator]:
    """Generators that a function's code names: global ones, enclosed ones, also by its helpers.

    Args:
        function: somebody's; those of libraries, and what is no function, have none.
        known: functions that were looked at.
    """
    known = set() if known is None else known
    if not isinstance(function, FunctionType) or id(function) in known:
        return
    known.add(id(function))
    if is_foreign(function):
        return
    for value in named_by(function):
        if isinstance(value, KINDS):
            yield value
        else:
            yield from generators_of(value, known)


def is_foreign(function: FunctionType) -> bool:
    """Whether it belongs to a library that holds no state of the user's."""
    return (function.__module__ or "").partition(".")[0] in FOREIGN


def named_by(function: FunctionType) -> Iterator[object]:
    """What a function's code names: globals, what it encloses, and its defaults."""
    for name in function.__code__.co_names:
        yield function.__globals__.get(name)
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue
    yield from function.__defaults__ or ()
