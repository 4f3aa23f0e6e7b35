"""What people type without reading the documentation does what they expect."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lazyrich.cli.flags import without_values
from tests.cli.run import answer, refusal, run

MODULE = [sys.executable, "-m", "lazyrich"]
COMMANDS = (
    *("solve", "explore", "phase", "presets", "cite", "diagram", "diagnose", "report"),
    *("tune", "sweep", "reproduce"),
)
SOLVE = ("solve", "--gram", 1, 0.2, 1, "--moments", 1, 1, 1, "--times", 0)
FLAGS = {"--json", "--plot"}


def test_bare_it_shows_its_help():
    bare, asked = run(), run("--help")
    assert bare.exit_code == asked.exit_code == 0
    assert bare.stdout == asked.stdout
    for command in COMMANDS:
        assert f" {command} " in bare.stdout


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)], ids=str)
def test_h_is_help(command):
    assert run(*command, "-h").stdout == run(*command, "--help").stdout
    assert "Usage: " in run(*command, "-h").stdout


@pytest.mark.parametrize("value", ["true", "True", "yes", "on", "1"])
def test_a_flag_may_be_given_its_value(value):
    plain = run(*SOLVE, "--json").stdout
    assert json.loads(plain)["status"] == "ok"
    assert run(*SOLVE, "--json", value).stdout == plain
    assert run(*SOLVE, f"--json={value}").stdout == plain
    assert run("solve", "--json", value, *SOLVE[1:]).stdout == plain


@pytest.mark.parametrize("value", ["false", "False", "no", "off", "0"])
def test_a_flag_may_be_turned_off(value):
    plain = run(*SOLVE).stdout
    assert plain.startswith("time")
    assert run(*SOLVE, "--json", value).stdout == plain
    assert run(*SOLVE, f"--json={value}").stdout == plain


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--json", "maybe"], ["--json", "maybe"]),
        (["--json=maybe"], ["--json=maybe"]),  # typer refuses it
        (["--out", "true", "--json"], ["--out", "true", "--json"]),
        (["--json", "true", "true"], ["--json", "true"]),
        (["--json", "--plot", "false"], ["--json"]),
        (["--", "--json", "true"], ["--", "--json", "true"]),
        (["--json", "--", "true"], ["--json", "--", "true"]),
        ([], []),
    ],
)
def test_values_of_flags_alone_are_taken(given, kept):
    assert without_values(given, FLAGS) == kept


def test_another_value_of_a_flag_is_refused():
    assert "--json" in refusal(*SOLVE, "--json=maybe")
    assert "maybe" in refusal(*SOLVE, "--json", "maybe")


@pytest.mark.parametrize(
    ("written", "name"),
    [("muP", "mup"), ("MUP", "mup"), ("Mean-Field", "mean_field"), (" NTK ", "ntk")],
)
def test_a_preset_may_be_written_as_in_a_paper(written, name):
    assert answer("phase", "--preset", written) == answer("phase", "--preset", name)


def test_words_may_be_capital():
    assert "Mnist" not in refusal("diagnose", "--data", "Digits", "--model", "FCN", "--lr", -1)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completes(shell, tmp_path):
    """The script of the shell asks the command, which answers with what may follow."""
    env = os.environ | {
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"
    }  # not that of the tests
    script = subprocess.run(
        [*MODULE, "--show-completion", shell], capture_output=True, text=True, check=True, env=env
    ).stdout
    assert f"complete_{shell}" in script
    assert "_LAZYRICH_COMPLETE" in script
    assert {"--install-completion", "--show-completion"} <= set(run("--help").stdout.split())


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("lazyrich di", ["diagnose", "diagram"]),
        ("lazyrich cite b", ["balanced_linear", "barlow_twins"]),
        ("lazyrich solve q", ["quadratic_start"]),
        ("lazyrich solve tw", ["two_layer_linear"]),
        ("lazyrich phase tw", ["two_layer_linear", "two_layer_relu"]),
        ("lazyrich phase q", []),
        ("lazyrich solve aligned_modes times=1 t", ["target="]),
        ("lazyrich phase abc ", ["a=", "b=", "c=", "depth=", "name="]),
        ("lazyrich phase --pre", ["--preset"]),
        ("lazyrich phase --preset m", ["mean_field", "mup"]),
        ("lazyrich diagnose --require ", ["frozen", "intermediate", "lazy", "rich"]),
        ("lazyrich diagnose --fail-if u", ["unstable"]),
        ("lazyrich diagnose --model t", ["transformer"]),
    ],
)
def test_what_is_completed(words, completed):
    asked = {"_LAZYRICH_COMPLETE": "complete_bash", "COMP_WORDS": words}
    asked["COMP_CWORD"] = str(words.count(" "))
    done = subprocess.run(MODULE, env=os.environ | asked, capture_output=True, text=True)
    assert sorted(done.stdout.split()) == completed, done.stderr


@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_that_has_enough_is_no_error(lines):
    """As `lazyrich presets | head -1`: no traceback, and none of Python's own at its end."""
    with subprocess.Popen(
        [*MODULE, "presets", "--widths", "10"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (0, 1)


def test_a_full_disk_is_one_sentence():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run([*MODULE, *map(str, SOLVE)], stdout=full, stderr=-1, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("lazyrich: ")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_without_greek_is_shown_question_marks():
    done = subprocess.run(
        [*MODULE, "phase", "--help"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Powers of d of ?, ?_u" in " ".join(done.stdout.split())
