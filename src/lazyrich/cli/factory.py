"""The user's own network, data, loss and optimiser, from names of functions."""

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
        seed: seed of PyTorch's random numbers, set before the call.

    Raises:
        InputError: the function cannot be found, fails, or returns something else.
    """
    torch.manual_seed(seed)
    return _checked(called(name, "the network"), name)


def sized(name: str, size: int) -> torch.nn.Module:
    """Call `package.module:function` with a size and check that it returns a network.

    Args:
        name: the function, of a width or depth.
        size: its argument.

    Raises:
        InputError: the function cannot be found, fails, or returns something else.
    """
    return _checked(called(name, "the network", size), name)


def _checked(network: object, name: str) -> torch.nn.Module:
    if not isinstance(network, torch.nn.Module):
        raise InputError(f"{name}() must return a torch.nn.Module, got {type(network).__name__}")
    return network


def called(name: str, what: str, *arguments: object) -> Any:  # noqa: ANN401 - the user's own
    """What the user's function returns.

    Args:
        name: `package.module:function`.
        what: name of what it is to give, for an error.
        arguments: arguments of the call.

    Raises:
        InputError: the function cannot be found, or fails.
    """
    function = named_function(name, what)
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{name}() failed with {told_error(error)}. Call it in Python to see where"
        ) from error


@contextmanager
def answerable(name: str) -> Iterator[None]:
    """Say in one sentence what the user's own network did not bear.

    Args:
        name: name of the function that built it.

    Raises:
        InputError: whatever else is raised inside.
    """
    try:
        yield
    except (LazyRichError, MemoryError, OSError):
        raise
    except Exception as error:
        raise InputError(
            f"the network of {name}() could not be trained and measured: {told_error(error)}"
        ) from error


def named_function(name: str, what: str) -> Callable[..., Any]:
    """A function by its name; modules of the current folder are found.

    Args:
        name: `package.module:function`.
        what: name of what it is, for an error.

    Raises:
        InputError: there is none.
    """
    path, _, attribute = name.partition(":")
    if not path or not attribute:
        raise InputError(f"{what} must be given as MODULE:FUNCTION, got {name!r}")
    sys.path.insert(0, "")  # modules of the folder in which the command runs
    try:
        function = getattr(import_module(path), attribute, None)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"cannot import {path!r}: {told_error(error)}. Run the command in the folder of the "
            "module, or install its package"
        ) from error
    finally:
        sys.path.remove("")
    if not callable(function):
        raise InputError(f"the module {path!r} has no function {attribute!r}")
    return function


def told_error(error: BaseException) -> str:
    """An error on one line, without its full stop.

    Args:
        error: any.
    """
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0].rstrip('.')}"
