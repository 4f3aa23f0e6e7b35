"""The public names of a package: they load on first use, from the stub beside it.

A type checker reads the same stub, so that each name stands in one place. A name that needs an
optional dependency says in one sentence which, and what installs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lazy_loader

from lazyrich._errors import MissingExtraError

EXTRAS = {  # by module: what it is called, and the extra that installs it
    "accelerate": ("Accelerate", "huggingface"),
    "dask": ("Dask", "dask"),
    "distributed": ("Dask", "dask"),
    "jaxtyping": ("jaxtyping", "torch"),
    "lightning": ("Lightning", "lightning"),
    "matplotlib": ("matplotlib", "plot"),
    "netCDF4": ("netCDF4", "store"),
    "pooch": ("pooch", "data"),
    "pyarrow": ("pyarrow", "store"),
    "sklearn": ("scikit-learn", "data"),
    "torch": ("PyTorch", "torch"),
    "transformers": ("Transformers", "huggingface"),
    "zarr": ("zarr", "store"),
}


@contextmanager
def extras_named() -> Iterator[None]:
    """Say which extra is missing where an import inside fails for the lack of one.

    Raises:
        MissingExtraError: an optional dependency is not installed.

    Example:
        >>> with extras_named():
        ...     raise ModuleNotFoundError(name="torch")
        Traceback (most recent call last):
        lazyrich.MissingExtraError: this needs PyTorch, which is not installed. ...
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:  # also a part of a package that is there, in another version
            raise
        raise MissingExtraError(*EXTRAS[error.name]) from None


def attach(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Load the public names of a package on first use.

    Args:
        package: its `__name__`.
        file: its `__file__`; the stub beside it imports each name from where it is defined.

    Returns:
        The package's `__getattr__`, `__dir__` and `__all__`.

    Example:
        >>> _, _, names = attach("lazyrich", __file__.replace("_public", "__init__"))
        >>> "Probe" in names
        True
    """
    load, directory, names = lazy_loader.attach_stub(package, file)

    def resolve(name: str) -> Any:  # noqa: ANN401 - PEP 562
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with extras_named():
            return load(name)

    return resolve, directory, names
