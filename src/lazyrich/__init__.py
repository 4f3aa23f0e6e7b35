"""Solve, measure, forecast and steer feature learning in neural networks.

The public names load on first use: `import lazyrich` alone costs nothing and needs no extra.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "CentredOutput": "lazyrich.probe.centred",
    "ConvergenceError": "lazyrich._errors",
    "InputError": "lazyrich._errors",
    "LazyRichError": "lazyrich._errors",
    "MissingExtraError": "lazyrich._errors",
    "coordinate_check": "lazyrich.probe.coordinate",
    "dial": "lazyrich.probe.dial",
    "forecast": "lazyrich.probe.forecast",
    "richness": "lazyrich.probe.forecast",
}

__all__ = sorted([*_HOME, "__version__"])

if TYPE_CHECKING:
    from lazyrich._errors import ConvergenceError, InputError, LazyRichError, MissingExtraError
    from lazyrich.probe.centred import CentredOutput
    from lazyrich.probe.coordinate import coordinate_check
    from lazyrich.probe.dial import dial
    from lazyrich.probe.forecast import forecast, richness


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOME:
        raise AttributeError(f"module 'lazyrich' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from lazyrich._errors import MissingExtraError

        raise MissingExtraError("PyTorch", "torch") from error


def __dir__() -> list[str]:
    return __all__
