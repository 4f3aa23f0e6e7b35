import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lazyrich import InputError
from lazyrich.study import datasets

FASHION = datasets.DEBIAN / "fashion-mnist"


def idx(array):
    return (
        bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


def put(folder, images, labels, *, zipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ((datasets.IMAGES, images), (datasets.LABELS, labels)):
        content = idx(np.asarray(array, np.uint8).copy())
        path = folder / (name + ".gz" * zipped)
        path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (20, 28, 28)), np.arange(20) % 10


def test_digits_are_the_ones_of_scikit_learn():
    found, source = datasets.digits(), load_digits()
    raw = source.images * 1.0
    assert np.allclose(found.x[:, 0].numpy(), (raw - raw.mean()) / raw.std(), atol=1e-3)
    assert np.array_equal(found.y.numpy(), source.target)
    assert abs(found.x.mean()) < 1e-5
    assert abs(found.x.std() - 1) < 1e-5


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("sub", ["", "mnist", "MNIST/raw"])
def test_idx_files_plain_and_zipped_in_every_place(tmp_path, pixels, sub, zipped):
    put(tmp_path / sub, *pixels, zipped=zipped)
    found = datasets.mnist(tmp_path)
    raw = torch.tensor(pixels[0], dtype=torch.float32)
    assert torch.allclose(found.x[:, 0], (raw - raw.mean()) / raw.std())
    assert found.y.tolist() == pixels[1].tolist()


def test_the_folder_may_come_from_the_environment(tmp_path, pixels, monkeypatch):
    put(tmp_path / "fashion-mnist", *pixels)
    monkeypatch.setenv(datasets.VARIABLE, str(tmp_path))
    assert datasets.fashion_mnist().x.shape == (20, 1, 28, 28)


def test_the_two_sets_do_not_take_each_others_folder(tmp_path, pixels):
    put(tmp_path / "fashion-mnist", *pixels)
    with pytest.raises(InputError, match="mnist needs the file train-images-idx3-ubyte"):
        datasets.mnist(tmp_path)


def test_a_missing_file_is_named_with_the_remedy(tmp_path, pixels):
    put(tmp_path, *pixels)
    (tmp_path / datasets.LABELS).unlink()
    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte .*--data-dir .*LAZYRICH_DATA"):
        datasets.mnist(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "cut off or damaged"),
        (lambda content: content[:6], "cut off or damaged"),
        (lambda content: b"PNG" + content, "IDX file of bytes"),
        (lambda content: b"", "got nothing"),
    ],
)
def test_damaged_files_are_named(tmp_path, pixels, damage, message):
    put(tmp_path, *pixels)
    path = tmp_path / datasets.IMAGES
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
    put(tmp_path, pixels[0], pixels[1][:-1])
    with pytest.raises(InputError, match="one label for each"):
        datasets.mnist(tmp_path)
    put(tmp_path, pixels[0], pixels[1] + 1)
    with pytest.raises(InputError, match="labels 0 to 9, got 10"):
        datasets.mnist(tmp_path)


def test_a_choice_of_samples_is_random_without_repetition():
    every = datasets.digits()
    some = every.some(500, seed=1)
    assert torch.unique(some.x.flatten(1), dim=0).shape[0] == 500
    assert not torch.equal(some.y, every.some(500, seed=2).y)
    assert torch.equal(some.y, every.some(500, seed=1).y)
    with pytest.raises(InputError, match="1 to 1797 for digits, got 1798"):
        every.some(1798, seed=0)


@pytest.mark.skipif(not FASHION.is_dir(), reason="Fashion-MNIST's files are not installed")
def test_fashion_mnist_from_its_own_files():
    found = datasets.fashion_mnist(Path(FASHION))
    assert found.x.shape == (60_000, 1, 28, 28)
    assert torch.bincount(found.y).tolist() == [6_000] * 10  # balanced by construction
    assert abs(found.x.mean()) < 1e-3
