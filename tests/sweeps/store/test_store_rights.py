"""The store and the rights of its user: folders that cannot be read, stores that are only read."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from lazyrich import InputError, StoreError
from lazyrich.sweeps.store.codec import encode
from lazyrich.sweeps.store.database import Database
from lazyrich.sweeps.store.folder import NAME, UnmadeError
from lazyrich.sweeps.store.store import Store
from tests.sweeps.stored import STUDY, key, pairs, result, same

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
    encode(result(0))  # imports what the rights of anybody may not suffice for
    before = os.umask(0o022)
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # TMPDIR may be private
        Path(name).chmod(0o755)
        yield Path(name)
    os.umask(before)


def stored(folder, count=2):
    store = Store.open(folder, STUDY)
    store.write(pairs(range(count)))
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


def test_a_folder_that_cannot_be_looked_into_is_named(top):
    out = top / "out"
    out.mkdir()
    out.chmod(0o333)
    with as_anybody(), pytest.raises(StoreError, match="out cannot be written: Permission denied"):
        Store.open(out, STUDY)  # what else is in it cannot be seen
    out.chmod(0o777)
    with as_anybody(), stored(out) as store:
        assert len(store.keys()) == 2


def test_a_copy_that_cannot_be_read_here_is_no_full_disk(top):
    with stored(top / "out"):
        shutil.copytree(top / "out", top / "copy")  # with the log of what is not in the record yet
    (top / "copy" / (NAME + "-shm")).unlink()
    said = "store.sqlite cannot be read here: unable to open database file. Copy the whole store"
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


def test_a_locked_file_is_not_read_as_if_nobody_wrote_to_it(tmp_path, monkeypatch):
    stored(tmp_path / "out").close()
    tried = []

    def locked(self, uri):
        tried.append(uri)
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(Database, "_opened", locked)
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
    begun(tmp_path / NAME)
    with pytest.raises(UnmadeError, match=r"is just being made. Try again, or run its sweep\."):
        Store.read_only(tmp_path)
    with stored(tmp_path) as store:
        assert len(store.keys()) == 2


def test_a_store_without_a_description_is_being_made(tmp_path):
    Database(tmp_path / NAME, write=True).close()
    with Store.read_only(tmp_path) as store, pytest.raises(UnmadeError, match="just being made"):
        _ = store.description
    assert issubclass(UnmadeError, StoreError)
    assert not issubclass(UnmadeError, InputError)
