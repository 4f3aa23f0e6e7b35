"""A real Dask cluster of worker processes, one of them killed in mid-study.

Oracle: the same points by hand, bit for bit.
"""

import asyncio
import contextlib
import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lazyrich._errors import InputError, StoreError, WorkerError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.run import driver
from lazyrich.sweeps.run.executors import dask_cluster
from lazyrich.sweeps.run.progress import Meter
from lazyrich.sweeps.run.sweep import sweep
from lazyrich.sweeps.store.store import Store
from tests.cli.run import answer, refusal
from tests.sweeps.experiments import Descent, Trouble, Walk

from .test_sweep import by_hand, statuses, stored

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
cfexecutor = pytest.importorskip("distributed.cfexecutor")

# Dask's event loops and sockets are closed by other threads, some of them after the test.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture(scope="module")
def cluster():
    # On a busy machine a killed worker needs more than the usual 15 seconds to be back, and then
    # the cluster would go on without it; port 0 is any that is free.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "200s"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def executor(cluster):
    with dask_cluster(cluster.scheduler_address) as executor:
        yield executor


def pids(cluster):
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2)
        return set(client.run(os.getpid).values())


def kill_when(folder, count, victim):
    """Kill a process as soon as so many results are stored."""
    until_stored(folder, count)
    os.kill(victim, signal.SIGKILL)


def until_stored(folder, count):
    found = 0
    while found < count:
        time.sleep(0.05)
        with contextlib.suppress(InputError, StoreError), Store.read_only(folder) as store:
            found = len(store.keys())


def test_a_worker_killed_in_mid_study_costs_nothing(tmp_path, cluster, executor):
    study = Study(
        name="walk", experiment=Walk, base={"seconds": 0.05}, axes={"drift": [0.0, 0.1]}, seeds=100
    )
    victim = min(pids(cluster))
    killer = threading.Thread(target=kill_when, args=(tmp_path, 5, victim), daemon=True)
    killer.start()
    summary = sweep(study, tmp_path, executor=executor)
    killer.join()
    assert victim not in pids(cluster)
    assert summary.ran == len(study)
    assert stored(tmp_path) == by_hand(study)


def test_a_point_that_kills_every_worker_fails_and_its_neighbours_do_not(
    tmp_path, cluster, executor
):
    cluster.scheduler.allowed_failures = 0  # Dask gives a task up when its first worker dies
    study = Study(name="trouble", experiment=Trouble, axes={"what": ["die", "finish"]}, seeds=1)
    sweep(study, tmp_path, executor=executor)
    found = {experiment.what: result for experiment, result in statuses(tmp_path).items()}
    assert found["finish"].status == "finished"
    assert found["die"].status == "failed"
    assert "all those workers died while running it" in found["die"].sentence


def test_the_command_line_on_a_cluster_equals_this_machine(tmp_path, cluster):
    study = Study(name="descent", experiment=Descent, axes={"rate": [0.1, 0.3]}, seeds=4)
    file = tmp_path / "study.toml"
    file.write_text(
        'name = "descent"\nexperiment = "tests.sweeps.experiments:Descent"\n'
        "axes.rate = [0.1, 0.3]\nseeds = 4\n"
    )
    pids(cluster)  # the workers of the test before are back
    told = answer(
        *("sweep", file, "--out", tmp_path / "dask", "--together", 3),
        *("--scheduler", cluster.scheduler_address),
    )
    assert told["ran"] == len(study)
    sweep(study, tmp_path / "local", workers=1, together=3)
    assert stored(tmp_path / "dask") == stored(tmp_path / "local")


@pytest.fixture
def brief(monkeypatch):
    """A driver that soon looks for workers; the event is set when it says that there are none."""
    said = threading.Event()
    say = Meter.say
    monkeypatch.setattr(driver, "SILENCE", 0.2)
    monkeypatch.setattr(driver, "DESERTED", 0.5)
    monkeypatch.setattr(Meter, "say", lambda meter, text: (say(meter, text), said.set()))
    return said


@pytest.fixture
def small():
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "200s"}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as small,
        dask_cluster(small.scheduler_address) as executor,
    ):
        yield small, executor


SLOW = Study(name="walk", experiment=Walk, base={"seconds": 0.02}, seeds=150)


def test_a_cluster_without_workers_is_said_and_after_long_ends_the_sweep(
    tmp_path, small, brief, monkeypatch, capsys
):
    cluster, executor = small
    monkeypatch.setattr(driver, "PATIENCE", 2.0)

    def desert():
        until_stored(tmp_path, 5)
        cluster.scale(0)

    closer = threading.Thread(target=desert, daemon=True)
    closer.start()
    with pytest.raises(
        WorkerError, match=r"no worker for \d+ s. What was finished is stored: start"
    ):
        sweep(SLOW, tmp_path, executor=executor, progress=False)
    closer.join()
    said = capsys.readouterr().err
    assert said.count("walk: the cluster has no worker. ") == 1
    assert 5 <= len(stored(tmp_path)) < len(SLOW)


def test_a_cluster_may_wait_for_workers_that_come_back(tmp_path, small, brief):
    cluster, executor = small

    def desert():
        until_stored(tmp_path, 5)
        cluster.scale(0)
        brief.wait()
        cluster.scale(1)

    closer = threading.Thread(target=desert, daemon=True)
    closer.start()
    assert sweep(SLOW, tmp_path, executor=executor, progress=False).ran == len(SLOW)
    closer.join()
    assert brief.is_set()
    assert stored(tmp_path) == by_hand(SLOW)


class Left:
    """A future of Dask whose worker leaves while its result is fetched."""

    status = "lost"

    def __init__(self, result):
        self._found = result

    async def _result(self, raiseit):
        return self._found


def as_dask_ends(future):
    ended = Future()

    async def end():
        await cfexecutor._cascade_future(future, ended)

    asyncio.run(end())
    return ended.exception()


class Losing(ThreadPoolExecutor):
    """Loses the first result of so many points."""

    points = 0

    def submit(self, fn, *args, **kwargs):
        if not self.points:
            return super().submit(fn, *args, **kwargs)
        lost = Future()
        lost.set_exception(as_dask_ends(Left([b"a result"] * self.points)))
        self.points = 0
        return lost


@pytest.mark.parametrize("points", [1, 2, 3])
def test_a_result_whose_worker_leaves_is_computed_again(tmp_path, points):
    """Dask unpacks it as an error of three parts."""
    with Losing(1) as executor:
        executor.points = points
        assert sweep(SLOW, tmp_path, executor=executor, progress=False).ran == len(SLOW)
    assert stored(tmp_path) == by_hand(SLOW)


def test_an_error_of_a_point_is_its_own():
    try:
        raise ValueError("of the point")
    except ValueError as error:
        own = type(error), error, error.__traceback__
    raised = as_dask_ends(Left(own))
    assert raised is own[1]
    assert not driver._is_lost_on_dask(raised)
    assert not driver._is_lost_on_dask(None)


def test_a_cluster_waits_for_its_first_worker_as_long_as_it_takes(
    tmp_path, small, brief, monkeypatch
):
    cluster, executor = small
    monkeypatch.setattr(driver, "PATIENCE", 0.0)
    cluster.scale(0)
    while executor._client.nthreads():
        time.sleep(0.05)

    def populate():
        brief.wait()
        time.sleep(1.0)
        cluster.scale(1)

    starter = threading.Thread(target=populate, daemon=True)
    starter.start()
    few = Study(name="walk", experiment=Walk, seeds=3)
    assert sweep(few, tmp_path, executor=executor, progress=False).ran == 3
    starter.join()


def test_an_address_without_a_scheduler_is_named(tmp_path, monkeypatch):
    from lazyrich.sweeps.run import executors

    monkeypatch.setattr(executors, "CONNECT", 0.2)
    file = tmp_path / "study.toml"
    file.write_text('name = "decay"\nexperiment = "lazyrich.sweeps:Decay"\n')
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        said = refusal("sweep", file, "--out", tmp_path / "out", "--scheduler", address)
        assert said.startswith(
            "`scheduler` must be the address of a running Dask scheduler, such as "
            f"tcp://10.0.0.1:8786, got {address!r}: "
        )
