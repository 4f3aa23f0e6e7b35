"""The store: results of a study in one SQLite file, durable at once, safe against crashes."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

from filelock import FileLock

from lazyrich._errors import InputError, StoreError, StoreWarning
from lazyrich.sweeps.describe.changes import differences
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.describe.expansion import Point
from lazyrich.sweeps.describe.recorded import Recorded
from lazyrich.sweeps.describe.source import changed_code, code_of
from lazyrich.sweeps.result import Result, Status
from lazyrich.sweeps.store.codec import Packed, decode, encode
from lazyrich.sweeps.store.database import Database, broken
from lazyrich.sweeps.store.folder import NAME, UnmadeError, check_store, sync_folder, unwritten
from lazyrich.sweeps.store.lock import locked, sign
from lazyrich.sweeps.store.rows import UNWHOLE, Described, Row, Unwhole

UNKNOWN = {"lazyrich": "unknown", "source": "unknown"}  # the code of a damaged description


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A point, or the file, that is damaged.

    Attributes:
        key: key of the point, as far as it can be read; "description" for that of the study, and
            empty for the file itself.
        sentence: what is wrong, and what to do.
    """

    key: str
    sentence: str


class Store:
    """The results of a study in one folder.

    `Store.open` writes, one process at a time; `Store.read_only` reads, also meanwhile, and needs
    nothing but the file. Both are context managers. Points that `write` has returned from survive a
    crash of the process or the machine.

    Attributes:
        folder: folder of the store.

    Example:
        >>> import tempfile
        >>> study = Study(name="decay", experiment="lazyrich.sweeps:Decay", seeds=2)
        >>> with tempfile.TemporaryDirectory() as folder, Store.open(folder, study) as store:
        ...     written = store.write((p, p.experiment.run()) for p in study.points())
        ...     again = store.write((p, p.experiment.run()) for p in study.points())
        ...     print(written, again, store.statuses())
        2 0 {'finished': 2}
    """

    def __init__(self, folder: Path, base: Database, lock: FileLock | None) -> None:
        self.folder = folder
        self._base = base
        self._lock = lock
        self._process = os.getpid()
        self._turn = RLock()
        self._number = 0 if lock is None else max(base.descriptions())  # of the one that is valid

    @classmethod
    def open(cls, folder: str | Path, study: Study, *, extend: bool = False) -> Self:
        """Open the store of a study for writing, or make it.

        Args:
            folder: folder of the store; it is made where there is none.
            study: the study whose points are written.
            extend: take a changed description and record it; points that it does not have stay.

        Raises:
            InputError: if the folder holds anything else.
            StoreError: if another process writes to the store, the description has changed, the
                store is damaged or of another version, or nothing can be written.

        Warns:
            StoreWarning: if points in it were computed by other code, of the experiment's own files
                or of another version of this package.

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
        with locked(folder) as lock:
            base = Database(folder / NAME, write=True)
            try:
                sign(base)
                new = not base.descriptions()
                _describe(base, folder, study, extend)
                if new:
                    sync_folder(folder)
                    sync_folder(folder.absolute().parent)
            except BaseException:
                base.close()
                raise
            return cls(folder, base, lock)

    @classmethod
    def read_only(cls, folder: str | Path) -> Self:
        """Open a store for reading; a process that writes to it is not disturbed.

        Nothing is imported that the store names.

        Args:
            folder: folder of the store.

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
        check_store(folder)
        return cls(folder, Database(folder / NAME, write=False), None)

    @property
    def description(self) -> Recorded:
        """The study as it was recorded last.

        Raises:
            UnmadeError: if the store is just being made.
            StoreError: if the description is damaged.
        """
        with self._turn:
            descriptions = list(self._base.descriptions().values())
            last = descriptions[-1] if descriptions else None
            if not descriptions and not self._base.numbers():
                raise UnmadeError(self.folder)
        if last is None:
            raise StoreError(
                f"the description of the study in {self._base.path} is damaged. Run its sweep "
                "again: it is recorded anew, and every point stays."
            )
        return Recorded.of(last.text)

    @property
    def writer(self) -> str:
        """Who writes to it, or did so last: process, host and since when."""
        with self._turn:
            return self._base.writer()

    def keys(self, *statuses: Status) -> frozenset[str]:
        """The keys of the points that are there, of all or of some statuses.

        Args:
            statuses: all, if none is given.
        """
        with self._turn:
            statuses_by_key = self._base.statuses()
        return frozenset(
            key for key, status in statuses_by_key.items() if not statuses or status in statuses
        )

    def statuses(self) -> dict[str, int]:
        """How many points ended in each status."""
        with self._turn:
            return dict(Counter(self._base.statuses().values()))

    def write(
        self, outcomes: Iterable[tuple[Point, Result | Packed]], *, replace_failed: bool = False
    ) -> int:
        """Write results; they are durable when this returns, all of them or none.

        A point that is there already keeps the result it has. Many results at once cost little more
        than one, because they share the waiting for the disk.

        Args:
            outcomes: points with their results, which may be in bytes already.
            replace_failed: write over results whose status is "failed".

        Returns:
            How many were written.

        Raises:
            InputError: if a result holds what cannot be stored; nothing is written then.
            StoreError: if the store was opened for reading, its file was removed, or the disk is
                full or fails.
        """
        self._check_writer()
        new = {point.key: (point, result) for point, result in outcomes}
        with self._turn:
            there = self._base.statuses(list(new))
            keep = {k for k, status in there.items() if status != "failed" or not replace_failed}
            rows = [self._row(key, *pair) for key, pair in new.items() if key not in keep]
            if rows:
                self._base.put(rows)
        return len(rows)

    def _row(self, key: str, point: Point, result: Result | Packed) -> Row:
        try:
            packed = encode(result) if isinstance(result, Result) else result
        except InputError as error:
            raise InputError(f"the result {_at(point.place)} cannot be stored: {error}") from error
        return Row(
            key=key,
            description=self._number,
            fields=point.content,
            place=json.dumps(point.place),
            **packed._asdict(),
        )

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
            key: key of the point.

        Raises:
            InputError: if it is not there.
            StoreError: if it is damaged; others are unharmed.
        """
        with self._turn:
            row = self._base.get(key)
        if row is None:
            raise InputError(
                f"`key` must be of a point that is done, got {key!r}. See Store.keys()."
            )
        if isinstance(row, Unwhole):
            raise StoreError(self._damage(row).sentence)
        return decode(packed_of(row))

    def rows(self) -> Iterator[Row | Damage]:
        """Every point as it is stored, in the order in which they arrived.

        Raises:
            StoreError: if the file is so damaged that nothing can be listed.
        """
        with self._turn:
            numbers = self._base.numbers()
        for number in numbers:
            with self._turn:
                row = self._base.row(number)
            if row is not None:
                yield row if isinstance(row, Row) else self._damage(row)

    def codes(self) -> dict[int, dict[str, str]]:
        """The code that computed the points of each description, by its number."""
        with self._turn:
            descriptions = self._base.descriptions()
        return {
            n: UNKNOWN if one is None else json.loads(one.code) for n, one in descriptions.items()
        }

    def _damage(self, row: Unwhole) -> Damage:
        try:
            where = f" ({_at(json.loads(row.place))})"
        except (ValueError, AttributeError):
            where = ""
        sentence = (
            f"the point {row.key[:12] or 'of an unknown key'}{where} is damaged in "
            f"{self._base.path}: {row.said}. lazyrich store repair {self.folder} forgets it, and "
            "the next sweep does it again."
        )
        return Damage(key=row.key, sentence=sentence)

    def verify(self) -> tuple[Damage, ...]:
        """Read everything and name what is damaged; a process that writes is not disturbed.

        Returns:
            The file, where SQLite finds it unsound, and the damaged points; empty if all is well.

        Raises:
            StoreError: if the file cannot be read at all.
        """
        with self._turn:
            unsound = self._base.unsound()
        damages = [Damage(key="", sentence=broken(self._base.path, unsound))] if unsound else []
        try:
            if None in self._base.descriptions().values():
                sentence = f"a description of the study is damaged in {self._base.path}: {UNWHOLE}."
                damages.append(Damage(key="description", sentence=sentence))
            return (*damages, *(row for row in self.rows() if isinstance(row, Damage)))
        except StoreError:
            if not unsound:
                raise
            return tuple(damages)

    def backup(self, folder: str | Path) -> Path:
        """Copy the store, also while a process writes to it.

        Args:
            folder: a new one, which becomes a store with every point that is there now.

        Returns:
            The folder.

        Raises:
            InputError: if there is anything in the folder.
            StoreError: if nothing can be written there, or this store is damaged.
        """
        target = Path(folder)
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise InputError(f"`folder` must be new or empty, got {target}. Choose another name.")
        try:
            target.mkdir(parents=True, exist_ok=True)
            with self._turn:
                self._base.backup(target / NAME)
            sync_folder(target)
        except OSError as error:
            raise unwritten(target, error) from error
        return target

    def close(self) -> None:
        """Close the store; a second time does nothing."""
        with self._turn:
            if os.getpid() == self._process:
                self._base.close()
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def packed_of(row: Row) -> Packed:
    """The result of a row, in bytes."""
    return Packed(status=row.status, header=row.header, payload=row.payload)  # type: ignore[arg-type]


def _describe(base: Database, folder: Path, study: Study, extend: bool) -> None:
    """Compare description and code with the recorded ones, and record what is new."""
    defaults = json.loads(json.dumps(study.defaults))
    now = {**json.loads(study.to_json()), "default": defaults}
    text, code = json.dumps(now, ensure_ascii=False), code_of(study.experiment)
    recorded = list(base.descriptions().values())
    last = recorded[-1] if recorded else None
    was = UNKNOWN if last is None else json.loads(last.code)
    changes = [] if last is None else differences(json.loads(last.text), now)
    if changes and not extend:
        raise StoreError(
            f"the store {folder} is of another description: {' '.join(changes)} "
            "Use the old description, choose another folder, or open with extend=True "
            "(lazyrich sweep --extend), which keeps every point that is there."
        )
    if last is not None and was != code and base.statuses():
        warnings.warn(
            f"{changed_code(was, code)} since points in {folder} were computed: they stay, and new "
            "ones stand beside them. Choose another folder to compute all of them anew.",
            StoreWarning,
            stacklevel=3,
        )
    if changes or was != code:
        base.describe(Described(text, json.dumps(code)))


def _at(place: Mapping[str, object]) -> str:
    return "at " + ", ".join(f"{axis}={value!r}" for axis, value in place.items())
