"""Exponents against linregress and known powers, phases against scaling laws; one judge for all."""

from itertools import product

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from torch import nn

from lazyrich import (
    InputError,
    ScalingLaw,
    coordinate_check,
    fit_exponent,
    fitted_phase,
    order_parameters,
)
from lazyrich.numerics.ladder import covers_both, within
from lazyrich.probe.steer import coordinate
from lazyrich.probe.steer.short_training import Run
from lazyrich.study import measured_diagram
from lazyrich.theory.two_layer_linear import LineData
from lazyrich.vocabulary.regimes import CANNOT_TELL

WIDTHS = np.array([64, 256, 1024, 4096])


def ladder(rng, noise, **dims):
    shape = (len(WIDTHS), *dims.values())
    power = rng.normal(size=(1, *shape[1:-1], 1))
    width = WIDTHS.reshape(-1, *[1] * len(dims)).astype(float)
    values = 3 * width**power * np.exp(noise * rng.normal(size=shape))
    return power.squeeze(), xr.DataArray(values, dims=("width", *dims)).assign_coords(width=WIDTHS)


def test_exponents_and_intervals_are_those_of_linregress(rng):
    _, values = ladder(rng, 0.3, x=3, y=2, seed=5)
    values[1, 0, 0, 2], values[0, 1, 1, :], values[2, 2, 0, 0] = np.nan, 0.0, -values[2, 2, 0, 0]
    values[3, 1, 0, 1] = np.inf
    got = fit_exponent(values, confidence=0.9)
    for i, j in product(range(3), range(2)):
        sizes = abs(values[:, i, j].values)
        good = np.isfinite(sizes) & (sizes > 0)
        x = np.log(np.broadcast_to(WIDTHS[:, None], sizes.shape)[good])
        fit = stats.linregress(x, np.log(sizes[good]))
        half = stats.t.ppf(0.95, good.sum() - 2) * fit.stderr
        at = got.isel(x=i, y=j)
        assert at.exponent_points == good.sum()
        expected = (fit.slope, fit.slope - half, fit.slope + half)
        np.testing.assert_allclose(
            (at.exponent, at.exponent_low, at.exponent_high), expected, rtol=1e-10
        )


def test_exact_powers_have_intervals_without_length(rng):
    power, values = ladder(rng, 0.0, x=6, seed=2)
    got = fit_exponent(values)
    np.testing.assert_allclose(got.exponent, power, atol=1e-12)
    np.testing.assert_allclose(got.exponent_high - got.exponent_low, 0, atol=1e-6)


def test_the_interval_holds_its_level(rng):
    power, values = ladder(rng, 0.5, x=4000, seed=3)
    covered = within(fit_exponent(values), xr.DataArray(power, dims="x")).mean()
    assert covered == pytest.approx(0.95, abs=0.015)


def test_two_widths_with_values_give_no_exponent(rng):
    _, values = ladder(rng, 0.1, x=2, seed=3)
    values[2:, 0] = np.nan
    got = fit_exponent(values)
    assert np.isnan(got.exponent[0])
    assert np.isnan(got.exponent_low[0])
    assert np.isfinite(got.exponent[1])
    assert fitted_phase(got).values[0] == CANNOT_TELL


def test_phases_are_those_of_the_scaling_law():
    """Random exponents, exact order parameters of sampled networks: kernel or feature."""
    rng = np.random.default_rng(5)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    widths = xr.DataArray(np.geomspace(1e6, 1e12, 5).round(), dims="width")
    widths = widths.assign_coords(width=widths.values)
    seen = set()
    for _ in range(25):
        law = ScalingLaw.from_exponents(*[f"{n}/2" for n in rng.integers(-3, 4, 5)]).at_unit_rate()
        order = order_parameters(law.sample(widths, draws=40, seed=rng), law.network(widths), data)
        found = fitted_phase(fit_exponent(order.ntk_change)).item()
        assert found == law.phase, law
        seen.add(found)
    assert seen == {"kernel", "feature"}


def test_any_dim_can_be_the_ladder():
    depth = xr.DataArray([2.0, 3.0, 7.0, 9.0], dims="depth", coords={"depth": [2.0, 3, 7, 9]})
    fit = fit_exponent(5 * depth**1.5, dim="depth", confidence=0.5)
    assert fit.exponent_high.attrs == {
        "long_name": "upper end of the 50 % interval of the depth exponent of: values",
        "units": "1",
    }
    assert fit.exponent.item() == pytest.approx(1.5, rel=1e-12)
    assert fit.exponent_high - fit.exponent_low < 1e-7
    assert fit.exponent_points == 4
    assert fit.attrs == {"confidence": 0.5}


def test_seeds_and_draws_are_repeats_and_other_dims_are_not(rng):
    _, values = ladder(rng, 0.3, x=2, seed=3, draw=4)
    got = fit_exponent(values)
    assert got.exponent.dims == ("x",)
    assert (got.exponent_points == 4 * 3 * 4).all()
    assert fit_exponent(values, repeats=("draw",)).exponent.dims == ("x", "seed")


def test_a_careful_interval_covers_the_slope_between_the_largest_widths(rng):
    _, values = ladder(rng, 0.3, x=5, seed=3)
    values[3, 0], values[1, 1], values[2, 2, 0] = np.nan, 0.0, np.nan
    bold = fit_exponent(values)
    order = rng.permutation(len(WIDTHS))
    careful = fit_exponent(values[order], cover_last_slope=True)
    for i in range(5):
        logs = np.log(values[:, i].where(values[:, i] > 0))
        known = logs.notnull().any("seed")
        y, x = logs.mean("seed")[known].values, np.log(WIDTHS)[known]
        last = (y[-1] - y[-2]) / (x[-1] - x[-2])
        assert careful.exponent_low[i].item() == pytest.approx(
            min(bold.exponent_low[i].item(), last)
        )
        assert careful.exponent_high[i].item() == pytest.approx(
            max(bold.exponent_high[i].item(), last)
        )
    assert (careful.exponent - bold.exponent).max() < 1e-12
    assert np.isnan(
        fit_exponent(values[:, 0].where(values.width < 999), cover_last_slope=True).exponent_low
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: fit_exponent(v[:2]), r"at least three values .*got \{'width': 2, 'seed': 2\}"),
        (lambda v: fit_exponent(v, dim="depth"), "must have the dimension `depth`"),
        (lambda v: fit_exponent(v.assign_coords(depth=1.0), dim="depth"), "the dimension `depth`"),
        (lambda v: fit_exponent(v, confidence=1.0), "`confidence` must lie between 0 and 1, got 1"),
    ],
)
def test_fit_refuses(call, message, rng):
    with pytest.raises(InputError, match=message):
        call(ladder(rng, 0.1, seed=2)[1])


def interval(pair):
    return xr.Dataset(dict(zip(("exponent_low", "exponent_high"), pair, strict=True)))


NOTHING, STILL, FALLING = (np.nan, np.nan), (-0.05, 0.02), (-1.2, -0.8)


@pytest.mark.parametrize(
    ("change", "rate", "expected"),
    [
        (FALLING, STILL, "kernel"),
        ((-0.05, 0.3), STILL, "feature"),
        ((-0.3, 0.3), STILL, CANNOT_TELL),
        (NOTHING, STILL, CANNOT_TELL),
        (FALLING, (-0.6, -0.4), "frozen"),
        (FALLING, (0.4, 0.6), "unstable"),
        (FALLING, (-0.2, 0.02), "kernel"),
        (FALLING, (-0.02, 0.2), "kernel"),
        (FALLING, (-0.3, 0.3), CANNOT_TELL),
        (FALLING, NOTHING, CANNOT_TELL),
    ],
)
def test_phase_from_change_and_rate(change, rate, expected):
    assert fitted_phase(interval(change), rate=interval(rate)).item() == expected


@pytest.mark.parametrize(
    ("progress", "expected"),
    [((-0.6, -0.4), "frozen"), ((0.4, 0.6), "kernel"), (STILL, "kernel"), (NOTHING, "kernel")],
)
def test_progress_that_has_ended_can_only_be_missing(progress, expected):
    assert fitted_phase(interval(FALLING), progress=interval(progress)).item() == expected


@pytest.mark.parametrize(
    ("change", "progress", "diverged", "expected"),
    [
        (FALLING, STILL, (0, 0, 0), "kernel"),
        (FALLING, (-0.6, -0.4), (0, 0, 0.6), "unstable"),
        (FALLING, STILL, (0, 0, 0.5), "kernel"),
        (NOTHING, NOTHING, (0, 1, 1), "unstable"),
        (NOTHING, NOTHING, (1, 1, 1), CANNOT_TELL),
        (FALLING, STILL, (np.nan, 0, np.nan), "kernel"),
    ],
)
def test_the_ends_of_the_ladder_decide_whatever_their_order(change, progress, diverged, expected):
    share = xr.DataArray(list(diverged), dims="width", coords={"width": [1, 2, 3]})
    for order in (slice(None), slice(None, None, -1)):
        found = fitted_phase(
            interval(change), progress=interval(progress), diverged=share.isel(width=order)
        )
        assert found.item() == expected


@pytest.mark.parametrize(
    ("change", "richness", "expected"),
    [
        (FALLING, FALLING, "kernel"),
        (STILL, (-0.02, 0.5), "feature"),
        (FALLING, STILL, CANNOT_TELL),
        (FALLING, (-0.15, 0.0), CANNOT_TELL),
        (STILL, NOTHING, CANNOT_TELL),
    ],
)
def test_the_forecast_has_to_agree_with_the_change(change, richness, expected):
    assert fitted_phase(interval(change), richness=interval(richness)).item() == expected


def test_an_interval_on_one_side_of_the_tolerance_does_not_cover_both():
    fits = interval(
        (("x", [-0.02, -0.2, -0.02, -0.2, np.nan]), ("x", [0.05, 0.05, 0.2, 0.2, np.nan]))
    )
    assert covers_both(fits).values.tolist() == [False, False, False, True, True]
    assert covers_both(fits, 0.3).values.tolist() == [False, False, False, False, True]


def power_law(exponent, half):
    """Values over widths and two seeds whose fit is `exponent ± half`."""
    x = np.log(WIDTHS)
    spread = 2 * ((x - x.mean()) ** 2).sum()
    off = half / stats.t.ppf(0.975, 6) * np.sqrt(spread * 6 / 8)
    logs = exponent * x[:, None] + np.array([-off, off])
    return xr.DataArray(np.exp(logs), dims=("width", "seed"), coords={"width": WIDTHS})


def by_theory(change, still):
    change, still = (part.rename(seed="draw") for part in (change, still))
    return fitted_phase(fit_exponent(change), rate=fit_exponent(still)).item()


def by_study(change, still):
    data = xr.Dataset({"ntk_change": change, "output_change": still})
    return measured_diagram(data.expand_dims(x=[1], y=[1]), "x", "y").phase.item()


def by_coordinate_check(change, still, monkeypatch, kernel):
    def run(*arguments):
        width, seed, *_ = arguments[-1]
        at = {"width": width}
        value = change.sel(at)[seed].item()
        rest = dict.fromkeys(("output_size", "loss_ratio"), 0.5)
        evidence = ("richness", "ntk_change") if kernel else ("hidden_update",)
        return Run(
            layers={"w": (1.0, 1.0)},
            owners=("w",),
            of_network={"progress": still.sel(at)[seed].item(), **rest}
            | dict.fromkeys(evidence, value),
        )

    monkeypatch.setattr(coordinate, "run_of", run)
    options = {"widths": WIDTHS.tolist(), "optimizer": 0.1, "seeds": 2}
    return coordinate_check(nn.Identity, (None, None), **options).phase


@pytest.mark.parametrize(
    ("exponent", "half", "expected"),
    [
        (-0.182, 0.005, "kernel"),
        (-0.5, 0.2, "kernel"),
        (-0.05, 0.005, "feature"),
        (0.3, 0.05, "feature"),
        (-0.12, 0.05, CANNOT_TELL),
    ],
)
def test_one_exponent_is_one_phase_on_all_three_roads(exponent, half, expected, monkeypatch):
    change, still = power_law(exponent, half), power_law(0.0, 0.01)
    fit = fit_exponent(change)
    assert fit.exponent.item() == pytest.approx(exponent, rel=1e-12)
    assert (fit.exponent_high - fit.exponent_low).item() == pytest.approx(2 * half, rel=1e-9)
    found = {
        by_theory(change, still),
        by_study(change, still),
        *(by_coordinate_check(change, still, monkeypatch, kernel) for kernel in (False, True)),
    }
    assert found == {expected}
