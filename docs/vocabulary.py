"""All quantities of the package, collected from the rooms that declare them."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

import lazyrich
from lazyrich.observables.catalogue import observables
from lazyrich.vocabulary.quantity import Quantity, by_name


def declared() -> list[Quantity]:
    """Every declaration: the tuples `QUANTITIES` of all modules, then what observables add."""
    names = sorted(found.name for found in walk_packages(lazyrich.__path__, "lazyrich."))
    modules = [import_module(name) for name in names if "__main__" not in name]
    every = [one for module in modules for one in getattr(module, "QUANTITIES", ())]
    measured = [one for observable in observables() for one in observable.quantities]
    return list({id(one): one for one in (*every, *measured)}.values())


def vocabulary() -> dict[str, Quantity]:
    """Every quantity by its name.

    Example:
        >>> vocabulary()["ntk_change"].symbol
        '‖ΔΘ‖/‖Θ₀‖'
    """
    return by_name(declared())
