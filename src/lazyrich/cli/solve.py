"""`lazyrich solve`: the exact solution on one-dimensional data, and any other model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from lazyrich._errors import InputError
from lazyrich.cli.models import Words, has_model, run_model
from lazyrich.vocabulary.numerals import in_words

if TYPE_CHECKING:
    import xarray as xr

    from lazyrich.theory.two_layer_linear.data import LineData
    from lazyrich.theory.two_layer_linear.network import LinearNetwork
    from lazyrich.theory.two_layer_linear.state import LineState

SHOWN = ("end_to_end_map", "loss", "alignment", "ntk_trace", "uu", "uw", "ww")
QUANTILES = (0.05, 0.95)
POINTS = 101
MOST = 10**12  # of anything that is counted
ROWS = 10**6  # of the table
LONG = 10**8  # steps that take so long that one wants to know

Three = tuple[float, float, float]
Two = tuple[float, float]


def solve(
    context: typer.Context,
    words: Words = None,
    gram: Annotated[
        Three | None, Option(help="‖u‖², u·w, ‖w‖² at the start.", metavar="UU UW WW")
    ] = None,
    width: Annotated[float | None, Option(help="Hidden width, for a Gaussian start.")] = None,
    init_std: Annotated[
        Two, Option(help="Initial standard deviations σ_u and σ_w.", metavar="SU SW")
    ] = (1.0, 1.0),
    seed: Annotated[int, Option(help="Seed of the Gaussian start.", min=0)] = 0,
    draws: Annotated[
        int | None, Option(help="Networks to draw; prints their median.", min=1, max=MOST)
    ] = None,
    output_scale: Annotated[float, Option(help="Output scale γ.")] = 1.0,
    lr: Annotated[Two, Option(help="Learning rates (step sizes) η_u and η_w.", metavar="LU LW")] = (
        1.0,
        1.0,
    ),
    moments: Annotated[
        Three | None, Option(help=r"E\[a²], E\[ay], E\[y²].", metavar="EAA EAY EYY")
    ] = None,
    csv: Annotated[Path | None, Option(help="Data file with a header, for --moments.")] = None,
    x: Annotated[str | None, Option(help="Column of the input.")] = None,
    y: Annotated[str | None, Option(help="Column of the target.")] = None,
    times: Annotated[str | None, Option(help="Times of the flow, such as 0,1,5,inf.")] = None,
    until: Annotated[float | None, Option(help="Last time of the flow, with --points.")] = None,
    points: Annotated[int, Option(help="Number of times up to --until.", min=2, max=ROWS)] = POINTS,
    steps: Annotated[
        int | None, Option(help="Steps of gradient descent, not the flow.", min=0, max=MOST)
    ] = None,
    every: Annotated[int, Option(help="Record each so many steps.", min=1, max=MOST)] = 1,
    plot: Annotated[Path | None, Option(help="Picture file to write.")] = None,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Follow gradient flow or gradient descent of a two-layer linear network, exactly.

    The state is --gram, or a Gaussian start of --width; the data are --moments or two columns of
    a --csv file; the motion is --times or --until for gradient flow, --steps for descent. Other
    models take their numbers as NAME=VALUE.
    """
    if words and has_model(words):
        return run_model("solve", words, context, json=json)
    from lazyrich.cli.parse import check_size
    from lazyrich.cli.show import print_json, print_table
    from lazyrich.theory.two_layer_linear.network import LinearNetwork

    if draws is not None:
        rows = points if times is None else times.count(",") + 1
        rows = rows if steps is None else min(ROWS, steps // every + 1)
        check_size(draws * rows, "--draws times the rows of the table")
    if plot is not None:
        from lazyrich.plot.style import check_picture

        check_picture(plot)
    state = _state(gram, width, init_std, seed, draws)
    network = LinearNetwork(output_scale=output_scale, lr_u=lr[0], lr_w=lr[1])
    data = _data(moments, csv, x, y)
    if steps is None:
        solution = _flow(state, network, data, times, until, points)
    else:
        solution = _descent(state, network, data, steps, every, times, until)
    if plot is not None:
        _draw(solution, plot)
    columns, rest = _columns(solution)
    if json:
        print_json(columns | rest)
    else:
        print_table(columns)
        typer.echo(f"status: {rest['status']}")


def _state(
    gram: Three | None, width: float | None, init_std: Two, seed: int, draws: int | None
) -> LineState:
    from lazyrich.theory.two_layer_linear.state import LineState

    if (gram is None) == (width is None):
        raise InputError("give the start either as --gram UU UW WW or as --width N")
    if gram is not None:
        if draws is not None:
            raise InputError("--draws needs a Gaussian start: --width N")
        return LineState(uu=gram[0], uw=gram[1], ww=gram[2])
    su, sw = init_std
    return LineState.sample(width or 0, init_std_u=su, init_std_w=sw, draws=draws, seed=seed)


def _data(moments: Three | None, csv: Path | None, x: str | None, y: str | None) -> LineData:
    from lazyrich.cli.parse import csv_data
    from lazyrich.theory.two_layer_linear.data import LineData

    if (moments is None) == (csv is None):
        raise InputError("give the data either as --moments EAA EAY EYY or as --csv FILE")
    if moments is not None:
        if x is not None or y is not None:
            raise InputError("--x and --y name columns of a --csv file")
        return LineData(mean_aa=moments[0], mean_ay=moments[1], mean_yy=moments[2])
    if csv is None or x is None or y is None:
        raise InputError("--csv needs --x COLUMN and --y COLUMN")
    return csv_data(csv, x, y)


def _flow(
    state: LineState,
    network: LinearNetwork,
    data: LineData,
    times: str | None,
    until: float | None,
    points: int,
) -> xr.Dataset:
    import numpy as np

    from lazyrich.cli.parse import numbers
    from lazyrich.theory.two_layer_linear.flow import flow

    if (times is None) == (until is None):
        raise InputError("give the motion as --times T,T,…, as --until T or as --steps N")
    if until is not None and not 0 < until < np.inf:
        raise InputError(f"--until must be > 0 and finite, got {until:g}; --times may hold inf")
    when = np.linspace(0, until, points) if until is not None else numbers(times or "", "--times")
    return flow(state, network, data, when)


def _descent(
    state: LineState,
    network: LinearNetwork,
    data: LineData,
    steps: int,
    every: int,
    times: str | None,
    until: float | None,
) -> xr.Dataset:
    from lazyrich.cli.show import say
    from lazyrich.theory.two_layer_linear.descent import descent

    if times is not None or until is not None:
        raise InputError("--steps is gradient descent: leave out --times and --until")
    if steps // every + 1 > ROWS:
        raise InputError(
            f"--steps and --every must give at most {ROWS:,} rows, got {steps // every + 1:,}. "
            "Raise --every."
        )
    if steps * state.uu.size > LONG:
        say(f"working through {in_words(steps * state.uu.size)} steps of gradient descent")
    return descent(state, network, data, steps=steps, every=every)


def _columns(solution: xr.Dataset) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Equal-length columns, and what stands beside them: the status, the quantiles."""
    import numpy as np

    time = "time" if "time" in solution.dims else "step"
    shown = solution[list(SHOWN)]
    rest: dict[str, Any] = {"status": _status(solution)}
    if "draw" in solution.dims:
        with np.errstate(invalid="ignore"):  # between two diverged runs
            rest["quantiles"] = {
                str(level): {name: part.values.tolist() for name, part in quantile.items()}
                for level in QUANTILES
                for quantile in [shown.quantile(level, "draw")]
            }
            shown = shown.median("draw")
    columns = {time: solution[time].values.tolist()}
    return columns | {str(name): part.values.tolist() for name, part in shown.items()}, rest


def _status(solution: xr.Dataset) -> str:
    """The status of one run, or of the runs together."""
    each = solution.status.values.ravel().tolist()
    failed = [status for status in each if status != "ok"]
    if not failed or len(each) == 1:
        return str(each[0])
    return f"{len(failed)} of {len(each)} {failed[0].partition(':')[0].partition(' at step')[0]}"


def _draw(solution: xr.Dataset, target: Path) -> None:
    import numpy as np

    from lazyrich import plot
    from lazyrich.cli.show import say

    if "time" in solution.dims and not np.isfinite(solution.time).all():
        say("the picture leaves out the infinite times")
        solution = solution.isel(time=np.isfinite(solution.time.values))
    with plot.style():
        made = plot.figure(2, 2, width=4.0, height=2.8)
        for quantity, ax in zip(
            ("end_to_end_map", "loss", "alignment", "ntk_trace"), made.axes, strict=True
        ):
            plot.trajectory({"": solution}, quantity, ax=ax)
        say(f"wrote {plot.save(made, target)}")
