"""Images with labels: scikit-learn's digits, and MNIST and Fashion-MNIST from their own files."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lazyrich._errors import InputError, MissingExtraError
from lazyrich.study.samples import DataSet, Samples

VARIABLE = "LAZYRICH_DATA"
DEBIAN = Path("/usr/share/datasets")  # where Debian's dataset-* packages put their files
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
UNSIGNED_BYTE = 8
FIFTH = 5


@dataclass(frozen=True, kw_only=True)
class Images:
    """A training set of grey images.

    Attributes:
        name: of the data set.
        x: images with mean 0 and variance 1 over all pixels, (samples, 1, height, width), or
            vectors of their pixels.
        y: class labels, counted from 0.
        classes: how many classes there are.
    """

    name: str
    x: Float[Tensor, "n *pixels"]
    y: Int[Tensor, "n"]
    classes: int = 10

    def some(self, samples: int, seed: int) -> Images:
        """A random choice of samples, without repetition.

        Raises:
            InputError: if there are not as many.
        """
        if not 1 <= samples <= len(self.y):
            raise InputError(
                f"`samples` must lie in 1 to {len(self.y)} for {self.name}, got {samples}."
            )
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(self.y), generator=generator)[:samples]
        return self._at(rows)

    def balanced(self, per_class: int, seed: int) -> Images:
        """A random choice with the same number of samples of every class, or all that it has.

        The class frequencies of a small random batch would decide its first direction of descent.
        """
        order = torch.randperm(len(self.y), generator=torch.Generator().manual_seed(seed))
        rows = [order[self.y[order] == c][:per_class] for c in range(self.classes)]
        return self._at(torch.cat(rows))

    def _at(self, rows: Int[Tensor, "m"]) -> Images:
        return replace(self, x=self.x[rows], y=self.y[rows])


def digits() -> DataSet:
    """The 1,797 digits of 8 × 8 pixels that come with scikit-learn.

    The split is fixed: of each class, every fifth image in scikit-learn's order is a test image.
    That makes 1,442 training and 355 test images.

    Raises:
        MissingExtraError: scikit-learn is not installed.

    Example:
        >>> data = digits()
        >>> data.train.x.shape, data.test.x.shape
        (torch.Size([1442, 1, 8, 8]), torch.Size([355, 1, 8, 8]))
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", "data") from error
    found = load_digits()
    place = np.zeros(len(found.target), int)  # of an image in its own class
    for label in range(10):
        same = found.target == label
        place[same] = np.arange(same.sum())
    last = place % FIFTH == FIFTH - 1
    x, y = found.images[:, None], found.target
    return standardised("digits", train=(x[~last], y[~last]), test=(x[last], y[last]), classes=10)


def standardised(
    name: str,
    *,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    classes: int,
) -> DataSet:
    """Images whose channels have mean 0 and variance 1 over the training part.

    Args:
        name: of the data set.
        train: images (n, channels, height, width) and labels (n,).
        test: the same.
        classes: how many there are.
    """
    images = [torch.from_numpy(np.asarray(x, np.float32)) for x, _ in (train, test)]
    mean = images[0].mean((0, 2, 3), keepdim=True)
    std = images[0].std((0, 2, 3), keepdim=True)
    parts = [
        Samples(x=(x - mean) / std, y=torch.from_numpy(np.asarray(y, np.int64)))
        for x, (_, y) in zip(images, (train, test), strict=True)
    ]
    return DataSet(name=name, train=parts[0], test=parts[1], classes=classes)


def load(name: str, *, folder: str | Path | None = None, download: bool = False) -> DataSet:
    """A data set by its name.

    Example:
        >>> load("digits").outputs
        10
    """
    return digits()


def mnist(folder: str | Path | None = None) -> Images:
    """MNIST's 60,000 training images of 28 × 28 pixels, from its own files.

    Args:
        folder: holds the files, plain or gzipped, itself or in a subfolder `mnist` or `MNIST/raw`;
            None takes the folder that the environment variable LAZYRICH_DATA names.

    Raises:
        InputError: a file is missing, cut off or of another kind.
    """
    return _from_files("mnist", ("mnist", "MNIST/raw"), folder)


def fashion_mnist(folder: str | Path | None = None) -> Images:
    """Fashion-MNIST's 60,000 training images of 28 × 28 pixels, from its own files.

    Args:
        folder: as for `mnist`, with the subfolders `fashion-mnist` and `FashionMNIST/raw`; None
            also finds the files of Debian's package dataset-fashion-mnist.

    Raises:
        InputError: a file is missing, cut off or of another kind.
    """
    return _from_files("fashion-mnist", ("fashion-mnist", "FashionMNIST/raw"), folder)


def read_idx(path: str | Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Read an array of bytes in the IDX format, gzipped if the name ends with `.gz`.

    Raises:
        InputError: the file is cut off or no IDX file of bytes.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is not a whole gzip file ({error}). Copy it again.") from error
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


def _from_files(name: str, subfolders: tuple[str, ...], folder: str | Path | None) -> Images:
    given = folder or os.environ.get(VARIABLE)
    roots = [Path(given)] if given else [DEBIAN]
    places = [root / sub for root in roots for sub in (*subfolders, "")]
    images, labels = (_found(name, file, places) for file in (IMAGES, LABELS))
    pixels, classes = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or classes.shape != pixels.shape[:1]:
        raise InputError(
            f"{images} and {labels} must hold images and one label for each, got shapes "
            f"{pixels.shape} and {classes.shape}. Copy both again."
        )
    if classes.max() > 9:
        raise InputError(f"{labels} must hold labels 0 to 9, got {classes.max()}. Copy it again.")
    return _images(name, pixels, classes)


def _found(name: str, file: str, places: list[Path]) -> Path:
    tries = [place / f"{file}{suffix}" for place in places for suffix in ("", ".gz")]
    for path in tries:
        if path.is_file():
            return path
    raise InputError(
        f"{name} needs the file {file} (or {file}.gz), which is not in "
        f"{', '.join(str(place) for place in places)}. Put the set's four files into a folder and "
        f"name it with --data-dir or the environment variable {VARIABLE}."
    )


def _images(name: str, pixels: np.ndarray, labels: np.ndarray) -> Images:
    x = torch.from_numpy(np.asarray(pixels, np.float32))[:, None]
    x = (x - x.mean()) / x.std()
    return Images(name=name, x=x, y=torch.from_numpy(np.asarray(labels, np.int64)))
