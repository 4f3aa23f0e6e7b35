"""The scripts of the repository run: the tour whole, the others as far as their command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the tour's data need the extra 'data'")

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / "examples" / f"diagram_{name}.py" for name in ("linear", "luo", "relu")]


def run(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True
    )


def test_the_tour_ends_with_its_report(tmp_path):
    """The main job: theory, recursion and PyTorch agree, and the dial gave what it says."""
    done = run(ROOT / "examples" / "tour.py", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "tour.json").read_text())
    for case in record["cases"].values():
        assert case["recursion_against_pytorch"] < 1e-12
        assert abs(case["slope"] - 1) < 0.02
    assert {name: run["regime"] for name, run in record["measured"].items()} == {
        "lazy": "lazy",
        "rich": "rich",
    }
    page = (tmp_path / "summary.html").read_text("utf-8")
    assert page.count("<img") >= 4
    assert {"lazy.html", "rich.html", "comparison.png"} <= {one.name for one in tmp_path.iterdir()}


@pytest.mark.parametrize("name", ["scaling_exponents", "neuron_and_modes"])
def test_a_picture_of_the_theory_is_drawn(name, tmp_path):
    done = run(ROOT / "examples" / f"{name}.py", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"{name.replace('_', '-')}.png").stat().st_size > 20_000


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_diagram_says_its_options(script):
    done = run(script, "--help")
    assert done.returncode == 0, done.stderr
    assert "--workers" in done.stdout


@pytest.mark.parametrize(
    "script", sorted((ROOT / "bench").glob("*.py")), ids=lambda script: script.stem
)
def test_a_benchmark_finds_all_that_it_imports(script):
    if "nngeometry" in script.read_text("utf-8"):
        pytest.importorskip("nngeometry", reason="scripts/bench installs it")
    code = f"import runpy, sys; sys.path.insert(0, {str(script.parent)!r}); " + (
        f"runpy.run_path({str(script)!r}, run_name='imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
