"""Arrays on disk: files that only grow, made of entries that describe and check themselves."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lazyrich._errors import StoreError

MAGIC = b"lzr\x00ent\x01"
HEAD = struct.Struct("<8sIQ")  # magic, bytes of the header, bytes of the payload
DIGEST = 32
SEGMENT_BYTES = 2**28  # a file that has grown to this gets a successor
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)  # of file systems without it for folders


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where an entry stands, and its SHA-256.

    Attributes:
        segment: number of the file.
        start: first byte.
        length: in bytes, with the digest at the end.
        digest: of everything before the digest.
    """

    segment: int
    start: int
    length: int
    digest: bytes


def entry(header: bytes, payload: bytes) -> bytes:
    """The bytes of an entry.

    Args:
        header: JSON.
        payload: anything.

    Example:
        >>> split(entry(b"{}", b"abc"))
        (b'{}', b'abc')
    """
    body = HEAD.pack(MAGIC, len(header), len(payload)) + header + payload
    return body + sha256(body).digest()


def split(block: bytes) -> tuple[bytes, bytes]:
    """Header and payload of an entry.

    Args:
        block: a whole entry.

    Raises:
        ValueError: if it is damaged; the text says how.

    Example:
        >>> split(entry(b"{}", b"abc")[:-1])
        Traceback (most recent call last):
        ...
        ValueError: it has 56 bytes instead of 57
    """
    if len(block) < HEAD.size or block[: len(MAGIC)] != MAGIC:
        raise ValueError("it does not start as an entry does")
    _, header, payload = HEAD.unpack_from(block)
    length = HEAD.size + header + payload + DIGEST
    if len(block) != length:
        raise ValueError(f"it has {len(block)} bytes instead of {length}")
    if sha256(block[:-DIGEST]).digest() != block[-DIGEST:]:
        raise ValueError("its checksum does not fit")
    middle = HEAD.size + header
    return block[HEAD.size : middle], block[middle:-DIGEST]


class Segments:
    """The files `000001.bin`, `000002.bin`, … of a folder.

    Nothing that stands in them is ever changed. What a killed process left half-written stays
    there as a gap.

    Args:
        folder: of the files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     segments = Segments(Path(folder))
        ...     (where,) = segments.append([entry(b"{}", b"abc")])
        ...     parts = segments.read(where)
        ...     segments.close()
        >>> where.segment, where.start, parts
        (1, 0, (b'{}', b'abc'))
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[int, int] = {}  # open for reading
        self._number = 0  # of the file that grows; 0: not chosen yet
        self._out = -1

    def path(self, number: int) -> Path:
        """The file of this number."""
        return self.folder / f"{number:06d}.bin"

    def numbers(self) -> list[int]:
        """The numbers of the files that are there."""
        return sorted(int(p.stem) for p in self.folder.glob("*.bin") if p.stem.isdigit())

    def append(self, blocks: Sequence[bytes], *, after: tuple[int, int] = (0, 0)) -> list[Location]:
        """Write entries at the end; they are on the disk when this returns.

        Args:
            blocks: entries.
            after: segment and end of the last entry that is known: a file that is shorter is
                damaged and not continued.

        Raises:
            StoreError: if the disk is full or fails; nothing is left behind that could be read.
        """
        start = -1  # not known: nothing may be cut off then
        try:
            start = self._ready(after)
            self._write(b"".join(blocks))
            os.fsync(self._out)
        except OSError as error:
            self._undo(start)
            raise unwritten(self.path(self._number), error) from error
        places = []
        for block in blocks:
            digest, length = block[-DIGEST:], len(block)
            places.append(Location(segment=self._number, start=start, length=length, digest=digest))
            start += length
        return places

    def _ready(self, after: tuple[int, int]) -> int:
        """Choose and open the file that grows; returns its size."""
        if self._out >= 0:
            size = os.fstat(self._out).st_size
            if size < SEGMENT_BYTES:
                return size
            self._leave()
            self._number += 1
        elif not self._number:
            self._number = max([1, after[0], *self.numbers()])
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        known = after[1] if after[0] == self._number else 0
        while True:
            self._out = os.open(self.path(self._number), flags, 0o666)
            size = os.fstat(self._out).st_size
            if known <= size < SEGMENT_BYTES:
                break
            self._leave()
            self._number, known = self._number + 1, 0
        sync_folder(self.folder)
        return size

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._out, view) :]

    def _undo(self, start: int) -> None:
        if self._out < 0:
            return
        if start >= 0:
            with suppress(OSError):  # else there is a gap
                os.ftruncate(self._out, start)
        with suppress(OSError):
            self._leave()

    def _leave(self) -> None:
        out, self._out = self._out, -1
        os.close(out)

    def read(self, where: Location) -> tuple[bytes, bytes]:
        """Header and payload of an entry.

        Args:
            where: it stands.

        Raises:
            ValueError: if it is damaged; the text says how.
        """
        try:
            if where.segment not in self._files:
                flags = os.O_RDONLY | os.O_CLOEXEC
                self._files[where.segment] = os.open(self.path(where.segment), flags)
            block = os.pread(self._files[where.segment], where.length, where.start)
        except OSError as error:
            raise ValueError(error.strerror) from error
        parts = split(block)
        if block[-DIGEST:] != where.digest:
            raise ValueError("another entry stands in its place")
        return parts

    def scan(self, number: int) -> Iterator[tuple[Location, bytes]]:
        """Every whole entry of a file, and its header; gaps and damaged ones are passed over.

        Args:
            number: of the file.
        """
        content = self.path(number).read_bytes()
        start = content.find(MAGIC)
        while start >= 0:
            length = _length(content, start)
            try:
                block = content[start : start + length]
                header, _ = split(block)
            except ValueError:
                start = content.find(MAGIC, start + 1)
                continue
            digest = block[-DIGEST:]
            yield Location(segment=number, start=start, length=length, digest=digest), header
            start = content.find(MAGIC, start + length)

    def close(self) -> None:
        """Close every file."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        if self._out >= 0:
            self._leave()


def _length(content: bytes, start: int) -> int:
    if start + HEAD.size > len(content):
        return 0
    _, header, payload = HEAD.unpack_from(content, start)
    return HEAD.size + header + payload + DIGEST


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the file system and its rights let one do so.

    A folder that may be entered but not read cannot be synced, nor can any on some file systems.

    Args:
        folder: any.

    Raises:
        OSError: if it fails otherwise.

    Example:
        >>> sync_folder(Path())
    """
    try:
        file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
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
        path: of the file.
        error: what the system said.

    Example:
        >>> print(unwritten(Path("x"), OSError(28, "No space left on device")))
        x cannot be written: No space left on device. Make room ... every point that was ...
    """
    said = error.strerror if isinstance(error, OSError) else str(error)
    return StoreError(
        f"{path} cannot be written: {said}. Make room or mend the disk, then run the study again: "
        "every point that was written before is safe, and only missing ones are done."
    )


def unread(path: Path, error: Exception) -> StoreError:
    """The error of a read that failed, though what is there may be whole.

    Args:
        path: of the file.
        error: what the system said.

    Example:
        >>> print(unread(Path("x"), OSError(13, "Permission denied")))
        x cannot be read here: Permission denied. Copy the whole store to a folder where you may ...
    """
    said = error.strerror if isinstance(error, OSError) else str(error)
    return StoreError(
        f"{path} cannot be read here: {said}. Copy the whole store to a folder where you may "
        "write, or ask its owner to open it once (Store.open) and to let you read it."
    )
