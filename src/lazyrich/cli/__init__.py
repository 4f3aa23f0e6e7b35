"""The command `lazyrich`: one file a command, heavy imports only inside them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer import Abort
from typer.core import TyperGroup

from lazyrich._errors import LazyRichError
from lazyrich._public import extras_named
from lazyrich.cli.diagnose import diagnose
from lazyrich.cli.diagram import diagram
from lazyrich.cli.phase import phase, presets
from lazyrich.cli.report import report
from lazyrich.cli.reproduce import reproduce
from lazyrich.cli.solve import solve
from lazyrich.cli.sweep import sweep

BAD_INPUT, INTERRUPTED = 2, 130


class _Group(TyperGroup):
    """Answers every mistake with one sentence on stderr and exit code 2."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        try:
            with extras_named():
                code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except Abort:  # Ctrl-C
            sys.exit(INTERRUPTED)
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


app = typer.Typer(cls=_Group, add_completion=False, no_args_is_help=False, rich_markup_mode="rich")
for command in (solve, phase, presets, diagram, diagnose, report, sweep, reproduce):
    app.command()(command)


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
    app()
