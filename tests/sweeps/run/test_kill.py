"""A driver that is killed at any moment: nothing lost, nothing twice, the same bits.

Oracle: every point of the same study by hand. The driver runs in a process group of its own, which
gets SIGKILL, so that nothing can be tidied up.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lazyrich._errors import InputError, StoreError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.run.sweep import sweep
from lazyrich.sweeps.store.store import Store
from tests.sweeps.experiments import Descent, Walk

from .test_sweep import Synchronous, by_hand, stored, without_sleep

ROOT = Path(__file__).parents[3]
KILLS = 50
STUDY = Study(
    name="walk", experiment=Walk, base={"steps": 150}, axes={"drift": [0.0, 0.1, 0.2]}, seeds=500
)

# Forks a driver for each line that it reads, and kills it so many seconds after its start or, if
# the number is negative, after its next results are recorded (10 seconds at most).
LAUNCHER = """
import os, signal, sys, time
from tests.sweeps.run.test_kill import STUDY, count
from tests.sweeps.run.test_sweep import Synchronous
from lazyrich.sweeps.run.sweep import sweep

print("ready", flush=True)
for line in sys.stdin:
    seconds, before = float(line), count(sys.argv[1])
    driver = os.fork()
    if driver == 0:
        os.setsid()
        sweep(STUDY, sys.argv[1], executor=Synchronous())
        os._exit(0)
    started = time.monotonic()
    while seconds < 0 and count(sys.argv[1]) <= before and time.monotonic() < started + 10:
        time.sleep(0.01)
    time.sleep(abs(seconds))
    os.kill(driver, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(driver, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the launcher forks")
def test_fifty_kills_at_random_moments(tmp_path):
    moments = random.Random(4)
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as launcher:
        assert launcher.stdout.readline() == "ready\n"
        before, grown = 0, 0
        for kill in range(KILLS):
            moment = moments.uniform(0, 0.1) if kill % 2 else moments.uniform(-0.06, 0)
            launcher.stdin.write(f"{moment}\n")
            launcher.stdin.flush()
            assert int(launcher.stdout.readline()) == -signal.SIGKILL
            now = count(tmp_path)
            assert now >= before
            before, grown = now, grown + (now > before)
        launcher.stdin.close()
    assert grown >= KILLS / 4  # most kills after a start came in the middle of work
    assert before < len(STUDY)
    assert sweep(STUDY, tmp_path, executor=Synchronous()).ran == len(STUDY) - before
    assert stored(tmp_path) == by_hand(STUDY)


def count(folder):
    try:
        with Store.read_only(folder) as store:
            return len(store.keys())
    except (InputError, StoreError):  # killed while it was being made
        return 0


GROUPS = """
name = "descent"
experiment = "tests.sweeps.experiments:Descent"
base.seconds = 0.15
axes.rate = [0.1, 0.3, 0.5]
seeds = 100
"""


def test_kills_of_a_driver_with_its_worker_processes(tmp_path):
    file, out = tmp_path / "study.toml", tmp_path / "out"
    file.write_text(GROUPS)
    study = Study.from_toml(file)
    command = [sys.executable, "-m", "lazyrich", "sweep", file, "--out", out]
    moments = random.Random(5)
    seen = 0
    for _ in range(3):
        with subprocess.Popen(
            [*command, "--workers", "2", "--together", "3"], cwd=ROOT, start_new_session=True
        ) as driver:
            while count(out) <= seen and driver.poll() is None:
                time.sleep(0.05)
            time.sleep(moments.uniform(0, 0.3))
            os.killpg(driver.pid, signal.SIGKILL)
        assert driver.returncode == -signal.SIGKILL
        seen = count(out)
        assert seen % 3 == 0  # groups are whole or not there
    with without_sleep():
        assert sweep(study, out, executor=Synchronous(), together=3).ran == len(study) - seen
        points = [point.experiment for point in study.points()]
        groups = [Descent.run_together(points[i : i + 3]) for i in range(0, len(points), 3)]
    losses = [result.data.loss.values.tobytes() for group in groups for result in group]
    found = stored(out)
    assert [found[point.key][2]["loss"][2] for point in study.points()] == losses
