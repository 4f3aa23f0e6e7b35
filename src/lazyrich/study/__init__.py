"""Study: data sets, networks, their training, and families of them as resumable sweeps.

The names load on first use, so that a worker process loads PyTorch only for experiments that do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazyrich.study.datasets import digits, fashion_mnist, load, mnist
    from lazyrich.study.networks import NETWORKS, cnn, fcn, resnet18, transformer, vgg11
    from lazyrich.study.parametrisation import PARAMETRISATIONS, Parametrised, parametrise
    from lazyrich.study.samples import DataSet, LossName, Samples, targets

_NAMES = {
    "datasets": ("digits", "fashion_mnist", "load", "mnist"),
    "networks": ("NETWORKS", "cnn", "fcn", "resnet18", "transformer", "vgg11"),
    "parametrisation": ("PARAMETRISATIONS", "Parametrised", "parametrise"),
    "samples": ("DataSet", "LossName", "Samples", "targets"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names}

__all__ = [
    "NETWORKS",
    "PARAMETRISATIONS",
    "DataSet",
    "LossName",
    "Parametrised",
    "Samples",
    "cnn",
    "digits",
    "fashion_mnist",
    "fcn",
    "load",
    "mnist",
    "parametrise",
    "resnet18",
    "targets",
    "transformer",
    "vgg11",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
