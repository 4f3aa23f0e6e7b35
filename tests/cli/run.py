"""Runs the command in this process; a refusal must be one sentence with exit code 2."""

import json
import warnings

from typer.testing import CliRunner

from lazyrich.cli import app


def run(*arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "`torch.jit.script`", DeprecationWarning)  # torch's own
        return CliRunner(env={"FORCE_COLOR": None}).invoke(app, [str(part) for part in arguments])


def answer(*arguments):
    """The JSON that a command prints, parsed strictly."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout, parse_constant=refuse)


def refusal(*arguments):
    """The sentence on stderr."""
    done = run(*arguments)
    assert done.exit_code == 2, (done.exit_code, done.output, done.exception)
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    assert done.stderr.startswith("lazyrich: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("lazyrich: ").rstrip("\n")
