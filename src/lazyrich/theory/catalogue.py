"""All models, found by looking into this room."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

import lazyrich.theory
from lazyrich.theory.model import Model


def models() -> dict[str, Model]:
    """Every `MODEL` that a module of this room defines, by its name.

    Example:
        >>> sorted(models())
        ['balanced_linear', 'diagonal_linear', 'quadratic_start', 'two_layer_linear']
    """
    room = lazyrich.theory
    names = [module.name for module in walk_packages(room.__path__, f"{room.__name__}.")]
    modules = [import_module(name) for name in names if name != __name__]
    every = [
        module.MODEL for module in modules if isinstance(getattr(module, "MODEL", None), Model)
    ]
    return {model.name: model for model in every}
