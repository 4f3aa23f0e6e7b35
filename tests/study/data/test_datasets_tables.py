import csv as csv_format
import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris

from lazyrich import InputError
from lazyrich.study.data.datasets import load
from lazyrich.study.data.tables import csv


def write(path, header, rows, **options):
    with path.open("w", newline="", **options) as file:
        csv_format.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def patients(tmp_path):
    source = load_diabetes(scaled=False)
    rows = np.column_stack([source.data, source.target])
    return write(tmp_path / "patients.csv", [*source.feature_names, "progression"], rows)


def test_a_regression_on_named_columns(patients):
    source = load_diabetes(scaled=False)
    found = load("csv", path=patients, x=["bmi", "age"], y="progression", test=0.25, seed=3)
    assert (found.name, found.inputs, found.outputs, found.classes) == ("patients", (2,), 1, 0)
    assert (len(found.train), len(found.test)) == (332, 110)
    # the least-squares fit of standardised columns is that of the raw ones, in other units
    x, y = (torch.cat([getattr(found.train, c), getattr(found.test, c)]).double() for c in "xy")
    raw = source.data[:, [source.feature_names.index(name) for name in ("bmi", "age")]]
    expected = np.linalg.lstsq(raw - raw.mean(0), source.target - source.target.mean())[0]
    slopes = torch.linalg.lstsq(x - x.mean(0), y - y.mean()).solution[:, 0].numpy()
    ratio = slopes / (expected * raw.std(0))
    assert ratio[0] == pytest.approx(ratio[1], rel=0.1)  # training part and all rows differ a bit


def test_only_the_training_part_is_fitted(patients):
    found = csv(patients, y="progression")
    assert found.inputs == (10,)  # all other columns
    for values in (found.train.x, found.train.y):
        assert torch.allclose(values.mean(0), torch.zeros(values.shape[1]), atol=1e-5)
        assert torch.allclose(values.std(0, correction=0), torch.ones(values.shape[1]), atol=1e-5)
    assert found.test.x.mean(0).abs().max() > 1e-3


def test_the_seed_decides_the_rows(patients):
    one, same, other = (csv(patients, y="progression", seed=s).test.y for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_words_are_classes_in_the_order_of_the_alphabet(tmp_path):
    source = load_iris()
    names = [*"abcd", "kind"]
    rows = [[*x, source.target_names[y]] for x, y in zip(source.data, source.target, strict=True)]
    found = csv(write(tmp_path / "iris.csv", names, rows), y="kind", task="classes")
    labels = torch.cat([found.train.y, found.test.y])
    assert (found.classes, found.outputs, found.inputs) == (3, 3, (4,))
    assert torch.bincount(labels).tolist() == [50, 50, 50]
    # petals of setosa, the first of the alphabet, are the shortest
    petals = [found.train.x[found.train.y == label, 2].mean().item() for label in range(3)]
    assert petals == sorted(petals)


def test_numbers_are_classes_in_their_order(tmp_path):
    rows = [[size, size] for size in (10, 9, 100)] * 10
    found = csv(write(tmp_path / "n.csv", "xy", rows), y="y", task="classes", test=0.1)
    labels = found.train.y[torch.argsort(found.train.x[:, 0])]
    assert labels.tolist() == sorted(labels.tolist())
    assert torch.bincount(torch.cat([found.train.y, found.test.y])).tolist() == [10, 10, 10]


def test_several_targets_and_a_mark_of_byte_order(tmp_path):
    rows = [[i, i * i, -i] for i in range(20)]
    path = write(tmp_path / "two.csv", "ijk", rows, encoding="utf-8-sig")
    found = csv(path, x="i", y=["j", "k"])
    assert found.outputs == 2
    assert torch.allclose(found.train.y[:, 1], -found.train.x[:, 0], atol=1e-5)


def test_a_column_that_does_not_vary_is_zero(tmp_path):
    path = write(tmp_path / "flat.csv", "iy", [[0.1, i] for i in range(20)])
    assert csv(path, y="y").train.x.abs().max() == 0


GOOD = [[i, i % 2, 2 * i] for i in range(10)]
BAD = {
    "column": (GOOD, {"y": "height"}, "has no column 'height', it has a, b, c. Spell"),
    "no columns": (GOOD, {"y": []}, "must name columns of .*, got none"),
    "the same": (GOOD, {"x": "c", "y": "c"}, "must name different columns, both name 'c'"),
    "two classes": (GOOD, {"y": ["b", "c"], "task": "classes"}, "must be one column for classes"),
    "share": (GOOD, {"y": "c", "test": 1.5}, "`test` must leave samples in both parts .* got 1.5"),
    "small share": (GOOD, {"y": "c", "test": 0.01}, "`test` must leave samples in both parts"),
    "word": ([*GOOD, [1, 2, "many"]], {"y": "c"}, r"line 12: column 'c' must hold .* got 'many'"),
    "not finite": ([*GOOD, [1, "inf", 1]], {"y": "c"}, "line 12: column 'b' must hold finite"),
    "nothing": (
        [*GOOD, [1, "", 2]],
        {"y": "b", "task": "classes"},
        "line 12: column 'b' must name",
    ),
    "short row": ([*GOOD, [1, 2]], {"y": "c"}, "must have 3 entries in each row, got 2 in line 12"),
    "empty": ([], {"y": "c"}, "must have a header and rows, got none"),
}


@pytest.mark.parametrize(("rows", "options", "message"), BAD.values(), ids=BAD)
def test_bad_tables_are_refused(tmp_path, rows, options, message):
    path = write(tmp_path / "t.csv", "abc", rows)
    with pytest.raises(InputError, match=message):
        csv(path, **options)


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "gone.csv"
    with pytest.raises(
        InputError,
        match=rf"{re.escape(str(path))} must be a CSV file, and there is no file of that name",
    ):
        csv(path, y="c")
    path.write_bytes(b"a,c\n\xff\xfe,1\n")
    with pytest.raises(InputError, match=r"must be a CSV file in UTF-8"):
        csv(path, y="c")
    path.write_text("a,a\n1,2\n")
    with pytest.raises(InputError, match=r"columns of different names, got \['a', 'a'\]"):
        csv(path, y="a")
