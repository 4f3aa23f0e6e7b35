"""Histories that were saved, opened again for a command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lazyrich._errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import xarray as xr

FORMATS = {".nc": ("netcdf4", "netCDF4"), ".zarr": ("zarr", "zarr")}


def check_history(path: Path) -> None:
    """Refuse what cannot be a saved history, before anything else is done.

    Args:
        path: path of the file, or of the zarr.

    Raises:
        InputError: another suffix, or nothing is there.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"the history must end in {' or '.join(FORMATS)}, got {path.name!r}")
    if not path.exists():
        raise InputError(f"there is no history at {str(path)!r}. Give what `probe.save` wrote.")


def opened_history(path: Path) -> xr.Dataset:
    """Open what `probe.save` wrote.

    Args:
        path: the path that `check_history` let pass.

    Raises:
        InputError: it is something else.
        MissingExtraError: the library for that format is not installed.
    """
    import xarray as xr

    engine, package = FORMATS[path.suffix.lower()]
    try:
        return xr.open_dataset(path, engine=engine)
    except ImportError as error:
        raise MissingExtraError(package, "store") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} must be what `probe.save` wrote, and it is not: "
            f"{str(error).partition(chr(10))[0]}. Give another file."
        ) from error
