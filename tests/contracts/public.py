"""What is public: everything that one reaches from `lazyrich` through `__all__`."""

from pathlib import Path
from types import ModuleType

import lazyrich

ROOT = Path(__file__).parents[2]


def public_modules(top: ModuleType = lazyrich) -> list[ModuleType]:
    """The package, and each public name of a public module that is a module itself."""
    inner = [value for name in top.__all__ if isinstance(value := getattr(top, name), ModuleType)]
    return [top, *(found for module in inner for found in public_modules(module))]


def public_paths() -> dict[str, object]:
    """Every public object that is no module, by its path."""
    return {
        f"{module.__name__}.{name}": value
        for module in public_modules()
        for name in module.__all__
        if not isinstance(value := getattr(module, name), ModuleType)
    }
