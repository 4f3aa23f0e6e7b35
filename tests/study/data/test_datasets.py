import gzip
import io
import re
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lazyrich import InputError
from lazyrich.study.data import cifar, datasets, downloads

SHARED = Path(__file__).parents[4] / "shared" / "data"
FASHION = downloads.DEBIAN / "fashion-mnist"


@pytest.fixture(autouse=True)
def _no_files_of_this_machine(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(downloads, "DEBIAN", tmp_path_factory.mktemp("system"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv(downloads.VARIABLE, raising=False)


def idx(array):
    return (
        bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


def put(folder, train, test, *, zipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(datasets.MNIST.files, (*train, *test), strict=True):
        content = idx(np.asarray(array, np.uint8).copy())
        path = folder / (name + ".gz" * zipped)
        path.write_bytes(gzip.compress(content) if zipped else content)


def grey(images, seed):
    return np.random.default_rng(seed).integers(0, 256, (images, 28, 28)), np.arange(images) % 10


@pytest.fixture
def pixels():
    return grey(20, 0), grey(10, 1)


def records(images, seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 256, (images, cifar.RECORD)).astype(np.uint8)
    rows[:, 0] %= 10
    return rows


def put_cifar(folder, train=(7, 5), test=4, *, zipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [records(n, seed) for seed, n in enumerate((*train, test))]
    for name, array in zip((*cifar.BATCHES[: len(train)], cifar.TEST), rows, strict=True):
        content = array.tobytes()
        path = folder / (name + ".gz" * zipped)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return np.concatenate(rows[:-1]), rows[-1]


def archive(path, rows, *, without=None):
    with tarfile.open(path, "w:gz") as made:
        for name, array in zip((*cifar.BATCHES, cifar.TEST), rows, strict=True):
            if name != without:
                member = tarfile.TarInfo(f"{cifar.INSIDE}/{name}")
                member.size = array.size
                made.addfile(member, io.BytesIO(array.tobytes()))


def test_digits_are_the_ones_of_scikit_learn():
    found, source = datasets.digits(), load_digits()
    images = {tuple(row): label for row, label in zip(source.data, source.target, strict=True)}
    mean, std = (found.train.x.mean(), found.train.x.std())
    assert abs(mean) < 1e-5
    assert abs(std - 1) < 1e-5
    # undo the scaling: 0 is the least, 16 the greatest value of a pixel
    low, high = found.train.x.min(), found.train.x.max()
    seen = []
    for part in (found.train, found.test):
        raw = ((part.x - low) / (high - low) * 16).round().flatten(1).numpy()
        assert [images[tuple(row)] for row in raw] == part.y.tolist()
        seen += map(tuple, raw)
    assert sorted(seen) == sorted(map(tuple, source.data))


def test_every_fifth_digit_of_each_class_is_for_tests():
    found, target = datasets.digits(), load_digits().target
    assert len(found.train) + len(found.test) == 1797
    counts = np.bincount(target)
    assert torch.bincount(found.test.y).tolist() == (counts // 5).tolist()
    threes = load_digits().images[target == 3]
    low, high = found.train.x.min(), found.train.x.max()
    raw = (found.test.x[found.test.y == 3][:, 0] - low) / (high - low) * 16
    assert np.allclose(raw.numpy(), threes[4::5], atol=1e-4)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("sub", ["", "mnist", "MNIST/raw"])
def test_idx_files_plain_and_zipped_in_every_place(tmp_path, pixels, sub, zipped):
    put(tmp_path / sub, *pixels, zipped=zipped)
    found = datasets.load("mnist", folder=tmp_path)
    train, test = (torch.tensor(images, dtype=torch.float32) for images, _ in pixels)
    assert torch.allclose(found.train.x[:, 0], (train - train.mean()) / train.std(), atol=1e-6)
    assert torch.allclose(found.test.x[:, 0], (test - train.mean()) / train.std(), atol=1e-6)
    assert found.train.y.tolist() == pixels[0][1].tolist()
    assert found.test.y.tolist() == pixels[1][1].tolist()


def test_the_folder_may_come_from_the_environment(tmp_path, pixels, monkeypatch):
    put(tmp_path / "fashion-mnist", *pixels)
    monkeypatch.setenv(downloads.VARIABLE, str(tmp_path))
    assert datasets.fashion_mnist().train.x.shape == (20, 1, 28, 28)
    monkeypatch.setenv(downloads.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"LAZYRICH_DATA must be a folder that exists, got .*gone"):
        datasets.fashion_mnist()


def test_the_given_folder_comes_first_then_that_of_the_system(tmp_path, pixels):
    put(downloads.DEBIAN / "mnist", *pixels)
    assert len(datasets.mnist(tmp_path).train) == 20
    put(tmp_path, grey(3, 2), grey(2, 3))
    assert len(datasets.mnist(tmp_path).train) == 3


def test_the_two_sets_do_not_take_each_others_folder(tmp_path, pixels):
    put(tmp_path / "fashion-mnist", *pixels)
    with pytest.raises(
        InputError, match=r"mnist needs the file train-images-idx3-ubyte .*download"
    ):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize("missing", datasets.MNIST.files)
def test_a_missing_file_is_named_with_the_remedy(tmp_path, pixels, missing):
    put(tmp_path, *pixels)
    (tmp_path / missing).unlink()
    for download in (False, True):  # a folder with a part of a set is not completed from elsewhere
        with pytest.raises(InputError, match=rf"{missing} \(or .*{tmp_path}, where .* Put it"):
            datasets.mnist(tmp_path, download=download)


def test_nothing_anywhere_names_the_ways_out(tmp_path):
    ways = "folder=, --data-dir or the variable LAZYRICH_DATA; .* download=True, .* --download of"
    for name in datasets.FROM_FILES:
        told = f"{name} needs the file .*{ways}.* Looked at: {tmp_path}"
        with pytest.raises(InputError, match=told):
            datasets.load(name, folder=tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "cut off or damaged"),
        (lambda content: content[:6], "cut off or damaged"),
        (lambda content: b"PNG" + content, "IDX file of bytes"),
        (lambda content: b"", "got nothing"),
    ],
)
@pytest.mark.parametrize("file", datasets.MNIST.files[::3])
def test_damaged_files_are_named(tmp_path, pixels, file, damage, message):
    put(tmp_path, *pixels)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=f"{re.escape(str(path))} .*{message}"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize("keep", [5, 200, -3])
def test_a_cut_gzip_file_is_named(tmp_path, pixels, keep):
    put(tmp_path, *pixels, zipped=True)
    path = tmp_path / f"{datasets.IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=f"{re.escape(str(path))} is not a whole gzip file"):
        datasets.mnist(tmp_path)


def test_labels_must_fit(tmp_path, pixels):
    (images, labels), test = pixels
    put(tmp_path, (images, labels[:-1]), test)
    with pytest.raises(InputError, match="one label for each"):
        datasets.mnist(tmp_path)
    put(tmp_path, (images, labels + 1), test)
    with pytest.raises(InputError, match="labels 0 to 9, got 10"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("sub", ["", "cifar10", "cifar-10-batches-bin"])
def test_cifar_from_some_of_its_batches(tmp_path, sub, zipped):
    train, test = put_cifar(tmp_path / sub, zipped=zipped)
    found = datasets.load("cifar10", folder=tmp_path)
    assert found.train.y.tolist() == train[:, 0].tolist()
    assert found.test.y.tolist() == test[:, 0].tolist()
    # a record: label, then 1,024 bytes each of red, green and blue, row by row
    raw = train[:, 1:].astype(float)
    for colour in range(3):
        plane = raw[:, 1024 * colour : 1024 * (colour + 1)]
        expected = (plane[2, 32 * 4 + 9] - plane.mean()) / plane.std(ddof=1)
        assert found.train.x[2, colour, 4, 9].item() == pytest.approx(expected, abs=1e-5)
    assert torch.allclose(found.train.x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)


def test_cifar_from_its_archive_is_the_same(tmp_path):
    rows = [records(2, seed) for seed in range(6)]
    for name, array in zip((*cifar.BATCHES, cifar.TEST), rows, strict=True):
        (tmp_path / name).write_bytes(array.tobytes())
    loose = datasets.cifar10(tmp_path)
    folder = tmp_path / "cifar10"
    folder.mkdir()
    archive(folder / cifar.ARCHIVE, rows)
    packed = datasets.cifar10(tmp_path)
    assert torch.equal(packed.train.x, loose.train.x)
    assert torch.equal(packed.test.x, loose.test.x)
    assert torch.equal(packed.train.y, loose.train.y)


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        (cifar.TEST, lambda content: content[:-1], "got 12,291 bytes, 3,072 more than 3 images"),
        (cifar.TEST, lambda content: b"", "got 0 bytes"),
        (cifar.BATCHES[1], lambda content: b"\x0a" + content[1:], "labels 0 to 9, got 10"),
    ],
)
def test_damaged_batches_are_named(tmp_path, file, damage, message):
    put_cifar(tmp_path)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=f"{re.escape(str(path))} .*{message}.* Copy it again"):
        datasets.cifar10(tmp_path)


@pytest.mark.parametrize(("file", "needed"), [(cifar.TEST, cifar.TEST), ("data", "data_batch_1")])
def test_a_missing_batch_is_named(tmp_path, file, needed):
    put_cifar(tmp_path, train=(3,))
    (tmp_path / (file if file == cifar.TEST else cifar.BATCHES[0])).unlink()
    with pytest.raises(InputError, match=rf"cifar10 needs the file {needed}.* Put it there"):
        datasets.cifar10(tmp_path)


def test_a_bad_archive_is_named(tmp_path):
    path = tmp_path / cifar.ARCHIVE
    rows = [records(2, seed) for seed in range(6)]
    archive(path, rows)
    whole = path.read_bytes()
    for keep in (0, 40, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:keep])
        with pytest.raises(InputError, match=f"{re.escape(str(path))} is not a whole archive"):
            datasets.cifar10(tmp_path)
    archive(path, rows, without=cifar.BATCHES[2])
    with pytest.raises(InputError, match=f"{re.escape(str(path))} must hold .*data_batch_3.bin"):
        datasets.cifar10(tmp_path)


def test_a_constant_channel_is_zero(tmp_path):
    put(tmp_path, (np.full((4, 28, 28), 7), np.arange(4)), (np.full((2, 28, 28), 7), np.arange(2)))
    assert datasets.mnist(tmp_path).test.x.abs().max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifar",), "`name` must be one of digits, csv, line, .*cifar10, got 'cifar'"),
        (("digits", {"samples": 3}), "options of digits must be among none, got 'samples'"),
        (("mnist", {"seed": 3}), "options of mnist must be among none, got 'seed'"),
        (("line", {"alpha": 3}), "options of line must be among samples, .* got 'alpha'"),
        (("csv", {"path": "a.csv"}), "csv needs the option 'y'"),
    ],
)
def test_names_and_options_are_checked(arguments, message):
    name, options = (*arguments, {})[:2]
    with pytest.raises(InputError, match=message):
        datasets.load(name, **options)


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="MNIST's files are not at hand")
def test_mnist_from_its_own_files():
    found = datasets.mnist(SHARED)
    assert found.train.x.shape == (60_000, 1, 28, 28)
    assert found.test.x.shape == (10_000, 1, 28, 28)
    # published: the mean and deviation of MNIST's training pixels are 0.1307 and 0.3081
    low, high = found.train.x.min(), found.train.x.max()
    assert (-low / (high - low)).item() == pytest.approx(0.1307, abs=5e-5)
    assert (1 / (high - low)).item() == pytest.approx(0.3081, abs=5e-5)
    assert found.train.y[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]


@pytest.mark.skipif(not FASHION.is_dir(), reason="Fashion-MNIST's files are not installed")
def test_fashion_mnist_from_its_own_files():
    found = datasets.fashion_mnist(FASHION)
    assert found.train.x.shape == (60_000, 1, 28, 28)
    assert torch.bincount(found.train.y).tolist() == [6_000] * 10  # balanced by construction
    assert torch.bincount(found.test.y).tolist() == [1_000] * 10
    assert abs(found.train.x.mean()) < 1e-3


@pytest.mark.skipif(
    not (SHARED / "cifar10-subset").is_dir(), reason="files of CIFAR-10 are not at hand"
)
def test_cifar_from_a_part_of_its_own_files():
    found = datasets.cifar10(SHARED)
    assert found.inputs == (3, 32, 32)
    assert torch.bincount(found.train.y).tolist() == [1_000] * 10
    assert torch.allclose(found.train.x.std((0, 2, 3)), torch.ones(3), atol=1e-3)
    # neighbours in a photograph are alike in both directions: rows and columns are in their places
    x = found.test.x
    for one, two in ((x[..., 1:], x[..., :-1]), (x[..., 1:, :], x[..., :-1, :])):
        assert (one - two).square().mean() < 0.2 * x.var()
