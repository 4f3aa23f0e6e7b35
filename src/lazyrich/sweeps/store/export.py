"""Results as files that other programs read: netCDF, zarr, Parquet, CSV."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from lazyrich._errors import InputError, MissingExtraError
from lazyrich._files import ARRAYS, check_target, is_zarr, write_arrays, write_whole
from lazyrich._portable import escaped, whole_type
from lazyrich.sweeps.store.folder import NAME
from lazyrich.sweeps.store.results import is_known

if TYPE_CHECKING:
    import pandas as pd

TABLES = {".parquet": "pyarrow", ".csv": "pandas"}  # formats of rows: what writes them
KINDS = (*ARRAYS, *TABLES)
ROW = " there is such a row "  # a name that no variable has


def table(data: xr.Dataset) -> pd.DataFrame:
    r"""A tidy table: one row for every point, layer and step that has a value.

    Numbers without a layer or a step stand in all rows of their point. Points that are missing,
    and the places that make arrays of unequal networks rectangular, have no row.

    Args:
        data: the Dataset of `results`, or any Dataset.

    Example:
        >>> loss = xr.DataArray([[4.0, 1.0], [float("nan"), 3.0]], dims=("width", "seed"))
        >>> table(xr.Dataset({"loss": loss}).assign_coords(width=[8, 16])).to_csv(index=False)
        'width,seed,loss\n8,0,4.0\n8,1,1.0\n16,1,3.0\n'
    """
    whole = data.assign_coords({d: range(data.sizes[d]) for d in data.dims if d not in data.coords})
    whole = whole.drop_vars([name for name in whole.coords if not whole[name].dims])
    there = _there(whole).rename(ROW)
    longest = max((values.dims for values in whole.data_vars.values()), key=len, default=())
    order = list(dict.fromkeys([*longest, *whole.dims]))
    rows = xr.merge([whole, there]).to_dataframe(dim_order=order).reset_index()
    return rows[rows.pop(ROW)].reset_index(drop=True)


def export(data: xr.Dataset, path: str | Path) -> Path:
    r"""Write results to a file, whole or not at all.

    netCDF and zarr keep the arrays with all labels and attributes; Parquet and CSV hold the tidy
    table of `table`.

    Args:
        data: the Dataset of `results`, `measured_diagram`, or any Dataset.
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
    path = check_target(check_export(path), KINDS)
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        return write_arrays(data, path)
    try:
        rows = _rows(table(escaped(data)))
        return write_whole(path, lambda made: _WRITERS[suffix](rows, made))
    except ImportError as error:
        raise MissingExtraError(TABLES[suffix], "store") from error


def check_export(path: str | Path) -> Path:
    """Refuse a path that `export` must not write to, before the work is done.

    The folder that it lies in need not be there yet.

    Args:
        path: path of the file.

    Returns:
        The path.

    Raises:
        InputError: another suffix, a path that lies in a store or below a file, or one that is a
            folder but no zarr.
        MissingExtraError: the library for that format is not installed.

    Example:
        >>> check_export("out.csv").name
        'out.csv'
    """
    path = check_target(path, KINDS, make_folders=True)
    whole = path.resolve()
    for folder in (whole, *whole.parents):
        inside = folder != whole and is_zarr(folder)
        if inside or (folder / NAME).is_file():
            raise InputError(
                f"`path` must lie outside of stores and other exports, got {path}, and {folder} is "
                "one. Choose another name."
            )
    package = {**ARRAYS, **TABLES}[path.suffix.lower()]
    if find_spec(package) is None:
        raise MissingExtraError(package, "store")
    return path


def _rows(rows: pd.DataFrame) -> pd.DataFrame:
    """A table in types that Parquet has: complex numbers in two columns, long floats as double."""
    columns: dict[str, Any] = {}
    for name in rows:
        values = rows[name]
        if values.dtype.kind == "c":
            columns |= {f"{name}_real": np.real(values), f"{name}_imag": np.imag(values)}
        elif values.dtype == np.longdouble:
            columns[str(name)] = values.astype(np.float64)
        elif values.dtype == object:  # booleans and whole numbers beside missing ones
            columns[str(name)] = _nullable(values)
        else:
            columns[str(name)] = values
    return type(rows)(columns)


def _nullable(values: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    dtype = whole_type(values.dropna().tolist())
    if dtype is None:
        return values
    kind = {"bool": "boolean", "int64": "Int64", "uint64": "UInt64"}[dtype.name]
    return pd.Series(pd.array(values.where(values.notna(), pd.NA).tolist(), dtype=kind))


def _there(data: xr.Dataset) -> xr.DataArray:
    """Which rows there are: places that have a value on each dimension inside of a point.

    A point without any value on such a dimension has one row for it.
    """
    known = {str(name): is_known(values) for name, values in data.data_vars.items()}
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


def _outer(data: xr.Dataset) -> set[str]:
    """The dims of the study: those that `status` has, or all that every variable has."""
    if "status" in data:
        return set(map(str, data.status.dims))
    every = [set(map(str, values.dims)) for values in data.data_vars.values()]
    return set.intersection(*every) if every else set()


_WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    ".parquet": lambda rows, path: rows.to_parquet(path),
    ".csv": lambda rows, path: rows.to_csv(path, index=False),
}
