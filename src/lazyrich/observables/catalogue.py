"""All observables, found by looking into this folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import import_module
from pkgutil import iter_modules

import lazyrich.observables
from lazyrich._arguments import shown
from lazyrich._errors import InputError
from lazyrich.observables.observable import Observable
from lazyrich.vocabulary.quantity import Quantity, by_name


def observables() -> tuple[Observable, ...]:
    """Every `Observable` that a module of this folder defines, in the modules' order."""
    package = lazyrich.observables
    modules = [
        import_module(f"{package.__name__}.{found.name}")
        for found in iter_modules(package.__path__)
        if f"{package.__name__}.{found.name}" != __name__
    ]
    found = (value for module in modules for value in vars(module).values())
    return tuple(dict.fromkeys(value for value in found if isinstance(value, Observable)))


def chosen(names: Collection[str] | None) -> tuple[Observable, ...]:
    """The observables that give the chosen quantities.

    Args:
        names: names of quantities; None for the default ones.

    Raises:
        InputError: a name that no observable gives.
    """
    every = observables()
    if names is None:
        return tuple(observable for observable in every if observable.default)
    if isinstance(names, str):
        names = (names,)
    if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"`observables` must be names of quantities, got {shown(names)}. Pass a list of them."
        )
    known = {name for observable in every for name in observable.names}
    if unknown := sorted(set(names) - known):
        raise InputError(f"`observables` must be among {sorted(known)}, got {unknown}.")
    return tuple(o for o in every if not set(names).isdisjoint(o.names))


def quantities() -> dict[str, Quantity]:
    """Everything that can be measured, by its name."""
    return by_name(*(observable.quantities for observable in observables()))
