"""The folder of a store: the names in it, and what else may stand there."""

from __future__ import annotations

import re
from pathlib import Path

from lazyrich._errors import InputError
from lazyrich.sweeps.store.record import NAME

ARRAYS, LOCK = "arrays", "lock"
OWN = {ARRAYS, LOCK, NAME, NAME + "-wal", NAME + "-shm", NAME + "-journal"}
ASIDE = re.compile(r"damaged-([0-9]+)")  # where damaged records are kept


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but a store.

    Args:
        folder: of the store; it need not be there.

    Raises:
        InputError: naming what is there.

    Example:
        >>> check_folder(Path("nowhere"))
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"`folder` must be a folder, and {folder} is a file. Choose another name.")
    if not folder.is_dir() or (folder / NAME).exists():
        return
    names = {path.name for path in folder.iterdir()} - OWN
    foreign = sorted(name for name in names if not ASIDE.fullmatch(name))
    if foreign:
        raise InputError(
            f"`folder` must be empty or hold a store, and {folder} holds {foreign[0]}. "
            "Choose another folder."
        )


def put_aside(folder: Path) -> None:
    """Move the record of a store into a folder `damaged-1`, `damaged-2`, … of its own.

    Args:
        folder: of the store.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     (Path(name) / "damaged-4").mkdir()
        ...     (Path(name) / NAME).touch()
        ...     put_aside(Path(name))
        ...     (Path(name) / "damaged-5" / NAME).exists()
        True
    """
    matches = (ASIDE.fullmatch(path.name) for path in folder.iterdir())
    last = max((int(match[1]) for match in matches if match), default=0)
    aside = folder / f"damaged-{last + 1}"
    aside.mkdir()
    for path in sorted(folder.glob(NAME + "*")):  # the record first: without it, its log is void
        path.rename(aside / path.name)
