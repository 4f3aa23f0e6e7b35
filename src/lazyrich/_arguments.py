"""Whether what somebody gave is of the kind that is meant; the caller says what to do if not."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable
from math import isfinite


def as_number(value: object) -> float | None:
    """The number that a value is; None for what is none, also for a truth value or words.

    Args:
        value: a number of Python, NumPy or PyTorch.

    Example:
        >>> as_number(2), as_number("2"), as_number(True)
        (2.0, None, None)
    """
    if isinstance(value, str | bytes | bytearray | bool):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):  # of tensors with many entries
        return None


def whole(value: object) -> int | None:
    """The whole number that a value is; None for what is none.

    Args:
        value: a number of Python, NumPy or PyTorch.

    Example:
        >>> whole(3.0), whole(3.5), whole(None)
        (3, None, None)
    """
    found = as_number(value)
    return int(found) if found is not None and isfinite(found) and found == int(found) else None


def takes(function: Callable[..., object], /, *args: object, **kwargs: object) -> bool:
    """Whether a function can be called with such arguments; True if nobody can know.

    Args:
        function: any; it is not called.
        *args: positional arguments.
        **kwargs: keyword arguments.

    Example:
        >>> takes(lambda model, size: None, 1, 2), takes(lambda model: None, 1, 2), takes(int, 1)
        (True, False, True)
    """
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def shown(value: object) -> str:
    """A value in an error: its `repr`, cut where it is long.

    Args:
        value: anything.

    Example:
        >>> shown("a"), len(shown("a" * 1000)) < 40
        ("'a'", True)
    """
    return " ".join(reprlib.repr(value).split())
