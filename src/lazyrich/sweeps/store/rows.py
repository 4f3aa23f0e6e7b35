"""Rows of a store: points and descriptions, each with a digest of the whole of it."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from hashlib import sha256
from typing import Any

UNWHOLE = "its checksum does not fit"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A point as it is stored.

    Attributes:
        key: key of the point.
        status: how it ended.
        description: number of the one that was valid when it was written.
        fields: the content of the point, of which the key is the hash.
        place: its labels when it was written, JSON.
        header: header of its result.
        payload: payload of its result.
    """

    key: str
    status: str
    description: int
    fields: str
    place: str
    header: bytes
    payload: bytes

    def digest(self) -> bytes:
        """SHA-256 of all of it."""
        return _digest(*astuple(self))


@dataclass(frozen=True)
class Described:
    """A description that a study has had.

    Attributes:
        text: JSON.
        code: the code that computed the points that were written under it, JSON.
    """

    text: str
    code: str

    def digest(self) -> bytes:
        """SHA-256 of all of it."""
        return _digest(self.text, self.code)


def _digest(*parts: object) -> bytes:
    """SHA-256 of several parts, each with its length."""
    whole = sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        whole.update(len(data).to_bytes(8, "little"))
        whole.update(data)
    return whole.digest()


COLUMNS = ", ".join(part.name for part in fields(Row))
REPLACED = ", ".join(f"{name} = excluded.{name}" for name in (*COLUMNS.split(", "), "digest"))


@dataclass(frozen=True, kw_only=True)
class Unwhole:
    """A row that is damaged.

    Attributes:
        key: the key as it stands there.
        place: the place as it stands there.
        said: what is wrong.
    """

    key: str
    place: str = ""
    said: str = UNWHOLE


def read(line: tuple[Any, ...]) -> Row | Unwhole:
    """The row of a line of the table, its digest at the end.

    Args:
        line: the line as SQLite gave it.
    """
    row = Row(**dict(zip((part.name for part in fields(Row)), line, strict=False)))
    whole = all(isinstance(getattr(row, part.name), _TYPES[str(part.type)]) for part in fields(Row))
    if whole and row.digest() == line[-1]:
        return row
    return Unwhole(key=str(row.key), place=str(row.place))


_TYPES = {"str": str, "int": int, "bytes": bytes}  # a damaged cell has another type
