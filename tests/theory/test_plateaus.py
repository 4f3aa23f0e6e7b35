"""The schedule of plateaus against the loss of the modes themselves."""

import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.theory.aligned_modes import mode_flow, mode_times
from lazyrich.theory.barlow_twins import barlow_flow, barlow_times
from lazyrich.theory.plateaus import plateau_schedule

TARGETS = np.array([0.5, 3.0, 1.2])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_loss_rests_on_the_plateaus(depth):
    """In the middle of each plateau the loss of the modes is what is said."""
    start = 1e-9 if depth == 1 else 1e-4
    found = plateau_schedule(mode_times(TARGETS, start, depth=depth), TARGETS**2)
    assert found.plateau_mode.values.tolist() == [1, 2, 0]
    ends = found.plateau_end.values
    middle = np.concatenate([[0], ends[:-1]]) * 0.5 + ends * 0.5
    loss = mode_flow(TARGETS, start, middle, depth=depth).excess_loss
    np.testing.assert_allclose(loss, found.plateau_loss, rtol=0.02)


def test_starts_change_the_order_of_deep_networks():
    """The weak mode of a large start is first: u₀^{−(1 − 2/L)}/s decides, and ln(s/u₀)/s."""
    starts = [0.01, 1e-5, 1e-5]
    order = [
        plateau_schedule(mode_times(TARGETS, starts, depth=depth), 1.0).plateau_mode.values[0]
        for depth in (1, 2)
    ]
    assert order == [1, 0]


def test_embeddings_and_modes_that_never_step():
    gamma = [1.0, -1.0, 4.0]
    found = plateau_schedule(barlow_times(gamma, 1e-5), 1.0, rest=2.0)
    assert found.plateau_mode.values.tolist() == [2, 0, 1]
    assert found.plateau_loss.values.tolist() == [5.0, 4.0, 3.0]
    assert found.plateau_end.values[2] == np.inf
    loss = barlow_flow(gamma, 1e-5, 1e3, outputs=5).barlow_loss
    assert loss.item() == pytest.approx(found.plateau_loss.values[2])


def test_axes_have_schedules_of_their_own():
    times = xr.DataArray([[3.0, 1.0], [1.0, 2.0]], dims=("draw", "mode"))
    found = plateau_schedule(times, [5.0, 7.0])
    assert found.plateau_mode.values.tolist() == [[1, 0], [0, 1]]
    assert found.plateau_loss.values.tolist() == [[12, 5], [12, 7]]


def test_what_is_refused():
    with pytest.raises(InputError, match=r"`times` must be ≥ 0, got -1"):
        plateau_schedule([1.0, -1.0], 1.0)
    with pytest.raises(InputError, match="`times` must be ≥ 0, got nan"):
        plateau_schedule([1.0, np.nan], 1.0)
    with pytest.raises(InputError, match="`losses` must be finite and ≥ 0"):
        plateau_schedule([1.0], -1.0)
    with pytest.raises(InputError, match="`rest` must be finite and ≥ 0"):
        plateau_schedule([1.0], 1.0, rest=-1.0)
