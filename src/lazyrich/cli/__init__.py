"""The command `lazyrich`: one file a command, heavy imports only inside them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer import Abort
from typer.core import TyperGroup

from lazyrich._errors import LazyRichError
from lazyrich._public import extras_named
from lazyrich.cli.compare import compare
from lazyrich.cli.diagnose import diagnose
from lazyrich.cli.diagram import diagram
from lazyrich.cli.explore import explore
from lazyrich.cli.flags import Command
from lazyrich.cli.match import match
from lazyrich.cli.models import cite
from lazyrich.cli.phase import phase, presets
from lazyrich.cli.report import report
from lazyrich.cli.reproduce import reproduce
from lazyrich.cli.solve import solve
from lazyrich.cli.store import store
from lazyrich.cli.sweep import sweep
from lazyrich.cli.transfer import transfer

NOBODY_READS, BAD_INPUT, INTERRUPTED = 1, 2, 130


class _Group(TyperGroup):
    """Answers every mistake with one sentence on stderr and exit code 2, and nothing with help."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = False,
        windows_expand_args: bool = True,
        **extra: Any,  # noqa: ANN401 - as typer has it
    ) -> Any:  # noqa: ANN401
        given = list(sys.argv[1:] if args is None else args) or ["--help"]
        try:
            with extras_named():
                code = super().main(
                    given, prog_name, complete_var, False, windows_expand_args, **extra
                )
            sys.stdout.flush()
        except Abort:  # Ctrl-C
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # `| head` has enough; Python would flush what is left, and fail
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(NOBODY_READS)
        except Exception as error:
            message = _sentence(error)
            if message is None:
                raise
            typer.echo(f"lazyrich: {message}", err=True)
            sys.exit(BAD_INPUT)
        sys.exit(code if isinstance(code, int) else 0)


def _sentence(error: Exception) -> str | None:
    """What to tell the user, or None if the error is ours to mend."""
    if isinstance(error, LazyRichError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"this is too large for the memory: {error}"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    format_message = getattr(error, "format_message", None)  # a usage error
    return str(format_message()) if format_message else None


app = typer.Typer(
    cls=_Group, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)
for command in (
    solve, explore, phase, presets, cite, match, diagram, diagnose, report, compare, transfer,
    sweep, reproduce,
):  # fmt: skip
    app.command(cls=Command)(command)
app.add_typer(store, name="store")


def _version(show: bool) -> None:
    if show:
        from lazyrich import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Solve, measure, forecast and steer feature learning: is my network lazy or rich?"""


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that has no ρ is shown a ?
            stream.reconfigure(errors="replace")
    app(prog_name="lazyrich")
