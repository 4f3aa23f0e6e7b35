"""The user's own network, from the name of a function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch

from lazyrich._errors import InputError, LazyRichError


def build(name: str, seed: int) -> torch.nn.Module:
    """Call `package.module:function` and check that it returns a network.

    Args:
        name: the function, which takes no arguments; modules of the current folder are found.
        seed: of PyTorch's random numbers, set before the call.

    Raises:
        InputError: the function cannot be found, fails, or returns something else.
    """
    function = _function(name)
    torch.manual_seed(seed)
    try:
        network = function()
    except (Exception, SystemExit) as error:
        raise InputError(f"{name}() failed with {_told(error)}") from error
    if not isinstance(network, torch.nn.Module):
        raise InputError(f"{name}() must return a torch.nn.Module, got {type(network).__name__}")
    return network


@contextmanager
def answerable(name: str) -> Iterator[None]:
    """Say in one sentence what the user's own network did not bear.

    Args:
        name: of the function that built it.

    Raises:
        InputError: whatever else is raised inside.
    """
    try:
        yield
    except (LazyRichError, MemoryError, OSError):
        raise
    except Exception as error:
        raise InputError(
            f"the network of {name}() could not be trained and measured: {_told(error)}"
        ) from error


def _function(name: str) -> Callable[[], Any]:
    path, _, attribute = name.partition(":")
    if not path or not attribute:
        raise InputError(f"the network must be given as MODULE:FUNCTION, got {name!r}")
    sys.path.insert(0, "")  # modules of the folder in which the command runs
    try:
        function = getattr(import_module(path), attribute, None)
    except (Exception, SystemExit) as error:
        raise InputError(f"cannot import {path!r}: {_told(error)}") from error
    finally:
        sys.path.remove("")
    if not callable(function):
        raise InputError(f"the module {path!r} has no function {attribute!r}")
    return function


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
