"""`lazyrich explore`: the interactive page, opened or written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def explore(
    run: Annotated[
        Path | None, Argument(help="A history that a probe saved, to be placed on the map.")
    ] = None,
    out: Annotated[Path | None, Option(help="Write the page there and open nothing.")] = None,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Open the interactive page: the exact solver, the phase diagrams and a place for your runs.

    It is one file that needs no network: copy it, or put it on a site of your own.
    """
    import tempfile
    import webbrowser

    from lazyrich._errors import InputError
    from lazyrich.cli.show import print_json, say
    from lazyrich.explore.page import PAGE, write_page

    history = None
    if run is not None:
        from lazyrich.probe.saved import load_history

        history = load_history(run)
    page = PAGE
    if out is not None or history is not None:  # a browser reads a page after this has ended
        page = write_page(
            out or Path(tempfile.mkdtemp(prefix="lazyrich-")) / "explore.html", history
        )
    if out is None and not webbrowser.open(page.as_uri()):
        raise InputError(
            "there must be a browser to open the page in, and none was found. Write the page with "
            "`lazyrich explore --out explore.html`, and open it where there is one."
        )
    if json:
        print_json({"page": str(page), "opened": out is None})
    elif out is not None:
        say(f"wrote {page}")
    else:
        say("opened the page in the browser")
