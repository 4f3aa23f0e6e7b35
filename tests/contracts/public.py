"""What is public: everything that one reaches from `lazyrich` through `__all__`."""

import inspect
from pathlib import Path
from types import FunctionType, ModuleType

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


def public_callables() -> dict[str, FunctionType]:
    """Every public function, method and property: where users find it, and the function."""
    found: dict[str, FunctionType] = {}
    for path, value in public_paths().items():
        if isinstance(value, FunctionType):
            found[path] = value
        if inspect.isclass(value):
            ours = [base for base in value.__mro__ if base.__module__.startswith("lazyrich")]
            for base in reversed(ours):
                members = {f"{path}.{name}": function_of(one) for name, one in vars(base).items()}
                found |= {key: one for key, one in members.items() if one and "._" not in key}
    return found


def function_of(member: object) -> FunctionType | None:
    """The function behind a member of a class, if it is one."""
    inner = getattr(member, "__func__", None) or getattr(member, "fget", None)
    inner = inner or getattr(member, "func", member)  # class methods, properties, cached ones
    return inner if isinstance(inner, FunctionType) else None
