"""The scripts of related systems run at a tiny size, and write what the page about them reads."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "related"
SCRIPTS = sorted(p.stem for p in FOLDER.glob("*.py") if "from _run import" in p.read_text("utf-8"))
RECORDS = ROOT / "docs" / "records"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_related_system_runs(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [name, "--smoke", "--out", str(tmp_path)])
    script = importlib.import_module(name)
    script.main(script.__file__, script.__doc__, script.run, script.draw)
    record = json.loads((tmp_path / "records" / f"related-{name}.json").read_text())
    assert record["claim"].endswith(".")
    assert {"regime", "mechanisms"} <= {key.rpartition("/")[2] for key in record["summary"]}
    assert (tmp_path / "img" / f"related-{name.replace('_', '-')}.png").stat().st_size > 5000


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_short_and_its_record_is_that_of_its_claim(name, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    script = importlib.import_module(name)
    assert len(Path(script.__file__).read_text("utf-8").splitlines()) <= 120
    record = json.loads((RECORDS / f"related-{name}.json").read_text())
    assert record["claim"] == " ".join(script.__doc__.partition("\n\n")[0].split())
    assert record["size"] == "full"
    assert len(record["seeds"]) == len(record["runs"]) >= 5
    table = importlib.import_module("_run").table(record)
    assert (RECORDS / f"related-{name}.md").read_text() == table
