import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyrich import InputError
from lazyrich.study.data.datasets import digits
from lazyrich.study.data.samples import DataSet, Samples, targets


def labelled(*counts):
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return Samples(x=torch.arange(len(y)).float()[:, None], y=y)


def data_of(*counts, test=(1, 1, 1)):
    return DataSet(name="mine", train=labelled(*counts), test=labelled(*test), classes=len(counts))


def regression(samples, test=4):
    parts = [Samples(x=torch.randn(n, 2, 3), y=torch.randn(n, 5)) for n in (samples, test)]
    return DataSet(name="numbers", train=parts[0], test=parts[1], classes=0)


def test_shapes_follow_from_the_samples():
    assert (data_of(1, 2, 3).inputs, data_of(1, 2, 3).outputs) == ((1,), 3)
    assert (regression(6).inputs, regression(6).outputs) == ((2, 3), 5)
    assert len(regression(6).train) == 6


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=3, max_size=3),
    size=st.integers(1, 27),
    seed=st.integers(0, 5),
)
def test_a_choice_is_as_even_over_classes_as_the_data_allow(counts, size, seed):
    data = data_of(*counts)
    if size > sum(counts):
        return
    chosen = data.take(size, seed=seed).train
    found = torch.bincount(chosen.y, minlength=3).tolist()
    # by brute force: deal out one of each class in turn until a class runs out
    dealt = next(level for level in range(10) if sum(min(level, c) for c in counts) >= size)
    assert sum(found) == size
    for have, count in zip(found, counts, strict=True):
        assert min(dealt - 1, count) <= have <= min(dealt, count)
    assert len(torch.unique(chosen.x)) == size  # without repetition
    assert torch.equal(data.train.y[chosen.x[:, 0].long()], chosen.y)


def test_a_larger_choice_contains_the_smaller_one_and_seeds_differ():
    data = digits()
    few, more, other = (data.take(n, seed=s).train for n, s in ((100, 0), (300, 0), (100, 1)))
    rows = {tuple(x) for x in more.x.flatten(1).tolist()}
    assert {tuple(x) for x in few.x.flatten(1).tolist()} <= rows
    assert torch.equal(few.x, data.take(100, seed=0).train.x)
    assert not torch.equal(few.x, other.x)


def test_classes_do_not_come_in_blocks():
    labels = digits().take(500, seed=0).train.y
    assert (labels[1:] == labels[:-1]).float().mean() < 0.2


def test_none_leaves_a_part_as_it_is():
    data = digits()
    taken = data.take(None, 20, seed=0)
    assert taken.train is data.train
    assert len(taken.test) == 20
    assert data.take(10, seed=0).test is data.test


def test_a_choice_for_regression_is_random_without_repetition():
    data = regression(50)
    chosen = data.take(20, seed=0).train
    assert len(torch.unique(chosen.y, dim=0)) == 20
    assert not torch.equal(chosen.y, data.take(20, seed=1).train.y)


def test_balanced_takes_as_many_of_every_class_or_all_there_are():
    assert torch.bincount(digits().balanced(6, seed=0).y).tolist() == [6] * 10
    assert torch.bincount(data_of(9, 2, 5).balanced(4, seed=0).y).tolist() == [4, 2, 4]
    assert not torch.equal(digits().balanced(6, seed=0).x, digits().balanced(6, seed=1).x)


def test_targets_of_balanced_classes_have_mean_zero_and_the_known_square():
    few = digits().balanced(4, seed=0)
    y = targets(few, 10, "mse")
    assert torch.allclose(y.mean(0), torch.zeros(10), atol=1e-7)
    assert torch.allclose(y.sum(1), torch.zeros(40), atol=1e-6)
    assert torch.allclose(y.square().sum(1), torch.tensor(1 - 1 / 10))  # (1 − 1/C)² + (C−1)/C²
    assert torch.equal(y.argmax(1), few.y)
    assert y.dtype == torch.float32


def test_labels_for_cross_entropy_and_plain_targets_for_regression():
    few = digits().balanced(1, seed=0)
    assert targets(few, 10, "cross_entropy") is few.y
    numbers = regression(5).train
    assert targets(numbers, 0, "mse") is numbers.y


X = torch.zeros(3, 2)
BAD = {
    "integer targets of two dimensions": (
        lambda: Samples(x=X, y=torch.zeros(3, 1, dtype=torch.int64)),
        r"`y` must be int64 labels .* got torch.int64 \(3, 1\)",
    ),
    "float labels": (lambda: Samples(x=X, y=torch.zeros(3)), r"got torch.float32 \(3,\)"),
    "other lengths": (
        lambda: Samples(x=X, y=torch.zeros(4, 1)),
        r"as many samples as `y`, 4, got \(3, 2\)",
    ),
    "no shape": (
        lambda: Samples(x=torch.zeros(3), y=torch.zeros(3, 1)),
        r"`x` must be \(samples, \*shape of one\)",
    ),
    "classes of a regression": (
        lambda: DataSet(name="a", train=regression(3).train, test=regression(3).test, classes=2),
        r"`classes` must be 0 for float targets .* got 2 and `y` of shape \(3, 5\) in a",
    ),
    "no classes": (
        lambda: DataSet(name="a", train=labelled(1, 1), test=labelled(1, 1), classes=0),
        "`classes` must be 0 for float targets and their number for labels, got 0",
    ),
    "too few classes": (
        lambda: DataSet(name="a", train=labelled(1, 1, 1), test=labelled(1, 1), classes=2),
        "labels of a must lie in 0 to 1, got 0 to 2",
    ),
    "other shapes": (
        lambda: DataSet(
            name="a",
            train=Samples(x=torch.zeros(2, 3), y=torch.zeros(2, 1)),
            test=Samples(x=torch.zeros(2, 4), y=torch.zeros(2, 1)),
            classes=0,
        ),
        r"inputs of one shape, got \(3,\) and \(4,\)",
    ),
    "too many": (lambda: digits().take(1443, seed=0), "`train` must lie in 1 to 1442 for digits"),
    "none": (lambda: digits().take(None, 0, seed=0), "`test` must lie in 1 to 355 for digits"),
    "balanced regression": (
        lambda: regression(3).balanced(1, seed=0),
        "`balanced` needs classes, got numbers",
    ),
    "balanced, none": (lambda: digits().balanced(0, seed=0), "`per_class` must be at least 1"),
    "cross-entropy of a regression": (
        lambda: targets(regression(3).train, 0, "cross_entropy"),
        '`loss` must be "mse" or "squared_error" for a regression',
    ),
}


@pytest.mark.parametrize(("act", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(act, message):
    with pytest.raises(InputError, match=message):
        act()
