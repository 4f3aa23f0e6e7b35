"""Bad input: exit code 2, one sentence on stderr, no traceback, no file."""

import re
import subprocess
import sys

import pytest

from lazyrich import __version__
from tests.cli.run import refusal, run

STATE, DATA = ("solve", "--gram", 1, 0.2, 1), ("--moments", 1, 1, 1)
SOLVE = (*STATE, *DATA)
DRAW = ("solve", "--width", 5, *DATA, "--times", 0)
PHASE = ("phase", "--exponents")
NTK = ("phase", "--preset", "ntk", "--widths")


def diagram(x="output_scale=1:2:3", y="lr=1:2:3", *rest):
    return ("diagram", "--x", x, "--y", y, *rest)


def exponents(x="output_scale_exponent=-1:1:3", y="lr_exponent=-1:1:3", *rest):
    return diagram(x, y, *rest)


BAD = [
    (("--nope",), "No such option: --nope"),
    (("nope",), "No such command 'nope'"),
    (SOLVE, "give the motion as --times T,T,…, as --until T or as --steps N"),
    ((*SOLVE, "--times", 1, "--until", 2), "give the motion"),
    ((*SOLVE, "--times", 1, "--steps", 2), "leave out --times and --until"),
    ((*SOLVE, "--times", ""), "--times takes numbers, got ''"),
    ((*SOLVE, "--times", "1;2"), "--times takes numbers, got '1;2'"),
    ((*SOLVE, "--times", "0,-1"), "`times` must be ≥ 0, got -1.0 at index 1"),
    ((*SOLVE, "--times", "nan"), "`times` must be ≥ 0, got nan"),
    ((*SOLVE, "--until", "inf"), "--until must be > 0 and finite, got inf"),
    ((*SOLVE, "--until", "-1"), "--until must be > 0 and finite, got -1"),
    ((*SOLVE, "--until", 1, "--points", 1), "'--points'"),
    ((*SOLVE, "--until", 1, "--points", 10**30), "'--points'"),
    ((*SOLVE, "--until", 1, "--points", 10**8), "'--points'.* 1000000"),
    ((*SOLVE, "--steps", 10**8), "must give at most 1,000,000 rows, got 100,000,001. Raise --ev"),
    ((*DRAW[:-2], "--draws", 10**5, "--until", 1, "--points", 10**5), "too large for the memory"),
    ((*SOLVE, "--steps", -1), "'--steps'"),
    ((*SOLVE, "--steps", 10**30), "'--steps'"),
    ((*SOLVE, "--steps", 3, "--every", 0), "'--every'"),
    ((*SOLVE, "--times", 0, "--draws", 3), "--draws needs a Gaussian start"),
    ((*SOLVE, "--times", 0, "--width", 3), "either as --gram UU UW WW or as --width N"),
    ((*SOLVE, "--times", 0, "--x", "a"), "--x and --y name columns of a --csv file"),
    (("solve", *DATA, "--times", 0), "either as --gram UU UW WW or as --width N"),
    ((*STATE, "--times", 0), "either as --moments EAA EAY EYY or as --csv FILE"),
    (("solve", "--gram", 1, 2, 1, *DATA, "--times", 0), "no two vectors have"),
    (("solve", "--gram", 1, "nan", 1, *DATA, "--times", 0), "`uw` must be finite, got nan"),
    (("solve", "--gram", 1, 1), "'--gram'|requires 3 arguments"),
    ((*STATE, "--moments", 1, 2, 1, "--times", 0), "no data have"),
    ((*STATE, "--moments", -1, 0, 1, "--times", 0), "`mean_aa` must be finite and ≥ 0"),
    ((*SOLVE, "--lr", -1, 1, "--times", 0), "`lr_u` must be finite and ≥ 0"),
    ((*DRAW, "--seed", -1), "'--seed'"),
    ((*DRAW, "--draws", 0), "'--draws'"),
    ((*DRAW, "--draws", 10**12), "too large for the memory"),
    ((*DRAW, "--width", 0), "`width` must be between 1 and"),
    ((*DRAW, "--width", 10**25), "`width` must be between 1 and"),
    ((*DRAW, "--width", 1.5), "`width` must be a whole number"),
    ((*DRAW, "--init-std", -1, 1), "standard deviation and must be ≥ 0"),
    (("phase",), "either --exponents A EU EW SU SW or --preset NAME"),
    ((*PHASE, 0, 0, 0, 0, 0, "--preset", "ntk"), "either --exponents"),
    ((*PHASE, 0, 0, 0, 0), "requires 5 arguments"),
    ((*PHASE, 0, 0, 0, 0, "x"), "a number or a fraction such as -1/2.* got 'x'"),
    ((*PHASE, "1/0", 0, 0, 0, 0), "got '1/0'"),
    ((*PHASE, "1e999999999", 0, 0, 0, 0), "at most 1000 in size"),
    ((*PHASE, 400, 0, 0, 0, 0, "--widths", "1e2"), "`output_scale` must be finite, got inf"),
    (("phase", "--preset", "foo"), "no preset 'foo'; choose from ntk, mean_field"),
    ((*NTK, "a"), "--widths takes numbers, got 'a'"),
    ((*NTK, ""), "--widths takes numbers, got ''"),
    ((*NTK, "1.5"), "`width` must be a whole number"),
    ((*NTK, "0"), "`width` must be finite and ≥ 1"),
    ((*NTK, "10", "--seed", -1), "'--seed'"),
    ((*NTK, "10", "--draws", 10**10), "too large for the memory: at most 100,000,000 numbers"),
    ((*NTK, "10", "--moments", 1, 3, 1), "no data have"),
    (("presets", "--widths", ""), "--widths takes numbers"),
    (("diagram",), "Missing option '--x'"),
    (
        diagram("output_scale_exponent=1:2:3", "lr=1:2:3"),
        "not of both: got output_scale_exponent, lr",
    ),
    (diagram("foo=1:2:3"), "no parameter 'foo'; choose from"),
    (diagram("output_scale=1:2"), "--x must be NAME=LOW:HIGH:COUNT"),
    (diagram("output_scale"), "--x must be NAME=LOW:HIGH:COUNT"),
    (diagram("output_scale=2:1:3"), "--x needs finite LOW < HIGH and COUNT from 2"),
    (diagram("output_scale=1:inf:3"), "--x needs finite LOW < HIGH"),
    (diagram("output_scale=nan:1:3"), "--x needs finite LOW < HIGH"),
    (diagram("output_scale=1:2:1"), "COUNT from 2 to 10000"),
    (diagram("output_scale=1:2:3", "lr=1:2:100000000"), "--y needs .* COUNT from 2 to 10000"),
    (diagram("output_scale=1:2:9999", "lr=1:2:9999"), "at most 4,000,000 points together, got 99,"),
    (diagram("lr_u=1:2:3"), "'lr' sets lr_u and lr_w, which is given already"),
    (diagram("lr=1:2:3"), "each name may be used once"),
    (diagram("output_scale=1:2:3", "lr=-1:2:3"), "`lr_u` must be finite and ≥ 0"),
    ((*diagram(), "--set", "width"), "--set must be NAME=VALUE"),
    ((*diagram(), "--set", "width=1", "--set", "width=2"), "each name once"),
    ((*diagram(), "--set", "width=a"), "--set takes numbers, got 'a'"),
    ((*diagram(), "--set", "width=0"), "`width` must be finite and ≥ 1, got 0"),
    ((*diagram(), "--show", "x"), "--show must be one of order_parameter"),
    ((*diagram(), "--fixed-rates"), "--fixed-rates is for diagrams of exponents"),
    ((*exponents(), "--set", "init_var_exponent=abc"), "a number or a fraction"),
    ((*exponents(), "--set", "foo_exponent=1"), "no exponent 'foo_exponent'; choose from"),
    ((*exponents(), "--show", "acting_mechanisms"), "--show must be one of signal_excess"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=lambda part: str(part)[:60])
def test_bad_input_is_one_sentence(arguments, message):
    assert re.search(message.replace("(", r"\("), refusal(*arguments))


FILES = {
    "missing": (
        None,
        "a.csv must be a CSV file, and there is no file of that name. Look for a slip in the path.",
    ),
    "empty": (b"", "must have a header and rows, got none"),
    "header": (b"x,y\n", "must have a header and rows, got none"),
    "column": (b"x,z\n1,2\n", "has no column 'y', it has x, z. Spell it as the header does."),
    "word": (
        b"x,y\n1,2\n3,four\n",
        "line 3: column 'y' must hold finite numbers, got 'four'. Correct it",
    ),
    "short": (b"x,y\n1\n", "must have 2 entries in each row, got 1 in line 2"),
    "nan": (b"x,y\n1,nan\n", "line 2: column 'y' must hold finite numbers, got 'nan'"),
    "binary": (b"x,y\n\xff\xfe\x00,1\n", "must be a CSV file in UTF-8, got one that is not"),
    "field": (b"x,y\n1," + b"9" * 200_000 + b"\n", "got one that is not: field larger"),
}


@pytest.mark.parametrize("kind", FILES)
def test_bad_csv(tmp_path, kind):
    content, message = FILES[kind]
    file = tmp_path / "a.csv"
    if content is not None:
        file.write_bytes(content)
    said = refusal(*STATE, "--csv", file, "--x", "x", "--y", "y", "--times", 0)
    assert message in said
    assert "--csv needs --x COLUMN and --y COLUMN" in refusal(*STATE, "--csv", file, "--times", 0)


@pytest.mark.parametrize("target", ["no/a.png", "a.xyz", "folder.png", "bare"])
@pytest.mark.parametrize("command", [(*SOLVE, "--times", 0), diagram()], ids=["solve", "diagram"])
def test_bad_picture_file(tmp_path, command, target):
    (tmp_path / "folder.png").mkdir()
    assert refusal(*command, "--plot", tmp_path / target)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.png"]


@pytest.mark.parametrize(
    "command",
    [
        (*SOLVE, "--times", -1),
        (*SOLVE, "--steps", -1),
        diagram("foo=1:2:3"),
        (*diagram(), "--show", "x"),
    ],
    ids=str,
)
def test_bad_input_writes_no_picture(tmp_path, command):
    refusal(*command, "--plot", tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_interrupt_is_quiet(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules["lazyrich.cli.solve"].__dict__, "_flow", interrupt)
    done = run(*SOLVE, "--times", 0)
    assert done.exit_code == 130
    assert "Traceback" not in done.output


def test_our_own_mistakes_are_not_hidden(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setitem(sys.modules["lazyrich.cli.solve"].__dict__, "_flow", broken)
    assert isinstance(run(*SOLVE, "--times", 0).exception, ZeroDivisionError)


def test_version_and_help():
    assert run("--version").stdout.strip() == __version__
    for command in ("solve", "phase", "presets", "diagram"):
        done = run(command, "--help")
        assert done.exit_code == 0
        assert "Usage" in done.stdout


def test_help_loads_nothing_heavy():
    code = (
        "import sys, runpy; sys.argv = ['lazyrich', '--help']\n"
        "try: runpy.run_module('lazyrich', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'numpy', 'scipy', 'xarray', 'numba', 'matplotlib', 'torch'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    module = [sys.executable, "-m", "lazyrich", *map(str, SOLVE), "--times", "-1"]
    bad = subprocess.run(module, capture_output=True, text=True)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "lazyrich: `times` must be ≥ 0, got -1.0 at index 0\n"
