"""The record of a store: which points are done, how they ended, where their arrays stand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lazyrich._errors import StoreError
from lazyrich.sweeps.store.segments import Location, unread, unwritten

MARK = 0x6C7A7263  # "lzrc": SQLite's application_id of a record
SCHEMA = 1
NAME = "record.sqlite"
TABLES = """
CREATE TABLE description (number INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE point (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
    segment INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
    digest BLOB NOT NULL, seal BLOB NOT NULL
);
"""
UNSEALED = "its checksum does not fit"
CLOSED = ("unable to open", "readonly")  # also what a reader is told where nothing can be made
FULL = ("disk is full", "disk I/O error", *CLOSED)
COLUMNS = "key, status, segment, start, length, digest, seal"


class UnmadeError(StoreError):
    """A store that is just being made, or whose making was broken off: it holds nothing yet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"the store {folder} is just being made. Try again, or run its sweep.")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the record.

    Attributes:
        key: of the point.
        status: how it ended.
        where: its arrays stand.
    """

    key: str
    status: str
    where: Location

    def seal(self) -> bytes:
        """A checksum of the line."""
        at = self.where
        numbers = [at.segment, at.start, at.length]
        text = json.dumps([self.key, self.status, *numbers, at.digest.hex()])
        return sha256(text.encode()).digest()


class Record:
    """The SQLite file of a store (WAL, every commit synchronous).

    Args:
        path: the file.
        write: make it where there is none, and write to it; otherwise only read.

    Raises:
        UnmadeError: if it is only read, and there is nothing in it yet.
        StoreError: if it is not the record of a store, is newer than this code, or is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record = Record(Path(folder) / NAME, write=True)
        ...     print(record.descriptions(), list(record.rows()))
        ...     record.close()
        [] []
    """

    def __init__(self, path: Path, *, write: bool) -> None:
        self.path = path
        self._writes = write
        with self._named():
            self._base = self._connect(write)
            try:
                self._check(write)
            except BaseException:
                self._base.close()
                raise

    def _connect(self, write: bool) -> sqlite3.Connection:
        uri = self.path.absolute().as_uri()
        if not write and not self.path.with_name(NAME + "-wal").exists():
            try:
                return self._opened(f"{uri}?mode=ro")
            except sqlite3.OperationalError as error:
                if not any(sign in str(error) for sign in CLOSED):
                    raise
                return self._opened(f"{uri}?mode=ro&immutable=1")
        return self._opened(uri + ("?mode=rwc" if write else "?mode=ro"))

    def _opened(self, uri: str) -> sqlite3.Connection:
        base = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30
        )
        try:
            base.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            base.close()
            raise
        return base

    def _check(self, write: bool) -> None:
        (tables,) = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if write and not tables:
            self._make()
        (mark,) = self._base.execute("PRAGMA application_id").fetchone()
        (schema,) = self._base.execute("PRAGMA user_version").fetchone()
        if not (write or tables or mark):
            raise UnmadeError(self.path.parent)
        if mark != MARK:
            raise StoreError(
                f"{self.path} must be the record of a store, and it is another SQLite file. "
                "Choose another folder."
            )
        if schema != SCHEMA:
            raise StoreError(
                f"{self.path} must have schema {SCHEMA}, got {schema}: another version of lazyrich "
                "made it. Use that version, or choose another folder."
            )
        if write:
            self._base.execute("PRAGMA synchronous=FULL")

    def _make(self) -> None:
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.executescript(
            f"BEGIN; {TABLES} PRAGMA application_id={MARK}; PRAGMA user_version={SCHEMA}; COMMIT;"
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Give errors of SQLite the name of the file and a remedy."""
        try:
            yield
        except sqlite3.Error as error:
            text = str(error)
            if any(sign in text for sign in FULL):
                raise (unwritten if self._writes else unread)(self.path, error) from error
            if "locked" in text:
                raise StoreError(
                    f"{self.path} is locked by another program. Close the program that has it open."
                ) from error
            raise StoreError(
                f"{self.path} is damaged ({text}). Its content can be read from the arrays beside "
                "it: Store.rebuild(folder)."
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._named():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    def descriptions(self) -> list[str]:
        """Every description that the store has had, the last one now."""
        with self._named():
            rows = self._base.execute("SELECT text FROM description ORDER BY number").fetchall()
        return [text for (text,) in rows]

    def describe(self, text: str) -> None:
        """Add a description; durable on return."""
        with self._transaction():
            self._base.execute("INSERT INTO description (text) VALUES (?)", (text,))

    def put(self, rows: Iterable[Row]) -> None:
        """Add rows in one transaction, each instead of the one of its key; durable on return."""
        lines = [
            (
                row.key,
                row.status,
                row.where.segment,
                row.where.start,
                row.where.length,
                row.where.digest,
                row.seal(),
            )
            for row in rows
        ]
        with self._transaction():
            self._base.executemany(
                f"INSERT OR REPLACE INTO point ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", lines
            )

    def forget(self, keys: Iterable[str]) -> None:
        """Remove rows; durable on return."""
        with self._transaction():
            self._base.executemany("DELETE FROM point WHERE key = ?", [(key,) for key in keys])

    def get(self, key: str) -> Row | None:
        """The row of a key.

        Raises:
            StoreError: if it is damaged.
        """
        with self._named():
            line = self._base.execute(
                f"SELECT {COLUMNS} FROM point WHERE key = ?", (key,)
            ).fetchone()
        if line is None:
            return None
        row, whole = _row(line)
        if not whole:
            raise StoreError(damaged(key, self.path, UNSEALED))
        return row

    def rows(self) -> Iterator[tuple[Row, bool]]:
        """Every row as it arrived, and whether it is whole."""
        with self._named():
            lines = self._base.execute(f"SELECT {COLUMNS} FROM point ORDER BY number").fetchall()
        return (_row(line) for line in lines)

    def statuses(self, keys: Sequence[str] | None = None) -> dict[str, str]:
        """The status of every key, as they arrived; of some keys where they are given."""
        with self._named():
            if keys is None:
                rows = self._base.execute("SELECT key, status FROM point ORDER BY number")
                return dict(rows.fetchall())
            one = "SELECT key, status FROM point WHERE key = ?"
            lines = (self._base.execute(one, (key,)).fetchone() for key in keys)
            return dict(line for line in lines if line is not None)

    def end(self) -> tuple[int, int]:
        """The last segment that a row names, and the end of its last entry there."""
        with self._named():
            sums = self._base.execute(
                "SELECT segment, max(start + length) FROM point "
                "WHERE segment = (SELECT max(segment) FROM point)"
            ).fetchone()
        return (sums[0] or 0, sums[1] or 0)

    def unsound(self) -> str:
        """What SQLite finds wrong with its own file; empty if nothing."""
        try:
            rows = self._base.execute("PRAGMA integrity_check(3)").fetchall()
        except sqlite3.DatabaseError as error:
            return str(error)
        lines = [line for (line,) in rows]
        return "" if lines == ["ok"] else "; ".join(lines)

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        with self._named():
            self._base.close()


def damaged(key: str, file: Path, said: str) -> str:
    """The sentence about a damaged point, with the remedy.

    Args:
        key: of the point.
        file: that is damaged.
        said: what is wrong.

    Example:
        >>> damaged("ab", Path("x"), "it is gone")
        'the point ab is damaged in x: it is gone. Store.verify(repair=True) forgets it, ...'
    """
    return (
        f"the point {key} is damaged in {file}: {said}. "
        "Store.verify(repair=True) forgets it, and the next sweep does it again."
    )


def _row(line: tuple[str, str, int, int, int, bytes, bytes]) -> tuple[Row, bool]:
    key, status, segment, start, length, digest, seal = line
    where = Location(segment=segment, start=start, length=length, digest=digest)
    row = Row(key=key, status=status, where=where)
    try:
        return row, row.seal() == seal
    except (AttributeError, TypeError):  # a damaged cell has another type
        return row, False
