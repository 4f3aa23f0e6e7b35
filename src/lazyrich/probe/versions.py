"""Which versions a measurement was made with."""

from __future__ import annotations

import platform
from importlib.metadata import version

import lazyrich

PACKAGES = ("torch", "numpy", "xarray")


def versions() -> dict[str, str]:
    """Versions of what the numbers of a probe depend on, on this machine.

    Returns:
        The version of each of `lazyrich`, `Python`, `torch`, `numpy` and `xarray`, by that name.

    Example:
        >>> list(versions())
        ['lazyrich', 'Python', 'torch', 'numpy', 'xarray']
    """
    here = {"lazyrich": lazyrich.__version__, "Python": platform.python_version()}
    return here | {name: version(name) for name in PACKAGES}
