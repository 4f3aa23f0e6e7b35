"""One window of a mechanism: theory's trajectories and the verdict's histories agree on it."""

import numpy as np
import pytest
import xarray as xr

from lazyrich import mechanisms
from lazyrich.numerics.windows import exceeds_threshold, movements, window, windows
from lazyrich.probe.verdict import judge
from lazyrich.vocabulary.regimes import Mechanism


def curves(kind, seed):
    """Times, an alignment and the logarithm of a norm."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 30))
    times = rng.uniform(0.1, 3, n).cumsum()
    alignment, log_norm = rng.uniform(-1, 1, n), rng.normal(0, 0.3, n)
    if kind == "sign-free":
        alignment = abs(alignment)
    if kind == "monotone":
        alignment = np.sort(abs(alignment))
    if kind == "flat":
        alignment, log_norm = np.full(n, alignment[0]), np.zeros(n)
    if kind == "flat in parts":
        alignment = np.repeat(alignment, 3)[:n]
    return times, alignment, log_norm


@pytest.mark.parametrize("kind", ["signed", "sign-free", "monotone", "flat", "flat in parts"])
@pytest.mark.parametrize("seed", range(8))
def test_mechanisms_and_verdict_see_the_same_windows(kind, seed):
    times, alignment, log_norm = curves(kind, seed)
    parts = {"alignment": alignment, "uu": np.exp(2 * log_norm), "ww": np.ones(times.size)}
    trajectory = xr.Dataset(
        {name: ("time", part) for name, part in parts.items()}, coords={"time": times}
    )
    exact = mechanisms(trajectory)
    layer = {"parameter_data_alignment": alignment, "layer_log_rescaling": log_norm}
    history = xr.Dataset(
        {name: (("step", "layer"), part[:, None]) for name, part in layer.items()},
        coords={"step": times, "layer": ["1"]},
    ).assign(loss=("step", np.ones(times.size)))
    seen = judge(history).layers[0].mechanisms
    assert [w.mechanism for w in seen] == list(exact.mechanism[exact.mechanism_acts].values)
    for found in seen:
        one = exact.sel(mechanism=found.mechanism)
        expected = [one.window_start.item(), one.window_stop.item(), one.mechanism_change.item()]
        assert [found.start, found.stop, found.change] == pytest.approx(expected, rel=1e-10)


def test_a_window_is_where_the_curve_of_all_movement_crosses_a_tenth_and_nine_tenths(rng):
    parts, steps = rng.uniform(0, 1, (4, 3, 20)), rng.uniform(0, 1, (4, 3, 21))
    times = steps.cumsum(-1)
    start, stop = window(parts, times)
    for index in np.ndindex(4, 3):
        done = np.append(0, parts[index].cumsum())
        expected = np.interp(np.array([0.1, 0.9]) * done[-1], done, times[index])
        np.testing.assert_allclose((start[index], stop[index]), expected, rtol=1e-12)


def test_all_that_moves_is_counted(rng):
    """Rise less fall is the change of |A|; together they are the variation of A."""
    alignment, log_norm = rng.uniform(-1, 1, (5, 9)), rng.normal(size=(5, 9))
    rise, fall, variation = np.moveaxis(movements(alignment, log_norm), -2, 0)
    np.testing.assert_allclose(rise - fall, np.diff(abs(alignment)), atol=1e-15)
    np.testing.assert_allclose(rise + fall, abs(np.diff(alignment)), atol=1e-15)
    np.testing.assert_allclose(variation, abs(np.diff(log_norm)))


def test_what_does_not_move_has_no_window_and_does_not_act():
    assert np.isnan(window(np.zeros(3), np.arange(4.0))).all()
    assert not exceeds_threshold(
        np.zeros(3), alignment_threshold=0.0, rescaling_threshold=0.0
    ).any()
    one = np.ones(1)
    assert windows(one, one, one, alignment_threshold=0.1, rescaling_threshold=0.1) == ()


def test_windows_come_in_the_order_of_the_vocabulary():
    times, alignment = np.arange(3.0), np.array([0.1, 0.9, 0.1])
    found = windows(times, alignment, times, alignment_threshold=0.1, rescaling_threshold=0.1)
    assert [w.mechanism for w in found] == list(Mechanism)
