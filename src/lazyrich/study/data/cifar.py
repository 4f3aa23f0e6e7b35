"""The binary version of CIFAR-10: a byte for the label, then the three colours of the image."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path

import numpy as np

from lazyrich._errors import InputError
from lazyrich.study.data.idx import Bytes, content_of

COLOURS, SIDE = 3, 32
RECORD = 1 + COLOURS * SIDE * SIDE
BATCHES = tuple(f"data_batch_{batch}.bin" for batch in range(1, 6))
TEST = "test_batch.bin"
ARCHIVE = "cifar-10-binary.tar.gz"
INSIDE = "cifar-10-batches-bin"
BLOCK = 2**20


def read_batch(path: Path) -> tuple[Bytes, Bytes]:
    """Images (n, 3, 32, 32) and labels (n,) of one file, gzipped if its name ends with `.gz`.

    Args:
        path: path of the file.

    Raises:
        InputError: the file is cut off, or its labels are none of CIFAR-10.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "test_batch.bin")
        ...     _ = path.write_bytes(bytes([4]) + bytes(3072))
        ...     images, labels = read_batch(path)
        >>> images.shape, labels.tolist()
        ((1, 3, 32, 32), [4])
    """
    return _parsed(content_of(path), str(path))


def read_archive(path: Path) -> list[tuple[Bytes, Bytes]]:
    """The five training batches and the test batch of the archive, without unpacking it.

    Args:
        path: path of `cifar-10-binary.tar.gz`.

    Returns:
        Images and labels of every batch, the test batch last.

    Raises:
        InputError: the archive is cut off or has other contents.
    """
    members = [f"{INSIDE}/{name}" for name in (*BATCHES, TEST)]
    contents: dict[str, bytes] = {}
    try:
        with gzip.open(path) as unzipped, tarfile.open(fileobj=unzipped, mode="r:") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name in members else None
                if file is not None:
                    contents[member.name] = file.read()
            while unzipped.read(BLOCK):  # to the checksum at its end
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} is not a whole archive ({error}). Copy it again.") from error
    for name in members:
        if name not in contents:
            raise InputError(f"{path} must hold {name}, which it does not. Copy it again.")
    return [_parsed(contents[name], f"{path}, {name},") for name in members]


def _parsed(content: bytes, where: str) -> tuple[Bytes, Bytes]:
    images, rest = divmod(len(content), RECORD)
    if rest or not images:
        raise InputError(
            f"{where} must hold whole images of {RECORD:,} bytes, got {len(content):,} bytes, "
            f"{rest:,} more than {images:,} images: it is cut off or damaged. Copy it again."
        )
    records = np.frombuffer(content, np.uint8).reshape(images, RECORD)
    labels = records[:, 0]
    if labels.max() > 9:
        raise InputError(f"{where} must hold labels 0 to 9, got {labels.max()}. Copy it again.")
    return records[:, 1:].reshape(images, COLOURS, SIDE, SIDE), labels
