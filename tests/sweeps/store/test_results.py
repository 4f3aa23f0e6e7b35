"""Results on a grid, point by point against what went in; files back and forth."""

import shutil
import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.store.export import export, table
from lazyrich.sweeps.store.results import assemble, final, initial, results
from lazyrich.sweeps.store.store import Store

AXES = {"scale": [0.1, 1.0], "model": ["deep", "flat"], "seed": [0, 1]}
LAYERS = {"deep": ["a", "b", "out"], "flat": ["a", "out"]}


def result(place, status="finished"):
    """Shapes depend on the place: three layers or two, two steps or four."""
    rng = np.random.default_rng(round(100 * place["scale"]) + place["seed"])
    layers, times = LAYERS[place["model"]], 2 + 2 * place["seed"]
    data = xr.Dataset(
        {
            "loss": ("step", rng.random(times), {"units": "y^2"}),
            "nfa": (("step", "layer"), rng.random((times, len(layers)))),
            "richness": ((), rng.random()),
            "verdict": ((), "lazy"),
        },
        {"layer": layers, "step": 10 * np.arange(times)},
    )
    return Result(status=status, sentence="it ended", data=data, seconds=1.5)


def places():
    for scale in AXES["scale"]:
        for model in AXES["model"]:
            for seed in AXES["seed"]:
                yield {"scale": scale, "model": model, "seed": seed}


def pairs(missing=()):
    return [(place, result(place)) for i, place in enumerate(places()) if i not in missing]


def test_every_number_stands_at_its_place():
    data = assemble(pairs(missing=[3]), AXES)
    assert data.nfa.dims == ("scale", "model", "seed", "layer", "step")
    assert dict(data.sizes) == {"scale": 2, "model": 2, "seed": 2, "layer": 3, "step": 4}
    count = 0
    for place, single in pairs(missing=[3]):
        here = data.sel(place)
        for name, values in single.data.data_vars.items():
            known = here[name]
            if "step" in values.dims:
                assert known.isel(step=slice(values.sizes["step"], None)).isnull().all()
                known = known.isel(step=slice(values.sizes["step"]))
            if "layer" in values.dims:
                assert known.sel(layer=sorted(set("ab") - set(values.layer.values))).isnull().all()
                known = known.sel(layer=values.layer)
            np.testing.assert_array_equal(known.transpose(*values.dims), values)
            count += 1
        assert (here.status, here.sentence, here.seconds) == ("finished", "it ended", 1.5)
    assert count == 7 * 4
    gap = data.sel(scale=0.1, model="flat", seed=1)
    assert (gap.status, gap.verdict, bool(gap.loss.isnull().all())) == ("", "", True)
    assert data.loss.attrs["units"] == "y^2"


def test_points_off_the_grid_add_to_the_axes():
    some = [({"x": x, "y": y}, result(next(places()))) for x, y in ((1, 1), (3, 1), (2, 5))]
    data = assemble(some, {"x": [1, 3], "y": [1]})
    assert data.x.values.tolist() == [1, 2, 3]
    assert data.y.values.tolist() == [1, 5]
    assert (data.status != "").values.tolist() == [[True, False], [False, True], [True, False]]


def test_tables_and_lists_become_labels():
    axes = {"regime": [{"label": "wide", "width": 512}], "scale": [[1.0, 2.0], 1.0]}
    some = [({"regime": "wide", "scale": (1.0, 2.0)}, result(next(places())))]
    axes["scale"] = [(1.0, 2.0), 1.0]
    data = assemble(some, axes)
    assert data.regime.values.tolist() == ["wide"]
    assert data.scale.values.tolist() == ["(1.0, 2.0)", "1.0"]
    assert data.status.sel(scale="(1.0, 2.0)").item() == "finished"


def test_a_quantity_with_the_name_of_an_outcome_is_kept():
    one = Result(status="finished", sentence="", data=xr.Dataset({"seconds": 7.0}), seconds=1.5)
    data = assemble([({"seed": 0}, one)], {"seed": [0]})
    assert (data.seconds.item(), data.seconds_of_result.item()) == (1.5, 7.0)


def test_a_quantity_with_the_name_of_an_axis_is_kept():
    single = Result(status="finished", sentence="", data=xr.Dataset({"lr": 0.5}))
    data = assemble([({"lr": "searched"}, single)], {"lr": ["searched"]})
    assert data.lr_of_result.sel(lr="searched") == 0.5


def test_results_of_nothing_are_an_empty_grid():
    data = assemble([], AXES)
    assert (data.status == "").all()
    assert data.status.shape == (2, 2, 2)


def test_the_last_measurement_is_the_last_one_that_is_known():
    data = assemble(pairs(), AXES)
    end = final(data)
    for place, single in pairs():
        np.testing.assert_array_equal(end.loss.sel(place), single.data.loss[-1])
        layers = single.data.layer
        np.testing.assert_array_equal(end.nfa.sel(place).sel(layer=layers), single.data.nfa[-1])
    assert "step" not in end.dims
    assert final(end) is end


def test_the_last_measurement_of_a_shorter_run_is_not_an_empty_text():
    one, two = (
        Result(
            status="finished",
            sentence="",
            data=xr.Dataset({"loss": ("step", loss), "word": ("step", ["a"] * len(loss))}),
        )
        for loss in ([3.0], [2.0, 1.0])
    )
    data = assemble([({"seed": 0}, one), ({"seed": 1}, two)], {"seed": [0, 1]})
    assert final(data).loss.values.tolist() == [3.0, 1.0]


def at_steps(*steps):
    """Results at some steps, with the steps as values, on the axis `x`."""
    found = [
        xr.Dataset({"at": ("step", np.array(some, float))}, {"step": list(some)}) for some in steps
    ]
    pairs = [
        ({"x": x}, Result(status="finished", sentence="", data=data))
        for x, data in enumerate(found)
    ]
    return assemble(pairs, {"x": list(range(len(steps) + 1))})


def test_equal_steps_and_shorter_runs_keep_the_dimension_of_steps():
    for steps in ([0, 1, 9], [0, 1, 9]), ([0, 1, 9], [0]), ([], [0, 1, 9]):
        data = at_steps(*steps)
        assert data["at"].dims == ("x", "step")
        assert data.step.values.tolist() == [0, 1, 9]
        np.testing.assert_array_equal(data["at"].isel(x=0)[: len(steps[0])], steps[0])


@pytest.mark.parametrize("steps", [([0, 1, 9], [0, 2, 9]), ([0, 1, 9], [0, 2]), ([1], [0])])
def test_different_steps_are_records(steps):
    data = at_steps(*steps)
    assert data["at"].dims == data.step.dims == ("x", "record")
    assert "step" in data.coords
    np.testing.assert_array_equal(data.step, data["at"])
    for x, some in enumerate(steps):
        single = data.sel(x=x).dropna("record").swap_dims(record="step")
        assert single["at"].dims == ("step",)
        assert single.step.values.tolist() == list(some)
    assert bool(data.sel(x=2)["at"].isnull().all())


def test_first_and_last_measurement_after_their_own_steps():
    for data in at_steps([0, 1, 9], [2, 7]), at_steps([2, 7, 9], [2, 7]):
        for end in initial(data), final(data):
            assert end["at"].dims == ("x",)
        np.testing.assert_array_equal(final(data).step, [9, 7, np.nan])
        np.testing.assert_array_equal(final(data)["at"], [9, 7, np.nan])
    assert initial(end) is end
    np.testing.assert_array_equal(initial(at_steps([0, 1], [2, 7])).step, [0, 2, np.nan])


def test_records_go_to_tables_and_files_with_their_steps(tmp_path):
    data = at_steps([0, 1, 9], [0, 2])
    rows = table(data)
    assert rows[["x", "record", "step"]].values[:5].tolist() == [
        [0, 0, 0], [0, 1, 1], [0, 2, 9], [1, 0, 0], [1, 1, 2],
    ]  # fmt: skip
    with xr.open_dataset(export(data, tmp_path / "out.nc")) as back:
        xr.testing.assert_identical(back.load().drop_encoding(), data)


@pytest.mark.parametrize("place", ["axis", "dimension"])
def test_a_record_of_another_kind_is_refused(place):
    axis = "record" if place == "axis" else "x"
    extra = {"other": ("record", [1.0])} if place == "dimension" else {}
    pairs = [
        (
            {axis: i},
            Result(status="finished", sentence="", data=xr.Dataset(extra, {"step": [i]})),
        )
        for i in range(2)
    ]
    with pytest.raises(InputError, match="`record` must be free where the points were measured"):
        assemble(pairs, {axis: [0, 1]})


def test_layers_keep_the_order_of_the_deepest_network():
    found = [
        Result(
            status="finished",
            sentence="",
            data=xr.Dataset({"nfa": ("layer", np.zeros(len(names)))}, {"layer": names}),
        )
        for names in (["layer1", "readout"], ["layer1", "layer2", "readout"])
    ]
    data = assemble([({"depth": i}, one) for i, one in enumerate(found)], {"depth": [0, 1]})
    assert data.layer.values.tolist() == ["layer1", "layer2", "readout"]


def test_a_network_that_diverged_is_seen_before_its_numbers_were_lost():
    loss = xr.DataArray([[1.0, 2.0, np.nan], [1.0, 0.5, 0.2]], dims=("seed", "step"))
    nfa = loss.expand_dims(layer=["a"]).where(loss != 0.5)
    end = final(xr.Dataset({"loss": loss, "nfa": nfa}, {"step": [0, 1, 2]}))
    assert end.loss.values.tolist() == [2.0, 0.2]
    assert end.step.values.tolist() == [1, 2]
    assert end.nfa.sel(layer="a").values.tolist() == [2.0, 0.2]


@pytest.fixture
def folder(tmp_path):
    """A store of ten points, of which one diverged and two are missing."""
    study = Study(
        name="decay",
        experiment="lazyrich.sweeps:Decay",
        axes={"rate": [0.1, 0.5, 1.0, 1.5, 3.0]},
        seeds=2,
    )
    with Store.open(tmp_path / "store", study) as store:
        store.write((p, p.experiment.run()) for p in list(study.points())[2:])
    return tmp_path / "store"


def test_a_store_opens_as_a_dataset(folder):
    data = results(folder)
    assert data.status.dims == ("rate", "seed")
    assert (data.status.sel(rate=0.1) == "").all()
    assert (data.status.sel(rate=[0.5, 1.0, 1.5]) == "finished").all()
    assert (data.status.sel(rate=3.0) == "diverged").all()
    assert Study.from_json(data.attrs["study"]) == Study.from_json(results(folder).attrs["study"])
    point = next(p for p in Study.from_json(data.attrs["study"]).points() if p.place["rate"] == 1.5)
    for name, values in point.experiment.run().data.data_vars.items():
        here = data[name].sel(rate=1.5, seed=0)
        np.testing.assert_array_equal(here.isel(step=slice(values.size)), values)


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_arrays_come_back_from_files(folder, tmp_path, suffix):
    data = results(folder)
    for _ in range(2):  # replaced the second time
        path = export(data, tmp_path / f"out{suffix}")
    opened = xr.open_dataset(path) if suffix == ".nc" else xr.open_zarr(path)
    with opened as back:
        xr.testing.assert_identical(back.load().drop_encoding(), data)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, "store"]


@pytest.mark.parametrize("name", ["out.csv", "out.nc", "out.zarr", "store/out.csv", "store.zarr"])
def test_what_is_no_export_is_not_replaced(folder, tmp_path, name):
    if name == "store.zarr":
        shutil.copytree(folder, tmp_path / name)
        (tmp_path / name / ".zgroup").touch()
    elif name.startswith("out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("years of work")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    lost = "outside of stores|nothing but a zarr" if "store" in name else "is no zarr|is a folder"
    with pytest.raises(InputError, match=lost):
        export(xr.Dataset({"loss": ("width", [0.5])}, {"width": [8]}), tmp_path / name)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_nothing_is_exported_into_a_zarr(tmp_path):
    export(xr.Dataset({"loss": 0.5}), tmp_path / "out.zarr")
    with pytest.raises(InputError, match=r"outside of stores and other exports, .*out.zarr is one"):
        export(xr.Dataset({"loss": ("x", [0.5])}), tmp_path / "out.zarr" / "in.csv")
    export(xr.Dataset({"loss": 1.5}), tmp_path / "out.zarr")  # itself it may be replaced


def test_a_file_is_not_replaced_by_a_zarr(tmp_path):
    (tmp_path / "out.zarr").write_text("years of work")
    with pytest.raises(InputError, match=r"got .*out.zarr, which is there and is no zarr"):
        export(xr.Dataset({"loss": 0.5}), tmp_path / "out.zarr")
    with pytest.raises(InputError, match=r"must lie in a folder, .* and .*out.zarr is a file"):
        export(xr.Dataset({"loss": 0.5}), tmp_path / "out.zarr" / "deep" / "out.nc")


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_tables_hold_every_measurement_once(tmp_path, suffix):
    data = assemble(pairs(missing=[3]), AXES)
    path = export(data, tmp_path / f"out{suffix}")
    rows = pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)
    assert len(rows) == sum(r.data.nfa.size for _, r in pairs(missing=[3]))
    back = rows.set_index(["scale", "model", "seed", "layer", "step"])
    for place, single in pairs(missing=[3]):
        for layer in single.data.layer.values:
            for t in range(single.data.sizes["step"]):
                row = back.loc[(*place.values(), layer, 10 * t)]
                nfa = float(single.data.nfa.sel(layer=layer).isel(step=t))
                assert row.nfa == pytest.approx(nfa, rel=1e-12)
                assert row.loss == pytest.approx(float(single.data.loss[t]), rel=1e-12)
                assert row.richness == pytest.approx(float(single.data.richness), rel=1e-12)
                assert (row.status, row.verdict) == ("finished", "lazy")


def test_a_table_of_scalars_has_a_row_a_point():
    single = Result(status="finished", sentence="", data=xr.Dataset({"loss": 0.5}))
    data = assemble([({"width": 8}, single)], {"width": [8, 16]})
    assert table(data).drop(columns=["sentence", "seconds"]).to_dict("records") == [
        {"width": 8, "loss": 0.5, "status": "finished"}
    ]


def test_a_point_that_failed_has_a_row():
    failed = Result(status="failed", sentence="no memory")
    where = {"scale": 1.0, "model": "flat", "seed": 1}
    some = [(p, failed if p == where else r) for p, r in pairs()]
    rows = table(assemble(some, AXES))
    assert rows[rows.status == "failed"].sentence.tolist() == ["no memory"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("out.txt", r"`path` must end in .nc, .zarr, .parquet, .csv, got 'out.txt'"),
     ("none/out.nc", "none' does not exist. Make it, for instance")],
)  # fmt: skip
def test_refusals(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        export(xr.Dataset({"loss": 0.5}), tmp_path / name)


def test_ten_thousand_points_take_seconds():
    single = result({"scale": 0.1, "model": "deep", "seed": 1})
    many = [({"x": i % 100, "y": i // 100}, single) for i in range(10_000)]
    start = time.process_time()
    data = assemble(many, {"x": range(100), "y": range(100)})
    assert time.process_time() - start < 10
    assert int((data.status == "finished").sum()) == 10_000
