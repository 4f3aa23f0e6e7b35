"""Results as files that other programs read: netCDF, zarr, Parquet, CSV."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from lazyrich._errors import InputError, MissingExtraError
from lazyrich.sweeps.store.record import NAME

if TYPE_CHECKING:
    import pandas as pd

KINDS = {".nc": "netCDF4", ".zarr": "zarr", ".parquet": "pyarrow", ".csv": "pandas"}
OF_ZARR = (".zgroup", "zarr.json")  # one of these stands in every group, of version 2 or 3


def table(data: xr.Dataset) -> pd.DataFrame:
    r"""A tidy table: one row for every point, layer and step that has a value.

    Numbers without a layer or a step stand in all rows of their point. Points that are missing,
    and the places that make arrays of unequal networks rectangular, have no row.

    Args:
        data: of `results`, or any Dataset.

    Example:
        >>> loss = xr.DataArray([[4.0, 1.0], [float("nan"), 3.0]], dims=("width", "seed"))
        >>> table(xr.Dataset({"loss": loss}).assign_coords(width=[8, 16])).to_csv(index=False)
        'width,seed,loss\n8,0,4.0\n8,1,1.0\n16,1,3.0\n'
    """
    whole = data.assign_coords({d: range(data.sizes[d]) for d in data.dims if d not in data.coords})
    whole = whole.drop_vars([name for name in whole.coords if not whole[name].dims])
    there = _there(whole).rename("there")
    longest = max((values.dims for values in whole.data_vars.values()), key=len, default=())
    order = list(dict.fromkeys([*longest, *whole.dims]))
    rows = xr.merge([whole, there]).to_dataframe(dim_order=order).reset_index()
    return rows[rows.pop("there")].reset_index(drop=True)


def export(data: xr.Dataset, path: str | Path) -> Path:
    r"""Write results to a file, whole or not at all.

    netCDF and zarr keep the arrays with all labels and attributes; Parquet and CSV hold the tidy
    table of `table`.

    Args:
        data: of `results`, `measured_diagram`, or any Dataset.
        path: ends with `.nc`, `.zarr`, `.parquet` or `.csv`; a file, or for `.zarr` a zarr, that is
            there is replaced.

    Returns:
        The path.

    Raises:
        InputError: another suffix, a folder that does not exist, a path that lies in a store, or
            one that is a folder but no zarr.
        MissingExtraError: the library for that format is not installed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> data = xr.Dataset({"loss": ("width", [0.5, 0.25])}, {"width": [8, 16]})
        >>> with TemporaryDirectory() as folder:
        ...     export(data, Path(folder) / "out.csv").read_text()
        'width,loss\n8,0.5\n16,0.25\n'
    """
    path = Path(path)
    check_target(path)
    if not path.parent.is_dir():
        raise InputError(f"`path` must lie in a folder that exists, got {path}. Make it first.")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            made = Path(folder) / path.name
            _WRITERS[path.suffix](data, made)
            _put(made, path)
    except ImportError as error:
        raise MissingExtraError(KINDS[path.suffix], "store") from error
    return path


def check_target(path: Path) -> None:
    """Refuse a path that `export` must not write to, before the work is done.

    The folder that it lies in need not be there yet.

    Args:
        path: of the file.

    Raises:
        InputError: another suffix, a path that lies in a store or below a file, or one that is a
            folder but no zarr.

    Example:
        >>> check_target(Path("out.csv"))
    """
    if path.suffix not in KINDS:
        raise InputError(
            f"`path` must end in {', '.join(KINDS)}, got {path.name!r}. Choose a format."
        )
    whole = path.resolve()
    for folder in (whole, *whole.parents):
        inside = folder != whole and _is_zarr(folder)
        if inside or (folder / NAME).is_file():
            raise InputError(
                f"`path` must lie outside of stores and other exports, got {path}, and {folder} is "
                "one. Choose another name."
            )
    above = next(folder for folder in whole.parents if folder.exists())
    if not above.is_dir():
        raise InputError(
            f"`path` must lie in a folder, got {path}, and {above} is a file. Choose another name."
        )
    replaceable = _is_zarr(path) if path.suffix == ".zarr" else not path.is_dir()
    if path.exists() and not replaceable:
        kind = "zarr" if path.suffix == ".zarr" else "file"
        raise InputError(
            f"`path` must be a new name or that of a {kind}, got {path}, which is there and is no "
            f"{kind}. Choose another name: what is there would be lost."
        )


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in OF_ZARR)


def _put(made: Path, path: Path) -> None:
    """Move what was made to its path; a zarr that is there waits beside it until that is done."""
    old = made.with_name("old")
    try:
        if path.is_dir():
            os.replace(path, old)
        os.replace(made, path)
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(path):
            os.replace(old, path)
        raise


def _there(data: xr.Dataset) -> xr.DataArray:
    """Which rows there are: places that have a value on each dimension inside of a point.

    A point without any value on such a dimension has one row for it.
    """
    known = {str(name): _known(values) for name, values in data.data_vars.items()}
    outer = _outer(data)
    there = xr.DataArray(False)
    for values in known.values():
        there = there | values.any(set(values.dims) - outer)
    for dim in map(str, data.dims):
        if dim in outer:
            continue
        filled = xr.DataArray(False)
        for values in known.values():
            if dim in values.dims:
                filled = filled | values.any(set(values.dims) - outer - {dim})
        first = xr.DataArray(range(data.sizes[dim]), dims=dim) == 0
        there = there & (filled | (first & ~filled.any(dim)))
    return there


def _known(values: xr.DataArray) -> xr.DataArray:
    return values != "" if values.dtype.kind in "UO" else values.notnull()


def _outer(data: xr.Dataset) -> set[str]:
    """The dims of the study: those that `status` has, or all that every variable has."""
    if "status" in data:
        return set(map(str, data.status.dims))
    every = [set(map(str, values.dims)) for values in data.data_vars.values()]
    return set.intersection(*every) if every else set()


_WRITERS: dict[str, Callable[[xr.Dataset, Path], object]] = {
    ".nc": lambda data, path: data.to_netcdf(path),
    ".zarr": lambda data, path: data.to_zarr(path, zarr_format=2),  # version 3 has no strings yet
    ".parquet": lambda data, path: table(data).to_parquet(path),
    ".csv": lambda data, path: table(data).to_csv(path, index=False),
}
