"""The store and its processes: killed writers, two writers, readers beside a writer."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lazyrich import StoreError
from lazyrich.sweeps.store.store import Store
from tests.sweeps.stored import STUDY, key, result, same

KILLS = 24


class Writers:
    """Processes that write until they are killed, forked from one that has imported everything."""

    def __init__(self, folder):
        self.alive = None
        root = str(Path(__file__).parents[3])
        self.parent = subprocess.Popen(
            [sys.executable, "-m", "tests.sweeps.stored", str(folder)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([root, *sys.path])},
            cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.parent.stdout.readline() == "ready\n"

    def line(self):
        line = self.parent.stdout.readline().strip()
        assert line, "the writers are gone"
        return line

    def start(self):
        self.parent.stdin.write("go\n")
        self.parent.stdin.flush()
        self.alive = int(self.line().removeprefix("process "))
        assert self.line() == "open"
        return self.alive

    def kill(self, process):
        """Kill a writer; returns how many points it had acknowledged, 0 if it came to none."""
        os.kill(process, signal.SIGKILL)
        self.alive = None
        return int([0, *iter(self.line, "dead")][-1])

    def close(self):
        if self.alive:
            os.kill(self.alive, signal.SIGKILL)
        self.parent.stdin.close()
        self.parent.wait()
        self.parent.stdout.close()


@pytest.fixture
def writers(tmp_path):
    found = Writers(tmp_path / "out")
    yield found
    found.close()


def test_what_was_acknowledged_survives_every_kill(tmp_path, writers):
    chance = random.Random(0)
    known = before = 0
    for _ in range(KILLS):
        process = writers.start()
        time.sleep(chance.uniform(0, 0.25))
        known = max(known, writers.kill(process))
        with Store.open(tmp_path / "out", STUDY) as store:  # the lock of the dead is taken over
            there = len(store.keys())
            assert known <= there <= known + 8  # no more than the group that was being written
            assert store.keys() == {key(number) for number in range(there)}
            assert store.verify() == ()
            for number in range(before, there):
                assert same(store.read(key(number)), result(number))
        known = before = there
    assert known > KILLS
    with Store.read_only(tmp_path / "out") as store:
        assert all(same(store.read(key(number)), result(number)) for number in range(known))


def test_one_writer_and_any_number_of_readers(tmp_path, writers):
    process = writers.start()
    with pytest.raises(
        StoreError, match=rf"must have one writer, and process {process} on .* since"
    ):
        Store.open(tmp_path / "out", STUDY)
    seen = []
    with Store.read_only(tmp_path / "out") as reader, Store.read_only(tmp_path / "out") as other:
        while len(seen) < 5 or seen[-1] == seen[0]:
            seen.append(len(reader.keys()))
            time.sleep(0.02)
        numbers = range(seen[-1])
        assert all(same(reader.read(key(n)), result(n)) for n in numbers)
        assert len(other.keys()) >= seen[-1]
        assert reader.description.study() == STUDY.to_json()
    writers.kill(process)
    with Store.read_only(tmp_path / "out") as reader:
        assert len(reader.keys()) >= seen[-1]


def test_a_forked_child_neither_writes_nor_keeps_the_lock(tmp_path):
    code = """
import os, sys
from lazyrich import StoreError
from lazyrich.sweeps.store.store import Store
from tests.sweeps.stored import STUDY, pairs
store = Store.open(sys.argv[1], STUDY)
ready, go = os.pipe(), os.pipe()
child = os.fork()
if not child:
    try:
        store.write(pairs([0]))
    except StoreError as error:
        os.write(ready[1], str(error).encode())
    os.close(go[1])
    os.read(go[0], 1)  # still alive when the parent closes its store
    os._exit(0)
print(os.read(ready[0], 1000).decode())
store.close()
with Store.open(sys.argv[1], STUDY) as again:
    print(again.write(pairs([0])))
os.write(go[1], b"x")
os.waitpid(child, 0)
"""
    root = str(Path(__file__).parents[3])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([root, *sys.path])}
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said, written = out.stdout.strip().splitlines()
    assert "and this is its child. Give the results to the process that opened it" in said
    assert written == "1"
