"""`lazyrich sweep`: run the points of a study that are not stored yet."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Abort, Argument, Option

from lazyrich._errors import InputError
from lazyrich.cli.device import DeviceOption, PrecisionOption, elsewhere, environment_of
from lazyrich.cli.show import said_warnings

if TYPE_CHECKING:
    from lazyrich.sweeps.describe.description import Study
    from lazyrich.sweeps.run.sweep import Summary

NOTHING = 1  # exit code if every point of the study failed


def sweep(
    study: Annotated[Path, Argument(help="The study, a TOML file.", metavar="STUDY.toml")],
    out: Annotated[Path, Option(help="Folder of the results; made if there is none.")],
    workers: Annotated[
        int | None,
        Option(help="Processes of this machine; one per processor, or one on another device."),
    ] = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    scheduler: Annotated[
        str | None, Option(help="Run on a Dask cluster instead: tcp://HOST:PORT.")
    ] = None,
    together: Annotated[int, Option(help="Train so many points in one step.")] = 1,
    timeout: Annotated[
        float | None, Option(help="Seconds that a point may take on this machine.")
    ] = None,
    recycle: Annotated[
        int | None, Option(help="Points after which a process of this machine is replaced.")
    ] = None,
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
    download: Annotated[
        bool, Option("--download", help="Fetch data sets of the study that are not here.")
    ] = False,
    export: Annotated[
        Path | None, Option(help="Write all results to a .nc, .zarr, .parquet or .csv at the end.")
    ] = None,
    json: Annotated[bool, Option("--json", help="Print JSON, and no progress.")] = False,
) -> None:
    """Run a study; what is stored already is not run again.

    Ctrl-C stores what is finished and ends with exit code 130. The same command goes on from there,
    also after a crash. The exit code is 1 if every point of the study failed.
    """
    from lazyrich.cli.show import print_json

    if scheduler is not None and workers is not None:
        raise InputError("--workers is for this machine: leave it out where there is a --scheduler")
    if export is not None:
        _check_export(export, out)
    if data_dir is not None:
        os.environ["LAZYRICH_DATA"] = str(data_dir.resolve())  # the worker processes inherit it
    described = _described(study)
    if download:
        _download(described)
    environment = environment_of(device, precision, here=scheduler is None)
    if workers is None and scheduler is None and elsewhere(environment):
        workers = 1
    options = {
        "environment": environment,
        "together": together,
        "timeout": timeout,
        "recycle": recycle,
        "retry_failed": retry_failed,
        "extend": extend,
    }
    try:
        with said_warnings():
            summary = _run(described, out, workers, scheduler, progress=not json, **options)
    except KeyboardInterrupt as stop:
        typer.echo(f"lazyrich: {str(stop) or 'stopped'}", err=True)
        raise Abort from None
    if json:
        print_json(_plain(summary))
    else:
        typer.echo(summary.sentence)
        if summary.statuses.get("failed"):
            typer.echo(f"The first failed point: {_first_failure(out, described)}")
            typer.echo("When the cause is mended, --retry-failed runs failed points again.")
    if export is not None:
        _export(out, export)
    if summary.statuses.keys() == {"failed"}:
        raise typer.Exit(NOTHING)


def _check_export(target: Path, out: Path) -> None:
    from lazyrich.sweeps.store.export import check_export

    check_export(target)
    file, store = target.resolve(), out.resolve()
    if file.is_relative_to(store) or store.is_relative_to(file):
        raise InputError(
            f"--export must lie outside of --out, the folder {out}, got {target}. "
            "Choose another name."
        )


def _described(study: Path) -> Study:
    from lazyrich.sweeps.describe.description import Study

    if "" not in sys.path:
        sys.path.insert(0, "")  # experiments in modules of the folder in which the command runs
    return Study.from_toml(study)


def _download(study: Study) -> None:
    """Fetch each data set from files that a point of the study names, before workers start."""
    from lazyrich.study.data.datasets import FROM_FILES, load
    from lazyrich.study.experiment import Training
    from lazyrich.sweeps.describe.experiment import experiment_name

    names = {p.experiment.data for p in study.points() if isinstance(p.experiment, Training)}
    if not names:
        raise InputError(
            f"--download is for studies of {experiment_name(Training)}, got one of "
            f"{experiment_name(study.experiment)}. Leave it out."
        )
    for name in sorted(names & FROM_FILES.keys()):
        load(name, download=True)


def _run(
    study: Study,
    out: Path,
    workers: int | None,
    scheduler: str | None,
    **options: Any,  # noqa: ANN401
) -> Summary:
    from lazyrich.sweeps.run.executors import dask_cluster
    from lazyrich.sweeps.run.sweep import sweep

    with nullcontext() if scheduler is None else dask_cluster(scheduler) as executor:
        return sweep(study, out, executor=executor, workers=workers, **options)


def _first_failure(out: Path, study: Study) -> str:
    from lazyrich.sweeps.store.store import Store

    with Store.read_only(out) as store:
        failed = store.keys("failed")
        return store.read(next(p.key for p in study.points() if p.key in failed)).sentence


def _export(out: Path, target: Path) -> None:
    from lazyrich.sweeps.store.export import export
    from lazyrich.sweeps.store.results import results

    target.parent.mkdir(parents=True, exist_ok=True)
    with said_warnings():
        data = results(out)
    export(data, target)


def _plain(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "folder": str(summary.folder),
        "points": summary.points,
        "ran": summary.ran,
        "statuses": summary.statuses,
        "earlier": summary.earlier,
        "seconds": summary.seconds,
    }
