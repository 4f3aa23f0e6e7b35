"""The catapult against vectors, explicit weights, the recursion, and what is proved of it."""

import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.theory.catapult import catapult_descent, catapult_phases, catapult_start
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
)


def test_vector_of_the_map():
    found = catapult_descent(3.0, 0.03, steps=20).isel(step=-1)
    assert found.sharpness.item() == pytest.approx(0.22505600971279010373, rel=1e-12)
    assert found.loss.item() == pytest.approx(1.3904289689576602001e-5, rel=1e-12)


@pytest.mark.parametrize(
    ("f", "kernel", "y", "eta", "c", "steps", "end", "kernel_end"),
    [
        (0.1, 1, 0, 3, 0.01, 10, -0.16952978584192580401, 0.082708485204306052343),
        (0.2, 1.5, 1, 2, 0.02, 5, -0.013259601446612139654, 0.059265399113108373933),
    ],
)
def test_vectors(f, kernel, y, eta, c, steps, end, kernel_end):
    """Of a network of width n on one sample with c = ‖x‖²/n; their loss has ½."""
    state = LineState(uu=kernel / (2 * c), uw=f / c**0.5, ww=kernel / (2 * c))
    network = LinearNetwork(output_scale=c**0.5, lr_u=eta / 2, lr_w=eta / 2)
    start = catapult_start(state, network, LineData(mean_aa=1.0, mean_ay=y, mean_yy=y**2))
    found = catapult_descent(
        start.init_sharpness, start.init_output, target_output=start.target_output, steps=steps
    ).isel(step=-1)
    assert found.end_to_end_map.item() / (eta * c**0.5) == pytest.approx(end, rel=1e-12)
    assert found.sharpness.item() / eta == pytest.approx(kernel_end, rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_every_network_in_its_own_units(seed):
    """Explicit weights, of any rates, with a target, and the recursion, on one sample."""
    rng = np.random.default_rng(seed)
    u, w, x = rng.normal(size=(1, 6)), rng.normal(size=(6, 3)), rng.normal(size=3)
    gamma, lr_u, lr_w, y = rng.uniform(0.1, 0.3), *rng.uniform(0.2, 0.6, 2), rng.normal()
    network = LinearNetwork(output_scale=gamma, lr_u=lr_u, lr_w=lr_w)
    data = MomentData.from_samples([x], [y])
    start = catapult_start(GramState.from_weights(u, w), network, data)
    found = catapult_descent(
        start.init_sharpness, start.init_output, target_output=start.target_output, steps=12
    )
    unit = 2 * gamma * np.sqrt(lr_u * lr_w) * np.linalg.norm(x)  # F over f(x)
    unit *= np.sign(x[np.argmax(np.abs(x))])
    recursion = descent(GramState.from_weights(u, w), network, data, steps=12)
    for step in range(13):
        now = found.sel(step=step)
        out = gamma * (u @ w @ x).item()
        kernel = lr_u * np.sum((w @ x) ** 2) + lr_w * np.sum(u**2) * (x @ x)
        assert now.end_to_end_map.item() / unit == pytest.approx(out, rel=1e-9, abs=1e-12)
        assert now.sharpness.item() == pytest.approx(2 * gamma**2 * kernel, rel=1e-9)
        assert now.loss.item() / unit**2 == pytest.approx((out - y) ** 2, rel=1e-8, abs=1e-12)
        moved = recursion.ntk_trace.sel(step=step) / recursion.ntk_trace.sel(step=0) - 1
        assert now.ntk_change.item() == pytest.approx(abs(moved.item()), rel=1e-8, abs=1e-12)
        pull = 2 * gamma * (out - y)
        u, w = u - lr_u * pull * (w @ x), w - lr_w * pull * u.T * x


def test_on_a_line_it_is_the_recursion_without_renaming():
    z = xr.DataArray([0.5, 2.5, 3.5], dims="run")
    output = xr.DataArray([0.1, -0.2, 0.01], dims="run")
    state = LineState(uu=z / 2, uw=output, ww=z / 2)
    network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
    data = LineData(mean_aa=1.0, mean_ay=0.3, mean_yy=0.09)
    there = descent(state, network, data, steps=15)
    here = catapult_descent(z, output, target_output=0.3, steps=15)
    for name in ("end_to_end_map", "loss", "ntk_change"):
        assert here[name].attrs == there[name].attrs
        assert float(abs(here[name] - there[name]).max()) < 1e-11, name
    assert float(abs(here.sharpness - 2 * there.ntk_trace).max()) < 1e-11


def starts(low, high, count=400):
    """Random points of the physical set."""
    rng = np.random.default_rng(5)
    z = rng.uniform(low, high, count)
    return xr.DataArray(z, dims="run"), xr.DataArray(z / 2 * rng.uniform(-1, 1, count), dims="run")


def test_the_physical_set_is_kept():
    found = catapult_descent(*starts(0.1, 3.99), steps=300, target_output=0.0)
    assert (abs(found.end_to_end_map) <= found.sharpness / 2 + 1e-12).all()
    assert (found.sharpness.diff("step") <= 1e-15).all()  # below 4 it never grows
    assert (found.status == "ok").all()


def test_without_a_target_the_sharpness_decides():
    """Below 4 every run settles, at no more than 2; above 4 every run diverges."""
    below = catapult_phases(*starts(0.1, 3.99))
    assert set(below.catapult_phase.values) == {"lazy", "catapult"}
    assert (below.sharpness <= 2).all()
    z, output = starts(0.1, 3.99)
    assert (below.catapult_phase.values[z < 2] == "lazy").all()
    grows = output**2 < z - 2  # at the first step
    assert (below.catapult_phase.values[grows] == "catapult").all()
    above = catapult_phases(*starts(4.01, 8.0))
    assert set(above.catapult_phase.values) == {"diverges"}
    assert set(above.regime.values) == {"unstable"}
    assert np.isinf(above.peak_step).all()


def test_at_four_the_output_triples_its_angle():
    """F = 2 sin θ, and after t steps its size is that of 2 sin 3ᵗθ: chaos, known exactly."""
    angle = 0.3
    found = catapult_descent(4.0, 2 * np.sin(angle), steps=12)
    assert (found.sharpness == 4.0).all()
    expected = np.abs(2 * np.sin(angle * 3.0 ** np.arange(13)))
    np.testing.assert_allclose(abs(found.end_to_end_map), expected, rtol=1e-9)
    judged = catapult_phases(4.0, 0.1, steps=500)
    assert judged.catapult_phase.item() == judged.regime.item() == "cannot tell"
    assert "at z = 4 the sharpness stays" in judged.status.item()


def test_degenerate_starts():
    rest = catapult_phases([0.0, 1.0, 3.0], 0.0)
    assert rest.catapult_phase.values.tolist() == ["lazy"] * 3
    assert rest.status.values.tolist()[:2] == ["ok", "ok"]
    assert "a push would make it diverge or fly" in rest.status.values[2]
    assert (rest.ntk_change == 0).all()
    fast = catapult_descent(1.0, 1e-3, steps=2)  # z = 1: each step squares the error, and more
    np.testing.assert_allclose(fast.end_to_end_map, [1e-3, 1e-9, 1e-9 * 3e-6], rtol=1e-5)
    edge = catapult_phases(2.0, 0.1)
    assert edge.catapult_phase.item() == "lazy"
    assert edge.sharpness.item() < 2
    full = catapult_phases([1.0, 3.9], xr.DataArray([0.5, -1.95], dims="init_sharpness"))
    assert (full.catapult_phase != "diverges").all()  # F = ±z/2, one layer is the other's multiple
    huge = catapult_phases(1e70, 1.0)
    assert (huge.catapult_phase.item(), huge.status.item()) == ("diverges", "diverged")
    gone = catapult_descent(5.0, 1.0, steps=60)
    assert gone.status.item().startswith("diverged at step ")
    assert np.isinf(gone.isel(step=-1).loss)


def test_a_fit_may_need_a_sharpness_that_is_not_there():
    """A target of size Y needs z ≥ 2|Y|: a small start grows a kernel; beyond Y = 1 none fits."""
    grown = catapult_phases(0.01, 0.0, target_output=0.4)
    assert grown.sharpness.item() == pytest.approx(0.8, rel=0.02)
    assert grown.regime.item() == "rich"
    beyond = catapult_phases(0.01, 0.0, target_output=1.2, steps=2000)
    assert beyond.catapult_phase.item() in ("diverges", "cannot tell")


def test_steps_to_the_peak():
    """Near ln(1/w₀)/(2 ln|z₀ − 1|), for networks of width n that start at 1/√n."""
    widths = np.array([1e2, 1e4, 1e6, 1e8])
    found = catapult_phases(3.0, widths**-0.5)
    assert found.peak_step.values.tolist() == [4, 7, 11, 14]
    np.testing.assert_allclose(np.log(widths) / 2 / np.log(2), [3.3, 6.6, 10, 13.3], atol=0.1)
    heights = found.loss_growth.values / widths
    assert ((heights > 0.5) & (heights < 1)).all()


def test_axes_are_runs_alone():
    grid = catapult_phases([1.0, 3.0, 5.0], [0.01, 0.2], target_output=[0.0, 0.1])
    for z in (1.0, 3.0, 5.0):
        for output in (0.01, 0.2):
            alone = catapult_phases(z, output, target_output=0.1)
            cell = grid.sel(init_sharpness=z, init_output=output, target_output=0.1)
            assert cell.catapult_phase.item() == alone.catapult_phase.item()
            np.testing.assert_array_equal(cell.sharpness, alone.sharpness)
    path = catapult_descent([1.0, 3.0], 0.01, steps=9, every=4)
    assert path.step.values.tolist() == [0, 4, 8, 9]
    assert dict(path.sharpness.sizes) == {"init_sharpness": 2, "step": 4}


LINE = LineData(mean_aa=1.0, mean_ay=0.0, mean_yy=0.0)
UNIT = LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0)


def of_moments(xx, yx):
    data = MomentData(sigma_xx=np.array(xx), sigma_yx=np.array(yx), mean_yy=9.0)
    return catapult_start(GramState.from_weights([[1.0]], [[0.5, 0.5]]), UNIT, data)


def test_what_breaks_an_assumption_is_refused():
    with pytest.raises(InputError, match=r"at most `init_sharpness`/2 = 0.5, got 0.6, which is"):
        catapult_descent(1.0, 0.6, steps=1)
    with pytest.raises(InputError, match=r"must lie on one line, .* they have 0.32 of their size"):
        of_moments([[1.0, 0.0], [0.0, 0.1]], [[1.0, 0.0]])
    with pytest.raises(InputError, match="one output and as many inputs as its data, got 1 and 2"):
        of_moments([[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(InputError, match="a LineState goes with LineData"):
        catapult_start(GramState.from_weights([[1.0]], [[0.5]]), UNIT, LINE)
    with pytest.raises(InputError, match="`lr_u` must be > 0: both layers learn"):
        catapult_start(
            LineState(uu=1.0, uw=0.0, ww=1.0),
            LinearNetwork(output_scale=1.0, lr_u=0.0, lr_w=1.0),
            LINE,
        )
    with pytest.raises(InputError, match="`init_sharpness` must be finite and ≥ 0"):
        catapult_phases(-1.0, 0.0)
    with pytest.raises(InputError, match="`target_output` must be finite"):
        catapult_phases(1.0, 0.0, target_output=np.nan)
    with pytest.raises(InputError, match="`steps` over `every` must be at most 1e"):
        catapult_descent(1.0, 0.0, steps=1e12)
    with pytest.raises(InputError, match=r"got sharpness\. Rename it"):
        catapult_phases(xr.DataArray([1.0, 2.0], dims="sharpness"), 0.0)
