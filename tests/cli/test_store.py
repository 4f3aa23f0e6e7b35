"""`lazyrich store`: what it answers, also while a sweep writes, and its exit codes."""

import sqlite3

import pytest
import xarray as xr

from lazyrich.sweeps.store.folder import NAME
from lazyrich.sweeps.store.store import Store
from tests.cli.run import answer, refusal, run
from tests.sweeps.stored import STUDY, key, pairs


@pytest.fixture
def writer(tmp_path):
    with Store.open(tmp_path / "out", STUDY) as store:
        store.write(pairs(range(6)))
        yield store


def hurt(folder):
    base = sqlite3.connect(folder / NAME)
    base.execute("UPDATE point SET payload = x'00' WHERE key = ?", (key(2),))
    base.commit()
    base.close()


def test_the_status_of_a_store_that_is_being_written_to(writer):
    said = run("store", "status", writer.folder).stdout
    assert "stored: 2 diverged, 2 failed, 2 finished." in said.replace("\n", " ")
    told = answer("store", "status", writer.folder)
    assert told["statuses"] == {"finished": 2, "diverged": 2, "failed": 2}
    assert told["last_writer"].startswith("process ")
    assert [sorted(code) for code in told["codes"]] == [["lazyrich", "source"]]


def test_damage_is_named_with_exit_code_1_and_repaired(writer):
    folder = writer.folder
    assert run("store", "verify", folder).stdout == "All 6 points are whole.\n"
    assert refusal("store", "repair", folder).startswith(f"the store {folder} must have one writer")
    writer.close()
    hurt(folder)
    done = run("store", "verify", folder)
    assert done.exit_code == 1
    assert f"lazyrich store repair {folder} forgets it" in done.stdout
    assert run("store", "verify", folder, "--json").exit_code == 1
    assert run("store", "repair", folder).stdout == "Found 1 damage; 5 points are whole.\n"
    assert answer("store", "repair", folder) == {"damages": [], "points": 5}


def test_copies_of_a_store_that_is_being_written_to(writer, tmp_path):
    done = run("store", "backup", writer.folder, tmp_path / "copy")
    assert done.stdout == f"{tmp_path / 'copy'}: 6 points.\n"
    assert "must be new or empty" in refusal("store", "backup", writer.folder, tmp_path)
    done = run("store", "export", tmp_path / "copy", tmp_path / "new" / "out.nc")
    assert done.exit_code == 0
    with xr.open_dataset(tmp_path / "new" / "out.nc") as data:
        assert int((data.status != "").sum()) == 6


def test_an_export_says_what_it_leaves_out(writer, tmp_path):
    hurt(writer.folder)
    done = run("store", "export", writer.folder, tmp_path / "out.csv")
    assert done.exit_code == 0
    assert done.stderr.startswith("lazyrich: left out: the point ")


def test_without_a_command_it_says_which_there_are():
    done = run("store")
    assert done.exit_code == 0
    for command in ("status", "verify", "repair", "backup", "export"):
        assert command in done.stdout
    assert "holds none" in refusal("store", "status", "nowhere")
