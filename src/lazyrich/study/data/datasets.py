"""Data sets by name: small ones, those of other people's files, and those made from a formula."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from lazyrich._errors import InputError, MissingExtraError
from lazyrich.study.data import cifar, downloads, idx, tables
from lazyrich.study.data.downloads import Source
from lazyrich.study.data.idx import Bytes
from lazyrich.study.data.samples import DataSet, Samples
from lazyrich.study.data.synthetic import (
    chain_monomial,
    gaussian,
    line,
    sparse_parity,
    staircase,
    teacher_student,
)

FIFTH = 5  # of the digits are for tests
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

MNIST = Source(
    name="mnist",
    files=(IMAGES, LABELS, TEST_IMAGES, TEST_LABELS),
    subfolders=("mnist", "MNIST/raw"),
    checksums={
        f"{IMAGES}.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        f"{LABELS}.gz": "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        f"{TEST_IMAGES}.gz": (
            "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        f"{TEST_LABELS}.gz": (
            "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
    },
    addresses=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
)
FASHION_MNIST = Source(
    name="fashion-mnist",
    files=MNIST.files,
    subfolders=("fashion-mnist", "FashionMNIST/raw"),
    checksums={
        f"{IMAGES}.gz": "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        f"{LABELS}.gz": "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        f"{TEST_IMAGES}.gz": (
            "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        f"{TEST_LABELS}.gz": (
            "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    },
    addresses=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
)
CIFAR10 = Source(
    name="cifar10",
    files=(cifar.ARCHIVE, *cifar.BATCHES, cifar.TEST),
    subfolders=("cifar10", "cifar-10-batches-bin", "cifar10-subset"),
    checksums={
        cifar.ARCHIVE: "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    },
    addresses=("https://www.cs.toronto.edu/~kriz/",),
)


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
    raw = load_digits()
    place = np.zeros(len(raw.target), int)  # of an image in its own class
    for label in range(10):
        same = raw.target == label
        place[same] = np.arange(same.sum())
    last = place % FIFTH == FIFTH - 1
    x, y = raw.images[:, None], raw.target
    return _images("digits", (x[~last], y[~last]), (x[last], y[last]))


def mnist(folder: str | Path | None = None, *, download: bool = False) -> DataSet:
    """MNIST: 60,000 training and 10,000 test images of 28 × 28 pixels, from its own four files.

    Args:
        folder: holds the files, plain or gzipped, itself or in a subfolder `mnist` or `MNIST/raw`;
            None takes the folder that the environment variable LAZYRICH_DATA names.
        download: fetch the files (12 MB) if they are nowhere on this machine.

    Raises:
        InputError: a file is missing, cut off or of another kind, or cannot be downloaded.

    Example:
        >>> mnist("no such folder")
        Traceback (most recent call last):
        lazyrich.InputError: `folder` must be a folder that exists, got 'no such folder'...
    """
    return _grey(MNIST, folder, download)


def fashion_mnist(folder: str | Path | None = None, *, download: bool = False) -> DataSet:
    """Fashion-MNIST: the same numbers of images of clothes.

    Args:
        folder: the folder, as for `mnist`, with the subfolders `fashion-mnist` and
            `FashionMNIST/raw`. The files of Debian's package dataset-fashion-mnist are found
            without it.
        download: fetch the files (31 MB) if they are nowhere on this machine.

    Raises:
        InputError: a file is missing, cut off or of another kind, or cannot be downloaded.

    Example:
        >>> fashion_mnist("no such folder")
        Traceback (most recent call last):
        lazyrich.InputError: `folder` must be a folder that exists, got 'no such folder'...

    References:
        Xiao, Rasul & Vollgraf, arXiv:1708.07747.
    """
    return _grey(FASHION_MNIST, folder, download)


def cifar10(folder: str | Path | None = None, *, download: bool = False) -> DataSet:
    """CIFAR-10: 50,000 training and 10,000 test images of 3 × 32 × 32, from its binary version.

    Args:
        folder: holds `cifar-10-binary.tar.gz`; or `test_batch.bin` and one or more of
            `data_batch_1.bin` … `data_batch_5.bin`, plain or gzipped, each whole or a number of its
            images of 3,073 bytes. They lie in the folder itself or in a subfolder `cifar10`,
            `cifar-10-batches-bin` or `cifar10-subset`. None takes the folder that the environment
            variable LAZYRICH_DATA names.
        download: fetch the archive (170 MB) if nothing of it is on this machine.

    Raises:
        InputError: a file is missing, cut off or of another kind, or cannot be downloaded.

    Example:
        >>> cifar10("no such folder")
        Traceback (most recent call last):
        lazyrich.InputError: `folder` must be a folder that exists, got 'no such folder'...
    """
    place = downloads.folder_of(CIFAR10, folder, download=download)
    archive = place / cifar.ARCHIVE
    if archive.is_file():
        parts = cifar.read_archive(archive)
    else:
        found = [path for name in cifar.BATCHES if (path := CIFAR10.in_folder(place, name))]
        batches = found or [CIFAR10.path(place, cifar.BATCHES[0])]
        parts = [cifar.read_batch(path) for path in (*batches, CIFAR10.path(place, cifar.TEST))]
    x, y = (np.concatenate(arrays) for arrays in zip(*parts[:-1], strict=True))
    return _images("cifar10", (x, y), parts[-1])


FROM_FILES: Mapping[str, Callable[..., DataSet]] = {
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
}
WITH_OPTIONS: Mapping[str, Callable[..., DataSet]] = {
    "digits": digits,
    "csv": tables.csv,
    "line": line,
    "gaussian": gaussian,
    "teacher-student": teacher_student,
    "chain-monomial": chain_monomial,
    "sparse-parity": sparse_parity,
    "staircase": staircase,
}
FORMULAS = ("line", "gaussian", "teacher-student", "chain-monomial", "sparse-parity", "staircase")
"""Regressions on vectors that are drawn from a formula."""


def load(
    name: str, *, folder: str | Path | None = None, download: bool = False, **options: object
) -> DataSet:
    """A data set by its name.

    Args:
        name: `digits`, `mnist`, `fashion-mnist`, `cifar10`, `csv`, `line`, `gaussian`,
            `teacher-student`, `chain-monomial`, `sparse-parity` or `staircase`.
        folder: where the files of `mnist`, `fashion-mnist` and `cifar10` are; the others need none.
        download: whether those three may be downloaded; nothing is unless this is true.
        options: options of the function with that name.

    Raises:
        InputError: there is no such data set, or it does not take these options.

    Example:
        >>> load("digits").outputs
        10
        >>> load("line", samples=50, slope=2.0).train.x.shape
        torch.Size([50, 1])
    """
    check_options(name, options)
    if name in FROM_FILES:
        return FROM_FILES[name](folder, download=download)
    return WITH_OPTIONS[name](**options)


def check_options(name: str, options: Iterable[str]) -> None:
    """Refuse an unknown data set, options that it does not take, and missing ones.

    Args:
        name: name of the data set.
        options: names of those that are given.

    Raises:
        InputError: see above.

    Example:
        >>> check_options("csv", ["y"])
        Traceback (most recent call last):
        lazyrich.InputError: csv needs the option 'path', got none. Add it.
    """
    known = {**WITH_OPTIONS, **FROM_FILES}
    if name not in known:
        raise InputError(
            f"`name` must be one of {', '.join(known)}, got {name!r}. Data of your own are "
            "made as a `DataSet`, without a name."
        )
    takes = inspect.signature(known[name]).parameters if name in WITH_OPTIONS else {}
    given = set(options)
    for option in sorted(given - set(takes)):
        raise InputError(
            f"options of {name} must be among {', '.join(takes) or 'none'}, got {option!r}. "
            "Leave it out."
        )
    for option, parameter in takes.items():
        if parameter.default is parameter.empty and option not in given:
            raise InputError(f"{name} needs the option {option!r}, got none. Add it.")


def _grey(source: Source, folder: str | Path | None, download: bool) -> DataSet:
    place = downloads.folder_of(source, folder, download=download)
    paths = [source.path(place, file) for file in source.files]
    return _images(source.name, idx.read_part(*paths[:2]), idx.read_part(*paths[2:]))


def _images(
    name: str, train: tuple[Bytes, Bytes], test: tuple[Bytes, Bytes], classes: int = 10
) -> DataSet:
    """Every channel with mean 0 and variance 1 over all pixels of the training part."""
    fitted = torch.from_numpy(train[0].astype(np.float32))
    mean, std = (of(fitted, (0, 2, 3), keepdim=True) for of in (torch.mean, torch.std))
    std += std == 0
    other = torch.from_numpy(test[0].astype(np.float32))
    parts = [
        Samples(x=x.sub_(mean).div_(std), y=torch.from_numpy(y.astype(np.int64)))
        for x, y in ((fitted, train[1]), (other, test[1]))
    ]
    return DataSet(name=name, train=parts[0], test=parts[1], classes=classes)
