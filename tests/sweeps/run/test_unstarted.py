"""The store and its workers where the system gives no more: descriptors, room, a broken folder."""

import errno
import multiprocessing
import os

import pytest

from lazyrich import StoreError
from lazyrich._errors import WorkerError
from lazyrich.sweeps.run.executors import Processes
from lazyrich.sweeps.store import lock, segments
from lazyrich.sweeps.store.record import NAME
from lazyrich.sweeps.store.store import Store
from tests.sweeps.stored import STUDY, key, result, same


def failing(code):
    def call(*_args, **_options):
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO])
def test_finished_points_survive_a_folder_that_fails(tmp_path, monkeypatch, code):
    with Store.open(tmp_path / "out", STUDY) as store:
        store.write({key(n): result(n) for n in range(3)})
    arrays = tmp_path / "out/arrays/000001.bin"
    content = arrays.read_bytes()
    with Store.open(tmp_path / "out", STUDY) as store:
        monkeypatch.setattr(segments, "sync_folder", failing(code))
        with pytest.raises(StoreError, match=r"000001.bin cannot be written"):
            store.write({key(3): result(3)})
        assert arrays.read_bytes() == content
        assert all(same(store.read(key(n)), result(n)) for n in range(3))
        monkeypatch.undo()
        assert store.write({key(3): result(3)}) == 1
        assert store.verify() == ()
    with Store.open(tmp_path / "out", STUDY) as store:
        assert all(same(store.read(key(n)), result(n)) for n in range(4))


def test_a_lock_that_cannot_be_signed_is_given_back(tmp_path, monkeypatch):
    opened = []
    real = os.open
    monkeypatch.setattr(lock.os, "open", lambda *a: opened.append(real(*a)) or opened[-1])
    monkeypatch.setattr(lock.os, "pwrite", failing(errno.ENOSPC))
    with pytest.raises(StoreError, match="out cannot be written: No space left on device"):
        Store.open(tmp_path / "out", STUDY)
    monkeypatch.undo()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[-1])
    Store.open(tmp_path / "out", STUDY).close()


def test_damaged_records_are_kept_apart_when_an_older_one_is_gone(tmp_path):
    for n in range(3):
        with Store.open(tmp_path / "out", STUDY) as store:
            store.write({key(n): result(n)})
        (tmp_path / "out" / NAME).write_bytes(b"nonsense %d" % n)
        if n == 2:
            (tmp_path / "out/damaged-1" / NAME).unlink()
            (tmp_path / "out/damaged-1").rmdir()
        with Store.rebuild(tmp_path / "out", STUDY) as store:
            assert len(store.keys()) == n + 1
    kept = sorted(path.name for path in (tmp_path / "out").glob("damaged-*"))
    assert kept == ["damaged-2", "damaged-3"]
    assert (tmp_path / "out/damaged-3" / NAME).read_bytes() == b"nonsense 2"


@pytest.mark.parametrize("moved", range(3))
def test_a_rebuild_that_is_broken_off_is_taken_up(tmp_path, monkeypatch, moved):
    out = tmp_path / "out"
    with Store.open(out, STUDY) as store:
        store.write({key(0): result(0)})
    for end in ("-shm", "-wal"):
        (out / (NAME + end)).write_bytes(b"nonsense" * 1000)
    rename, names = type(out).rename, []

    def until(self, target):
        if len(names) == moved:
            raise KeyboardInterrupt
        names.append(self.name)
        return rename(self, target)

    (out / NAME).write_bytes(b"nonsense" * 1000)
    monkeypatch.setattr(type(out), "rename", until)
    with pytest.raises(KeyboardInterrupt):
        Store.rebuild(out, STUDY)
    monkeypatch.undo()
    assert names[:1] == [NAME][:moved]
    with (Store.open if moved else Store.rebuild)(out, STUDY) as store:
        assert store.keys() == {key(0)}
        assert store.verify() == ()


def test_rebuilding_without_a_right_or_room_is_named(tmp_path, monkeypatch):
    Store.open(tmp_path / "out", STUDY).close()
    monkeypatch.setattr(lock.os, "pwrite", failing(errno.ENOSPC))
    with pytest.raises(StoreError, match="out cannot be written: No space left on device"):
        Store.rebuild(tmp_path / "out", STUDY)
    monkeypatch.undo()
    monkeypatch.setattr(type(tmp_path), "mkdir", failing(errno.EROFS))
    with pytest.raises(StoreError, match="out cannot be written: Read-only file system"):
        Store.rebuild(tmp_path / "out", STUDY)
    monkeypatch.undo()
    Store.open(tmp_path / "out", STUDY).close()


@pytest.mark.parametrize("part", ["Pipe", "Process.start"])
def test_a_call_ends_when_no_process_can_be_started(monkeypatch, part):
    context = multiprocessing.get_context("spawn")
    if part == "Pipe":
        monkeypatch.setattr(type(context), part, failing(errno.EMFILE))
    else:
        monkeypatch.setattr(context.Process, "start", failing(errno.EMFILE))
    with Processes(1) as executor:
        calls = [executor.submit(abs, -1) for _ in range(2)]
        for call in calls:
            with pytest.raises(WorkerError, match=r"cannot be started: .*Too many open files.*few"):
                call.result(20)
        monkeypatch.undo()
        assert executor.submit(abs, -1).result(60) == 1
