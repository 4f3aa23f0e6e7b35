import pytest

from lazyrich import InputError, at, every, log_spaced
from lazyrich.probe.schedule import checked_schedule


def due(schedule, until):
    return [step for step in range(until) if schedule(step)]


def test_every():
    assert due(every(4), 13) == [0, 4, 8, 12]
    assert due(every(1), 4) == [0, 1, 2, 3]


def test_at():
    assert due(at(7, 2, 2), 10) == [2, 7]


def test_log_spaced_is_geometric_and_holds_its_ends():
    steps = log_spaced(2, 2048, 11).steps
    assert steps == tuple(2**k for k in range(1, 12))
    crowded = log_spaced(1, 10, 50).steps
    assert crowded == tuple(range(1, 11))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: every(0), "`interval` must be a whole number ≥ 1, got 0"),
        (lambda: every(-3), "`interval` must be a whole number ≥ 1, got -3"),
        (lambda: at(), "`at` must be given at least one step"),
        (lambda: at(3, -1), "`steps` must be a whole number ≥ 0, got -1"),
        (lambda: log_spaced(0, 10, 3), "`first` must be a whole number ≥ 1, got 0"),
        (lambda: log_spaced(5, 4, 3), "`last` must be a whole number ≥ 5, got 4"),
        (lambda: checked_schedule("often"), "`when` must be a schedule .*, got 'often'. Pass"),
        (lambda: log_spaced(1, 4, 1), "`count` must be a whole number ≥ 2, got 1"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make()
