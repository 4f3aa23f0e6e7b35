"""The SQLite file of a store: a row a point, each with a digest of the whole of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, fields
from itertools import count
from pathlib import Path

from lazyrich._errors import InputError, StoreError
from lazyrich.sweeps.store.folder import UnmadeError, removed, unread, unwritten
from lazyrich.sweeps.store.rows import COLUMNS, REPLACED, Described, Row, Unwhole, read

MARK = 0x6C7A7374  # "lzst": SQLite's application_id of a store
SCHEMA = 2  # 1 was a record beside files of arrays
TABLES = """
CREATE TABLE description (
    number INTEGER PRIMARY KEY, text TEXT NOT NULL, code TEXT NOT NULL, digest BLOB NOT NULL
);
CREATE TABLE writer (text TEXT NOT NULL);
CREATE TABLE point (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
    description INTEGER NOT NULL, fields TEXT NOT NULL, place TEXT NOT NULL,
    header BLOB NOT NULL, payload BLOB NOT NULL, digest BLOB NOT NULL
);
"""
CLOSED = ("unable to open", "readonly")  # also what a reader is told where nothing can be made
FULL = ("disk is full", "disk I/O error", *CLOSED)
LOCKED = ("locked",)
GAP = 10_000  # numbers without a whole row after which there are no more


class BrokenError(StoreError):
    """SQLite cannot make sense of the file."""


class Database:
    """The SQLite file (WAL, every commit synchronous).

    Args:
        path: the file.
        write: make it where there is none, and write to it; otherwise only read.

    Raises:
        UnmadeError: if it is only read, and there is nothing in it yet.
        StoreError: if it is not the file of a store, is of another version, or is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     base = Database(Path(folder) / "store.sqlite", write=True)
        ...     print(base.descriptions(), base.numbers())
        ...     base.close()
        {} []
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
        self._files = self._seen()

    def _connect(self, write: bool) -> sqlite3.Connection:
        uri = self.path.absolute().as_uri()
        if not write and not self._log.exists():
            try:
                return self._opened(f"{uri}?mode=ro")
            except sqlite3.OperationalError as error:
                if not _says(error, CLOSED):
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
                f"{self.path} must be the file of a store, and it is another SQLite file. "
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

    @property
    def _log(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def _seen(self) -> tuple[tuple[int, int] | None, ...]:
        """Which files bear the names of the database and its log; None where there is none."""
        marks: list[tuple[int, int] | None] = []
        for path in (self.path, self._log):
            try:
                stat = os.stat(path)
                marks.append((stat.st_dev, stat.st_ino))
            except OSError:
                marks.append(None)
        return tuple(marks)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Give errors of SQLite the name of the file and a remedy."""
        try:
            yield
        except sqlite3.DataError as error:
            raise InputError(
                f"a result must be smaller than a billion bytes, got more ({error}). Let the "
                "experiment keep less."
            ) from error
        except sqlite3.Error as error:
            if _says(error, FULL):
                raise (unwritten if self._writes else unread)(self.path, error) from error
            if _says(error, LOCKED):
                raise StoreError(
                    f"{self.path} is locked by another program. Close the program that has it open."
                ) from error
            raise BrokenError(broken(self.path, str(error))) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing, on the disk when it ends."""
        with self._named():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise
        now = self._seen()
        if self._files[1] is None and now[0] == self._files[0]:
            self._files = now  # the first write makes the log
        if now != self._files:
            raise removed(self.path)

    def descriptions(self) -> dict[int, Described | None]:
        """Every description by its number, the last one being valid; None where it is damaged."""
        with self._named():
            lines = self._base.execute(
                "SELECT number, text, code, digest FROM description ORDER BY number"
            ).fetchall()
        made = {number: (Described(text, code), digest) for number, text, code, digest in lines}
        return {n: one if one.digest() == digest else None for n, (one, digest) in made.items()}

    def describe(self, one: Described, number: int | None = None) -> None:
        """Add a description, after the last one or under a number; durable on return."""
        with self._transaction():
            self._base.execute(
                "INSERT INTO description (number, text, code, digest) VALUES (?, ?, ?, ?)",
                (number, one.text, one.code, one.digest()),
            )

    def writer(self) -> str:
        """Who writes, or wrote last."""
        with self._named():
            row = self._base.execute("SELECT text FROM writer").fetchone()
        return "" if row is None else str(row[0])

    def sign(self, text: str) -> None:
        """Name the writer."""
        with self._transaction():
            self._base.execute("DELETE FROM writer")
            self._base.execute("INSERT INTO writer VALUES (?)", (text,))

    def put(self, rows: Iterable[Row]) -> None:
        """Add rows in one transaction, each instead of the one of its key; durable on return."""
        marks = ", ".join("?" * (len(fields(Row)) + 1))
        lines = ((*astuple(row), row.digest()) for row in rows)
        with self._transaction():
            self._base.executemany(
                f"INSERT INTO point ({COLUMNS}, digest) VALUES ({marks}) "
                f"ON CONFLICT (key) DO UPDATE SET {REPLACED}",  # which keeps its number for readers
                lines,
            )

    def forget(self, points: Iterable[int], descriptions: Iterable[int]) -> None:
        """Remove rows by their numbers; durable on return."""
        with self._transaction():
            for table, numbers in (("point", points), ("description", descriptions)):
                self._base.executemany(
                    f"DELETE FROM {table} WHERE number = ?", ((number,) for number in numbers)
                )

    def get(self, key: str) -> Row | Unwhole | None:
        """The row of a key; None if there is none."""
        with self._named():
            line = self._base.execute(
                f"SELECT {COLUMNS}, digest FROM point WHERE key = ?", (key,)
            ).fetchone()
        return None if line is None else read(line)

    def numbers(self) -> list[int]:
        """The number of every row, as they arrived; found one by one where SQLite cannot list them.

        Raises:
            StoreError: if the file cannot be read here.
        """
        try:
            lines = self._base.execute("SELECT number FROM point ORDER BY number").fetchall()
        except sqlite3.DatabaseError as error:
            self._raise_if_closed(error)
            return self._found()
        return [number for (number,) in lines]

    def _found(self) -> list[int]:
        numbers, good = [], 0
        for number in count(1):
            row = self.row(number)
            if row is not None:
                numbers.append(number)
            if isinstance(row, Row):
                good = number
            if number - good > GAP:
                break
        # behind the last whole row nobody knows how many there were: one stands for them
        return [n for n in numbers if n <= good] + [n for n in numbers if n > good][:1]

    def _raise_if_closed(self, error: sqlite3.DatabaseError) -> None:
        """Raise what does not come from damage."""
        if _says(error, (*FULL, *LOCKED)):
            with self._named():
                raise error

    def row(self, number: int) -> Row | Unwhole | None:
        """The row of a number; None if there is none.

        A row that SQLite cannot read counts as damaged.
        """
        try:
            line = self._base.execute(
                f"SELECT {COLUMNS}, digest FROM point WHERE number = ?", (number,)
            ).fetchone()
        except sqlite3.DatabaseError as error:
            self._raise_if_closed(error)
            return Unwhole(key="", said=str(error))
        return None if line is None else read(line)

    def statuses(self, keys: Sequence[str] | None = None) -> dict[str, str]:
        """The status of every key; of some keys where they are given."""
        with self._named():
            if keys is None:
                return dict(self._base.execute("SELECT key, status FROM point").fetchall())
            one = "SELECT key, status FROM point WHERE key = ?"
            lines = (self._base.execute(one, (key,)).fetchone() for key in keys)
            return dict(line for line in lines if line is not None)

    def unsound(self) -> str:
        """What SQLite finds wrong with its own file; empty if nothing."""
        try:
            rows = self._base.execute("PRAGMA integrity_check(3)").fetchall()
        except sqlite3.DatabaseError as error:
            return str(error)
        lines = [line for (line,) in rows]
        return "" if lines == ["ok"] else "; ".join(lines)

    def backup(self, path: Path) -> None:
        """Copy all of it to a new file, also while it is written to."""
        try:
            with closing(sqlite3.connect(path)) as copy:
                self._base.backup(copy)
        except sqlite3.Error as error:
            path.unlink(missing_ok=True)
            if _says(error, FULL):
                raise unwritten(path, error) from error
            with self._named():
                raise

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        with self._named():
            self._base.close()


def _says(error: sqlite3.Error, signs: Sequence[str]) -> bool:
    """Whether SQLite's words hold one of some signs."""
    return any(sign in str(error) for sign in signs)


def broken(path: Path, said: str) -> str:
    """The sentence about a file that SQLite finds damaged, with the remedy.

    Args:
        path: the file.
        said: what is wrong.

    Example:
        >>> broken(Path("out/store.sqlite"), "file is not a database")
        'out/store.sqlite is damaged (file is not a database). lazyrich store repair out saves ...'
    """
    return (
        f"{path} is damaged ({said}). lazyrich store repair {path.parent} saves every point that "
        "can still be read; the next sweep does the others again."
    )
