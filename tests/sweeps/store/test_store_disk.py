"""The store on a disk that is full, broken or read-only."""

import errno
import os
import resource
import subprocess

import pytest

from lazyrich import StoreError
from lazyrich.sweeps.store import folder as folder_module
from lazyrich.sweeps.store import lock as lock_module
from lazyrich.sweeps.store.store import Store
from tests.sweeps.stored import STUDY, key, pairs, result, same


def failing(code):
    def call(*_args, **_options):
        raise OSError(code, os.strerror(code))

    return call


def test_a_file_size_limit_is_named(tmp_path):
    store = Store.open(tmp_path / "out", STUDY)
    store.write(pairs([0]))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(StoreError, match=r"store.sqlite cannot be written: .*disk"):
            store.write(pairs(range(1, 20)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    _goes_on(store)


def test_a_file_that_is_full_is_named(tmp_path):
    store = Store.open(tmp_path / "out", STUDY)
    store.write(pairs([0]))
    (pages,) = store._base._base.execute("PRAGMA page_count").fetchone()
    store._base._base.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreError, match=r"store.sqlite cannot be written: .*is full. Make room"):
        store.write(pairs(range(1, 300)))
    assert store.keys() == {key(0)}
    store._base._base.execute("PRAGMA max_page_count=1000000")
    _goes_on(store)


def _goes_on(store):
    assert store.keys() == {key(0)}
    assert store.write(pairs(range(3))) == 2
    folder = store.folder
    store.close()
    with Store.open(folder, STUDY) as again:
        assert again.verify() == ()
        assert all(same(again.read(key(n)), result(n)) for n in range(3))


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_serves(tmp_path, monkeypatch, code):
    monkeypatch.setattr(folder_module.os, "fsync", failing(code))
    with Store.open(tmp_path / "out", STUDY) as store:
        assert store.write(pairs([0])) == 1
        assert store.verify() == ()


def test_a_folder_that_fails_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module.os, "fsync", failing(errno.EIO))
    with pytest.raises(StoreError, match="out cannot be written: Input/output error"):
        Store.open(tmp_path / "out", STUDY)
    monkeypatch.undo()
    Store.open(tmp_path / "out", STUDY).close()  # the lock was given back


def test_a_lock_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_module.FileLock, "acquire", failing(errno.ENOSPC))
    with pytest.raises(StoreError, match="out cannot be written: No space left on device"):
        Store.open(tmp_path / "out", STUDY)
    monkeypatch.undo()
    Store.open(tmp_path / "out", STUDY).close()


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder],
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
            store.write(pairs([done]))

    with pytest.raises(StoreError, match=r"cannot be written: .*(No space|full|disk I/O)"):
        fill()
    store.close()
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    with Store.open(small_disk / "out", STUDY) as store:
        assert store.keys() >= {key(n) for n in range(done)}
        assert store.verify() == ()
        store.write(pairs(range(done + 3)))
        assert all(same(store.read(key(n)), result(n)) for n in range(done + 3))


def test_a_disk_that_is_full_from_the_start_or_read_only(small_disk):
    (small_disk / "ballast").write_bytes(bytes(590_000))
    with pytest.raises(StoreError, match="cannot be written"):
        Store.open(small_disk / "out", STUDY)
    (small_disk / "ballast").unlink()
    with Store.open(small_disk / "out", STUDY) as store:
        store.write(pairs([0]))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with Store.read_only(small_disk / "out") as store:
        assert same(store.read(key(0)), result(0))
    with pytest.raises(StoreError, match="cannot be written: Read-only file system"):
        Store.open(small_disk / "out", STUDY)
