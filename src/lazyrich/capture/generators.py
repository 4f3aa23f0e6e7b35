"""The generators of random numbers that a forward pass may draw from."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random

KINDS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
SEED = 0


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


def fingerprint(generators: Sequence[Generator]) -> bytes:
    """Equal before and after if nobody drew."""
    return pickle.dumps([_plain(state_of(one)) for one in generators])


def _plain(state: Any) -> Any:  # noqa: ANN401 - see `state_of`
    return state.tolist() if isinstance(state, torch.Tensor) else state
