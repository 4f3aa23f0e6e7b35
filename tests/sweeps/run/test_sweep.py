"""The driver: what runs, what is stored, whatever the executor; oracle: every point run by hand."""

import io
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import pytest

from lazyrich._errors import InputError, WorkerError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.run import driver, progress
from lazyrich.sweeps.run.executors import Processes
from lazyrich.sweeps.run.process import WorkerDiedError
from lazyrich.sweeps.run.progress import Meter
from lazyrich.sweeps.run.sweep import sweep
from lazyrich.sweeps.store.store import Store
from tests.sweeps import experiments
from tests.sweeps.experiments import Deadly, Descent, Half, Surroundings, Trouble, Walk

sweeps = sys.modules["lazyrich.sweeps.run.sweep"]  # the package has a function of that name


class Synchronous(Executor):
    """Computes a call when it is submitted."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.fixture(scope="module")
def processes():
    with Processes(2) as executor:
        yield executor


def content(result):
    """Everything of a result that must not depend on when and where it was computed."""
    arrays = {
        str(name): (variable.dims, str(variable.dtype), variable.values.tobytes())
        for name, variable in result.data.variables.items()
    }
    return result.status, result.sentence, arrays


def stored(folder):
    with Store.read_only(folder) as store:
        assert not store.verify()
        return {key: content(store.read(key)) for key in sorted(store.keys())}


def statuses(folder):
    with Store.read_only(folder) as store:
        study = Study.from_json(store.description.study())
        return {p.experiment: store.read(p.key) for p in study.points()}


WALK = Study(name="walk", experiment=Walk, axes={"drift": [0.0, 0.1, 0.2]}, seeds=8)


def by_hand(study):
    with without_sleep():
        return {point.key: content(point.experiment.run()) for point in study.points()}


def without_sleep():
    """Experiments of this process take no longer than their numbers need."""
    return mock.patch.object(experiments, "time")


@pytest.mark.parametrize("kind", ["synchronous", "threads", "processes", "pool"])
def test_every_executor_stores_the_same_bits(tmp_path, kind, processes):
    made = {
        "synchronous": Synchronous,
        "threads": lambda: ThreadPoolExecutor(3),
        "processes": lambda: processes,
        "pool": lambda: ProcessPoolExecutor(1, mp_context=get_context("spawn")),
    }[kind]()
    summary = sweep(WALK, tmp_path, executor=made)
    if kind != "processes":
        made.shutdown()
    assert (summary.ran, summary.points, summary.statuses["finished"]) == (24, 24, 24)
    assert stored(tmp_path) == by_hand(WALK)


def test_what_is_stored_is_not_run_again(tmp_path):
    few = Study(name="walk", experiment=Walk, axes={"drift": [0.0, 0.1]}, seeds=2)
    more = Study(name="walk", experiment=Walk, axes={"drift": [0.0, 0.1]}, seeds=3)
    assert sweep(few, tmp_path, executor=Synchronous()).ran == 4
    assert sweep(few, tmp_path, executor=Synchronous()).ran == 0
    assert sweep(more, tmp_path, executor=Synchronous(), extend=True).ran == 2
    assert stored(tmp_path) == by_hand(more)


def test_points_of_earlier_descriptions_are_counted_apart(tmp_path):
    first = Study(name="half", experiment=Half, seeds=[1, 3, 5])
    assert sweep(first, tmp_path, executor=Synchronous()).statuses == {"failed": 3}
    second = Study(name="half", experiment=Half, seeds=[5, 2])
    summary = sweep(second, tmp_path, executor=Synchronous(), extend=True)
    assert (summary.ran, summary.statuses, summary.earlier) == (1, {"finished": 1, "failed": 1}, 2)
    assert summary.sentence.endswith("Stored: 1 finished, 1 failed, and 2 of earlier descriptions.")
    more = Study(name="half", experiment=Half, seeds=[5, 2, 1, 3])
    summary = sweep(more, tmp_path, executor=Synchronous(), extend=True)
    assert (summary.statuses, summary.earlier) == ({"finished": 1, "failed": 3}, 0)
    assert "earlier" not in summary.sentence


def test_processes_of_its_own(tmp_path):
    study = Study(name="look", experiment=Surroundings, seeds=4)
    sweep(study, tmp_path, workers=2)
    seen = [result.data for result in statuses(tmp_path).values()]
    assert {int(data.threads) for data in seen} == {1}
    assert {int(data.omp) for data in seen} == {1}
    assert all(data.ignores for data in seen)
    pids = {int(data.pid) for data in seen}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"]


def test_failures_are_results(tmp_path, processes):
    kinds = ["finish", "raise", "exit", "return", "unpicklable", "diverge"]
    study = Study(name="trouble", experiment=Trouble, axes={"what": kinds})
    summary = sweep(study, tmp_path, executor=processes)
    assert {k: n for k, n in summary.statuses.items() if n} == {
        "finished": 1,
        "failed": 4,
        "diverged": 1,
    }
    found = {experiment.what: result for experiment, result in statuses(tmp_path).items()}
    assert found["raise"].sentence == "ValueError: the first line"
    assert "and the second" in found["raise"].traceback
    assert "in run" in found["raise"].traceback
    assert found["exit"].sentence == "SystemExit: enough"
    assert found["return"].sentence == "TypeError: Trouble must return a Result, got str"
    assert found["unpicklable"].status == "failed"
    assert found["unpicklable"].sentence.startswith("its result cannot be stored: ")
    assert found["diverge"].sentence == "diverged at step 3"
    assert found["finish"].seconds > 0


def test_failed_points_run_again_when_asked(tmp_path):
    study = Study(name="half", experiment=Half, seeds=4)
    assert sweep(study, tmp_path, executor=Synchronous()).statuses["failed"] == 2
    before = stored(tmp_path)
    assert sweep(study, tmp_path, executor=Synchronous()).ran == 0
    assert sweep(study, tmp_path, executor=Synchronous(), retry_failed=True).ran == 2
    assert stored(tmp_path) == before


def test_a_point_whose_process_dies_is_run_again_three_times_at_most(tmp_path, processes):
    mark = tmp_path / "mark"
    study = Study(
        name="trouble",
        experiment=Trouble,
        base={"mark": str(mark)},
        axes={"what": ["finish", "die once", "die"]},
    )
    sweep(study, tmp_path / "out", executor=processes)
    found = {experiment.what: result for experiment, result in statuses(tmp_path / "out").items()}
    tries = {what: Path(f"{mark}-{what}-0").read_text().count("\n") for what in found}
    assert tries == {"finish": 1, "die once": 2, "die": 3}
    assert found["finish"].status == found["die once"].status == "finished"
    assert found["die"].status == "failed"
    assert found["die"].sentence == (
        "its worker process died each time it ran (3 times): "
        "the worker process was killed by SIGKILL, as where memory is short: try fewer workers"
    )


def test_a_group_that_kills_its_process_runs_one_by_one(tmp_path, processes, monkeypatch):
    monkeypatch.setattr(driver, "DEATHS", 1)
    study = Study(name="deadly", experiment=Deadly, seeds=5)
    sweep(study, tmp_path, executor=processes, together=3)
    found = {experiment.seed: result.status for experiment, result in statuses(tmp_path).items()}
    assert found == {0: "finished", 1: "failed", 2: "finished", 3: "finished", 4: "finished"}


def test_groups_are_trained_together_and_do_not_depend_on_what_is_stored(tmp_path, processes):
    study = Study(name="descent", experiment=Descent, axes={"rate": [0.1, 0.3, 0.5]}, seeds=5)
    sweep(study, tmp_path / "whole", executor=processes, together=4)
    whole = stored(tmp_path / "whole")
    points = list(study.points())
    assert [whole[point.key][1] for point in points] == ["4 together"] * 12 + ["3 together"] * 3
    with Store.read_only(tmp_path / "whole") as done, Store.open(tmp_path / "part", study) as part:
        part.write((point, done.read(point.key)) for point in points[2:10:3])
    assert sweep(study, tmp_path / "part", executor=processes, together=4).ran == 12
    assert stored(tmp_path / "part") == whole
    alone = by_hand(study)
    assert {key[2]["loss"][:2] for key in whole.values()} == {
        key[2]["loss"][:2] for key in alone.values()
    }


def test_a_group_that_raises_runs_one_by_one(tmp_path):
    study = Study(name="half", experiment=Half, seeds=6)
    sweep(study, tmp_path, executor=Synchronous(), together=4)
    found = {experiment.seed: result.sentence for experiment, result in statuses(tmp_path).items()}
    odd = "ArithmeticError: {} is odd"
    assert found == {n: odd.format(n) if n % 2 else "even" for n in range(6)}


class Counting(ThreadPoolExecutor):
    """Knows how many calls it had at a time."""

    most = current = 0

    def submit(self, fn, /, *args, **kwargs):
        future = super().submit(fn, *args, **kwargs)
        self.current += 1
        self.most = max(self.most, self.current)
        future.add_done_callback(self._one_less)
        return future

    def _one_less(self, future):
        self.current -= 1


def test_the_number_of_calls_at_a_time_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "IN_FLIGHT", 7)
    study = Study(name="walk", experiment=Walk, base={"steps": 1}, seeds=200)
    with Counting(1) as executor:
        assert sweep(study, tmp_path, executor=executor).ran == 200
    assert executor.most <= 8  # the last callback of a future is ours


def test_points_that_come_together_are_one_commit(tmp_path, monkeypatch):
    commits = []
    write = Store.write

    def counted(store, found, **options):
        commits.append(len(found))
        return write(store, found, **options)

    monkeypatch.setattr(Store, "write", counted)
    study = Study(name="walk", experiment=Walk, base={"steps": 1}, seeds=300)
    sweep(study, tmp_path / "fast", executor=Synchronous())
    assert sum(commits) == 300
    assert len(commits) < 100
    commits.clear()
    slow = Study(name="slow", experiment=Walk, base={"seconds": 0.06}, seeds=4)
    sweep(slow, tmp_path / "slow", executor=Synchronous())
    assert commits == [1, 1, 1, 1]


class Broken(Executor):
    """Answers every call with one exception."""

    def __init__(self, error):
        self.error = error

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        if self.error is None:
            future.cancel()
        else:
            future.set_exception(self.error)
        return future


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ModuleNotFoundError("No module named 'mine'"),
            "The executor cannot go on with the study.*ModuleNotFoundError: No module named",
        ),
        (
            WorkerError("A worker process ended with exit code 1 while it started."),
            "^A worker process ended with exit code 1 while it started. What was finished is",
        ),
        (None, "The executor cannot go on with the study.*it cancelled a point"),
    ],
)
def test_an_executor_that_cannot_work_ends_the_sweep(tmp_path, error, told):
    with pytest.raises(WorkerError, match=told):
        sweep(WALK, tmp_path, executor=Broken(error))
    assert stored(tmp_path) == {}
    with ThreadPoolExecutor(1) as executor:
        pass
    with pytest.raises(WorkerError, match="cannot schedule new futures after shutdown"):
        sweep(WALK, tmp_path, executor=executor)


def test_what_has_come_back_is_stored_when_the_executor_breaks(tmp_path):
    class Half(Synchronous):
        calls = 0

        def submit(self, fn, /, *args, **kwargs):
            self.calls += 1
            if self.calls > 10:
                raise RuntimeError("broken")
            return super().submit(fn, *args, **kwargs)

    with pytest.raises(WorkerError, match="RuntimeError: broken"):
        sweep(WALK, tmp_path, executor=Half())
    assert len(stored(tmp_path)) == 10


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="`together` must be at least 1, got 0"):
        sweep(WALK, tmp_path, together=0)
    with pytest.raises(InputError, match="`together` must be 1 for Walk, got 4"):
        sweep(WALK, tmp_path, together=4)
    with pytest.raises(InputError, match="`workers` must be left out where there is an `executor`"):
        sweep(WALK, tmp_path, executor=Synchronous(), workers=2)
    with pytest.raises(InputError, match="`workers` must be at least 1, got 0"):
        sweep(WALK, tmp_path, workers=0)


def test_processes_behave_like_an_executor(processes):
    assert list(processes.map(divmod, [7, 9], [2, 4])) == [(3, 1), (2, 1)]
    with pytest.raises(ZeroDivisionError):
        processes.submit(divmod, 1, 0).result()
    died = processes.submit(os._exit, 3)
    with pytest.raises(WorkerDiedError, match="the worker process ended with exit code 3"):
        died.result()
    killed = processes.submit(os.abort)
    with pytest.raises(WorkerDiedError, match="the worker process was killed by SIGABRT"):
        killed.result()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        processes.submit(lambda: 0)
    assert processes.submit(divmod, 7, 2).result() == (3, 1)
    closed = Processes(1)
    closed.shutdown()
    with pytest.raises(RuntimeError, match="cannot submit a call after shutdown"):
        closed.submit(divmod, 1, 1)


def test_the_first_process_blocks_ctrl_c_from_its_first_moment():
    code = (
        "import signal; from lazyrich.sweeps.run.executors import Processes\n"
        "with Processes(1) as executor:\n"
        "    blocked = executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result()\n"
        "    print(signal.SIGINT in blocked)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_killing_the_processes_ends_what_they_compute():
    executor = Processes(2)
    futures = [executor.submit(time.sleep, 60) for _ in range(4)]
    while not futures[1].running():
        time.sleep(0.01)
    start = time.monotonic()
    executor.kill()
    assert time.monotonic() - start < 10
    assert all(future.done() for future in futures)
    assert all(future.cancelled() for future in futures[2:])


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    with Meter("walk", points=100, done=10) as meter:
        for now[0] in (10.0, 40.0, 70.0, 90.0):
            meter.advance(10, failed=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "walk: 40 of 100 points, 3 failed, 0.429 a second, 2 min 20 s left\n"


class Terminal(io.StringIO):
    """Takes what a terminal would show."""

    def isatty(self):
        return True


def test_progress_is_a_bar_on_a_terminal_and_can_be_silent(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "120")
    with Meter("walk", points=4, done=1) as meter:
        meter.advance(3)
    assert "4 of 4 points, 0 failed" in sys.stderr.getvalue()
    shown = len(sys.stderr.getvalue())
    with Meter("walk", points=4, done=1, shown=False) as meter:
        meter.advance(3)
    assert len(sys.stderr.getvalue()) == shown
    assert capsys.readouterr().out == ""
