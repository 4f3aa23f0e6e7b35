"""Solve, measure, forecast and steer feature learning in neural networks.

The public names load on first use: `import lazyrich` alone costs nothing and needs no extra.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "ConvergenceError": "lazyrich._errors",
    "InputError": "lazyrich._errors",
    "LazyRichError": "lazyrich._errors",
    "MissingExtraError": "lazyrich._errors",
    "nfa": "lazyrich.probe",
    "ntk": "lazyrich.probe",
}

__all__ = sorted([*_HOME, "__version__"])

if TYPE_CHECKING:
    from lazyrich._errors import ConvergenceError, InputError, LazyRichError, MissingExtraError
    from lazyrich.probe import nfa, ntk


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOME:
        raise AttributeError(f"module 'lazyrich' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
