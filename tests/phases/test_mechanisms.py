"""The three mechanisms: an exact decomposition, and each where theory says that it acts."""

from math import inf, log, sqrt

import numpy as np
import pytest
import xarray as xr
from docs.vocabulary import vocabulary

from lazyrich import PRESETS, InputError, mechanisms
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
    time_to_residual,
)

NET = LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0)
DATA = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)


def resolved(state, net=NET, data=DATA, records=2001):
    """A trajectory sampled evenly in the residual, hence in everything that moves."""
    left = np.concatenate([np.linspace(1, 1e-3, records), np.geomspace(9e-4, 1e-12, 20)])
    times = time_to_residual(state, net, data, xr.DataArray(left, dims="time")).rename("t")
    return flow(state, net, data, times)


@pytest.mark.parametrize("seed", range(10))
def test_decomposition_adds_up(seed):
    rng = np.random.default_rng(seed)
    uu, ww = 10 ** rng.uniform(-4, 2, 2)
    state = LineState(uu=uu, uw=rng.uniform(0.01, 0.99) * sqrt(uu * ww), ww=ww)
    path = flow(state, NET, DATA, np.linspace(0, 20, 30))
    found = mechanisms(path)
    whole = np.log(abs(path.end_to_end_map / path.end_to_end_map.isel(time=0, drop=True)))
    parts = found.log_alignment + found.log_rescaling
    np.testing.assert_allclose(found.log_output, whole, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(parts, found.log_output, rtol=1e-12, atol=1e-12)
    share = float(found.log_alignment[-1] / found.log_output[-1])
    assert found.alignment_share.item() == pytest.approx(share, rel=1e-12)


def test_aligned_start_only_rescales():
    found = mechanisms(resolved(LineState(uu=0.01, uw=0.01, ww=0.01)))
    assert found.mechanism_acts.values.tolist() == [False, False, True]
    assert found.mechanism_change.values[:2] == pytest.approx([0, 0], abs=1e-12)
    assert found.mechanism_change.values[2] == pytest.approx(log(100), rel=1e-6)
    assert found.alignment_share.item() == pytest.approx(0, abs=1e-14)
    assert np.isnan(found.window_start.sel(mechanism="alignment"))


def test_unbalanced_aligned_start_with_too_large_an_output_disaligns():
    """The output has to fall from 9.9 to 1, and what is across the other layer stays."""
    state = LineState(uu=100.0, uw=9.9, ww=1.0)
    found = mechanisms(resolved(state))
    assert bool(found.mechanism_acts.sel(mechanism="disalignment"))
    assert not bool(found.mechanism_acts.sel(mechanism="alignment"))
    end = flow(state, NET, DATA, inf).alignment.item()
    fall = found.mechanism_change.sel(mechanism="disalignment").item()
    assert fall == pytest.approx(0.99 - end, rel=1e-9)


def test_parallel_layers_stay_parallel_however_unbalanced():
    found = mechanisms(resolved(LineState(uu=100.0, uw=10.0, ww=1.0)))
    assert found.mechanism_acts.values.tolist() == [False, False, True]
    assert found.mechanism_change.values[:2] == pytest.approx([0, 0], abs=1e-12)


def test_small_independent_start_aligns_then_rescales():
    state = LineState(uu=1e-6, uw=0.0, ww=1e-6)
    found = mechanisms(flow(state, NET, DATA, np.append(np.linspace(0, 15, 4001), inf)))
    assert found.mechanism_acts.values.tolist() == [True, False, True]
    align, _, rescale = zip(found.window_start.values, found.window_stop.values, strict=True)
    assert 0 <= align[0] < align[1] < rescale[0] < rescale[1] < inf
    assert found.mechanism_change.values[2] == pytest.approx(log(1e6), rel=1e-3)
    assert found.alignment_share.item() == 1.0
    assert np.isinf(found.log_alignment[-1])


def test_windows_hold_four_fifths_of_the_change():
    """Records of a straight line: 10 % and 90 % of the way are known."""
    time = np.linspace(0.0, 10.0, 11)
    zeta = xr.DataArray(np.linspace(0.0, 0.5, 11), dims="time", coords={"time": time})
    one = xr.ones_like(zeta)
    found = mechanisms(xr.Dataset({"alignment": zeta, "uu": one, "ww": one}))
    row = found.sel(mechanism="alignment")
    assert (row.window_start.item(), row.window_stop.item()) == pytest.approx((1.0, 9.0))
    assert row.mechanism_change.item() == pytest.approx(0.5)
    assert found.mechanism_change.sel(mechanism="rescaling").item() == 0


def test_thresholds_decide_and_are_recorded():
    path = resolved(LineState(uu=1.0, uw=0.0, ww=1.0))  # ζ rises to 0.707
    low = mechanisms(path, alignment_threshold=0.70, rescaling_threshold=0.34)
    high = mechanisms(path, alignment_threshold=0.71, rescaling_threshold=0.35)
    assert low.mechanism_acts.values.tolist() == [True, False, True]
    assert high.mechanism_acts.values.tolist() == [False, False, False]  # ln √2 = 0.3466
    assert high.attrs["alignment_threshold"] == 0.71


@pytest.mark.parametrize("preset", ["ntk", "kaiming"])
def test_kernel_phase_has_no_mechanism_as_the_width_grows(preset):
    law, widths = PRESETS[preset], [1e2, 1e4, 1e6, 1e8]
    state = law.sample(widths, draws=50, seed=2)
    change = mechanisms(resolved(state, law.network(widths), records=41)).mechanism_change.median(
        "draw"
    )
    for name, exponent in (("alignment", -0.5), ("disalignment", -0.5), ("rescaling", -1)):
        series = change.sel(mechanism=name)
        if float(series[0]) > 1e-12:  # a median fall of |ζ| may be zero
            slope = np.log(float(series[-1] / series[0])) / log(1e6)
            assert slope == pytest.approx(exponent, abs=0.15)
    assert not bool((change.isel(width=-1) > 1e-3).any())


def test_sign_change_is_counted_and_timed():
    state = LineState(uu=1.0, uw=-0.5, ww=1.0)
    path = flow(state, NET, DATA, np.linspace(0, 10, 1001))
    found = mechanisms(path)
    crossing = time_to_residual(state, NET, DATA, 1 / 1.5).item()  # f goes from −½ over 0 to 1
    assert found.sign_changes.item() == 1
    assert crossing - 0.011 <= found.first_sign_change.item() <= crossing
    assert found.mechanism_acts.sel(mechanism=["alignment", "disalignment"]).values.all()
    assert found.mechanism_change.sel(mechanism="disalignment").item() == pytest.approx(
        0.5, abs=0.01
    )
    same = mechanisms(flow(LineState(uu=1.0, uw=0.5, ww=1.0), NET, DATA, [0, 1, 2]))
    assert same.sign_changes.item() == 0
    assert np.isnan(same.first_sign_change)


def given(zeta, times=None):
    """A trajectory of unit layers with this ζ."""
    times = np.arange(len(zeta), dtype=float) if times is None else times
    zeta = xr.DataArray(np.asarray(zeta, dtype=float), dims="time", coords={"time": times})
    one = xr.ones_like(zeta)
    return xr.Dataset({"alignment": zeta, "uu": one, "ww": one})


@pytest.mark.parametrize(
    ("zeta", "count", "first"),
    [
        ([1e-200, -1e-200, 1e-200], 2, 0.0),  # the product underflows
        ([-0.5, -0.1, 0.0, 0.0, 0.5], 1, 3.0),
        ([0.0, 0.5, 0.0, 0.5], 0, np.nan),
        ([0.0, -0.5, 0.5], 1, 1.0),
    ],
)
def test_signs_are_compared_not_multiplied(zeta, count, first):
    found = mechanisms(given(zeta))
    assert found.sign_changes.item() == count
    np.testing.assert_equal(found.first_sign_change.item(), first)


def test_coarse_records_do_not_hide_a_zero_crossing():
    found = mechanisms(given([-0.5, 0.5]))
    assert found.mechanism_change.values.tolist() == [0.5, 0.5, 0.0]
    path = flow(LineState(uu=1.0, uw=-0.5, ww=1.0), NET, DATA, [0, inf])
    fine = mechanisms(resolved(LineState(uu=1.0, uw=-0.5, ww=1.0)))
    np.testing.assert_allclose(
        mechanisms(path).mechanism_change[:2], fine.mechanism_change[:2], rtol=1e-9
    )


def test_zero_layers_do_not_make_nan_changes():
    grows = mechanisms(flow(LineState(uu=0.0, uw=0.0, ww=1.0), NET, DATA, np.linspace(0, 9, 50)))
    assert grows.mechanism_change.sel(mechanism="rescaling").item() == inf
    assert grows.mechanism_acts.sel(mechanism=["alignment", "rescaling"]).values.all()
    dead = mechanisms(flow(LineState(uu=0.0, uw=0.0, ww=0.0), NET, DATA, [0, 1, 2]))
    assert not dead.mechanism_acts.any()
    assert (dead.mechanism_change == 0).all()


def test_descent_is_decomposed_over_steps_and_over_draws():
    law = PRESETS["mean_field"]
    path = descent(law.sample(10, draws=6, seed=1), law.network(10), DATA, steps=200, every=5)
    found = mechanisms(path)
    assert found.mechanism_acts.dims == ("mechanism", "draw")
    assert "step" in found.log_output.dims
    one = mechanisms(path.isel(draw=3))
    xr.testing.assert_allclose(found.isel(draw=3).mechanism_change, one.mechanism_change)
    assert found.mechanism_acts.any()
    assert (found.window_start.max() <= found.window_stop.max()) & (found.window_stop.max() <= 200)


def test_diverged_descent_does_not_crash():
    net = LinearNetwork(output_scale=1.0, lr_u=3.0, lr_w=3.0)
    found = mechanisms(descent(LineState(uu=1.0, uw=0.1, ww=1.0), net, DATA, steps=30))
    assert bool(found.mechanism_acts.sel(mechanism="rescaling"))


def test_results_say_what_they_are():
    found = mechanisms(flow(LineState(uu=1.0, uw=0.0, ww=1.0), NET, DATA, [0, 1]))
    known = vocabulary()
    assert all(part.attrs == known[name].attrs for name, part in found.items())


def test_refusals():
    state = LineState(uu=1.0, uw=0.0, ww=1.0)
    for times in (1.0, [1.0]):
        with pytest.raises(InputError, match="at least two values of `time` or `step`"):
            mechanisms(flow(state, NET, DATA, times))
    with pytest.raises(InputError, match="values of `time` must increase along a trajectory"):
        mechanisms(flow(state, NET, DATA, [0, 2, 1]))
    for wrong in (3.0, xr.Dataset({"uu": 1.0}), {"alignment": 1}):
        with pytest.raises(InputError, match="read off a Dataset from `flow` or `descent`, got a"):
            mechanisms(wrong)
    data = MomentData(sigma_xx=np.eye(2), sigma_yx=np.ones((1, 2)), mean_yy=3.0)
    gram = GramState.sample(5, outputs=1, inputs=2, init_std_u=1, init_std_w=1, seed=0)
    with pytest.raises(InputError, match=r"need a solution on a line.* from a GramState"):
        mechanisms(descent(gram, NET, data, steps=3))
