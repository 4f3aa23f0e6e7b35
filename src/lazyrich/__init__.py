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
    "GramState": "lazyrich.theory.gram",
    "LineData": "lazyrich.theory.data",
    "LineState": "lazyrich.theory.gram",
    "LinearNetwork": "lazyrich.theory.network",
    "MomentData": "lazyrich.theory.data",
    "descent": "lazyrich.theory.descent",
    "flow": "lazyrich.theory.flow",
    "learning_time": "lazyrich.theory.flow",
    "neurons": "lazyrich.theory.neurons",
    "nfa": "lazyrich.probe.oneshot",
    "ntk": "lazyrich.probe.oneshot",
}

__all__ = [
    "ConvergenceError",
    "GramState",
    "InputError",
    "LazyRichError",
    "LineData",
    "LineState",
    "LinearNetwork",
    "MissingExtraError",
    "MomentData",
    "__version__",
    "descent",
    "flow",
    "learning_time",
    "neurons",
    "nfa",
    "ntk",
]

if TYPE_CHECKING:
    from lazyrich._errors import ConvergenceError, InputError, LazyRichError, MissingExtraError
    from lazyrich.probe.oneshot import nfa, ntk
    from lazyrich.theory.data import LineData, MomentData
    from lazyrich.theory.descent import descent
    from lazyrich.theory.flow import flow, learning_time
    from lazyrich.theory.gram import GramState, LineState
    from lazyrich.theory.network import LinearNetwork
    from lazyrich.theory.neurons import neurons


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOME:
        raise AttributeError(f"module 'lazyrich' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
