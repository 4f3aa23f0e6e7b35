"""One writer: a lock that the operating system releases when its process dies."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lazyrich._errors import StoreError
from lazyrich.sweeps.store.database import Database
from lazyrich.sweeps.store.folder import LOCK, NAME, check_folder, unwritten

STARTING = "a process that is just starting"


@contextmanager
def locked(folder: Path) -> Iterator[FileLock]:
    """The lock of the one writer, made with its folder; given back only if something is raised.

    The system releases it when its process dies; a forked child does not keep it.

    Args:
        folder: folder of the store.

    Raises:
        InputError: if the folder holds anything but a store.
        StoreError: if another process has it, or nothing can be written.
    """
    try:
        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        lock.acquire()
    except Timeout as error:
        raise StoreError(
            f"the store {folder} must have one writer, and {_holder(folder)} writes to it. "
            "Wait for it, end it, or open the store with Store.read_only."
        ) from error
    except OSError as error:
        raise unwritten(folder, error) from error
    try:
        yield lock
    except OSError as error:
        lock.release()
        raise unwritten(folder, error) from error
    except BaseException:
        lock.release()
        raise


def sign(base: Database) -> None:
    """Name this process as the writer.

    Args:
        base: the path whose lock it has.
    """
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    base.sign(f"process {os.getpid()} on {socket.gethostname()} since {since}")


def _holder(folder: Path) -> str:
    try:
        base = Database(folder / NAME, write=False)
    except (OSError, StoreError):
        return STARTING
    try:
        return base.writer() or STARTING
    except StoreError:
        return "a process"
    finally:
        base.close()
