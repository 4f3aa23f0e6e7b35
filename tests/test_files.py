"""Files are whole or not there, and nothing else is lost or left behind."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError, MissingExtraError
from lazyrich._files import check_target, write_arrays, write_whole
from lazyrich._json_arrays import from_json

DATA = xr.Dataset({"loss": ("step", [0.5, 0.25])}, {"step": [0, 1]})


def files(folder):
    """Everything below a folder, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_the_file_is_all_that_there_is(tmp_path):
    assert write_whole(tmp_path / "a.txt", lambda new: new.write_text("new")) == tmp_path / "a.txt"
    assert files(tmp_path) == {"a.txt": b"new"}


def test_the_new_file_has_the_name_of_the_old_one(tmp_path):
    seen = []
    write_whole(tmp_path / "a.txt", lambda new: seen.append(new) or new.touch())
    assert seen[0].name == "a.txt"
    assert seen[0] != tmp_path / "a.txt"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("there", [True, False])
def test_what_fails_half_way_changes_nothing(tmp_path, error, there):
    if there:
        (tmp_path / "a.txt").write_text("old")
    before = files(tmp_path)

    def half(new):
        new.write_text("ha")
        raise error

    with pytest.raises(type(error)):
        write_whole(tmp_path / "a.txt", half)
    assert files(tmp_path) == before


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_what_fails_at_the_end_changes_nothing(tmp_path, monkeypatch, function):
    (tmp_path / "a.txt").write_text("old")

    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, function, fails)
    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "a.txt", lambda new: new.write_text("new"))
    assert files(tmp_path) == {"a.txt": b"old"}


def test_what_is_killed_half_way_leaves_the_old_file(tmp_path):
    code = (
        "import sys, time; from lazyrich._files import write_whole\n"
        "def half(new): new.write_text('ha'); print('half', flush=True); time.sleep(60)\n"
        "write_whole(sys.argv[1], half)"
    )
    (tmp_path / "a.txt").write_text("old")
    command = [sys.executable, "-c", code, str(tmp_path / "a.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "a.txt").read_text() == "old"


def test_the_content_is_on_the_disk_before_it_takes_the_place(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append("sync") or sync(file))
    monkeypatch.setattr(os, "replace", lambda *both: done.append("replace") or replace(*both))
    write_whole(tmp_path / "a.txt", lambda new: new.write_text("new"))
    assert done == ["sync", "replace"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_rights_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "a.txt", lambda new: new.write_text("new"))
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_replaced_file_keeps_its_rights(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "a.txt").chmod(0o640)
    write_whole(tmp_path / "a.txt", lambda new: new.write_text("new"))
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(tmp_path, there):
    (tmp_path / "far").mkdir()
    if there:
        (tmp_path / "far" / "b").write_text("old")
    (tmp_path / "a.txt").symlink_to(tmp_path / "far" / "b")
    write_whole(tmp_path / "a.txt", lambda new: new.write_text(new.name))
    assert (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "far" / "b").read_text() == "a.txt"
    assert sorted(files(tmp_path)) == ["a.txt", "far", "far/b"]


def test_a_folder_is_never_replaced(tmp_path):
    (tmp_path / "a.txt").mkdir()
    (tmp_path / "a.txt" / "thesis").write_text("years of work")
    before = files(tmp_path)
    for write in (lambda new: new.write_text("new"), lambda new: new.mkdir()):
        with pytest.raises(OSError, match=r"a\.txt"):
            write_whole(tmp_path / "a.txt", write)
    assert files(tmp_path) == before


@pytest.mark.parametrize("suffix", ["nc", "zarr", "NC"])
def test_arrays_replace_arrays(tmp_path, suffix):
    for data in (DATA, 2 * DATA):
        path = write_arrays(data, tmp_path / f"a.{suffix}")
        opened = xr.open_zarr(path) if suffix == "zarr" else xr.open_dataset(path)
        with opened as back:
            xr.testing.assert_equal(back.load(), data)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_arrays_in_json_keep_types_labels_and_what_json_has_no_number_for(tmp_path):
    data = xr.Dataset(
        {
            "loss": ("step", np.array([1.0, np.nan, np.inf]), {"long_name": "loss"}),
            "nothing": ("step", np.full(3, np.nan)),
            "words": ("layer", ["NaN", "Infinity"]),
            "seen": ("step", np.array([True, False, True])),
            "small": ("layer", np.array([1, 2], np.int32)),
            "none": ("empty", np.array([])),
        },
        coords={"step": [0, 1, 2], "layer": ["a", "λ"]},
        attrs={"samples": np.int64(3), "share": np.float64(-np.inf), "many": [1.0, 2.0]},
    )
    path = write_arrays(data, tmp_path / "a.json")
    text = path.read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = from_json(text)
    xr.testing.assert_identical(back.drop_attrs(deep=False), data.drop_attrs(deep=False))
    assert {name: back[name].dtype.kind for name in back} == {n: data[n].dtype.kind for n in data}
    assert back.attrs["samples"] == 3


def test_complex_numbers_are_refused_in_json(tmp_path):
    with pytest.raises(InputError, match=r"numbers or texts, got 'a' of type complex128\. Choose"):
        write_arrays(xr.Dataset({"a": ("x", [1j])}), tmp_path / "a.json")
    assert files(tmp_path) == {}


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_arrays_that_cannot_be_written_leave_the_old_ones(tmp_path, suffix):
    path = write_arrays(DATA, tmp_path / f"a.{suffix}")
    before = files(tmp_path)
    broken = xr.Dataset({"a": ("x", [1.0]), "b": ("x", [object()])})
    with pytest.raises((TypeError, ValueError)):
        write_arrays(broken, path)
    assert files(tmp_path) == before


@pytest.mark.parametrize("other", ["notes.txt", "pictures"])
def test_a_zarr_with_other_things_in_its_folder_stays(tmp_path, other):
    path = write_arrays(DATA, tmp_path / "a.zarr")
    (path / ".DS_Store").touch()  # of the system
    write_arrays(DATA, path)
    if other == "pictures":
        (path / other).mkdir()
    else:
        (path / other).write_text("years of work")
    with pytest.raises(InputError, match=f"nothing but a zarr, got .* with '{other}' in it"):
        write_arrays(DATA, path)
    assert (path / other).exists()


def test_a_zarr_whose_replacement_fails_stays(tmp_path, monkeypatch):
    path = write_arrays(DATA, tmp_path / "a.zarr")
    before, replace = files(tmp_path), os.replace

    def failing(old, new):
        if new == path and old.parent != tmp_path and old.name == path.name:
            assert not path.exists()  # it waits beside
            raise OSError("the disk is gone")
        replace(old, new)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        write_arrays(2 * DATA, path)
    assert files(tmp_path) == before


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ImportError

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    monkeypatch.setattr(xr.Dataset, "to_zarr", fail)
    for suffix, library in {"nc": "netCDF4", "zarr": "zarr"}.items():
        with pytest.raises(MissingExtraError, match=rf"needs {library}.*lazyrich\[store\]"):
            write_arrays(DATA, tmp_path / f"a.{suffix}")
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "a.txt",
            r"`path` must end in \.csv, \.zarr, got 'a\.txt'\. The ending says in which format",
        ),
        ("bare", r"`path` must end in \.csv, \.zarr, got 'bare'"),
        (
            "no/where/a.csv",
            r"the folder '.*no/where' does not exist\. Make it, for instance with mkdir -p",
        ),
        ("file/a.csv", r"must lie in a folder, got .*, and .*file is a file\. Choose another name"),
        ("file/deep/a.csv", r"must lie in a folder, got .*, and .*file is a file"),
        ("folder.csv", r"folder\.csv' is a folder\. Give the name of a file in it"),
        ("folder.zarr", "that of a zarr, .* is there and is no zarr. Choose another name: what is"),
        ("file.zarr", "that of a zarr, .* is there and is no zarr"),
    ],
)
def test_refusals(tmp_path, name, message):
    for folder in ("folder.csv", "folder.zarr"):
        (tmp_path / folder).mkdir()
    for file in ("file", "file.zarr"):
        (tmp_path / file).touch()
    with pytest.raises(InputError, match=message):
        check_target(tmp_path / name, (".csv", ".zarr"))


def test_folders_that_will_be_made_may_be_missing(tmp_path):
    assert check_target(tmp_path / "no/a.csv", make_folders=True) == tmp_path / "no/a.csv"
    (tmp_path / "no").touch()
    with pytest.raises(InputError, match="no is a file"):
        check_target(tmp_path / "no/a.csv", make_folders=True)


def test_a_name_alone_lies_in_the_present_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_whole(check_target("a.txt"), lambda new: new.write_text("new"))
    assert files(tmp_path) == {"a.txt": b"new"}
