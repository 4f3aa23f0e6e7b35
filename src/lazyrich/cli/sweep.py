"""`lazyrich sweep`: run the points of a study that are not stored yet."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from lazyrich._errors import InputError

if TYPE_CHECKING:
    from lazyrich.study.sweeps.sweep import Summary

INTERRUPTED = 130


def sweep(
    study: Annotated[Path, Argument(help="The study, a TOML file.", metavar="STUDY.toml")],
    out: Annotated[Path, Option(help="Folder of the results; made if there is none.")],
    workers: Annotated[
        int | None, Option(help="Processes of this machine; one per processor.")
    ] = None,
    scheduler: Annotated[
        str | None, Option(help="Run on a Dask cluster instead: tcp://HOST:PORT.")
    ] = None,
    together: Annotated[int, Option(help="Train so many points in one step.")] = 1,
    retry_failed: Annotated[
        bool, Option("--retry-failed", help="Run failed points again.")
    ] = False,
    extend: Annotated[
        bool, Option("--extend", help="Take a study with more points than the stored one.")
    ] = False,
    data_dir: Annotated[
        Path | None,
        Option(
            help="Folder with the files of data sets, instead of LAZYRICH_DATA.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    export: Annotated[
        Path | None, Option(help="Write all results to a .nc, .zarr, .parquet or .csv at the end.")
    ] = None,
    json: Annotated[bool, Option("--json", help="Print JSON, and no progress.")] = False,
) -> None:
    """Run a study; what is stored already is not run again.

    Ctrl-C stores what is finished and ends with exit code 130. The same command goes on from there,
    also after a crash.
    """
    from lazyrich.cli.show import print_json

    if scheduler is not None and workers is not None:
        raise InputError("--workers is for this machine: leave it out where there is a --scheduler")
    if export is not None:
        from lazyrich.study.sweeps.export import check_target

        check_target(export)
    if data_dir is not None:
        os.environ["LAZYRICH_DATA"] = str(data_dir.resolve())  # the worker processes inherit it
    options = {"together": together, "retry_failed": retry_failed, "extend": extend}
    try:
        summary = _run(study, out, workers, scheduler, progress=not json, **options)
    except KeyboardInterrupt as stop:
        typer.echo(f"lazyrich: {stop or 'stopped'}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if export is not None:
        _export(out, export)
    if json:
        print_json(_plain(summary))
    else:
        typer.echo(summary.sentence)
        if summary.statuses.get("failed"):
            typer.echo(f"The first failed point: {_first_failure(out)}")


def _run(
    study: Path,
    out: Path,
    workers: int | None,
    scheduler: str | None,
    **options: Any,  # noqa: ANN401
) -> Summary:
    from lazyrich.study.sweeps.description import Study
    from lazyrich.study.sweeps.executors import dask_cluster
    from lazyrich.study.sweeps.sweep import sweep

    if "" not in sys.path:
        sys.path.insert(0, "")  # experiments in modules of the folder in which the command runs
    described = Study.from_toml(study)
    with nullcontext() if scheduler is None else dask_cluster(scheduler) as executor:
        return sweep(described, out, executor=executor, workers=workers, **options)


def _first_failure(out: Path) -> str:
    from lazyrich.study.sweeps.store import Store

    with Store.read_only(out) as store:
        return store.read(min(store.keys("failed"))).sentence


def _export(out: Path, target: Path) -> None:
    from lazyrich.study.sweeps.export import export
    from lazyrich.study.sweeps.results import results

    export(results(out), target)


def _plain(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "folder": str(summary.folder),
        "points": summary.points,
        "ran": summary.ran,
        "statuses": summary.statuses,
        "seconds": summary.seconds,
    }
