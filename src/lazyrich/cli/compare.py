"""`lazyrich compare`: two runs whose histories were saved, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

if TYPE_CHECKING:
    from lazyrich.probe.compare import Compared


def compare(
    first: Annotated[Path, Argument(help="What `probe.save` wrote: .nc, .zarr or .json.")],
    second: Annotated[Path, Argument(help="The other run.")],
    html: Annotated[Path | None, Option(help="Page to write.")] = None,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is different in two runs, layer by layer, and what nobody can tell apart.

    A difference is said to be one only where the 95 % intervals of both have nothing in common.
    """
    from lazyrich.cli.show import print_json, say
    from lazyrich.probe.compare import compare as compared_runs
    from lazyrich.probe.saved import check_history, load_history

    if html is not None:
        from lazyrich.report.pair import write_comparison
        from lazyrich.report.write import check_page

        check_page(html)
    for path in (first, second):
        check_history(path)
    one, other = load_history(first), load_history(second)
    compared = compared_runs(one, other, names=_names(first, second))
    if html is not None:
        write_comparison(compared, html)
    answer = _summary(compared) if json else str(compared)
    if isinstance(answer, str):
        typer.echo(answer)
        if html is not None:
            say(f"wrote {html}")
    else:
        print_json(answer)


def _names(first: Path, second: Path) -> tuple[str, str]:
    """The files' own names, or so much of their paths that they are two."""
    if first.name != second.name:
        return first.name, second.name
    if str(first) != str(second):
        return str(first), str(second)
    return f"{first.name} (first)", f"{second.name} (second)"


def _summary(of: Compared) -> dict[str, Any]:
    return {
        "names": of.names,
        "regimes": [verdict.regime for verdict in of.verdicts],
        "sentence": of.sentence,
        "layers": [{"name": layer, "regimes": of.regimes(layer)} for layer in of.layers],
        "contrasts": [
            {
                "quantity": one.quantity,
                "layer": one.layer,
                "first": one.first and vars(one.first),
                "second": one.second and vars(one.second),
                "difference": one.difference,
            }
            for one in of.contrasts
        ],
        "notes": of.notes,
    }
