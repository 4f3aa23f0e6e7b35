"""Exponents against linregress and known powers, phases against exact scaling laws, refinement."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from lazyrich import (
    InputError,
    LineData,
    ScalingLaw,
    StoreError,
    fit_exponent,
    order_parameters,
)
from lazyrich.study.measured import PHASES, measured_diagram, phases, width_exponents, within
from lazyrich.study.refinement import Plane, level_curve, refine, sweep_refined
from lazyrich.sweeps.describe.description import Study

WIDTHS = np.array([64, 256, 1024, 4096])


def ladder(rng, noise, **dims):
    shape = (len(WIDTHS), *dims.values())
    power = rng.normal(size=(1, *shape[1:-1], 1))
    width = WIDTHS.reshape(-1, *[1] * len(dims)).astype(float)
    values = 3 * width**power * np.exp(noise * rng.normal(size=shape))
    return power.squeeze(), xr.DataArray(values, dims=("width", *dims)).assign_coords(width=WIDTHS)


def test_widths_on_the_plane_have_no_exponents():
    d = xr.DataArray([16, 64, 256, 1024], dims="width")
    change = (d.astype(float) ** -0.5).expand_dims(b=[1, 2], seed=[0, 1])
    data = xr.Dataset({"ntk_change": change}).assign_coords(width=d)
    found = measured_diagram(data, "b", "width")
    assert list(found.data_vars) == ["ntk_change"]
    assert found.ntk_change.dims == ("width", "b")


def test_exponents_and_intervals_are_those_of_linregress(rng):
    _, values = ladder(rng, 0.3, x=3, y=2, seed=5)
    values[1, 0, 0, 2], values[0, 1, 1, :], values[2, 2, 0, 0] = np.nan, 0.0, -values[2, 2, 0, 0]
    values[3, 1, 0, 1] = np.inf
    got = width_exponents(values, confidence=0.9)
    for i, j in product(range(3), range(2)):
        sizes = abs(values[:, i, j].values)
        good = np.isfinite(sizes) & (sizes > 0)
        x = np.log(np.broadcast_to(WIDTHS[:, None], sizes.shape)[good])
        fit = stats.linregress(x, np.log(sizes[good]))
        half = stats.t.ppf(0.95, good.sum() - 2) * fit.stderr
        at = got.isel(x=i, y=j)
        assert at.samples == good.sum()
        expected = (fit.slope, fit.slope - half, fit.slope + half)
        np.testing.assert_allclose((at.exponent, at.low, at.high), expected, rtol=1e-10)


def test_exponents_are_those_of_fit_exponent(rng):
    _, values = ladder(rng, 0.1, x=4, seed=3)
    got = width_exponents(values)
    for i in range(4):
        expected = fit_exponent(values[:, i])
        xr.testing.assert_allclose(got.isel(x=i)[["exponent", "low", "high"]], expected)


def test_exact_powers_have_intervals_without_length(rng):
    power, values = ladder(rng, 0.0, x=6, seed=2)
    got = width_exponents(values)
    np.testing.assert_allclose(got.exponent, power, atol=1e-12)
    np.testing.assert_allclose(got.high - got.low, 0, atol=1e-6)


def test_the_interval_holds_its_level(rng):
    power, values = ladder(rng, 0.5, x=4000, seed=3)
    covered = within(width_exponents(values), xr.DataArray(power, dims="x")).mean()
    assert covered == pytest.approx(0.95, abs=0.015)


def test_two_widths_with_values_give_no_exponent(rng):
    _, values = ladder(rng, 0.1, x=2, seed=3)
    values[2:, 0] = np.nan
    got = width_exponents(values)
    assert np.isnan(got.exponent[0])
    assert np.isnan(got.low[0])
    assert np.isfinite(got.exponent[1])
    assert PHASES[int(phases(got)[0])] == "undecided"


def test_phases_are_those_of_the_scaling_law():
    """Random exponents, exact order parameters of sampled networks: kernel or feature."""
    rng = np.random.default_rng(5)
    data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
    widths = xr.DataArray(np.geomspace(1e6, 1e12, 5).round(), dims="width")
    widths = widths.assign_coords(width=widths.values)
    seen = set()
    for _ in range(25):
        law = ScalingLaw.from_exponents(*[f"{n}/2" for n in rng.integers(-3, 4, 5)]).at_unit_rate()
        order = order_parameters(law.sample(widths, draws=40, rng=rng), law.network(widths), data)
        fit = width_exponents(order.ntk_change, repeats=("draw",))
        found = PHASES[int(phases(fit))]
        assert found == law.phase, law
        seen.add(found)
    assert seen == {"kernel", "feature"}


@pytest.mark.parametrize(
    ("change", "progress", "diverged", "expected"),
    [
        ((-1.2, -0.8), (-0.05, 0.02), 0.0, "kernel"),
        ((-0.05, 0.3), (-0.05, 0.02), 0.0, "feature"),
        ((-0.3, 0.3), (-0.05, 0.02), 0.0, "undecided"),
        ((-1.2, -0.8), (-0.6, -0.4), 0.0, "frozen"),
        ((-1.2, -0.8), (-0.6, -0.4), 0.6, "unstable"),
        ((np.nan, np.nan), (np.nan, np.nan), 1.0, "unstable"),
        ((np.nan, np.nan), (np.nan, np.nan), 0.0, "undecided"),
    ],
)
def test_phases_from_intervals(change, progress, diverged, expected):
    fits = [xr.Dataset({"low": low, "high": high}) for low, high in (change, progress)]
    code = phases(fits[0], progress=fits[1], diverged=xr.DataArray(diverged))
    assert PHASES[int(code)] == expected
    assert code.flag_meanings.split() == list(PHASES)


def family():
    """Kernel at a = −1, feature at a = 0; the second half of b diverges at the largest width."""
    a = xr.DataArray([-1.0, 0.0], dims="a", coords={"a": [-1.0, 0.0]})
    width = xr.DataArray(WIDTHS.astype(float), dims="width", coords={"width": WIDTHS})
    spread = xr.DataArray([0.99, 1 / 0.99], dims="seed")
    change = (width**a).expand_dims(b=[1, 2], seed=[0, 1]) * spread
    change = xr.concat([0 * change, change], "step")  # ends at the power law
    late = (change.b == 2) & (change.width == 4096) & (change.a > -9) & (change.seed >= 0)
    status = xr.where(late, "diverged", "finished")
    return xr.Dataset({"ntk_change": change, "status": status})


def test_the_diagram_has_means_exponents_and_phases():
    found = measured_diagram(family(), "a", "b")
    assert found.phase.dims == ("b", "a")
    assert [PHASES[code] for code in found.phase.sel(b=1).values] == ["kernel", "feature"]
    assert [PHASES[code] for code in found.phase.sel(b=2).values] == ["unstable", "unstable"]
    np.testing.assert_allclose(found.ntk_change.sel(a=-1, b=1), 1 / WIDTHS)  # geometric mean
    np.testing.assert_allclose(found.ntk_change_exponent.sel(a=-1, b=1), -1)
    assert (found.diverged.sel(b=1) == 0).all()
    assert found.diverged.sel(b=2).isel(width=-1).min() == 1


def test_without_a_ladder_there_are_maps_alone():
    found = measured_diagram(family().sel(width=64), "a", "b")
    assert set(found.data_vars) == {"ntk_change", "diverged"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measured_diagram(family(), "a", "c"), "must be axes of the study.*got c"),
        (lambda: measured_diagram(family(), "a", "width"), "no axes but.*got b"),
        (
            lambda: measured_diagram(family(), "a", "b", order=["nfa"]),
            r"`order` must be.*\['nfa'\]",
        ),
        (lambda: width_exponents(family().ntk_change.isel(width=[0, 1])), "at least three values"),
        (lambda: width_exponents(family().ntk_change, confidence=1.0), "between 0 and 1, got 1"),
        (lambda: Plane(x="x", y="x", level=1.0), "two axes and a depth"),
        (lambda: refine(study(x=[2.0, 1.0]), values_of(study()), PLANE), "increasing numbers"),
        (lambda: refine(study(), values_of(study()).expand_dims(a=2), PLANE), "alone, got"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()


def diverging():
    """A plane of one point: change ∝ 1/width, but for one network that diverged."""
    width, seeds = WIDTHS.astype(float), np.arange(3)
    change = np.broadcast_to(1 / width[:, None], (4, 3)).copy()
    status = np.full(change.shape, "finished", dtype="<U8")
    change[1, 2], status[1, 2] = 1e6, "diverged"
    dims = ("width", "seed")
    data = xr.Dataset({"ntk_change": (dims, change), "status": (dims, status)})
    return data.assign_coords(width=WIDTHS, seed=seeds).expand_dims(x=[1.0], y=[1.0])


def test_networks_that_diverged_enter_no_exponent():
    found = measured_diagram(diverging(), "x", "y")
    assert found.ntk_change_exponent.item() == pytest.approx(-1)
    assert PHASES[found.phase.item()] == "kernel"
    np.testing.assert_allclose(found.ntk_change.squeeze(), 1 / WIDTHS)


def test_the_largest_width_decides_whatever_their_order():
    data = diverging()
    data["status"] = data.status.where(data.width < WIDTHS[-1], "diverged")
    for order in (slice(None), slice(None, None, -1)):
        found = measured_diagram(data.isel(width=order), "x", "y")
        assert PHASES[found.phase.item()] == "unstable"


def test_a_refined_sweep_does_not_take_a_foreign_folder(tmp_path):
    with ThreadPoolExecutor(1) as executor:
        options = {"executor": executor, "progress": False}
        sweep_refined(study(), tmp_path / "s", PLANE, **options)
        with pytest.raises(StoreError, match="another description"):
            sweep_refined(replace(study(), name="other"), tmp_path / "s", PLANE, **options)
        plane = replace(PLANE, at={"bogus": 3})
        with pytest.raises(InputError, match="`at` must give other axes one of their values"):
            sweep_refined(study(), tmp_path / "t", plane, **options)
    assert not (tmp_path / "t").exists()


PLANE = Plane(x="x", y="y", level=1.0, depth=2)
COARSE = [0.1, 0.3, 1.0, 3.0, 10.0]


def study(**axes):
    return Study(
        name="plane",
        experiment="tests.study.planes:Product",
        axes={"x": COARSE, "y": COARSE, **axes},
    )


def values_of(some):
    """`x y` at all points of a study, by coordinate."""
    places = {(p.place["x"], p.place["y"]) for p in some.points()}
    xs, ys = (sorted({place[i] for place in places}) for i in (0, 1))
    table = np.full((len(ys), len(xs)), np.nan)
    for x, y in places:
        table[ys.index(y), xs.index(x)] = x * y
    return xr.DataArray(table, dims=("y", "x"), coords={"y": ys, "x": xs})


def refined(some, plane):
    while (finer := refine(some, values_of(some), plane)) is not some:
        some = finer
    return some


def test_refinement_finds_the_cells_that_a_uniform_grid_would():
    """Every cell of the finest grid that the curve crosses has all its corners."""
    end = refined(study(), PLANE)
    fine = np.array(COARSE)
    for _ in range(2):
        middles = [float(f"{m:.12g}") for m in np.sqrt(fine[1:] * fine[:-1])]
        fine = np.insert(fine, range(1, fine.size), middles)
    places = {(p.place["x"], p.place["y"]) for p in end.points()}
    assert places <= set(product(fine, fine))
    crossed = 0
    for i, j in product(range(16), repeat=2):
        corners = list(product(fine[i : i + 2], fine[j : j + 2]))
        if len({x * y >= 1.0 for x, y in corners}) == 2:
            crossed += 1
            assert places.issuperset(corners)
    assert crossed > 16
    assert len(places) < 0.6 * 17**2


def test_deeper_refinement_spends_in_proportion_to_the_length_of_the_curve():
    """A uniform grid grows fourfold each time that the cells are halved, a refined one twofold."""
    spent = []
    for depth in (2, 3, 4):
        plane = Plane(x="x", y="y", level=1.0, depth=depth)
        spent.append(len(refined(study(), plane)))
    assert spent[2] - spent[1] < 2.3 * (spent[1] - spent[0])
    assert spent[2] < 0.2 * (4 * 2**4 + 1) ** 2


def test_a_boundary_outside_costs_nothing():
    plane = Plane(x="x", y="y", level=1e6)
    some = study()
    assert refine(some, values_of(some), plane) is some


def test_new_points_are_made_where_the_plane_lies():
    some = study(width=[64, 256], limit=[5.0, 7.0])
    plane = Plane(x="x", y="y", level=1.0, depth=1, at={"width": 256})
    values = values_of(study())
    finer = refine(some, values, plane)
    assert {entry["width"] for entry in finer.extra} == {256}
    assert {entry["limit"] for entry in finer.extra} == {5.0, 7.0}


def test_a_refined_sweep_ends_with_the_curve_and_resumes(tmp_path):
    with ThreadPoolExecutor(1) as executor:
        options = {"executor": executor, "progress": False}
        got = sweep_refined(study(), tmp_path / "s", PLANE, **options)
        again = sweep_refined(study(), tmp_path / "s", PLANE, **options)
    assert again.study == got.study
    assert got.places == len(got.study) < got.uniform == 17**2
    assert int((got.data.status == "finished").sum()) == got.places
    curves = level_curve(got.data.ntk_change.isel(step=-1, seed=0).transpose("y", "x"), 1.0)
    for curve in curves:
        np.testing.assert_allclose(curve.x * curve.y, 1.0, rtol=1e-2)


@pytest.mark.parametrize(
    ("axes", "at", "names"),
    [
        ({"limit": [5.0, 7.0]}, None, "limit"),
        ({"width": [64, 256, 1024]}, None, "width"),
        ({"width": [64]}, None, "width"),
        ({"width": [64, 256], "limit": [5.0, 7.0]}, {"limit": 7.0}, "width"),
        ({"width": [64, 256], "limit": [5.0, 7.0]}, None, "width, limit"),
    ],
)
def test_a_quantity_needs_one_value_a_place_before_anything_is_trained(tmp_path, axes, at, names):
    plane = replace(PLANE, at=at)
    message = rf"`at` must give every axis but 'x' and 'y' a value .* got none for {names}\. "
    with pytest.raises(InputError, match=message):
        sweep_refined(study(**axes), tmp_path / "s", plane, progress=False)
    assert not (tmp_path / "s").exists()


def _narrow(data):
    return data.ntk_change.isel(step=-1, seed=0, width=0)


@pytest.mark.parametrize(
    ("at", "field", "widths"),
    [({"width": 256}, "ntk_change", {256}), (None, _narrow, {64, 256})],
)
def test_a_ladder_is_refined_at_one_width_or_by_a_function(tmp_path, at, field, widths):
    some, plane = study(width=[64, 256]), replace(PLANE, at=at)
    with ThreadPoolExecutor(1) as executor:
        got = sweep_refined(some, tmp_path, plane, field=field, executor=executor, progress=False)
    assert {entry["width"] for entry in got.study.extra} == widths
    assert got.places == len(refined(study(), PLANE))


@pytest.mark.parametrize("value", ["largest-stable", 0.1, True, None])
def test_a_plane_lies_at_a_value_that_is_no_number(tmp_path, value):
    """Where an axis holds more than numbers, its labels in the results are texts."""
    some = study(other=[value, "else"])
    plane = replace(PLANE, at={"other": value}, depth=1)
    with ThreadPoolExecutor(1) as executor:
        got = sweep_refined(some, tmp_path, plane, executor=executor, progress=False)
    assert {entry["other"] for entry in got.study.extra} == {value}


def test_a_refined_sweep_recovers_from_a_store_that_was_being_made(tmp_path):
    (tmp_path / "arrays").mkdir()
    (tmp_path / "record.sqlite").touch()
    with ThreadPoolExecutor(1) as executor:
        got = sweep_refined(study(), tmp_path, PLANE, executor=executor, progress=False)
    assert got.places == len(got.study)


def test_a_level_curve_is_found_between_scattered_points(rng):
    """A circle in the plane, seen at a random half of the points of a grid."""
    x = xr.DataArray(np.linspace(-2, 2, 41), dims="x").assign_coords(x=np.linspace(-2, 2, 41))
    values = np.exp(x**2 + x.rename(x="y") ** 2)
    values = values.where(rng.random(values.shape) < 0.5)
    curve, *rest = level_curve(values, np.exp(1.0), name="circle")
    assert not rest
    assert curve.name == "circle"
    np.testing.assert_allclose(np.hypot(curve.x, curve.y), 1, atol=0.03)
    assert level_curve(values * np.nan, 1.0) == ()
