"""Histories that were saved, opened again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lazyrich._errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import xarray as xr

ENGINES = {".nc": ("netcdf4", "netCDF4"), ".zarr": ("zarr", "zarr")}
FORMATS = (*ENGINES, ".json")


def check_history(path: Path) -> None:
    """Refuse what cannot be a saved history, before anything else is done.

    Args:
        path: path of the file, or of the zarr.

    Raises:
        InputError: another suffix, or nothing is there.
    """
    if path.suffix.lower() not in FORMATS:
        *most, last = FORMATS
        raise InputError(
            f"the history must end in {', '.join(most)} or {last}, got {path.name!r}. "
            "Give what `probe.save` wrote."
        )
    if not path.exists():
        raise InputError(f"there is no history at {str(path)!r}. Give what `probe.save` wrote.")


def load_history(path: str | Path) -> xr.Dataset:
    """Read what `Probe.save` wrote.

    Args:
        path: ends in `.nc`, `.zarr` or `.json`.

    Returns:
        The history, as `Probe.history` gave it.

    Raises:
        InputError: another suffix, nothing is there, or it is something else.
        MissingExtraError: the library for that format is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> from lazyrich import Probe
        >>> probe = Probe(torch.nn.Linear(2, 1), (torch.ones(3, 2), torch.ones(3, 1)))
        >>> probe.measure(step=0)
        >>> with TemporaryDirectory() as folder:
        ...     probe.save(f"{folder}/run.json")
        ...     load_history(f"{folder}/run.json").step.values
        array([0])
    """
    import xarray as xr

    from lazyrich._json_arrays import from_json

    path = Path(path)
    check_history(path)
    try:
        if path.suffix.lower() == ".json":
            return from_json(path.read_text(encoding="utf-8"))
        engine, package = ENGINES[path.suffix.lower()]
        return xr.load_dataset(path, engine=engine)
    except ImportError as error:
        raise MissingExtraError(package, "store") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} must be what `probe.save` wrote, and it is not: "
            f"{str(error).partition(chr(10))[0]}. Give another file."
        ) from error
