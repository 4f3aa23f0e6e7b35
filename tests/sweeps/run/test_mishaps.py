"""Experiments and machines that misbehave: each point is what it is, no other is harmed.

Oracle: what each point must find, which it is told by its own seed.
"""

import contextlib
import math
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from lazyrich._errors import InputError, StoreError, WorkerError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.run.executors import Processes
from lazyrich.sweeps.run.sweep import sweep
from lazyrich.sweeps.store.store import Store
from tests.sweeps.experiments import Walk

from .mishaps import RAISED, Mishap
from .test_sweep import Synchronous, by_hand, statuses, stored

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def run(folder, kinds, *, base=None, seeds=1, **options):
    """Results of a sweep by what they are and their seed."""
    study = Study(
        name="mishap", experiment=Mishap, base=base or {}, axes={"what": kinds}, seeds=seeds
    )
    sweep(study, folder, progress=False, **options)
    return {(point.what, point.seed): result for point, result in statuses(folder).items()}


def children():
    return [p for p in multiprocessing.active_children() if p.name == "lazyrich-worker"]


@forks
@pytest.mark.parametrize("what", ["fork", "fork and raise", "fork and go on"])
@pytest.mark.parametrize("kind", ["processes", "pool"])
def test_the_child_of_a_point_answers_nothing(tmp_path, what, kind):
    if kind == "pool":
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            found = run(tmp_path, [what], seeds=8, executor=executor)
    else:
        found = run(tmp_path, [what], seeds=8, workers=1)
    assert [int(found[what, seed].data.seed_seen) for seed in range(8)] == list(range(8))
    assert {result.sentence for result in found.values()} == {what}
    assert len({int(result.data.pid) for result in found.values()}) == 1


@forks
def test_the_child_of_any_call_answers_nothing():
    with Processes(1) as executor:
        assert executor.submit(os.fork).result() > 0
        assert [executor.submit(math.sqrt, n * n).result() for n in range(8)] == list(range(8))


@forks
@pytest.mark.parametrize("mark", ["", "C"])
def test_a_process_that_dies_while_its_child_lives_is_noticed(tmp_path, mark):
    start = time.monotonic()
    found = run(tmp_path, ["hold", "finish"], base={"mark": mark}, workers=1)
    assert time.monotonic() - start < 25  # the child of the last one lives for 30 seconds
    assert found["hold", 0].status == "failed"
    assert found["hold", 0].sentence.endswith(
        "killed by SIGKILL, as where memory is short: try fewer workers"
    )
    assert found["finish", 0].status == "finished"


@pytest.mark.parametrize("kind", ["processes", "pool", "synchronous", "threads"])
def test_whatever_a_point_raises_is_its_own(tmp_path, kind):
    made = {
        "processes": lambda: Processes(1),
        "pool": lambda: ProcessPoolExecutor(1, mp_context=get_context("spawn")),
        "synchronous": Synchronous,
        "threads": lambda: ThreadPoolExecutor(1),
    }[kind]
    with made() as executor:
        found = run(tmp_path, ["finish", *RAISED], executor=executor)
    assert found.pop(("finish", 0)).status == "finished"
    assert {result.status for result in found.values()} == {"failed"}
    assert found["cancelled", 0].sentence == "CancelledError: of the point"
    assert found["interrupt", 0].sentence == "KeyboardInterrupt: of the point"
    assert found["not unpicklable", 0].sentence == "NeedsTwoError: one"
    assert found["not shown", 0].sentence == "SilentError: (its message cannot be shown)"
    assert all("in run" in result.traceback for result in found.values())


def test_whatever_a_group_raises_is_of_its_points(tmp_path):
    found = run(tmp_path, ["finish", *RAISED], executor=Synchronous(), together=4)
    assert found.pop(("finish", 0)).status == "finished"
    assert {result.status for result in found.values()} == {"failed"}
    assert len(found) == len(RAISED)


def test_exceptions_of_calls_that_do_not_travel():
    with Processes(1) as executor:
        with pytest.raises(WorkerError, match="HoldsThreadError: with a lock"):
            executor.submit(throw, "not picklable").result()
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'two'"):
            executor.submit(throw, "not unpicklable").result()
        with pytest.raises((AttributeError, pickle.PicklingError)):
            executor.submit(eval, "lambda: 0").result()
        assert executor.submit(math.sqrt, 4).result() == 2


def throw(kind):
    raise RAISED[kind]


@pytest.mark.parametrize("together", [1, 3])
def test_after_a_lack_of_memory_the_process_is_a_new_one(tmp_path, together):
    found = run(tmp_path, ["leak", "finish"], seeds=3, workers=1, together=together)
    for seed in range(3):
        assert found["finish", seed].status == "finished"
        assert found["leak", seed].sentence == "MemoryError: too much"
        assert "in leak" in found["leak", seed].traceback


def test_a_point_that_lacks_the_memory_of_others_is_innocent(tmp_path):
    found = run(tmp_path, ["leak quietly", "finish"], seeds=8, workers=1)
    assert {result.status for result in found.values()} == {"finished"}


def test_a_fresh_call_is_the_first_of_its_process():
    with Processes(1) as executor:
        first = executor.submit(os.getpid).result()
        assert executor.submit(os.getpid).result() == first
        second = executor.within(None, True, os.getpid).result()
        assert second != first
        assert executor.submit(os.getpid).result() == second


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads its size in /proc")
def test_a_process_that_has_no_memory_to_say_so(tmp_path):
    found = run(tmp_path, ["hog", "finish"], seeds=2, workers=1)
    for seed in range(2):
        assert found["finish", seed].status == "finished"
        assert found["hog", seed].sentence == "MemoryError"


def test_a_lack_of_memory_that_a_library_calls_otherwise(tmp_path):
    mark = str(tmp_path / "try")
    found = run(tmp_path / "out", ["too large"], base={"mark": mark}, workers=1)
    assert found["too large", 0].sentence.startswith("RuntimeError: DefaultCPUAllocator: can't al")
    tries = [file.name.split("-")[1] for file in tmp_path.glob("try-*")]
    assert len(tries) == len(set(tries)) == 2  # each in a process of its own


@forks
def test_points_that_end_harm_or_disturb_their_process(tmp_path):
    kinds = ["leave", "rare signal", "close", "wander", "chatter", "handle"]
    found = run(tmp_path, [*kinds, "finish"], workers=1)
    died = "its worker process died each time it ran (3 times): the worker process "
    rare = signal.SIGRTMIN + 1
    assert found["leave", 0].sentence == f"{died}ended with exit code 0"
    assert found["rare signal", 0].sentence == f"{died}was killed by signal {rare}"
    assert found["close", 0].status == "failed"
    for what in ("wander", "chatter", "handle", "finish"):
        result = found[what, 0]
        assert result.status == "finished"
        assert str(result.data.folder.values) == str(Path().absolute())
        assert str(result.data.omp.values) == "1"
    assert not children()


def test_a_point_that_takes_too_long_fails_and_the_others_go_on(tmp_path):
    study = Study(
        name="mishap",
        experiment=Mishap,
        base={"what": "handle"},
        axes={"seconds": [0.0, 60.0]},
        seeds=2,
    )
    start = time.monotonic()
    summary = sweep(study, tmp_path, workers=2, timeout=0.5, progress=False)
    assert time.monotonic() - start < 30
    assert summary.statuses == {"finished": 2, "failed": 2}
    for point, result in statuses(tmp_path).items():
        assert result.status == ("failed" if point.seconds else "finished")
        assert not point.seconds or result.sentence == "took longer than 0.5 s"
    assert sweep(study, tmp_path, workers=1, timeout=0.5, progress=False).ran == 0


def test_a_group_may_take_the_time_of_its_points(tmp_path):
    study = Study(name="mishap", experiment=Mishap, axes={"seconds": [0.3, 0.6, 20.0]}, seeds=2)
    sweep(study, tmp_path, workers=1, timeout=1.0, together=2, progress=False)
    found = {(p.seconds, p.seed): result for p, result in statuses(tmp_path).items()}
    for (seconds, _), result in found.items():
        assert result.status == ("failed" if seconds > 1 else "finished")
    pids = {seconds: int(found[seconds, 0].data.pid) for seconds in (0.3, 0.6)}
    assert pids[0.3] == pids[0.6]


def test_the_clock_starts_when_the_process_has_what_it_needs(tmp_path):
    """A new process imports xarray and the experiment, which takes longer than this point may."""
    found = run(tmp_path, ["finish"], seeds=4, workers=1, recycle=1, timeout=0.5)
    assert {result.status for result in found.values()} == {"finished"}


@pytest.mark.parametrize(("together", "processes"), [(1, 3), (2, 3)])
def test_processes_are_replaced_after_some_points(tmp_path, together, processes):
    found = run(tmp_path, ["finish"], seeds=6, workers=1, recycle=2, together=together)
    pids = [int(found["finish", seed].data.pid) for seed in range(6)]
    assert len(set(pids)) == processes
    assert pids == sorted(pids, key=pids.index)


def test_refusals_of_limits(tmp_path):
    for timeout in (0, -1.0, math.nan):
        with pytest.raises(InputError, match=f"`timeout` must be above 0 s, got {timeout}"):
            sweep_nothing(tmp_path, timeout=timeout)
    with pytest.raises(InputError, match="`recycle` must be at least 1, got 0"):
        sweep_nothing(tmp_path, recycle=0)
    with pytest.raises(InputError, match="`recycle` must be at least 1, got 0"):
        Processes(1, recycle=0)
    with pytest.raises(InputError, match="`recycle` must be left out where there is an `executor`"):
        sweep_nothing(tmp_path, executor=Synchronous(), recycle=5)
    told = "`timeout` is for processes of this machine, got 5 and an `executor` that is Synchronous"
    with pytest.raises(InputError, match=told):
        sweep_nothing(tmp_path, executor=Synchronous(), timeout=5)


def sweep_nothing(folder, **options):
    sweep(Study(name="mishap", experiment=Mishap), folder, progress=False, **options)


@contextlib.contextmanager
def killer(times, wait=0.0):
    """Kills worker processes as soon as they are there, so many of them."""
    killed = []

    def kill():
        while len(killed) < times:
            for process in children():
                if process.pid not in killed and len(killed) < times:
                    time.sleep(wait)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
            time.sleep(0.001)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield killed
    thread.join()


def test_processes_killed_while_they_start_are_replaced(tmp_path):
    study = Study(name="walk", experiment=Walk, seeds=6)
    with killer(4):
        assert sweep(study, tmp_path, workers=2, progress=False).ran == 6
    assert stored(tmp_path) == by_hand(study)


def test_processes_that_are_killed_whenever_they_start_end_the_sweep(tmp_path):
    with killer(10), pytest.raises(WorkerError, match="10 worker processes were killed") as told:
        sweep_nothing(tmp_path, workers=1)
    assert "__main__" not in str(told.value)
    assert str(told.value).endswith("What was finished is stored.")


def test_a_script_that_starts_a_study_when_it_is_imported_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import lazyrich as lr\n"
        "study = lr.Study(name='decay', experiment='lazyrich.sweeps:Decay')\n"
        "lr.sweep(study, 'out', workers=1)\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert "A worker process ended with exit code 1 while it started. If a script" in done.stderr
    assert "its last part must be under `if __name__ == '__main__':`" in done.stderr


def test_an_idle_process_that_is_killed_costs_nothing():
    with Processes(1) as executor:
        for _ in range(3):
            first = executor.submit(os.getpid).result()
            os.kill(first, signal.SIGKILL)
            while children() and children()[0].pid == first:
                time.sleep(0.01)
            assert executor.submit(os.getpid).result() != first


@forks
def test_a_child_of_the_driver_that_ends_leaves_its_workers_alone(tmp_path):
    code = (
        "import os, sys, time\n"
        "from lazyrich.sweeps.run.executors import Processes\n"
        "if __name__ == '__main__':\n"
        "    pool = Processes(1)\n"
        "    first = pool.submit(os.getpid).result()\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        sys.exit()\n"
        "    os.waitpid(child, 0)\n"
        "    print(pool.submit(os.getpid).result() == first)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n"


@forks
def test_workers_end_with_a_driver_whose_child_lives(tmp_path):
    code = (
        "import os, time\n"
        "from lazyrich.sweeps.run.executors import Processes\n"
        "if __name__ == '__main__':\n"
        "    pool = Processes(1)\n"
        "    worker = pool.submit(os.getpid).result()\n"
        "    busy = pool.submit(time.sleep, 60)\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        time.sleep(30)\n"
        "        os._exit(0)\n"
        "    print(worker, child, flush=True)\n"
        "    time.sleep(60)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as driver:
        worker, child = map(int, driver.stdout.readline().split())
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        end = time.monotonic() + 20
        while running(worker) and time.monotonic() < end:
            time.sleep(0.05)
        assert not running(worker)
        os.kill(child, signal.SIGKILL)


def running(pid):
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def test_a_store_that_is_removed_while_a_sweep_writes_is_noticed(tmp_path):
    class Remover(Synchronous):
        calls = 0

        def submit(self, fn, /, *args, **kwargs):
            self.calls += 1
            if self.calls == 150:
                shutil.rmtree(tmp_path / "out")
            return super().submit(fn, *args, **kwargs)

    study = Study(name="walk", experiment=Walk, base={"steps": 1}, seeds=300)
    with pytest.raises(StoreError):
        sweep(study, tmp_path / "out", executor=Remover(), progress=False)


def test_what_is_said_to_be_stored_is_counted_in_the_store(tmp_path, monkeypatch):
    write = Store.write

    def forgetful(store, outcomes, **options):
        return write(store, list(outcomes)[1:], **options)

    monkeypatch.setattr(Store, "write", forgetful)
    study = Study(name="walk", experiment=Walk, base={"steps": 1}, seeds=20)
    with pytest.raises(StoreError, match=r"must hold 20 points now, and holds \d+\. It was"):
        sweep(study, tmp_path, executor=Synchronous(), progress=False)


def test_the_second_ctrl_c_says_what_it_does_and_is_no_failure_of_a_point(tmp_path):
    with pytest.raises(KeyboardInterrupt, match=r"mishap was ended at once: .* Run the same again"):
        run(tmp_path, ["finish", "two ctrl c"], executor=Synchronous())
    assert [result[1] for result in stored(tmp_path).values()] == ["finish"]


@pytest.mark.parametrize(("moment", "before"), [("open", 0), ("read_only", 1)])
def test_a_ctrl_c_while_the_store_is_opened_or_read_has_a_sentence(
    tmp_path, monkeypatch, moment, before
):
    opened = getattr(Store, moment)

    def interrupted(*arguments, **options):
        for _ in range(2 if before else 1):
            signal.raise_signal(signal.SIGINT)
        return opened(*arguments, **options)

    monkeypatch.setattr(Store, moment, interrupted)
    with pytest.raises(KeyboardInterrupt, match="mishap was ended at once: "):
        sweep_nothing(tmp_path, executor=Synchronous())
    monkeypatch.undo()
    assert len(stored(tmp_path) if before else ()) == before
