"""What passes a gate: every verdict against every gate, and what is said of it."""

import itertools
import json

import pytest
import torch
from typer.testing import CliRunner

from lazyrich import InputError
from lazyrich.cli import app
from lazyrich.cli.gate import KNOWN, VERDICTS, Gate
from lazyrich.vocabulary.regimes import CANNOT_TELL, Regime

SUBSETS = [
    (fail_if, require)
    for n, m in itertools.product(range(3), range(3))
    for fail_if in itertools.combinations(VERDICTS, n)
    for require in itertools.combinations(KNOWN, m)
    if (n or m) and not set(fail_if) & set(require)
]
QUICK = ["--width", 8, "--samples", 128, "--epochs", 2]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("regime", VERDICTS)
def test_every_gate_rules_by_what_was_asked(regime):
    """An oracle of its own: the three sentences of the documentation as sets."""
    for fail_if, require in SUBSETS:
        passes = regime != "unstable" and regime not in fail_if
        passes = passes and (not require or regime in require)
        ruling = Gate.of(fail_if, require).ruling(regime)
        assert ruling.passed is passes
        assert ruling.sentence.startswith(f"The gate {'passed' if passes else 'failed'}: ")
        assert ruling.sentence.endswith(".")
        assert regime in ruling.sentence


@pytest.mark.parametrize("regime", [Regime.UNSTABLE, CANNOT_TELL])
def test_what_is_not_known_to_be_stable_passes_no_requirement(regime):
    for n in range(1, len(KNOWN) + 1):
        for require in itertools.combinations(KNOWN, n):
            assert not Gate.of([], require).ruling(regime).passed
    with pytest.raises(
        InputError, match=rf"--require must be one of .*, got '{regime}'.* no --req"
    ):
        Gate.of([], [regime])


@pytest.mark.parametrize("fail_if", [v for v in VERDICTS if v != "unstable"])
def test_a_diverged_run_passes_no_gate(fail_if):
    ruling = Gate.of([fail_if], []).ruling(Regime.UNSTABLE)
    assert not ruling.passed
    assert "unstable, and that passes no gate" in ruling.sentence


def test_cannot_tell_that_passes_is_said_to_be_open():
    said = Gate.of(["lazy"], []).ruling(CANNOT_TELL).sentence
    assert "It may be so all the same" in said
    assert "all the same" not in Gate.of(["lazy"], []).ruling(Regime.RICH).sentence
    assert not Gate.of(["lazy", "cannot tell"], []).ruling(CANNOT_TELL).passed


@pytest.mark.parametrize("text", ["cannot tell", "Cannot-Tell", "cannot_tell", " CANNOT TELL "])
def test_words_may_be_written_as_one_writes_them(text):
    assert Gate.of([text], []) == Gate(fail_if=(CANNOT_TELL,), require=())


@pytest.mark.parametrize(
    ("fail_if", "require", "message"),
    [
        (["lazzy"], [], r"--fail-if must be one of frozen, .*\"cannot tell\", got 'lazzy'"),
        (["rich,lazy"], [], r"got 'rich,lazy'\. Repeat the option for several"),
        ([""], [], "got ''"),
        ([], ["kernel"], "--require must be one of frozen, lazy, intermediate, rich, got 'kernel'"),
        (["lazy"], ["rich", "lazy"], "must name different regimes, both name 'lazy'"),
    ],
)
def test_other_words_are_refused(fail_if, require, message):
    with pytest.raises(InputError, match=message):
        Gate.of(fail_if, require)


def test_no_options_are_no_gate():
    assert Gate.of([], []) is None


def diagnosed(*arguments):
    done = CliRunner().invoke(app, ["diagnose", *map(str, arguments)])
    assert done.exit_code in (0, 3), done.output
    return done


LAZY = ("--output-scale", 1000, "--width", 32, *QUICK[2:])
DIVERGES = ("--lr", 1e4, "--loss", "mse", *QUICK)


@pytest.mark.parametrize(
    ("setting", "gate", "code"),
    [
        (LAZY, ("--fail-if", "rich", "--fail-if", "lazy"), 3),
        (LAZY, ("--fail-if", "lazy", "--fail-if", "rich"), 3),
        (LAZY, ("--fail-if", "Rich"), 0),
        (LAZY, ("--fail-if", "intermediate", "--fail-if", "cannot tell"), 0),
        (LAZY, ("--require", "rich"), 3),
        (LAZY, ("--require", "rich", "--require", "lazy"), 0),
        (LAZY, ("--require", "intermediate"), 3),
        (DIVERGES, ("--fail-if", "lazy"), 3),
        (DIVERGES, ("--require", "rich"), 3),
        (DIVERGES, (), 0),  # a verdict, and no gate
    ],
)
def test_the_exit_code_and_the_words_of_the_command(setting, gate, code):
    done = diagnosed(*setting, *gate)
    assert done.exit_code == code
    said = [line for line in done.stdout.splitlines() if line.startswith("The gate ")]
    assert len(said) == bool(gate)
    assert not gate or said[0].startswith(f"The gate {'failed' if code else 'passed'}: ")
    answer = json.loads(diagnosed(*setting, *gate, "--json").stdout)
    assert answer["gate"] == ({"passed": not code, "sentence": said[0]} if gate else None)


def test_training_that_diverged_is_unstable_whatever_the_probe_saw(monkeypatch):
    """A loss that is not finite on a batch of training alone."""
    from lazyrich.cli import training
    from lazyrich.study.training.recipe import Outcome

    def diverged(*arguments, **options):
        training_run(*arguments, **options)
        return Outcome(
            status="diverged", sentence="The loss was nan after 4 steps.", steps=4, loss=1, lr=1
        )

    training_run = training.train
    monkeypatch.setattr(training, "train", diverged)
    done = diagnosed(*QUICK, "--json", "--fail-if", "lazy")
    answer = json.loads(done.stdout)
    assert done.exit_code == 3
    assert answer["regime"] == "unstable"
    assert answer["sentence"] == "Training diverged: The loss was nan after 4 steps."
    assert {layer["regime"] for layer in answer["layers"]} == {"unstable"}
