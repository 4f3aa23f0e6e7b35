"""`lazyrich sweep`: what it prints and refuses; a real process is stopped and goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr

from lazyrich._errors import InputError, StoreError
from lazyrich.study.sweeps.store import Store
from tests.cli.run import answer, refusal, run
from tests.study.sweeps.test_sweep import by_hand, stored

ROOT = Path(__file__).parents[2]
QUICK = """
name = "trouble"
experiment = "tests.study.experiments:Trouble"
axes.what = ["finish", "raise", "diverge"]
seeds = 2
"""
SLOW = """
name = "walk"
experiment = "tests.study.experiments:Walk"
base.seconds = 0.3
axes.drift = [0.0, 0.1]
seeds = 6
"""


def written(folder, text):
    file = folder / "study.toml"
    file.write_text(text)
    return file


def test_a_study_is_run_and_exported(tmp_path):
    study = written(tmp_path, QUICK)
    told = answer("sweep", study, "--out", tmp_path / "out", "--workers", 1)
    assert told["statuses"] == {"finished": 2, "failed": 2, "diverged": 2}
    assert (told["name"], told["points"], told["ran"]) == ("trouble", 6, 6)
    done = run("sweep", study, "--out", tmp_path / "out", "--export", tmp_path / "all.nc")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("trouble: 0 of 6 points ran in 0 s. Stored: ")
    assert "The first failed point: " in done.stdout
    assert done.stderr == ""
    with xr.open_dataset(tmp_path / "all.nc") as data:
        assert dict(data.sizes) == {"what": 3, "seed": 2}
        assert set(data.status.sel(what="raise").values) == {"failed"}


def test_refusals(tmp_path):
    study = written(tmp_path, QUICK)
    out = tmp_path / "out"
    both = refusal("sweep", study, "--out", out, "--workers", 2, "--scheduler", "tcp://x:1")
    assert both == "--workers is for this machine: leave it out where there is a --scheduler"
    assert "`workers` must be at least 1, got 0" in refusal(
        "sweep", study, "--out", out, "--workers", 0
    )
    target = tmp_path / "all.bogus"
    assert "`path` must end in" in refusal("sweep", study, "--out", out, "--export", target)
    assert "does not exist" in refusal("sweep", study, "--out", out, "--data-dir", tmp_path / "no")
    assert not out.exists()
    assert "`together` must be 1 for Trouble" in refusal(
        "sweep", study, "--out", out, "--together", 2
    )
    assert "nowhere.toml" in refusal("sweep", "nowhere.toml", "--out", out)
    assert refusal("sweep", written(tmp_path, "name ="), "--out", out)
    assert "'tests.study.experiments:None'" in refusal(
        "sweep", written(tmp_path, QUICK.replace("Trouble", "None")), "--out", out
    )
    assert not out.exists()


def start(study, out, **options):
    command = [sys.executable, "-m", "lazyrich", "sweep", str(study), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--workers", "2"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def wait_for(out, count):
    while True:
        try:
            with Store.read_only(out) as store:
                if len(store.keys()) >= count:
                    return len(store.keys())
        except (InputError, StoreError):  # it is just being made
            pass
        time.sleep(0.05)


def members(group):
    """Processes of a group that are not dead yet."""
    found = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in found.stdout.splitlines()]
    return [row for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_study_stores_what_is_finished_and_goes_on(tmp_path, number):
    study, out = written(tmp_path, SLOW), tmp_path / "out"
    with start(study, out) as process:
        wait_for(out, 2)
        # Ctrl-C goes to the whole group, the workers too; SIGTERM to the driver
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        output, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    with Store.read_only(out) as store:
        kept, described = store.keys(), store.study
    assert 2 <= len(kept) < 12
    assert told == (
        f"lazyrich: walk was stopped: {len(kept)} of 12 points are stored in {out}. "
        "Run the same again to go on.\n"
    )
    assert not members(process.pid)
    if number == signal.SIGTERM:
        again = answer("sweep", study, "--out", out, "--workers", 2)
        assert again["ran"] == 12 - len(kept)
        assert stored(out) == by_hand(described)


def test_the_workers_of_a_killed_driver_end(tmp_path):
    with start(written(tmp_path, SLOW), tmp_path / "out") as process:
        wait_for(tmp_path / "out", 1)
        assert len(members(process.pid)) >= 3
        process.kill()
    deadline = time.monotonic() + 30
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not members(process.pid)


def test_a_script_without_a_guard_is_told_about_it(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from lazyrich.study.sweeps.description import Study\n"
        "from lazyrich.study.sweeps.sweep import sweep\n"
        "study = Study(name='decay', experiment='lazyrich.study.examples:Decay')\n"
        f"sweep(study, {str(tmp_path / 'out')!r}, workers=1)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "WorkerError: " in done.stderr
    assert "must be under `if __name__ == '__main__':`" in done.stderr
