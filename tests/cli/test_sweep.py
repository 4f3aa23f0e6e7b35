"""`lazyrich sweep`: what it prints and refuses; a real process is stopped and goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr

from lazyrich._errors import InputError, StoreError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.store.store import Store
from tests.cli.run import answer, refusal, run
from tests.sweeps.run.test_sweep import by_hand, stored

ROOT = Path(__file__).parents[2]
QUICK = """
name = "trouble"
experiment = "tests.sweeps.experiments:Trouble"
axes.what = ["finish", "raise", "diverge"]
seeds = 2
"""
SLOW = """
name = "walk"
experiment = "tests.sweeps.experiments:Walk"
base.seconds = 0.3
axes.drift = [0.0, 0.1]
seeds = 20
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


def test_the_folder_of_an_export_is_made_as_that_of_the_results(tmp_path, monkeypatch):
    study = written(tmp_path, QUICK)
    monkeypatch.chdir(tmp_path)  # a fresh checkout, with the command of the README
    done = run("sweep", study, "--out", "runs/a", "--export", "runs/a.nc", "--workers", 1)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("runs").iterdir()) == ["a", "a.nc"]
    assert "must be at least 1" in refusal(
        "sweep", study, "--out", "deep/a", "--export", "deep/b/a.nc", "--workers", 0
    )
    assert not Path("deep").exists()


@pytest.mark.parametrize(
    ("out", "export"),
    [("store.zarr", "store.zarr"), ("out", "out/a.nc"), ("out", "here/../out/a.csv"),
     ("all.zarr/out", "all.zarr")],
)  # fmt: skip
def test_an_export_never_replaces_the_results(tmp_path, out, export):
    study = written(tmp_path, QUICK)
    told = refusal("sweep", study, "--out", tmp_path / out, "--export", tmp_path / export)
    assert told.startswith(f"--export must lie outside of --out, the folder {tmp_path / out}, got")
    assert [path.name for path in tmp_path.iterdir()] == [study.name]
    done = run("sweep", study, "--out", tmp_path / out, "--workers", 1)
    assert done.exit_code == 0, done.output
    before = stored(tmp_path / out)
    assert refusal("sweep", study, "--out", tmp_path / out, "--export", tmp_path / export)
    assert stored(tmp_path / out) == before


def test_a_folder_is_not_exported_to(tmp_path):
    study = written(tmp_path, QUICK)
    (tmp_path / "precious.csv").mkdir()
    (tmp_path / "precious.csv" / "thesis.txt").write_text("years of work")
    told = refusal("sweep", study, "--out", tmp_path / "out", "--export", tmp_path / "precious.csv")
    assert "precious.csv' is a folder. Give the name of a file in it" in told
    assert (tmp_path / "precious.csv" / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "out").exists()


def test_a_study_of_which_every_point_failed(tmp_path):
    study = written(tmp_path, QUICK.replace('["finish", "raise", "diverge"]', '["raise"]'))
    for ran in (2, 0):
        done = run("sweep", study, "--out", tmp_path / "out", "--workers", 1)
        assert done.exit_code == 1
        first, second, third = done.stdout.splitlines()
        assert first.startswith(f"trouble: {ran} of 2 points ran in ")
        assert second == "The first failed point: ValueError: the first line"
        assert third == "When the cause is mended, --retry-failed runs failed points again."
    done = run("sweep", study, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["statuses"] == {"failed": 2}
    study = written(tmp_path, QUICK.replace('["finish", "raise", "diverge"]', '["diverge"]'))
    told = answer("sweep", study, "--out", tmp_path / "out", "--workers", 1, "--extend")
    assert (told["statuses"], told["earlier"]) == ({"diverged": 2}, 2)
    done = run("sweep", study, "--out", tmp_path / "out")
    assert done.stdout == (
        "trouble: 0 of 2 points ran in 0 s. Stored: 2 diverged, and 2 of earlier descriptions.\n"
    )


def test_the_first_failed_point_is_the_first_of_the_study_itself(tmp_path):
    whats = ["exit", "return", "raise", "finish"]
    failures = ["SystemExit: enough", "TypeError: ", "ValueError: "]
    for some, failure in zip((whats, whats[1:], whats[2:]), failures, strict=True):
        study = written(tmp_path, QUICK.replace('["finish", "raise", "diverge"]', json.dumps(some)))
        done = run("sweep", study, "--out", tmp_path / "out", "--workers", 1, "--extend")
        assert done.exit_code == 0, done.output
        assert f"The first failed point: {failure}" in done.stdout


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
    assert refusal("sweep", study, "--out", out, "--download") == (
        "--download is for studies of lazyrich.study:Training, got one of "
        "tests.sweeps.experiments:Trouble. Leave it out."
    )
    assert refusal("sweep", written(tmp_path, "name ="), "--out", out)
    assert "'tests.sweeps.experiments:None'" in refusal(
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


def have_ended(group, seconds):
    """Whether all processes of a group end in time; what tracks its memory ends after it."""
    deadline = time.monotonic() + seconds
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not members(group)


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
        kept, described = store.keys(), Study.from_json(store.description.study())
    assert 2 <= len(kept) < 40
    assert told == (
        f"lazyrich: walk was stopped: {len(kept)} of 40 points are stored in {out}. "
        "Run the same again to go on.\n"
    )
    assert have_ended(process.pid, 10)
    if number == signal.SIGTERM:
        again = answer("sweep", study, "--out", out, "--workers", 2)
        assert again["ran"] == 40 - len(kept)
        assert stored(out) == by_hand(described)


def test_the_workers_of_a_killed_driver_end(tmp_path):
    with start(written(tmp_path, SLOW), tmp_path / "out") as process:
        wait_for(tmp_path / "out", 1)
        assert len(members(process.pid)) >= 3
        process.kill()
    assert have_ended(process.pid, 30)


def test_a_script_without_a_guard_is_told_about_it(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from lazyrich.sweeps.describe.description import Study\n"
        "from lazyrich.sweeps.run.sweep import sweep\n"
        "study = Study(name='decay', experiment='lazyrich.sweeps:Decay')\n"
        f"sweep(study, {str(tmp_path / 'out')!r}, workers=1)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "WorkerError: " in done.stderr
    assert "must be under `if __name__ == '__main__':`" in done.stderr
