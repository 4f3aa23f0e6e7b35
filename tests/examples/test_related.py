"""The scripts of related systems run at a tiny size, and write what the page about them reads."""

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "related"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))


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
def test_a_script_is_short(name):
    assert len((FOLDER / f"{name}.py").read_text("utf-8").splitlines()) <= 120
