"""Goal: a sweep adds < 5 ms to a point; one driver stores points faster than workers bring them.

Its own processes cost a point at most 1.3 times what a `ProcessPoolExecutor` costs it.

(a) Local processes, points that compute for 20 ms: (processes × wall time − the points' own time)
/ points, without the start of the processes; and points that cost nothing, in turns on local
processes and on a `ProcessPoolExecutor` of as many. (b) One driver with points that cost nothing,
computed in its own process and stored durably: points a second, peak memory, and the time of a
second sweep that finds everything done; each size in a process of its own. (c) Points that cost
nothing on a Dask LocalCluster. One row of (a) and (c) is five sweeps; (b) is one sweep per size.

    python bench/sweep_overhead.py                       # 10^4 and 10^5 points
    python bench/sweep_overhead.py --points 100000 1000000 --record docs/records/sweep_overhead
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from idle_points import Idle
from timing import ROUNDS, Row, markdown, peak_bytes, row, write_record

from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.run.executors import Processes, available, dask_cluster
from lazyrich.sweeps.run.sweep import sweep
from lazyrich.sweeps.store.store import Store

COMPUTING = 0.02  # seconds
PACKAGES = ("numpy", "xarray", "distributed")


class InProcess(Executor):
    """Computes a call when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def grid(points: int, seconds: float = 0.0) -> Study:
    """A study of so many points, a multiple of 100."""
    rows = list(range(points // 100))
    return Study(
        name="idle", experiment=Idle, base={"seconds": seconds}, axes={"row": rows}, seeds=100
    )


def wall(study: Study, executor: Executor, folder: str) -> float:
    """Seconds of a sweep into a new folder."""
    start = perf_counter()
    done = sweep(study, folder, executor=executor, progress=False)
    seconds = perf_counter() - start
    assert done.ran == len(study)
    return seconds


def own_time(folder: str) -> float:
    """Seconds that the stored points computed."""
    with Store.read_only(folder) as store:
        return sum(store.read(key).seconds for key in sorted(store.keys()))


def local(processes: int) -> list[float]:
    """Overhead of a point in each round."""
    study = grid(500, COMPUTING)
    overheads = []
    with Processes(processes) as executor:
        for _ in range(ROUNDS + 1):
            with TemporaryDirectory() as folder:
                seconds = processes * wall(study, executor, folder) - own_time(folder)
            overheads.append(seconds / len(study))
    return overheads[1:]  # the processes start in the first round


def side_by_side(processes: int) -> dict[str, list[float]]:
    """Wall time of a point that costs nothing in each round, both executors in each."""
    study = grid(2000)
    rounds: dict[str, list[float]] = {"local processes": [], "ProcessPoolExecutor": []}
    with (
        Processes(processes) as own,
        ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool,
    ):
        for _ in range(ROUNDS + 1):
            for name, executor in zip(rounds, (own, pool), strict=True):
                with TemporaryDirectory() as folder:
                    rounds[name].append(wall(study, executor, folder) / len(study))
    return {name: found[1:] for name, found in rounds.items()}


def on_dask(workers: int) -> list[float]:
    """Wall time of a point that costs nothing in each round."""
    from distributed import LocalCluster

    study = grid(1000)
    rounds = []
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        dask_cluster(cluster.scheduler_address) as executor,
    ):
        for _ in range(ROUNDS + 1):
            with TemporaryDirectory() as folder:
                rounds.append(wall(study, executor, folder) / len(study))
    return rounds[1:]


def reach(points: int) -> dict[str, float]:
    """One driver and so many points: seconds, peak memory in MB, seconds to find all done."""
    study = grid(points)
    with TemporaryDirectory() as folder:
        seconds = wall(study, InProcess(), folder)
        peak = peak_bytes() / 2**20
        start = perf_counter()
        assert sweep(study, folder, executor=InProcess(), progress=False).ran == 0
        again = perf_counter() - start
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    after = peak_bytes() / 2**20
    return {"seconds": seconds, "peak": peak, "again": again, "after": after, "size": size / 1e6}


def reach_rows(points: int) -> list[Row]:
    """The same in a process of its own, as rows."""
    command = [sys.executable, __file__, "--reach", str(points)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    name = f"{points:,} points, one driver"
    return [
        row(
            f"{name}: per point",
            [found["seconds"] / points],
            note=f"{points / found['seconds']:.0f} points a second; peak memory "
            f"{found['peak']:.0f} MB; store {found['size']:.0f} MB",
        ),
        row(
            f"{name}: a second sweep, all done",
            [found["again"]],
            note=f"peak memory {found['after']:.0f} MB",
        ),
    ]


def measured(sizes: list[int]) -> list[Row]:
    """All rows."""
    rows = [
        row(
            f"overhead per point, {count} local process{'es' if count > 1 else ''}",
            local(count),
            goal="< 5 ms",
            note="500 points of 20 ms",
        )
        for count in sorted({1, available()})
    ]
    beside = side_by_side(available())
    ratio = median(beside["local processes"]) / median(beside["ProcessPoolExecutor"])
    rows += [
        row(
            f"a point that costs nothing, {name}, wall time",
            found,
            goal="≤ 1.3 × ProcessPoolExecutor" if name == "local processes" else "",
            note=f"2,000 points, {available()} processes; {ratio:.2f} of the other"
            if name == "local processes"
            else "",
        )
        for name, found in beside.items()
    ]
    rows.append(
        row(
            "a point that costs nothing on Dask, wall time",
            on_dask(available()),
            note=f"1,000 points, {available()} workers on this machine",
        )
    )
    return rows + [found for points in sizes for found in reach_rows(points)]


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--points", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--record", type=Path)
    parser.add_argument("--reach", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.reach:
        print(json.dumps(reach(given.reach)))
        return
    rows = measured(given.points)
    print(markdown(rows))
    if given.record:
        setting = {
            "goal": (__doc__ or "").splitlines()[0].removeprefix("Goal: "),
            "command": " ".join(["python", *sys.argv]),
            "rounds": ROUNDS,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in PACKAGES},
            "processors": available(),
            "load_average_before": os.getloadavg()[0],
        }
        write_record(given.record, setting, rows)


if __name__ == "__main__":
    main()
