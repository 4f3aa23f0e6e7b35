import os
import shutil
import sqlite3
import subprocess

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyrich import InputError, StoreError, StoreWarning
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.describe.source import code_of
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.store.codec import decode, encode
from lazyrich.sweeps.store.folder import NAME
from lazyrich.sweeps.store.mend import repair
from lazyrich.sweeps.store.store import Store
from tests.sweeps.stored import STUDY, key, pairs, point, result, same

DTYPES = [
    "f2",
    "f4",
    "f8",
    ">f8",
    "i1",
    "i8",
    "u2",
    "c8",
    "c16",
    "?",
    "U3",
    "S4",
    "M8[ns]",
    "m8[s]",
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
attributes = st.dictionaries(
    texts,
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=2)
        | st.dictionaries(texts, inner, max_size=2)
        | st.tuples(inner),
    ),
    max_size=3,
)  # fmt: skip


@st.composite
def arrays(draw, shape):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    size = int(np.prod(shape))
    if dtype.kind == "U":
        flat = np.array(draw(st.lists(texts, min_size=size, max_size=size)), dtype)
    elif dtype.kind == "b":
        flat = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype)
    else:
        flat = np.frombuffer(
            draw(st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize)), dtype
        )
    return flat.reshape(shape)


@st.composite
def datasets(draw):
    sizes = {"time": draw(st.integers(0, 3)), "layer": draw(st.integers(1, 2))}
    data = {}
    for name in draw(st.lists(texts.filter(lambda t: t not in sizes), unique=True, max_size=3)):
        dims = draw(st.sampled_from([(), ("time",), ("layer", "time")]))
        values = draw(arrays(tuple(sizes[dim] for dim in dims)))
        data[name] = (dims, values, draw(attributes))
    coords = {"layer": list("ab")[: sizes["layer"]]}
    times = draw(arrays((sizes["time"],)).filter(lambda a: a.dtype != "f2"))
    if len(set(times.tolist())) == times.size and not pd.isna(times).any():
        coords["time"] = times
    found = xr.Dataset(data, attrs=draw(attributes))
    return found.assign_coords({name: v for name, v in coords.items() if name in found.dims})


def stored(folder):
    store = Store.open(folder, STUDY)
    store.write(pairs([0, 1]))
    return store


def ended(data=None, status="finished", **fields):
    return Result(status=status, sentence="ends", data=xr.Dataset(data), **fields)


@settings(max_examples=150, deadline=None)
@given(datasets(), texts, texts)
def test_a_result_comes_back_bit_for_bit(data, sentence, traceback):
    given_ = Result(status="fitted", sentence=sentence, data=data, traceback=traceback, seconds=0.1)
    assert same(decode(encode(given_)), given_)


@pytest.mark.parametrize(
    "values",
    [
        np.array(["a", "longer", ""], object),
        np.array(["a", "longer", "é"], np.dtypes.StringDType()),
        np.array([np.nan, -np.nan, -0.0, np.inf]).view("u8") | 5,
        np.zeros((0, 3)),
        np.array([[1, 2], [3, 4]])[:, ::-1].T,
    ],
)
def test_arrays_of_every_kind_come_back(values):
    if values.dtype == "u8":
        values = values.view("f8")  # the payload of a NaN
    given_ = ended({"x": (list("ab")[: values.ndim], values)})
    found = decode(encode(given_))
    assert same(found, given_)
    found.data.x.values.sort()  # they may be written to


def test_attributes_of_every_kind_come_back():
    attrs = {
        "array": np.eye(2),
        "number": np.float32(0.1),
        "none": np.zeros(0, int),
        "t": (1, [2.5]),
    }
    found = decode(encode(ended({"x": ((), 1.0, attrs)}))).data.x.attrs
    assert repr(found) == repr(attrs)


def test_the_indexes_of_labels_are_made_again():
    data = xr.Dataset({"x": ("layer", [1.0, 2.0])}, {"layer": ["a", "b"]})
    found = decode(encode(Result(status="fitted", sentence="", data=data)))
    xr.testing.assert_identical(found.data, data)
    assert found.data.x.sel(layer="b") == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": ("a", np.array([object()]))}, "must hold numbers, booleans, times or text, got 'x'"),
        ({"x": ("a", np.zeros(1, "i4,i4"))}, "must hold numbers, booleans, times or text, got 'x'"),
        ({3: ("a", [1])}, "`data` must have names of text, got 3"),
        ({"x": ((), 1, {"f": len})}, "attributes of `data` must be plain values, got .* in 'x'"),
    ],
)
def test_a_result_that_cannot_be_stored_stops_its_group_and_is_named(tmp_path, data, message):
    with Store.open(tmp_path / "out", STUDY) as store:
        with pytest.raises(InputError, match=f"the result at seed=1 cannot be stored: .*{message}"):
            store.write([*pairs([0]), (point(1), ended(data))])
        assert store.keys() == set()


def test_the_first_writer_wins_and_failed_points_are_replaced_when_asked(tmp_path):
    first = [(point(0), ended()), (point(1), ended(status="failed"))]
    second = [
        (point(0), ended(status="diverged")),
        (point(1), encode(ended(status="fitted"))),  # in bytes already
        (point(2), ended()),
    ]
    with Store.open(tmp_path / "out", STUDY) as store:
        assert store.write(first) == 2
        assert store.write(second) == 1
        assert store.statuses() == {"finished": 2, "failed": 1}
        assert store.write(second, replace_failed=True) == 1
        assert store.write([]) == 0
        assert store.statuses() == {"finished": 2, "fitted": 1}
        assert store.keys("fitted") == {key(1)}
        assert store.read(key(1)).status == "fitted"
        assert store.verify() == ()


def test_a_store_is_one_file_that_opens_again(tmp_path):
    for number in range(6):
        with Store.open(tmp_path / "out", STUDY) as store:
            store.write(pairs([number]))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["lock", NAME]
    with Store.read_only(tmp_path / "out") as store:
        assert all(same(store.read(key(n)), result(n)) for n in range(6))
        assert store.description.study() == STUDY.to_json()


def test_a_store_is_written_from_several_threads(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with Store.open(tmp_path / "out", STUDY) as store, ThreadPoolExecutor(4) as pool:
        work = [pool.submit(store.write, pairs([n // 2])) for n in range(40)]
        assert sum(future.result() for future in work) == 20
        assert all(pool.map(lambda n: same(store.read(key(n)), result(n)), range(20)))


def test_a_changed_description_is_named_and_taken_when_asked(tmp_path):
    Store.open(tmp_path / "out", STUDY).close()
    base = {"name": "stored", "experiment": "lazyrich.sweeps:Decay"}
    more = Study(**base, seeds=10_000, axes={"rate": [0.1, 0.2]}, base={"steps": 3})
    said = r"out is of another description: base.steps: was absent; is 3. axes.rate: was absent; is"
    with pytest.raises(StoreError, match=said + r" 0.1, 0.2. .* extend=True"):
        Store.open(tmp_path / "out", more)
    with Store.open(tmp_path / "out", STUDY) as store:
        store.write(pairs([0]))
    with Store.open(tmp_path / "out", more, extend=True) as store:
        assert store.keys() == {key(0)}
        assert store.description.study() == more.to_json()
    Store.open(tmp_path / "out", more).close()
    with Store.read_only(tmp_path / "out") as store:
        assert store.description.study() == more.to_json()
    with pytest.raises(StoreError, match=r"seeds: had 10000 values; has 10001 \(new 10000\)"):
        Store.open(tmp_path / "out", Study(**base, axes=more.axes, base=more.base, seeds=10_001))


def test_a_default_that_changed_with_the_code_is_named(tmp_path, monkeypatch):
    Store.open(tmp_path / "out", STUDY).close()
    monkeypatch.setattr("lazyrich.sweeps.example.Decay.__dataclass_fields__", _slower())
    with pytest.raises(StoreError, match=r"default.steps: was 10; is 20"):
        Store.open(
            tmp_path / "out", Study(name="stored", experiment=STUDY.experiment, seeds=10_000)
        )


def _slower():
    from copy import copy

    fields = dict(STUDY.experiment.__dataclass_fields__)
    fields["steps"] = copy(fields["steps"])
    fields["steps"].default = 20
    return fields


def test_what_is_no_store_is_refused_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"`folder` must be a folder, and .*file is a file"):
        Store.open(tmp_path / "file", STUDY)
    with pytest.raises(InputError, match=r"must be empty or hold a store, and .* holds file"):
        Store.open(tmp_path, STUDY)
    with pytest.raises(InputError, match=r"must hold a store, and .* holds none"):
        Store.read_only(tmp_path)
    with pytest.raises(InputError, match=r"must hold a store, and .* holds none"):
        repair(tmp_path)
    with pytest.raises(InputError, match=r"must be new or empty"), stored(tmp_path / "s") as store:
        store.backup(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "s"]


def test_the_file_of_another_program_or_version_is_refused(tmp_path):
    base = sqlite3.connect(tmp_path / NAME)
    base.execute("CREATE TABLE t (x)")
    with pytest.raises(StoreError, match="it is another SQLite file"):
        Store.open(tmp_path, STUDY)
    base.close()
    Store.open(tmp_path / "new", STUDY).close()
    base = sqlite3.connect(tmp_path / "new" / NAME)
    base.execute("PRAGMA user_version=3")
    base.close()
    for opened in (
        lambda: Store.open(tmp_path / "new", STUDY),
        lambda: Store.read_only(tmp_path / "new"),
        lambda: repair(tmp_path / "new"),  # nothing in it is lost
    ):
        with pytest.raises(StoreError, match="must have schema 2, got 3: another version"):
            opened()


def test_what_a_reader_may_not_do(tmp_path):
    with Store.open(tmp_path / "out", STUDY) as writer, Store.read_only(tmp_path / "out") as store:
        with pytest.raises(StoreError, match=r"is open for reading. Use Store.open"):
            store.write(pairs([0]))
        with pytest.raises(InputError, match="`key` must be of a point that is done, got 'x'"):
            writer.read("x")
        with pytest.raises(StoreError, match=f"and process {os.getpid()} on"):
            Store.open(tmp_path / "out", STUDY)


def test_every_commit_waits_for_the_disk(tmp_path):
    with stored(tmp_path / "out") as store:
        pragma = store._base._base.execute
        assert pragma("PRAGMA journal_mode").fetchone() == ("wal",)
        assert pragma("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_store_of_an_older_version_is_named(tmp_path):
    (tmp_path / "record.sqlite").touch()
    for opened in (lambda: Store.open(tmp_path, STUDY), lambda: Store.read_only(tmp_path)):
        with pytest.raises(StoreError, match=r"is a store of lazyrich 0.2 or older. Export its"):
            opened()


def test_a_backup_is_a_store_with_the_points_so_far(tmp_path):
    with stored(tmp_path / "out") as store, Store.read_only(tmp_path / "out") as reader:
        store.write(pairs(range(5)))
        reader.backup(tmp_path / "deep" / "copy")
        store.write(pairs([5]))
    with Store.open(tmp_path / "deep" / "copy", STUDY) as copy:
        assert copy.keys() == {key(n) for n in range(5)}
        assert all(same(copy.read(key(n)), result(n)) for n in range(5))
        assert copy.verify() == ()


@pytest.mark.parametrize("what", ["folder", "file", "log", "replaced"])
def test_a_store_that_is_removed_while_it_is_written_to_is_noticed(tmp_path, what):
    out = tmp_path / "out"
    with stored(out) as store:
        if what == "folder":
            shutil.rmtree(out)
        elif what == "replaced":
            (out / NAME).rename(out / "away")
            (out / NAME).touch()
        else:
            (out / (NAME + "-wal" if what == "log" else NAME)).unlink()
        with pytest.raises(StoreError, match=r"store.sqlite was removed or replaced while"):
            store.write(pairs([7]))


def test_points_of_other_code_are_kept_with_a_warning(tmp_path, monkeypatch):
    stored(tmp_path / "out").close()
    Store.open(tmp_path / "out", STUDY).close()  # the same code: silence
    monkeypatch.setattr("lazyrich.sweeps.describe.source._files", lambda kind: {__file__})
    said = r"the experiment's own files have changed since points in .*out were computed"
    with pytest.warns(StoreWarning, match=said), Store.open(tmp_path / "out", STUDY) as store:
        assert store.write(pairs([1])) == 0
    Store.open(tmp_path / "out", STUDY).close()  # it is known now
    with Store.read_only(tmp_path / "out") as store:
        assert len({code["source"] for code in store.codes().values()}) == 2
    monkeypatch.setattr("lazyrich.__version__", "9.9")
    with pytest.warns(StoreWarning, match=r"lazyrich \(0.* now 9.9\) has changed since points"):
        Store.open(tmp_path / "out", STUDY).close()


def test_an_own_experiment_is_known_by_the_files_of_its_methods(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        "from dataclasses import dataclass\n"
        "from lazyrich.sweeps import Decay\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Own(Decay):\n"
        "    def run(self): return super().run()\n"
    )
    (tmp_path / "own_experiment.py").write_text(text)
    from own_experiment import Own

    before = code_of(Own)
    assert before == code_of(Own)
    (tmp_path / "own_experiment.py").write_text(text + "# another comment\n")
    after = code_of(Own)
    assert before["lazyrich"] == after["lazyrich"]
    assert before["source"] != after["source"] != code_of(Own.__base__)["source"]


def test_an_experiment_whose_run_is_decorated_elsewhere_is_known_too(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        "from dataclasses import dataclass\n"
        "import numpy as np\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Wrapped:\n"
        "    seed: int = 0\n"
        "    @np.errstate(all='ignore')\n"
        "    def run(self): return None\n"
    )
    (tmp_path / "wrapped_experiment.py").write_text(text)
    from wrapped_experiment import Wrapped

    before = code_of(Wrapped)
    (tmp_path / "wrapped_experiment.py").write_text(text + "# another comment\n")
    assert code_of(Wrapped) != before


def test_a_backup_to_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        with Store.open(tmp_path / "out", STUDY) as store:
            store.write(pairs(range(50)))
            with pytest.raises(StoreError, match=r"copy/store.sqlite cannot be written: .*full"):
                store.backup(disk / "copy")
        assert list((disk / "copy").iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_backup_where_nothing_can_be_made_blames_that_place(tmp_path, monkeypatch):
    with Store.open(tmp_path / "out", STUDY) as store:
        monkeypatch.setattr(type(tmp_path), "mkdir", lambda *_args, **_options: None)
        with pytest.raises(
            StoreError, match=r"copy/store.sqlite cannot be written: unable to open"
        ):
            store.backup(tmp_path / "copy")


def test_a_point_that_is_replaced_keeps_its_number(tmp_path):
    """A reader that has listed the numbers finds it, in one form or the other."""
    with Store.open(tmp_path / "out", STUDY) as store:
        store.write([(point(0), ended(status="failed")), (point(1), ended())])
        rows = store.rows()
        first = next(rows)
        store.write([(point(0), ended())], replace_failed=True)
        assert [row.key for row in (first, *rows)] == [key(0), key(1)]
        assert [row.key for row in store.rows()] == [key(0), key(1)]


def test_closing_twice_is_closing_once(tmp_path):
    store = Store.open(tmp_path / "out", STUDY)
    store.close()
    store.close()
