"""The store: results of a study in one folder, durable at once, safe against crashes."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

from lazyrich._errors import InputError, StoreError
from lazyrich.sweeps.describe.changes import differences
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.result import Result, Status
from lazyrich.sweeps.store.codec import decode, encode
from lazyrich.sweeps.store.folder import ARRAYS, LOCK, check_folder, put_aside
from lazyrich.sweeps.store.lock import Lock
from lazyrich.sweeps.store.record import NAME, UNSEALED, Record, Row, UnmadeError, damaged
from lazyrich.sweeps.store.segments import Segments, entry, sync_folder, unread, unwritten


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A point, or the record, that is damaged.

    Attributes:
        key: of the point; empty for the record itself.
        file: that is damaged.
        sentence: what is wrong, and what to do.
    """

    key: str
    file: Path
    sentence: str


class Store:
    """The results of a study in one folder.

    `Store.open` writes, one process at a time; `Store.read_only` reads, also meanwhile. Both are
    context managers. Points that `write` has returned from survive a crash of the process or the
    machine.

    Attributes:
        folder: of the store.

    Example:
        >>> import tempfile
        >>> study = Study(name="decay", experiment="lazyrich.sweeps:Decay", seeds=2)
        >>> with tempfile.TemporaryDirectory() as folder, Store.open(folder, study) as store:
        ...     written = store.write({p.key: p.experiment.run() for p in study.points()})
        ...     again = store.write({p.key: p.experiment.run() for p in study.points()})
        ...     print(written, again, store.statuses())
        2 0 {'finished': 2}
    """

    def __init__(self, folder: Path, record: Record, lock: Lock | None) -> None:
        self.folder = folder
        self._record = record
        self._lock = lock
        self._process = os.getpid()
        self._segments = Segments(folder / ARRAYS)
        self._turn = threading.RLock()
        self._end = (0, 0)

    @classmethod
    def open(cls, folder: str | Path, study: Study, *, extend: bool = False) -> Store:
        """Open the store of a study for writing, or make it.

        Args:
            folder: of the store; it is made where there is none.
            study: whose points are written.
            extend: take a changed description and record it; points that it does not have stay.

        Raises:
            InputError: if the folder holds anything else.
            StoreError: if another process writes to the store, the description has changed, the
                store is damaged or of another version, or nothing can be written.

        Example:
            >>> import tempfile
            >>> study = Study(name="decay", experiment="lazyrich.sweeps:Decay")
            >>> more = Study(name="decay", experiment="lazyrich.sweeps:Decay", seeds=2)
            >>> folder = tempfile.TemporaryDirectory()
            >>> Store.open(folder.name, study).close()
            >>> Store.open(folder.name, more)
            Traceback (most recent call last):
            ...
            lazyrich.StoreError: the store ... is of another description: seeds: was 0; ...
            >>> Store.open(folder.name, more, extend=True).close()
            >>> folder.cleanup()
        """
        folder = Path(folder)
        try:
            check_folder(folder)
            (folder / ARRAYS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritten(folder, error) from error
        lock = _locked(folder)
        with _given_back(lock, folder):
            return cls._opened(folder, lock, study, extend)

    @classmethod
    def _opened(cls, folder: Path, lock: Lock, study: Study, extend: bool) -> Store:
        record = Record(folder / NAME, write=True)
        store = cls(folder, record, lock)
        try:
            if not record.descriptions():  # new, or its making was broken off
                store._adopt()
                sync_folder(folder)
                sync_folder(folder.absolute().parent)
            store._describe(study, extend)
            store._end = record.end()
        except BaseException:
            record.close()
            raise
        return store

    def _adopt(self) -> int:
        """Put the entries that stand in the arrays into an empty record; how many points."""
        rows = {}
        for number in self._segments.numbers():
            for where, header in self._segments.scan(number):
                parts = json.loads(header)
                row = Row(key=parts["key"], status=parts["status"], where=where)
                rows[row.key] = row  # the last one is the valid one
        self._record.put(rows.values())
        return len(rows)

    def _describe(self, study: Study, extend: bool) -> None:
        """Compare the description with the recorded one, and record it where it is new."""
        defaults = json.loads(json.dumps(study.defaults))
        now = {**json.loads(study.to_json()), "default": defaults}
        recorded = self._record.descriptions()
        if recorded:
            changes = differences(json.loads(recorded[-1]), now)
            if changes and not extend:
                raise StoreError(
                    f"the store {self.folder} is of another description: {' '.join(changes)} "
                    "Use the old description, choose another folder, or open with extend=True "
                    "(lazyrich sweep --extend), which keeps every point that is there."
                )
        if not recorded or changes:
            self._record.describe(json.dumps(now, ensure_ascii=False))

    @classmethod
    def read_only(cls, folder: str | Path) -> Store:
        """Open a store for reading; a process that writes to it is not disturbed.

        Args:
            folder: of the store.

        Raises:
            InputError: if there is no store.
            StoreError: if it is damaged or of another version, is just being made, or cannot be
                read.

        Example:
            >>> Store.read_only("nowhere")
            Traceback (most recent call last):
            ...
            lazyrich.InputError: `folder` must hold a store, and nowhere holds none. ...
        """
        folder = Path(folder)
        try:
            there = (folder / NAME).is_file()
        except OSError as error:
            raise unread(folder, error) from error
        if not there:
            raise InputError(
                f"`folder` must hold a store, and {folder} holds none. Check the path, or make the "
                "store with a sweep."
            )
        return cls(folder, Record(folder / NAME, write=False), None)

    @classmethod
    def rebuild(cls, folder: str | Path, study: Study) -> Store:
        """Make the record of a store anew from its arrays, which describe themselves.

        The damaged record stays beside it under another name. Points whose arrays are damaged are
        missing then, and the next sweep does them again.

        Args:
            folder: of the store.
            study: that it belongs to.

        Raises:
            InputError: if there is no store.
            StoreError: if another process writes to it, or nothing can be written.

        Example:
            >>> import tempfile
            >>> study = Study(name="decay", experiment="lazyrich.sweeps:Decay")
            >>> folder = tempfile.TemporaryDirectory()
            >>> with Store.open(folder.name, study) as store:
            ...     _ = store.write({p.key: p.experiment.run() for p in study.points()})
            >>> _ = (Path(folder.name) / NAME).write_bytes(b"not a record")
            >>> with Store.rebuild(folder.name, study) as store:
            ...     store.statuses()
            {'finished': 1}
            >>> folder.cleanup()
        """
        folder = Path(folder)
        if not (folder / ARRAYS).is_dir():
            raise InputError(
                f"`folder` must hold the arrays of a store, and {folder} holds none. Check the "
                "path."
            )
        lock = _locked(folder)
        with _given_back(lock, folder):
            put_aside(folder)
            return cls._opened(folder, lock, study, extend=False)

    @cached_property
    def study(self) -> Study:
        """The study as it was recorded last; its experiment is imported.

        Raises:
            InputError: if the experiment cannot be imported.
            UnmadeError: if the store is just being made.
        """
        recorded = self._record.descriptions()
        if not recorded:
            raise UnmadeError(self.folder)
        parts = json.loads(recorded[-1])
        return Study.from_json(json.dumps({k: v for k, v in parts.items() if k != "default"}))

    def keys(self, *statuses: Status) -> frozenset[str]:
        """The keys of the points that are there, of all or of some statuses.

        Args:
            statuses: all, if none is given.
        """
        with self._turn:
            statuses_by_key = self._record.statuses()
        return frozenset(
            key for key, status in statuses_by_key.items() if not statuses or status in statuses
        )

    def statuses(self) -> dict[str, int]:
        """How many points ended in each status."""
        with self._turn:
            return dict(Counter(self._record.statuses().values()))

    def write(self, results: Mapping[str, Result], *, replace_failed: bool = False) -> int:
        """Write results; they are durable when this returns, all of them or none.

        A key that is there already keeps the result it has. Many results at once cost little more
        than one, because they share the waiting for the disk.

        Args:
            results: by the key of their point.
            replace_failed: write over results whose status is "failed".

        Returns:
            How many were written.

        Raises:
            InputError: if a result holds what cannot be stored; nothing is written then.
            StoreError: if the store was opened for reading, or the disk is full or fails.
        """
        self._check_writer()
        with self._turn:
            there = self._record.statuses(list(results))
            keep = {k for k, status in there.items() if status != "failed" or not replace_failed}
            blocks = {k: _block(k, r) for k, r in results.items() if k not in keep}
            if not blocks:
                return 0
            places = self._segments.append(list(blocks.values()), after=self._end)
            self._record.put(
                Row(key=key, status=results[key].status, where=where)
                for key, where in zip(blocks, places, strict=True)
            )
            self._end = (places[-1].segment, places[-1].start + places[-1].length)
        return len(blocks)

    def _check_writer(self) -> None:
        if self._lock is None:
            raise StoreError(f"the store {self.folder} is open for reading. Use Store.open.")
        if os.getpid() != self._process:
            raise StoreError(
                f"the store {self.folder} was opened by process {self._process}, and this is its "
                "child. Give the results to the process that opened it."
            )

    def read(self, key: str) -> Result:
        """The result of a point.

        Args:
            key: of the point.

        Raises:
            InputError: if it is not there.
            StoreError: if it is damaged; others are unharmed.
        """
        return decode(*self.read_bytes(key))[1]

    def read_bytes(self, key: str) -> tuple[bytes, bytes]:
        """Header and payload of a point, for `parts_and_variables`; as `read` for the rest."""
        with self._turn:
            row = self._record.get(key)
            if row is None:
                raise InputError(
                    f"`key` must be of a point that is done, got {key!r}. See Store.keys()."
                )
            try:
                return self._segments.read(row.where)
            except ValueError as error:
                raise StoreError(self._damage(row, str(error)).sentence) from error

    def _damage(self, row: Row, said: str = "") -> Damage:
        """The damage of a point: of its arrays, or of its line in the record if nothing is said."""
        file = self._segments.path(row.where.segment) if said else self._record.path
        return Damage(key=row.key, file=file, sentence=damaged(row.key, file, said or UNSEALED))

    def verify(self, *, repair: bool = False) -> tuple[Damage, ...]:
        """Read everything and name what is damaged.

        Args:
            repair: forget damaged points, so that the next sweep does them again.

        Returns:
            The damaged points, and the record where SQLite finds it unsound; empty if all is well.

        Raises:
            StoreError: if the record cannot be read at all, or the store is open for reading and
                must be repaired.
        """
        if repair:
            self._check_writer()
        record = self._record.path
        with self._turn:
            damages = []
            unsound = self._record.unsound()
            if unsound:
                sentence = f"{record} is damaged ({unsound}). Use Store.rebuild(folder, study)."
                damages.append(Damage(key="", file=record, sentence=sentence))
            for row, whole in self._record.rows():
                try:
                    if not whole:
                        damages.append(self._damage(row))
                    else:
                        self._segments.read(row.where)
                except ValueError as error:
                    damages.append(self._damage(row, str(error)))
            if repair:
                self._record.forget(damage.key for damage in damages if damage.key)
        return tuple(damages)

    def close(self) -> None:
        """Close the store; a second time does nothing."""
        with self._turn:
            if os.getpid() == self._process:
                self._record.close()
            self._segments.close()
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _locked(folder: Path) -> Lock:
    try:
        return Lock(folder / LOCK)
    except OSError as error:
        raise unwritten(folder, error) from error


@contextmanager
def _given_back(lock: Lock, folder: Path) -> Iterator[None]:
    """Give the lock back if the store cannot be opened."""
    try:
        yield
    except OSError as error:
        lock.release()
        raise unwritten(folder, error) from error
    except BaseException:
        lock.release()
        raise


def _block(key: str, result: Result) -> bytes:
    try:
        return entry(*encode(key, result))
    except InputError as error:
        raise InputError(f"the result of the point {key} cannot be stored: {error}") from error
