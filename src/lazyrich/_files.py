"""Files that are written whole or not at all: pages, figures, tables and labelled arrays."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from lazyrich._arguments import shown
from lazyrich._errors import InputError, MissingExtraError
from lazyrich._json_arrays import to_json
from lazyrich._portable import portable

if TYPE_CHECKING:
    import xarray as xr

ARRAYS = {".nc": "netCDF4", ".zarr": "zarr"}  # formats with labels and attributes: what writes them
ROOM = 2**23  # bytes that are tried where a file could not be written
OF_ZARR = (".zgroup", "zarr.json")  # one of these stands in every group, of version 2 or 3


def check_target(
    path: str | Path, suffixes: Collection[str] = (), *, make_folders: bool = False
) -> Path:
    """Refuse a path that could not be written to, before the work is done.

    Args:
        path: path of the file.
        suffixes: the suffixes that it may have, with their dots; none allows all. Where `.zarr` is
            among them, a path that ends so is that of a zarr, which is a folder.
        make_folders: whether the folder that it lies in will be made if it is missing.

    Returns:
        The path.

    Raises:
        InputError: another suffix; the folder is missing, or is a file; what has the name already
            is a folder, or for a zarr anything else or a zarr with other things in its folder.

    Example:
        >>> check_target("out.csv", {".csv", ".nc"}).name
        'out.csv'
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"`path` must be the name of a file, got {shown(path)}. Pass a string.")
    target = Path(path)
    if suffixes and target.suffix.lower() not in suffixes:
        raise InputError(
            f"`path` must end in {', '.join(suffixes)}, got {target.name!r}. The ending says "
            "in which format the file is written."
        )
    folder = target.absolute().parent
    above = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not above.is_dir():
        raise InputError(
            f"`path` must lie in a folder, got {target}, and {above} is a file. "
            "Choose another name."
        )
    if above != folder and not make_folders:
        raise InputError(
            f"the folder {str(target.parent)!r} does not exist. Make it, for instance with mkdir "
            "-p, or "
            "look for a slip in the path."
        )
    if target.suffix.lower() == ".zarr" and ".zarr" in suffixes:
        if target.exists() and not is_zarr(target):
            raise InputError(
                f"`path` must be a new name or that of a zarr, got {target}, which is there and is "
                "no zarr. Choose another name: what is there would be lost."
            )
        if target.exists() and (other := not_of_zarr(target)):
            raise InputError(
                f"`path` must hold nothing but a zarr, got {target} with {other[0]!r} in it. "
                "Choose another name: what is there would be lost."
            )
    elif target.is_dir():
        raise InputError(f"{str(target)!r} is a folder. Give the name of a file in it.")
    return target


def is_zarr(folder: Path) -> bool:
    """Whether a path is that of a zarr.

    Args:
        folder: any path.

    Example:
        >>> is_zarr(Path())
        False
    """
    return any((folder / name).is_file() for name in OF_ZARR)


def not_of_zarr(folder: Path) -> list[str]:
    """What lies in the folder of a zarr and is not part of it.

    Args:
        folder: folder of a zarr.

    Returns:
        Names of files that no zarr has, and of folders that are neither arrays nor groups.
    """

    def is_part(entry: Path) -> bool:
        if entry.is_dir():
            return any((entry / name).is_file() for name in (*OF_ZARR, ".zarray"))
        return entry.name in (*OF_ZARR, ".zattrs", ".zmetadata", ".DS_Store")

    return sorted(entry.name for entry in folder.iterdir() if not is_part(entry))


def write_whole(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Write a file or a zarr whole or not at all.

    It is made in a hidden folder beside its place and then moved there, so that what was there
    before stays if writing fails or is interrupted; a file is on the disk before it is moved. A
    link is followed. A new file has the rights that any new file has, a replaced one keeps its own.

    Args:
        path: the path that `check_target` let pass.
        write: makes the file at the path that it is given, which has the same name.

    Returns:
        The path.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(f"{folder}/a.txt", lambda new: new.write_text("whole")).read_text()
        'whole'
    """
    path = Path(path)
    target = path.resolve()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
        made = Path(folder) / path.name
        try:
            write(made)
        except (OSError, RuntimeError) as error:
            raise _true_cause(error, Path(folder)) from error
        if made.is_file():
            with made.open("r+b") as file:
                os.fsync(file)
            if target.is_file():
                shutil.copymode(target, made)
        _put(made, target)
    return path


def write_arrays(data: xr.Dataset, path: str | Path) -> Path:
    """Write labelled arrays to netCDF (`.nc`), zarr (`.zarr`) or JSON, whole or not at all.

    Args:
        data: the arrays, with labels and attributes.
        path: a file, or for `.zarr` a zarr, that is there is replaced.

    Returns:
        The path.

    Raises:
        InputError: see `check_target`; complex numbers for `.json`.
        MissingExtraError: the library for that format is not installed.

    Example:
        >>> import xarray
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_arrays(xarray.Dataset({"loss": ("step", [0.5])}), f"{folder}/a.nc")
        ...     xarray.load_dataset(path).loss.item()
        0.5
    """
    path = check_target(path, (*ARRAYS, ".json"))
    suffix = path.suffix.lower()
    if suffix == ".json":
        text = to_json(data)
        return write_whole(path, lambda made: made.write_text(text, encoding="utf-8"))

    whole = portable(data)

    def write(made: Path) -> None:
        if suffix == ".nc":
            has_complex = any(one.dtype.kind == "c" for one in whole.variables.values())
            # SciPy's engine has no 64-bit integers
            whole.to_netcdf(made, engine="netcdf4", auto_complex=has_complex or None)
        else:
            whole.to_zarr(made, zarr_format=2)  # version 3 has no strings yet

    try:
        return write_whole(path, write)
    except ImportError as error:
        raise MissingExtraError(ARRAYS[suffix], "store") from error


def _true_cause(error: Exception, folder: Path) -> Exception:
    """What the system itself says of writing here: netCDF calls a full disk a missing right."""
    try:
        with (folder / "room").open("wb") as file:
            file.write(bytes(ROOM))
            file.flush()
            os.fsync(file)
    except OSError as own:
        return own
    return error


def _put(made: Path, target: Path) -> None:
    """Move what was made to its place; a zarr that is there waits beside it until that is done."""
    old = made.with_name(f"{made.name}.old")
    try:
        if made.is_dir() and is_zarr(target):
            os.replace(target, old)
        os.replace(made, target)
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(target):
            os.replace(old, target)
        raise
