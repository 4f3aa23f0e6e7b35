"""The store on a disk that is full, broken or read-only."""

import errno
import os
import resource
import subprocess

import pytest

from lazyrich import StoreError
from lazyrich.sweeps.store import segments
from lazyrich.sweeps.store.store import Store
from tests.sweeps.stored import STUDY, key, result, same


def test_a_full_disk_is_named_and_the_store_goes_on_when_there_is_room(tmp_path, monkeypatch):
    store = Store.open(tmp_path / "out", STUDY)
    store.write({key(0): result(0)})
    size = (tmp_path / "out/arrays/000001.bin").stat().st_size
    real = os.write

    def half(file, data):
        if len(data) < 1000:
            return real(file, data)
        if len(data) > 2000:
            return real(file, data[:500])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(segments.os, "write", half)
    with pytest.raises(StoreError, match=r"000001.bin cannot be written: No space left on device"):
        store.write({key(n): result(n) for n in (1, 2)})
    monkeypatch.undo()
    assert (tmp_path / "out/arrays/000001.bin").stat().st_size == size
    _goes_on(store)


def test_a_disk_that_cannot_sync_is_named(tmp_path, monkeypatch):
    store = Store.open(tmp_path / "out", STUDY)
    store.write({key(0): result(0)})

    def broken(file):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(segments.os, "fsync", broken)
    with pytest.raises(StoreError, match="cannot be written: Input/output error"):
        store.write({key(1): result(1)})
    monkeypatch.undo()
    _goes_on(store)


def test_a_file_size_limit_is_named(tmp_path):
    store = Store.open(tmp_path / "out", STUDY)
    store.write({key(0): result(0)})
    size = (tmp_path / "out/arrays/000001.bin").stat().st_size
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limit[1]))
    try:
        with pytest.raises(StoreError, match="cannot be written: File too large"):
            store.write({key(1): result(1)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    _goes_on(store)


def test_a_record_that_is_full_is_named(tmp_path):
    store = Store.open(tmp_path / "out", STUDY)
    store.write({key(0): result(0)})
    (pages,) = store._record._base.execute("PRAGMA page_count").fetchone()
    store._record._base.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(
        StoreError, match=r"record.sqlite cannot be written: database or disk is full"
    ):
        store.write({key(n): result(n) for n in range(1, 300)})
    assert store.keys() == {key(0)}
    store._record._base.execute("PRAGMA max_page_count=1000000")
    _goes_on(store)


def _goes_on(store):
    assert store.keys() == {key(0)}
    assert store.write({key(n): result(n) for n in range(3)}) == 2
    folder = store.folder
    store.close()
    with Store.open(folder, STUDY) as again:
        assert again.verify() == ()
        assert all(same(again.read(key(n)), result(n)) for n in range(3))


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_really_full(small_disk):
    store = Store.open(small_disk / "out", STUDY)
    done = 0

    def fill():
        nonlocal done
        for done in range(1000):
            store.write({key(done): result(done)})

    with pytest.raises(StoreError, match=r"cannot be written: .*(No space|full|disk I/O)"):
        fill()
    store.close()
    subprocess.run(["mount", "-o", "remount,size=2m", small_disk], check=True)
    with Store.open(small_disk / "out", STUDY) as store:
        assert store.keys() >= {key(n) for n in range(done)}
        assert store.verify() == ()
        store.write({key(n): result(n) for n in range(done + 3)})
        assert all(same(store.read(key(n)), result(n)) for n in range(done + 3))


def test_a_disk_that_is_full_from_the_start_or_read_only(small_disk):
    (small_disk / "ballast").write_bytes(bytes(390_000))
    with pytest.raises(StoreError, match="cannot be written"):
        Store.open(small_disk / "out", STUDY)
    (small_disk / "ballast").unlink()
    with Store.open(small_disk / "out", STUDY) as store:
        store.write({key(0): result(0)})
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with Store.read_only(small_disk / "out") as store:
        assert same(store.read(key(0)), result(0))
    with pytest.raises(StoreError, match="cannot be written: Read-only file system"):
        Store.open(small_disk / "out", STUDY)
