"""`lazyrich report`: a page about a run whose history was saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from lazyrich._errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import xarray as xr

FORMATS = {".nc": ("netcdf4", "netCDF4"), ".zarr": ("zarr", "zarr")}


def report(
    history: Annotated[Path, Argument(help="What `probe.save` wrote: .nc or .zarr.")],
    html: Annotated[Path, Argument(help="Page to write.")],
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the report of a saved history and say its verdict."""
    from lazyrich.cli.show import print_json, say
    from lazyrich.probe.verdict import judge
    from lazyrich.report.write import check_page, write_report

    check_page(html)
    if history.suffix.lower() not in FORMATS:
        raise InputError(f"the history must end in {' or '.join(FORMATS)}, got {history.name!r}")
    if not history.exists():
        raise InputError(f"there is no history at {str(history)!r}. Give what `probe.save` wrote.")
    with _opened(history) as saved:
        verdict = judge(saved)
        target = write_report(saved, html, verdict=verdict)
    if json:
        print_json({"regime": verdict.regime, "sentence": verdict.sentence, "page": str(target)})
    else:
        typer.echo(f"{verdict.regime.upper()}. {verdict.sentence}")
        say(f"wrote {target}")


def _opened(history: Path) -> xr.Dataset:
    import xarray as xr

    engine, package = FORMATS[history.suffix.lower()]
    try:
        return xr.open_dataset(history, engine=engine)
    except ImportError as error:
        raise MissingExtraError(package, "store") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{history} must be what `probe.save` wrote, and it is not: "
            f"{str(error).partition(chr(10))[0]}. Give another file."
        ) from error
