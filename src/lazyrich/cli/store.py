"""`lazyrich store`: what is in a store of results, whether it is whole, and copies of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from lazyrich.cli.flags import Command
from lazyrich.cli.show import print_json, said_warnings

DAMAGED = 1  # exit code if something is damaged

Folder = Annotated[Path, Argument(help="Folder of the store, the --out of a sweep.")]
AsJson = Annotated[bool, Option("--json", help="Print JSON.")]

store = typer.Typer(invoke_without_command=True)


@store.callback()
def group(context: typer.Context) -> None:
    """Look after a store of results. All but `repair` work while a sweep writes to it."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@store.command(cls=Command)
def status(folder: Folder, json: AsJson = False) -> None:
    """Say what is stored: the study, its points by status, and the code that computed them."""
    from lazyrich.sweeps.store.store import Store

    with Store.read_only(folder) as opened:
        name, counts, writer = opened.description.parts["name"], opened.statuses(), opened.writer
        codes = list({tuple(code.items()): code for code in opened.codes().values()}.values())
    if json:
        print_json({"name": name, "statuses": counts, "last_writer": writer, "codes": codes})
        return
    stored = ", ".join(f"{n} {word}" for word, n in sorted(counts.items())) or "nothing"
    versions = ", ".join(dict.fromkeys(code["lazyrich"] for code in codes))
    typer.echo(f"{name}: {stored}.")
    typer.echo(f"Opened for writing by lazyrich {versions}, last by {writer}.")
    if len(codes) > 1:
        typer.echo(f"The code of the experiment or of lazyrich has changed {len(codes) - 1} times.")


@store.command(cls=Command)
def verify(folder: Folder, json: AsJson = False) -> None:
    """Read everything and name what is damaged; the exit code is 1 if something is."""
    from lazyrich.sweeps.store.store import Store

    with Store.read_only(folder) as opened:
        damages = [damage.sentence for damage in opened.verify()]
        points = len(opened.keys()) if not damages else None
    if json:
        print_json({"damages": damages})
    else:
        typer.echo("\n".join(damages) or f"All {points} points are whole.")
    if damages:
        raise typer.Exit(DAMAGED)


@store.command(cls=Command)
def repair(folder: Folder, json: AsJson = False) -> None:
    """Forget damaged points, so that the next sweep does them again; keep all others.

    A file that SQLite finds unsound is made anew from what can be read; the damaged one is kept
    beside it.
    """
    from lazyrich.sweeps.store.mend import repair as mended
    from lazyrich.sweeps.store.store import Store

    damages = mended(folder)
    with Store.read_only(folder) as opened:
        points = len(opened.keys())
    if json:
        print_json({"damages": [damage.sentence for damage in damages], "points": points})
    else:
        found = f"{len(damages)} damage{'' if len(damages) == 1 else 's'}"
        typer.echo(f"Found {found}; {points} points are whole.")


@store.command(cls=Command)
def backup(
    folder: Folder, to: Annotated[Path, Argument(help="A new folder for the copy.")]
) -> None:
    """Copy a store, also while a sweep writes to it; the copy is a store with all points so far."""
    from lazyrich.sweeps.store.store import Store

    with Store.read_only(folder) as opened:
        opened.backup(to)
    with Store.read_only(to) as copied:
        typer.echo(f"{to}: {len(copied.keys())} points.")


@store.command(cls=Command)
def export(
    folder: Folder,
    to: Annotated[Path, Argument(help="A .nc, .zarr, .parquet or .csv.")],
) -> None:
    """Write all results to a file, also while a sweep writes to the store."""
    from lazyrich.sweeps.store.export import check_export
    from lazyrich.sweeps.store.export import export as exported
    from lazyrich.sweeps.store.results import results

    check_export(to)
    with said_warnings():
        data = results(folder)
    to.parent.mkdir(parents=True, exist_ok=True)
    exported(data, to)
    typer.echo(f"lazyrich: wrote {to}", err=True)
