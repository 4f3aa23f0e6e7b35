"""Measured diagrams: means, exponents and phases of studies; refinement."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError, StoreError
from lazyrich.study.measured import measured_diagram
from lazyrich.study.refinement import Plane, level_curve, refine, sweep_refined
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.store.grid import grid

WIDTHS = np.array([64, 256, 1024, 4096])


def test_widths_on_the_plane_have_no_exponents():
    d = xr.DataArray([16, 64, 256, 1024], dims="width")
    change = (d.astype(float) ** -0.5).expand_dims(b=[1, 2], seed=[0, 1])
    data = xr.Dataset({"ntk_change": change}).assign_coords(width=d)
    found = measured_diagram(data, "b", "width")
    assert list(found.data_vars) == ["ntk_change"]
    assert found.ntk_change.dims == ("width", "b")


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
    assert found.phase.sel(b=1).values.tolist() == ["kernel", "feature"]
    assert found.phase.sel(b=2).values.tolist() == ["unstable", "unstable"]
    np.testing.assert_allclose(found.ntk_change.sel(a=-1, b=1), 1 / WIDTHS)  # geometric mean
    np.testing.assert_allclose(found.ntk_change_exponent.sel(a=-1, b=1), -1)
    assert (found.ntk_change_exponent_low <= found.ntk_change_exponent).all()
    assert (found.ntk_change_exponent <= found.ntk_change_exponent_high).all()
    assert not {"ntk_change_low", "ntk_change_high"} & set(found)  # ends of another interval
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
        (lambda: Plane(x="x", y="x", level=1.0), "two axes and a depth"),
        (lambda: refine(study(x=[2.0, 1.0]), values_of(study()), PLANE), "increasing numbers"),
        (
            lambda: refine(study(), values_of(study()).expand_dims(a=2), PLANE),
            "must have two dimensions, or one",
        ),
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
    assert found.phase.item() == "kernel"
    np.testing.assert_allclose(found.ntk_change.squeeze(), 1 / WIDTHS)


def test_the_largest_width_decides_whatever_their_order():
    data = diverging()
    data["status"] = data.status.where(data.width < WIDTHS[-1], "diverged")
    for order in (slice(None), slice(None, None, -1)):
        found = measured_diagram(data.isel(width=order), "x", "y")
        assert found.phase.item() == "unstable"


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
    assert got.data.sizes["point"] == got.places
    curves = level_curve(got.data.ntk_change.isel(step=-1), 1.0, x="x", y="y")
    assert curves
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
    return grid(data, "width", "seed").ntk_change.isel(step=-1, seed=0, width=0)


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


def test_a_refined_sweep_runs_the_users_own_points_too(tmp_path):
    with ThreadPoolExecutor(1) as executor:
        options = {"executor": executor, "progress": False}
        before = sweep_refined(study(), tmp_path, PLANE, **options)
        more = replace(study(), extra=[{"x": 0.5, "y": 7.0}])
        got = sweep_refined(more, tmp_path, PLANE, extend=True, **options)
    assert len(got.study) == len(before.study) + 1
    found = got.data.ntk_change.isel(step=-1, point=(got.data.x == 0.5) & (got.data.y == 7.0))
    assert found.values.tolist() == [3.5]


def test_a_refined_sweep_recovers_from_a_store_that_was_being_made(tmp_path):
    (tmp_path / "store.sqlite").touch()
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
