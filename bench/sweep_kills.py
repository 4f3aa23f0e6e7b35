"""Goal: 50 random kills of driver and workers, also while they start: nothing lost or misplaced.

A driver with local processes runs a study in a process of its own. At random moments it or one of
its workers gets SIGKILL; a killed driver is started again. Then the study runs to its end, and
every point is compared with the same point run here. One row per run, a line per claim.

    python bench/sweep_kills.py --kills 50 --seed 0
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import numpy as np
from idle_points import Marked
from timing import need_linux

from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.run.sweep import sweep
from lazyrich.sweeps.store.store import Store

WORKERS = 2
YOUNG = 1.5  # seconds: a worker that is not older is starting
GONE = 10.0  # seconds in which the workers of a killed driver must end
STUDY = Study(name="marked", experiment=Marked, axes={"row": list(range(80))}, seeds=100)


def started(folder: str) -> subprocess.Popen[bytes]:
    """A driver of the study."""
    return subprocess.Popen([sys.executable, __file__, "--drive", folder])


def workers(driver: int) -> dict[int, float]:
    """The worker processes of a driver and their ages in seconds."""
    found = {}
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
            if int(fields[1]) == driver and fields[0] != "Z" and b"spawn_main" in command:
                found[int(folder.name)] = uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return found


def alive(pid: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def kill_at_random(folder: str, kills: int, draws: random.Random) -> dict[str, int]:
    """Kill so many times; how often what was killed."""
    counts = {"driver": 0, "worker": 0, "worker while it starts": 0, "left behind": 0}
    driver = started(folder)
    while sum(counts.values()) - counts["left behind"] < kills:
        sleep(draws.uniform(0, 2.0))
        assert driver.poll() is None, "the driver has ended; take a longer study"
        own = workers(driver.pid)
        if own and draws.random() < 0.6:
            victim = draws.choice(list(own))
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                counts["worker while it starts" if own[victim] < YOUNG else "worker"] += 1
            continue
        driver.kill()
        driver.wait()
        counts["driver"] += 1
        end = monotonic() + GONE
        while any(map(alive, own)) and monotonic() < end:
            sleep(0.05)
        counts["left behind"] += sum(map(alive, own))
        driver = started(folder)
    assert driver.wait() == 0
    return counts


def judged(folder: str) -> dict[str, int]:
    """Compare what is stored with the same points run here."""
    faults = {"lost": 0, "failed": 0, "misplaced": 0, "of no point": 0, "damaged": 0}
    with Store.read_only(folder) as store:
        keys = store.keys()
        faults["of no point"] = len(keys - {point.key for point in STUDY.points()})
        faults["damaged"] = len(store.verify())
        for point in STUDY.points():
            if point.key not in keys:
                faults["lost"] += 1
                continue
            found = store.read(point.key)
            draws = np.random.default_rng([point.experiment.row, point.experiment.seed])
            faults["failed"] += found.status != "finished"
            faults["misplaced"] += found.status == "finished" and not (
                found.data.which.values.tolist() == [point.experiment.row, point.experiment.seed]
                and np.array_equal(found.data.draws.values, draws.standard_normal(64))
            )
    return faults


def main() -> None:
    """Kill, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", help=argparse.SUPPRESS)
    given = parser.parse_args()
    need_linux("The list of worker processes")
    if given.drive:
        sweep(STUDY, given.drive, workers=WORKERS, recycle=200, timeout=30, progress=False)
        return
    with TemporaryDirectory() as folder:
        start = monotonic()
        counts = kill_at_random(folder, given.kills, random.Random(given.seed))
        print(f"{len(STUDY)} points, {monotonic() - start:.0f} s; killed: {counts}")
        faults = judged(folder)
        print(f"faults: {faults}")
    if any(faults.values()) or counts["left behind"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
