"""--device and --precision, wherever networks are trained."""

import sys

import pytest

pytest.importorskip("torch")

import torch
from papers import harness

from lazyrich import results
from tests.cli.run import answer, refusal, run
from tests.cli.test_diagnose import found as diagnosed

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
STUDY = """
name = "few"
experiment = "lazyrich.study:Training"
[base]
width = 8
samples = 40
test_samples = 20
steps = 3
measurements = 1
"""


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


COMMANDS = {
    "sweep": lambda tmp_path: ("sweep", tmp_path / "study.toml", "--out", tmp_path / "out"),
    "diagnose": lambda tmp_path: ("diagnose",),
    "reproduce": lambda tmp_path: ("reproduce", "xu2025three/fig2", "--out", tmp_path / "out"),
}


@NO_CUDA
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_here_is_refused_in_one_sentence(command, device, plan):
    said = refusal(*COMMANDS[command](plan.parent), "--device", device)
    assert said.startswith(f"`device` must be a device that is here, got '{device}': this ")
    assert not (plan.parent / "out").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_other_words_are_refused(command, plan):
    call = COMMANDS[command](plan.parent)
    assert "must be auto, cpu, cuda or cuda:N, got 'gpu'" in refusal(*call, "--device", "gpu")
    assert "double precision" in refusal(*call, "--device", "mps")
    assert "is not one of" in refusal(*call, "--precision", "half")


def test_a_sweep_in_mixed_precision(plan, tmp_path):
    call = ("sweep", plan, "--out", tmp_path / "out", "--workers", 1)
    assert answer(*call, "--precision", "bfloat16-mixed", "--device", "cpu")["ran"] == 1
    found = results(tmp_path / "out")
    assert found.computed_on.values.tolist() == ["cpu, bfloat16-mixed"]


def test_the_environment_is_the_default(plan, tmp_path, monkeypatch):
    monkeypatch.setenv("LAZYRICH_DEVICE", "gpu")
    assert "got 'gpu'" in refusal("sweep", plan, "--out", tmp_path / "out")
    assert answer("sweep", plan, "--out", tmp_path / "out", "--device", "auto")["ran"] == 1


def test_diagnose_in_mixed_precision():
    call = ("--samples", 100, "--epochs", 1, "--width", 8)
    full, mixed = diagnosed(*call), diagnosed(*call, "--precision", "bfloat16-mixed")
    assert mixed["loss"][0] == full["loss"][0]
    assert mixed["loss"][1] != full["loss"][1]
    assert mixed["loss"][1] == pytest.approx(full["loss"][1], rel=0.02)


def test_a_device_elsewhere_is_one_process_unless_more_are_asked_for(tmp_path, monkeypatch):
    """All processes would share it."""
    seen = {}
    module = sys.modules["lazyrich.cli.reproduce"]  # the package has a function of that name
    monkeypatch.setattr(module, "elsewhere", lambda environment: True)
    monkeypatch.setattr(harness, "reproduce", lambda target, **given: seen.update(given) or 1 / 0)
    for more, workers in (((), 1), (("--workers", 3), 3)):
        run("reproduce", "xu2025three/fig2", "--device", "cpu", *more)
        assert seen["workers"] == workers
    assert seen["environment"] == {"LAZYRICH_DEVICE": "cpu", "LAZYRICH_PRECISION": "full"}
    run("reproduce", "xu2025three/fig2", "--scale", "paper")
    assert seen["environment"]["LAZYRICH_DEVICE"] == "auto"
    run("reproduce", "xu2025three/fig2")
    assert seen["environment"] == {}


def test_a_figure_that_is_stopped_says_how_it_goes_on(monkeypatch):
    def stopped(target, **_):
        raise KeyboardInterrupt("widths was stopped: 3 of 9 points are stored in out. Run again.")

    monkeypatch.setattr(harness, "reproduce", stopped)
    done = run("reproduce", "xu2025three/fig2")
    assert done.exit_code == 130
    assert (
        done.stderr == "lazyrich: widths was stopped: 3 of 9 points are stored in out. Run again.\n"
    )
