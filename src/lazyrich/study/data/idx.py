"""The IDX format, in which MNIST and Fashion-MNIST come."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from lazyrich._errors import InputError

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
UNSIGNED_BYTE = 8


def read_idx(path: str | Path) -> Bytes:
    """Read an array of bytes in the IDX format, gzipped if the name ends with `.gz`.

    Args:
        path: path of the file.

    Raises:
        InputError: the file is cut off or no IDX file of bytes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "labels")
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9]))
        ...     read_idx(path)
        array([7, 0, 9], dtype=uint8)
    """
    path = Path(path)
    content = content_of(path)
    if len(content) < 4 or content[:3] != bytes((0, 0, UNSIGNED_BYTE)):
        raise InputError(
            f"{path} must be an IDX file of bytes, beginning with 00 00 08, got "
            f"{content[:4].hex(' ') or 'nothing'}. Copy it again."
        )
    dimensions = content[3]
    start = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", content[4:start]) if len(content) >= start else ()
    size = int(np.prod(shape, dtype=np.int64))
    if not shape or len(content) != start + size:
        raise InputError(
            f"{path} must have {start + size:,} bytes for an array of shape {shape}, got "
            f"{len(content):,}: it is cut off or damaged. Copy it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_part(images: Path, labels: Path) -> tuple[Bytes, Bytes]:
    """Grey images (n, 1, height, width) and their labels (n,), from their two files.

    Args:
        images: path of the file with the images.
        labels: path of the file with one label for each.

    Raises:
        InputError: a file is damaged, or the two do not fit together.
    """
    pixels, classes = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or classes.shape != pixels.shape[:1] or not len(pixels):
        raise InputError(
            f"{images} and {labels} must hold images and one label for each, got shapes "
            f"{pixels.shape} and {classes.shape}. Copy both again."
        )
    if classes.max() > 9:
        raise InputError(f"{labels} must hold labels 0 to 9, got {classes.max()}. Copy it again.")
    return pixels[:, None], classes


def content_of(path: Path) -> bytes:
    """The bytes of a file, unzipped if its name ends with `.gz`.

    Args:
        path: path of the file.

    Raises:
        InputError: it is no whole gzip file.
    """
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is not a whole gzip file ({error}). Copy it again.") from error
