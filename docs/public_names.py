"""A reading aid for the reference: `two_layer_linear.flow` is the function, not its module.

Where a package offers a function of a submodule under the submodule's own name, Python gives the
function, and the tool that reads the sources without running them the submodule.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import griffe


class PublicNames(griffe.Extension):
    """Have each name stand for what Python gives for it."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:  # noqa: ANN401 - griffe's own
        """Put the function in the place of the submodule."""
        for module in list(_modules(pkg)):
            for name, inner in list(module.modules.items()):
                if name in inner.members and _is_function(module.path, name):
                    module.members[name] = griffe.Alias(name, inner.members[name], parent=module)


def _modules(module: griffe.Module) -> Iterator[griffe.Module]:
    yield module
    for inner in module.modules.values():
        if not inner.is_alias:
            yield from _modules(inner)


def _is_function(package: str, name: str) -> bool:
    return not isinstance(getattr(import_module(package), name), ModuleType)
