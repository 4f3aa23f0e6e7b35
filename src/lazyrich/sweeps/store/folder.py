"""The folder of a store: the names in it, what else may stand there, what the system says of it."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from lazyrich._errors import InputError, StoreError

NAME, LOCK = "store.sqlite", "lock"
OWN = {LOCK, *(NAME + end for end in ("", "-wal", "-shm", "-journal"))}
ASIDE = re.compile(r"damaged-([0-9]+)")  # where damaged files are kept
FRESH = NAME + "-fresh"  # what a repair makes
OLD = "record.sqlite"  # of the stores up to 0.2
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)  # of file systems without it for folders


class UnmadeError(StoreError):
    """A store that is just being made, or whose making was broken off: it holds nothing yet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"the store {folder} is just being made. Try again, or run its sweep.")


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but a store.

    Args:
        folder: folder of the store; it need not be there.

    Raises:
        InputError: naming what is there.
        StoreError: if it is a store of an older version.

    Example:
        >>> check_folder(Path("nowhere"))
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"`folder` must be a folder, and {folder} is a file. Choose another name.")
    if not folder.is_dir() or (folder / NAME).exists():
        return
    check_version(folder)
    names = {path.name for path in folder.iterdir()} - OWN
    foreign = sorted(name for name in names if not ASIDE.fullmatch(name))
    if foreign:
        raise InputError(
            f"`folder` must be empty or hold a store, and {folder} holds {foreign[0]}. "
            "Choose another folder."
        )


def check_store(folder: Path) -> None:
    """Refuse a folder without a store.

    Args:
        folder: folder of the store.

    Raises:
        InputError: if there is none.
        StoreError: if it is of an older version, or cannot be read.

    Example:
        >>> check_store(Path("nowhere"))
        Traceback (most recent call last):
        ...
        lazyrich.InputError: `folder` must hold a store, and nowhere holds none. ...
    """
    try:
        there = (folder / NAME).is_file()
        if not there:
            check_version(folder)
    except OSError as error:
        raise unread(folder, error) from error
    if not there:
        raise InputError(
            f"`folder` must hold a store, and {folder} holds none. Check the path, or make the "
            "store with a sweep."
        )


def check_version(folder: Path) -> None:
    """Refuse a store of version 0.2 or older, which had several files, and one half repaired.

    Args:
        folder: folder of the store.

    Raises:
        StoreError: saying what to do.

    Example:
        >>> check_version(Path("nowhere"))
    """
    if (folder / OLD).exists():
        raise StoreError(
            f"{folder} is a store of lazyrich 0.2 or older. Export its results with that version, "
            "or choose another folder and run the study again."
        )
    if (folder / FRESH).exists():
        raise StoreError(
            f"the repair of the store {folder} was broken off. Run it again: lazyrich store repair "
            f"{folder}"
        )


def next_aside(folder: Path) -> Path:
    """A new name `damaged-1`, `damaged-2`, … in the folder, above those that are there.

    Args:
        folder: folder of the store.

    Example:
        >>> next_aside(Path()).name
        'damaged-1'
    """
    matches = (ASIDE.fullmatch(path.name) for path in folder.iterdir())
    last = max((int(match[1]) for match in matches if match), default=0)
    return folder / f"damaged-{last + 1}"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the file system and its rights let one do so.

    A folder that may be entered but not read cannot be synced, nor can any on some file systems,
    nor on Windows.

    Args:
        folder: any.

    Raises:
        OSError: if it fails otherwise.

    Example:
        >>> sync_folder(Path())
    """
    try:
        file = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(file)


def unwritten(path: Path, error: Exception) -> StoreError:
    """The error of a write that failed.

    Args:
        path: path of the file.
        error: what the system said.

    Example:
        >>> print(unwritten(Path("x"), OSError(28, "No space left on device")))
        x cannot be written: No space left on device. Make room ... every point that was ...
    """
    return StoreError(
        f"{path} cannot be written: {_said(error)}. Make room or mend the disk, then run the study "
        "again: every point that was written before is safe, and only missing ones are done."
    )


def unread(path: Path, error: Exception) -> StoreError:
    """The error of a read that failed, though what is there may be whole.

    Args:
        path: path of the file.
        error: what the system said.

    Example:
        >>> print(unread(Path("x"), OSError(13, "Permission denied")))
        x cannot be read here: Permission denied. Copy the whole store to a folder where you may ...
    """
    return StoreError(
        f"{path} cannot be read here: {_said(error)}. Copy the whole store to a folder where you "
        "may write, or ask its owner to open it once (Store.open) and to let you read it."
    )


def removed(path: Path) -> StoreError:
    """The error of a file that was removed, or replaced, while it was being written to.

    Args:
        path: path of the file.

    Example:
        >>> print(removed(Path("x")))
        x was removed or replaced while it was written to: ...
    """
    return StoreError(
        f"{path} was removed or replaced while it was written to: what was stored in it is no "
        "longer there. Put it back if you can, then run the study again."
    )


def _said(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
