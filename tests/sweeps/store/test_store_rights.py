"""The store and the rights of its user: folders that cannot be read, stores that are only read."""

import errno
import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from lazyrich import InputError, StoreError
from lazyrich.sweeps.store import segments
from lazyrich.sweeps.store.codec import encode
from lazyrich.sweeps.store.record import NAME, Record, UnmadeError
from lazyrich.sweeps.store.store import Store
from tests.sweeps.stored import STUDY, key, result, same

ANYBODY = 65534


@contextmanager
def as_anybody():
    """Without the rights of root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(ANYBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def top():
    """A folder that others may enter."""
    encode(key(0), result(0))  # imports what the rights of anybody may not suffice for
    before = os.umask(0o022)
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # TMPDIR may be private
        Path(name).chmod(0o755)
        yield Path(name)
    os.umask(before)


def stored(folder, count=2):
    store = Store.open(folder, STUDY)
    store.write({key(n): result(n) for n in range(count)})
    return store


def test_a_store_is_made_below_a_folder_that_may_only_be_entered(top):
    home = top / "home"
    home.mkdir()
    (home / "out").mkdir()
    (home / "out").chmod(0o777)
    home.chmod(0o311)
    with as_anybody(), stored(home / "out") as store:
        assert same(store.read(key(0)), result(0))
    home.chmod(0o755)


def test_a_store_is_made_in_a_folder_that_may_only_be_entered(top):
    out = top / "out"
    stored(out).close()
    (out / NAME).unlink()
    for path in (out, *out.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    out.chmod(0o333)
    with as_anybody(), pytest.raises(StoreError, match="out cannot be written: Permission denied"):
        Store.open(out, STUDY)  # what else is in it cannot be seen
    out.chmod(0o777)
    with as_anybody(), Store.open(out, STUDY) as store:
        assert len(store.keys()) == 2


def broken_for_folders(monkeypatch, code):
    sync = os.fsync

    def fsync(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(code, os.strerror(code))
        sync(file)

    monkeypatch.setattr(segments.os, "fsync", fsync)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_serves(tmp_path, monkeypatch, code):
    broken_for_folders(monkeypatch, code)
    with stored(tmp_path / "out") as store:
        assert store.verify() == ()
        assert len(store.keys()) == 2


def test_a_folder_that_fails_is_named(tmp_path, monkeypatch):
    broken_for_folders(monkeypatch, errno.EIO)
    with pytest.raises(StoreError, match="out cannot be written: Input/output error"):
        Store.open(tmp_path / "out", STUDY)
    monkeypatch.undo()
    with stored(tmp_path / "out") as store:  # the lock was given back
        assert len(store.keys()) == 2


def test_a_copy_that_cannot_be_read_here_is_no_full_disk(top):
    with stored(top / "out"):
        shutil.copytree(top / "out", top / "copy")  # with the log of what is not in the record yet
    (top / "copy" / (NAME + "-shm")).unlink()
    said = "record.sqlite cannot be read here: unable to open database file. Copy the whole store"
    with as_anybody(), pytest.raises(StoreError, match=said) as caught:
        Store.read_only(top / "copy")
    assert "written" not in str(caught.value)
    shutil.copytree(top / "copy", top / "where")
    for path in (top / "where", *(top / "where").rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    with as_anybody(), Store.read_only(top / "where") as store:  # the remedies
        assert len(store.keys()) == 2
    Store.open(top / "copy", STUDY).close()
    with as_anybody(), Store.read_only(top / "copy") as store:
        assert len(store.keys()) == 2


def test_a_store_that_is_private_is_named(top):
    stored(top / "out").close()
    (top / "out" / NAME).chmod(0o200)
    with as_anybody(), pytest.raises(StoreError, match=r"cannot be read here: .*let you read it"):
        Store.read_only(top / "out")
    (top / "out").chmod(0o600)
    with as_anybody(), pytest.raises(StoreError, match="out cannot be read here: Permission den"):
        Store.read_only(top / "out")
    (top / "out").chmod(0o755)


def test_a_locked_record_is_not_read_as_if_nobody_wrote_to_it(tmp_path, monkeypatch):
    stored(tmp_path / "out").close()
    tried = []

    def locked(self, uri):
        tried.append(uri)
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(Record, "_opened", locked)
    with pytest.raises(StoreError, match="is locked by another program"):
        Store.read_only(tmp_path / "out")
    assert len(tried) == 1
    assert "immutable" not in tried[0]


def empty(path):
    path.touch()


def in_log_mode(path):
    base = sqlite3.connect(path)
    base.execute("PRAGMA journal_mode=WAL")
    base.close()


@pytest.mark.parametrize("begun", [empty, in_log_mode])
def test_a_store_that_is_being_made_is_no_foreign_file(tmp_path, begun):
    (tmp_path / "arrays").mkdir()
    begun(tmp_path / NAME)
    with pytest.raises(UnmadeError, match=r"is just being made. Try again, or run its sweep\."):
        Store.read_only(tmp_path)
    with stored(tmp_path) as store:
        assert len(store.keys()) == 2


def test_a_store_without_a_description_is_being_made(tmp_path):
    Record(tmp_path / NAME, write=True).close()
    with Store.read_only(tmp_path) as store, pytest.raises(UnmadeError, match="just being made"):
        _ = store.study
    assert issubclass(UnmadeError, StoreError)
    assert not issubclass(UnmadeError, InputError)


def test_arrays_are_taken_up_when_the_making_of_the_record_was_broken_off(tmp_path):
    stored(tmp_path / "out").close()
    (tmp_path / "out" / NAME).unlink()
    Record(tmp_path / "out" / NAME, write=True).close()
    with Store.open(tmp_path / "out", STUDY) as store:
        assert len(store.keys()) == 2
