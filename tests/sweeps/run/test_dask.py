"""A real Dask cluster of worker processes, one of them killed in mid-study.

Oracle: the same points by hand, bit for bit.
"""

import contextlib
import os
import signal
import threading
import time

import pytest

from lazyrich._errors import InputError, StoreError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.run.executors import dask_cluster
from lazyrich.sweeps.run.sweep import sweep
from lazyrich.sweeps.store.store import Store
from tests.cli.run import answer, refusal
from tests.sweeps.experiments import Descent, Trouble, Walk

from .test_sweep import by_hand, statuses, stored

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")

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
    found = 0
    while found < count:
        time.sleep(0.05)
        with contextlib.suppress(InputError, StoreError), Store.read_only(folder) as store:
            found = len(store.keys())
    os.kill(victim, signal.SIGKILL)


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
