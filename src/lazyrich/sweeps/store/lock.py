"""One writer: a lock that the operating system releases when its process dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
import weakref
from pathlib import Path

from lazyrich._errors import StoreError

BUSY = (errno.EAGAIN, errno.EACCES)
_held: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """An exclusive lock on a file that names its holder (POSIX `flock`).

    A forked child does not keep it. What a dead process left in the file means nothing.

    Args:
        path: the file; it is made where there is none, and never removed.

    Raises:
        StoreError: if another process, or another store of this one, holds it.
        OSError: if it cannot be made or written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock = Lock(Path(folder) / "lock")
        ...     lock.release()
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(self._file)
            os.close(self._file)
            raise _refusal(path.parent, holder, error) from error
        try:
            self._sign()
        except BaseException:
            self.release()
            raise
        _held.add(self)

    def _sign(self) -> None:
        mine = {"process": os.getpid(), "host": socket.gethostname(), "since": _now()}
        text = json.dumps(mine).encode()
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))

    def release(self) -> None:
        """Give it back; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def _holder(file: int) -> str:
    try:
        mine = json.loads(os.pread(file, 4096, 0))
        return f"process {mine['process']} on {mine['host']} since {mine['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that is just starting"


def _refusal(folder: Path, holder: str, error: OSError) -> StoreError:
    if error.errno in BUSY:
        return StoreError(
            f"the store {folder} must have one writer, and {holder} writes to it. "
            "Wait for it, end it, or open the store with Store.read_only."
        )
    return StoreError(
        f"the store {folder} must be on a file system with locks, got: {error.strerror}. "
        "Put it on a local disk."
    )


def _after_fork() -> None:
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_after_fork)
