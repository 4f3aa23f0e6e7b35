"""Random output directions: independent signs, a number or all outputs, one refusal."""

import numpy as np
import pytest
import torch

from lazyrich import InputError
from lazyrich.capture.directions import checked_directions, random_count, random_signs


def test_signs_are_independent_and_reproducible_and_leave_the_global_state_alone():
    outputs, state = torch.zeros(40, 50, dtype=torch.float64), torch.get_rng_state()
    first, second = random_signs(outputs, 2, seed=1)
    assert first.dtype == torch.float64
    assert torch.equal(first.abs(), torch.ones_like(first))
    assert abs(float((first * second).mean())) < 0.1
    assert torch.equal(first, next(random_signs(outputs, 1, seed=1)))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("directions", "outputs", "count"),
    [(2, 3, 2), (2, 2, None), (2, 1, None), ("all", 10**6, None)],
)
def test_no_more_outputs_than_directions_are_taken_one_by_one(directions, outputs, count):
    assert random_count(directions, outputs) == count


def test_any_integer_will_do():
    assert checked_directions(np.int64(4)) == 4


@pytest.mark.parametrize("directions", [1, 0, -2, True, 2.0, "exact", None])
def test_other_directions_are_refused_with_one_sentence(directions):
    message = f'`directions` must be an integer ≥ 2 or "all", got {directions!r}. Two independent'
    with pytest.raises(InputError, match=message):
        checked_directions(directions)


def test_a_count_is_not_taken_of_too_few_directions():
    with pytest.raises(InputError, match="`directions` must be an integer ≥ 2"):
        random_count(1, 1)
