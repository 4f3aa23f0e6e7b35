"""`lazyrich reproduce`: run a figure of a paper again, judge its claims, keep the record."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Abort, Argument, Option

from lazyrich._errors import InputError
from lazyrich.cli.device import DeviceOption, PrecisionOption, elsewhere, environment_of

NAME, HARNESS = "papers", "harness.py"
OWN = Path("reproduced")

Scale = Literal["smoke", "laptop", "paper"]


def reproduce(
    target: Annotated[
        str | None, Argument(help="A paper, or one figure of it.", metavar="PAPER[/FIGURE]")
    ] = None,
    scale: Annotated[
        Scale,
        Option(
            help="Seconds; minutes on two cores; or the paper's own setting, for a GPU.",
            case_sensitive=False,
        ),
    ] = "laptop",
    data_dir: Annotated[
        Path | None,
        Option(
            help="Folder of the data sets, as LAZYRICH_DATA.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Option(help=f"Folder for the papers' runs, records and figures; else ./{OWN}."),
    ] = None,
    workers: Annotated[
        int | None,
        Option(help="Processes; one per processor, or one on another device.", min=1),
    ] = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    plot: Annotated[
        bool, Option("--plot", help="Only redraw: from your record, else from the paper's.")
    ] = False,
    papers: Annotated[
        Path | None, Option(help="The folder `papers`; else here or beside the sources.")
    ] = None,
    json: Annotated[bool, Option("--json", help="Print JSON, and no progress.")] = False,
) -> None:
    """Run the figures of a paper again and judge its claims; without a target, list the papers.

    Ctrl-C keeps the runs that are finished; the same command goes on from there, and tries runs
    that failed again. How long it will take is said before it starts, from a few timed steps, where
    that is more than a minute. At scale "paper", the device is CUDA where there is some. Nothing of
    the papers' own folder changes, unless --out names it.
    """
    from lazyrich.cli.show import print_json, print_table

    harness = _harness(papers)
    if target is None:
        figures = {paper: harness.figures(paper) for paper in harness.papers()}
        if json:
            print_json(figures)
        else:
            print_table(
                {"paper": list(figures), "figures": [", ".join(f) for f in figures.values()]}
            )
        return
    if device is None and scale == "paper":
        device = "auto"
    environment = environment_of(device, precision, here=True)
    try:
        records = harness.reproduce(
            target,
            scale=scale,
            out=out or OWN,
            data_dir=data_dir,
            workers=1 if workers is None and elsewhere(environment) else workers,
            environment=environment,
            only_plot=plot,
            or_kept=out is None,
            progress=not json,
        )
    except KeyboardInterrupt as stop:
        typer.echo(f"lazyrich: {str(stop) or 'stopped; the same command goes on'}", err=True)
        raise Abort from None
    rows = [row for record in records for row in _rows(harness, record)]
    if json:
        said = {record["figure"]: harness.said(record) for record in records}
        print_json({"target": target, "scale": scale, "findings": rows, "said": said})
    else:
        print_table({name: [row[name] for row in rows] for name in rows[0]})
        for record in records:
            typer.echo(f"{record['figure']}: {harness.said(record)}")
        if scale == "smoke":
            typer.echo("Smoke runs are too small to judge a claim by.")
        typer.echo(f"Records and figures: {(out or OWN) / records[0]['paper']}")


def _rows(harness: Any, record: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ANN401
    """What was found beside what was expected, one row a finding."""
    return [
        {
            "figure": record["figure"],
            "claim": row["claim"],
            "finding": row["finding"],
            "value": row["found"]["value"],
            "low": row["found"]["low"],
            "high": row["found"]["high"],
            "n": row["found"]["n"],
            "verdict": row["verdict"],
        }
        for row in harness.judge(record)
    ]


def _harness(papers: Path | None) -> Any:  # noqa: ANN401 - the module papers.harness
    """The harness, from the folder `papers` that is not part of the package."""
    places = [papers] if papers else [Path(NAME), Path(__file__).parents[3] / NAME]
    for place in places:
        if (place / HARNESS).is_file() and place.resolve().name == NAME:
            root = str(place.resolve().parent)
            if root not in sys.path:
                sys.path.insert(0, root)
            return import_module(f"{NAME}.harness")
    raise InputError(
        f"`--papers` must be a folder with {HARNESS}, called {NAME!r}, got {places[0]}. "
        "The papers are in the source repository, not in the installed package."
    )
