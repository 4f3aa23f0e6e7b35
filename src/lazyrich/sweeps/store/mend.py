"""Repair of a store: damaged points are forgotten, a damaged file is made anew from its rows."""

from __future__ import annotations

from pathlib import Path

from lazyrich._errors import StoreError
from lazyrich.sweeps.store.database import BrokenError, Database
from lazyrich.sweeps.store.folder import (
    FRESH,
    NAME,
    check_store,
    next_aside,
    sync_folder,
)
from lazyrich.sweeps.store.lock import locked
from lazyrich.sweeps.store.rows import Described, Row, Unwhole
from lazyrich.sweeps.store.store import Damage, Store

PAGES = [2**n for n in range(9, 16)]  # sizes that a page of SQLite may have
MOST = 100  # times its own size that a file may have had before it was cut off


def repair(folder: str | Path) -> tuple[Damage, ...]:
    """Forget the damaged points of a store, so that the next sweep does them again.

    A damaged description is forgotten too, and the next sweep records it again.

    If SQLite finds its file unsound, every row that can still be read is copied to a new one; the
    damaged file is kept beside it, in a folder `damaged-1`, `damaged-2`, …

    Args:
        folder: folder of the store; nobody may be writing to it.

    Returns:
        What was damaged, as `Store.verify` says; empty if all was well.

    Raises:
        InputError: if there is no store.
        StoreError: if a process writes to it, if nothing in it can be read any more, or nothing can
            be written.

    Example:
        >>> import tempfile
        >>> from lazyrich import Study
        >>> study = Study(name="decay", experiment="lazyrich.sweeps:Decay")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Store.open(folder, study) as store:
        ...         _ = store.write((p, p.experiment.run()) for p in study.points())
        ...     repair(folder)
        ()
    """
    folder = Path(folder)
    if (folder / FRESH).exists() and not (folder / NAME).exists():
        _put(folder)  # a repair that was broken off has come so far
    check_store(folder)
    with locked(folder) as lock:
        try:
            _fill_up(folder / NAME)
            damages = _verified(folder)
            if any(not damage.key for damage in damages):
                _copy(folder)
            elif damages:
                _forget(folder)
        finally:
            lock.release()
    return damages


def _fill_up(path: Path) -> None:
    """Put zeros where a file was cut off: SQLite opens none that is shorter than it says."""
    with path.open("r+b") as file:
        head = file.read(100)
        size = int.from_bytes(head[16:18]) if head.startswith(b"SQLite format 3\0") else 0
        pages = int.from_bytes(head[28:32])
        if size in PAGES and path.stat().st_size < size * pages < MOST * path.stat().st_size:
            file.truncate(size * pages)


def _verified(folder: Path) -> tuple[Damage, ...]:
    try:
        with Store.read_only(folder) as store:
            damages = store.verify()
    except BrokenError as error:
        raise StoreError(
            f"nothing can be read from {folder / NAME} any more. Put back a backup (lazyrich store "
            "backup), or choose another folder and run the study again."
        ) from error
    return damages


def _forget(folder: Path) -> None:
    base = Database(folder / NAME, write=True)
    try:
        rows = ((number, base.row(number)) for number in base.numbers())
        points = [number for number, row in rows if isinstance(row, Unwhole)]
        base.forget(points, [n for n, one in base.descriptions().items() if one is None])
    finally:
        base.close()


def _copy(folder: Path) -> None:
    """Put a new file with every whole row in the place of the damaged one."""
    fresh = folder / FRESH
    for path in folder.glob(FRESH + "*"):  # of a repair that was broken off
        path.unlink()
    old, new = Database(folder / NAME, write=False), Database(fresh, write=True)
    try:
        for number, one in _descriptions(old).items():
            if one is not None:
                new.describe(one, number)
        rows = (old.row(number) for number in old.numbers())
        new.put(row for row in rows if isinstance(row, Row))
    finally:
        old.close()
        new.close()
    _put(folder)


def _descriptions(base: Database) -> dict[int, Described | None]:
    """What can still be read of them; the next sweep records one again."""
    try:
        return base.descriptions()
    except BrokenError:
        return {}


def _put(folder: Path) -> None:
    """Move the damaged file and its log aside, and the new file to its place."""
    aside = next_aside(folder)
    aside.mkdir()
    for path in sorted(folder.glob(NAME + "*")):  # the file first: without it, its log is void
        if not path.name.startswith(FRESH):
            path.rename(aside / path.name)
    (folder / FRESH).rename(folder / NAME)
    sync_folder(folder)
