"""Values of every kind keep their type in results, on grids with gaps, and in files."""

import subprocess
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lazyrich import InputError, Study, results
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.store.export import export
from lazyrich.sweeps.store.grid import grid
from lazyrich.sweeps.store.results import assemble
from lazyrich.sweeps.store.store import Store

BIG = 2**53 + 1
VALUES = {
    "complex": np.array([1 + 2j, -3j]),
    "date": np.array(["2026-11-28T12:00", "1969-07-20"], "M8[ns]"),
    "span": np.array([5, -7], "m8[s]"),
    "whole": np.array([BIG, -BIG]),
    "unsigned": np.array([2**64 - 1, 0], "u8"),
    "flag": np.array([True, False]),
    "long": np.array([1, 1], np.longdouble) / 3,
    "single": np.array([0.1, 0.2], "f4"),
    "word": np.array(["a", "bc"]),
    "raw": np.array([b"x", b"yz"]),
}


def assembled(name, gap):
    """The two values on a grid, a third place being empty if there is a gap; and inside too."""
    pairs = [
        ({"x": i}, Result(status="finished", sentence="", data=xr.Dataset({name: one, **inner})))
        for i, one in enumerate(VALUES[name])
        for inner in [{f"{name}_inside": ("t", VALUES[name][: 2 - i * gap])}]
    ]
    return assemble(pairs, {"x": [0, 1, 2][: 2 + gap]})


@pytest.mark.parametrize("name", VALUES)
def test_values_keep_their_type_where_nothing_is_missing(name):
    data = assembled(name, gap=False)
    dtype = VALUES[name].dtype if name != "single" else np.dtype("f8")
    for found in (data[name], data[f"{name}_inside"][1]):
        assert found.dtype == dtype
        assert found.values.tolist() == VALUES[name].tolist()


@pytest.mark.parametrize("name", VALUES)
def test_values_stay_what_they_are_beside_missing_ones(name):
    data = assembled(name, gap=True)
    found = data[name].values
    assert found[:2].tolist() == VALUES[name].tolist()
    assert [type(one) for one in found[:2].tolist()] == [type(one) for one in VALUES[name].tolist()]
    if name == "word":
        assert found[2] == ""
    elif name == "raw":
        assert found[2] == b""
    else:
        assert pd.isna(found[2])
    assert data[f"{name}_inside"].values[0].tolist() == VALUES[name].tolist()
    assert data[f"{name}_inside"].values[1, :1].tolist() == VALUES[name][:1].tolist()


def test_small_whole_numbers_beside_missing_ones_are_floats():
    pairs = [({"x": 0}, Result(status="finished", sentence="", data=xr.Dataset({"n": 7})))]
    data = assemble(pairs, {"x": [0, 1]})
    assert data.n.dtype == float
    np.testing.assert_array_equal(data.n, [7, np.nan])


def test_labels_keep_their_type_too():
    days = np.array(["2026-11-28", "2026-11-29"], "M8[ns]")
    pairs = [
        ({"x": i}, Result(status="finished", sentence="", data=one))
        for i, one in enumerate(
            xr.Dataset({"loss": ("day", np.ones(n))}, {"day": days[:n]}) for n in (1, 2)
        )
    ]
    data = assemble(pairs, {"x": [0, 1]})
    assert data.day.dtype == days.dtype
    assert data.sel(day="2026-11-29").loss.values.tolist()[1] == 1.0


def everything():
    """Every kind of value on a grid with a gap, and attributes of every kind."""
    parts = [assembled(name, gap=True)[[name]] for name in VALUES if name != "raw"]
    data = xr.merge(parts, compat="override")
    data = data.assign(broken=("x", ["\ud800", "b", ""]))
    data.attrs = {"none": None, "table": {"a": [1, None]}, "truth": True, "\udc80": "\udfff"}
    data["whole"].attrs = {"none": None, "numbers": [1.5, 2.5], "big": 2**70}
    return data


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_arrays_of_every_kind_go_to_files(tmp_path, suffix):
    path = export(everything(), tmp_path / f"out{suffix}")
    options = {"engine": "netcdf4", "auto_complex": True} if suffix == ".nc" else {"engine": "zarr"}
    with xr.open_dataset(path, mask_and_scale=False, **options) as back:
        assert back.whole.values[:2].tolist() == [BIG, -BIG]
        assert back.flag.values.tolist() == [1, 0, back.flag.attrs["_FillValue"]]
        assert back.complex.values[:2].tolist() == VALUES["complex"].tolist()
        assert back.broken.values.tolist() == ["\\ud800", "b", ""]
        assert back.attrs["none"] == "null"
        assert back.attrs["table"] == '{"a": [1, null]}'
        assert back.attrs["_"] == "\\udfff"
        assert back.whole.attrs["big"] == str(2**70)
    with xr.open_dataset(path, **options) as back:
        assert back.date.values[:2].tolist() == VALUES["date"].tolist()
        np.testing.assert_array_equal(back.flag, [1, 0, np.nan])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_tables_of_every_kind_go_to_files(tmp_path, suffix):
    path = export(everything(), tmp_path / f"out{suffix}")
    if suffix == ".csv":
        rows = pd.read_csv(path, dtype={"whole": "Int64", "flag": "boolean"})
    else:
        import pyarrow.parquet as pq

        rows = pq.read_table(path).to_pandas(integer_object_nulls=True)
    assert rows.whole[:2].tolist() == [BIG, -BIG]
    assert rows.flag[:2].tolist() == [True, False]
    assert (rows.complex_real[0], rows.complex_imag[0]) == (1.0, 2.0)
    assert rows.broken[0] == "\\ud800"


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A trace of thirty steps."""

    a: float = 0.0
    b: float = 0.0
    seed: int = 0

    def run(self):
        data = xr.Dataset({"loss": (("step", "layer"), np.full((30, 4), self.a))})
        return Result(status="finished", sentence="", data=data)


def test_points_off_the_grid_do_not_make_a_dense_table(tmp_path):
    chance = np.random.default_rng(0)
    extra = [{"a": a, "b": b} for a, b in chance.random((903, 2)).round(6)]
    axes = {"a": [0.0, 1.0], "b": [0.0, 1.0]}
    study = Study(name="free", experiment=f"{__name__}:Plain", axes=axes, extra=extra)
    with Store.open(tmp_path / "out", study) as store:
        store.write((p, p.experiment.run()) for p in study.points())
    data = results(tmp_path / "out")
    assert data.sizes["point"] == len(study) == 907
    assert data.nbytes < 2e6
    np.testing.assert_array_equal(data.loss[:, 0, 0], data.a)
    assert data.a.values[4:].tolist() == [point["a"] for point in extra]
    assert data.attrs["axes"] == ["a", "b", "seed"]
    some = grid(data.isel(point=slice(20)))
    assert some.loss.dims == ("a", "b", "seed", "layer", "step")
    assert int((some.status != "").sum()) == 20
    assert some.sel(a=extra[3]["a"], b=extra[3]["b"]).loss.values[0, 0, 0] == extra[3]["a"]


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".parquet", ".csv"])
def test_a_full_disk_is_called_a_full_disk(tmp_path, suffix):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        data = xr.Dataset({"x": ("a", np.random.default_rng(0).random(200_000))})
        with pytest.raises(OSError, match="No space left on device"):
            export(data, disk / f"out{suffix}")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_times_that_no_unit_holds_together_are_refused():
    """NumPy would let the year 3000 overflow to 1830 beside nanoseconds."""
    far, near = np.datetime64("3000-01-01", "s"), np.datetime64("2020-01-01", "ns")
    pairs = [
        ({"x": i}, Result(status="finished", sentence="", data=xr.Dataset({"t": one})))
        for i, one in enumerate((far, near))
    ]
    with pytest.raises(InputError, match="times in one array must have units that hold all of"):
        assemble(pairs, {"x": [0, 1]})
    whole = assemble(pairs[:1], {"x": [0]})
    assert whole.t.values[0] == far


@pytest.mark.parametrize("axis", ["layer", "time", "record", "there"])
def test_an_axis_may_have_the_name_of_a_dimension(axis, tmp_path):
    single = Result(status="finished", sentence="", data=xr.Dataset({"loss": 0.5}))
    data = assemble([({axis: 3}, single)], {axis: [3, 4]})
    assert data.loss.sel({axis: 3}).item() == 0.5
    assert len(pd.read_csv(export(data, tmp_path / "out.csv"))) == 1


def test_attributes_of_two_dimensions_and_mixed_numbers_go_to_files(tmp_path):
    pairs = [
        ({"x": i}, Result(status="finished", sentence="", data=xr.Dataset({"n": one})))
        for i, one in enumerate((np.int64(2**53 + 1), np.float64(0.5), np.uint64(7)))
    ]
    data = assemble(pairs, {"x": [0, 1, 2]}).assign_attrs(matrix=np.zeros((2, 2)))
    assert data.n.values.tolist() == [2**53 + 1, 0.5, 7]
    for suffix in (".nc", ".zarr"):
        path = export(data, tmp_path / f"out{suffix}")
        with xr.open_dataset(path, engine="zarr" if suffix == ".zarr" else None) as back:
            np.testing.assert_allclose(back.n, [2.0**53, 0.5, 7])
            assert back.attrs["matrix"] == "[[0.0, 0.0], [0.0, 0.0]]"


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".parquet", ".csv"])
def test_nothing_but_missing_values_goes_to_files(tmp_path, suffix):
    """A selection of a grid may hold the gap alone."""
    gap = everything()[["flag", "whole"]].isel(x=[2])
    assert gap.flag.isnull().all()
    assert gap.whole.isnull().all()
    assert export(gap.assign(n=("x", [1.0])), tmp_path / f"out{suffix}").exists()


def test_whole_numbers_that_no_type_holds_are_text_in_arrays(tmp_path):
    pairs = [
        ({"x": i}, Result(status="finished", sentence="", data=xr.Dataset({"n": one})))
        for i, one in enumerate((np.uint64(2**63 + 1), np.int64(-1)))
    ]
    path = export(assemble(pairs, {"x": [0, 1]}), tmp_path / "out.nc")
    with xr.open_dataset(path) as back:
        assert back.n.values.tolist() == ["9223372036854775809", "-1"]
