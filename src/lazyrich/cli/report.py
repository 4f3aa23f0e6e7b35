"""`lazyrich report`: a page about a run whose history was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option


def report(
    history: Annotated[Path, Argument(help="What `probe.save` wrote: .nc, .zarr or .json.")],
    html: Annotated[Path, Argument(help="Page to write.")],
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the report of a saved history and say its verdict."""
    from lazyrich.cli.show import print_json, say
    from lazyrich.probe.advice import what_now
    from lazyrich.probe.saved import check_history, load_history
    from lazyrich.probe.verdict import judge
    from lazyrich.report.write import check_page, write_report

    check_page(html)
    check_history(history)
    saved = load_history(history)
    verdict = judge(saved)
    target = write_report(saved, html, verdict=verdict)
    if json:
        said = {"regime": verdict.regime, "sentence": verdict.sentence, "advice": verdict.advice}
        print_json(said | {"page": str(target)})
    else:
        typer.echo(f"{verdict.regime.upper()}. {verdict.sentence}")
        for line in what_now(verdict.advice):
            typer.echo(line)
        say(f"wrote {target}")
