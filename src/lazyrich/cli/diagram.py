"""`lazyrich diagram`: a phase diagram over any two parameters or scaling exponents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from lazyrich._errors import InputError

if TYPE_CHECKING:
    from lazyrich.phases.diagram import PhaseDiagram

SUFFIX = "_exponent"
MOST = 4_000_000  # networks, of which a million take some gigabytes
LONG = 250_000  # that take so long that one wants to know


def diagram(
    x: Annotated[str, Option(help="Horizontal axis.", metavar="NAME=LOW:HIGH:COUNT")],
    y: Annotated[str, Option(help="Vertical axis.", metavar="NAME=LOW:HIGH:COUNT")],
    fix: Annotated[
        list[str] | None, Option("--set", help="Another parameter; repeat.", metavar="NAME=VALUE")
    ] = None,
    show: Annotated[
        str, Option(help="region, acting_mechanisms or an order parameter.")
    ] = "region",
    fixed_rates: Annotated[
        bool, Option("--fixed-rates", help="Exponents: keep the learning rates as given.")
    ] = False,
    plot: Annotated[Path | None, Option(help="Picture file to write.")] = None,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw a phase diagram of a two-layer linear network.

    Parameters: width, output_scale, lr (lr_u, lr_w), init_std (init_std_u, init_std_w),
    init_alignment, mean_aa, mean_ay, mean_yy. Exponents of the width: output_scale_exponent,
    lr_exponent (lr_u_exponent, lr_w_exponent), init_var_exponent (init_var_u_exponent,
    init_var_w_exponent).
    """
    from lazyrich.cli.show import print_json

    if plot is not None:
        from lazyrich.plot.style import check_picture

        check_picture(plot)
    made = _diagram(x, y, fix or [], fixed_rates)
    if show not in made.values:
        raise InputError(f"--show must be one of {', '.join(map(str, made.values))}, got {show!r}")
    if plot is not None:
        _draw(made, show, plot)
    if json:
        print_json(_plain(made))
    else:
        typer.echo(_summary(made, show))


def _diagram(x: str, y: str, fix: list[str], fixed_rates: bool) -> PhaseDiagram:
    from lazyrich.cli import parse
    from lazyrich.cli.show import say
    from lazyrich.phases.diagram import exponent_diagram, parameter_diagram

    axes = parse.axis(x, "--x"), parse.axis(y, "--y")
    given = parse.setting(fix)
    names = [axes[0][0], axes[1][0], *given]
    of_exponents = [name.endswith(SUFFIX) for name in names]
    if any(of_exponents) and not all(of_exponents):
        raise InputError(
            f"a diagram is of parameters or of exponents (NAME{SUFFIX}), "
            f"not of both: got {', '.join(names)}"
        )
    networks = axes[0][1].size * axes[1][1].size
    if networks > MOST:
        raise InputError(
            f"--x and --y must span at most {MOST:,} points together, got {networks:,}. "
            "Lower a COUNT."
        )
    if networks > LONG:
        say(f"solving {networks:,} networks")
    if not any(of_exponents):
        if fixed_rates:
            raise InputError("--fixed-rates is for diagrams of exponents")
        fixed: dict[str, Any] = {name: parse.number(text, "--set") for name, text in given.items()}
        return parameter_diagram(*axes, **fixed)
    exponents: dict[str, Any] = dict(given)
    return exponent_diagram(*axes, tune_rates=not fixed_rates, **exponents)


def _plain(made: PhaseDiagram) -> dict[str, Any]:
    y, x = (str(dim) for dim in made.values.region.dims)
    return {
        "x": {"name": x, "values": made.values[x].values},
        "y": {"name": y, "values": made.values[y].values},
        "regions": made.values.region.attrs["flag_meanings"].split(),
        "values": {str(name): part.values for name, part in made.values.data_vars.items()},
        "boundaries": [{"name": c.name, "x": c.x, "y": c.y} for c in made.boundaries],
    }


def _summary(made: PhaseDiagram, show: str) -> str:
    """The share of each named area (of the regions, if `show` has no names), and the boundaries."""
    area = made.values[show if "flag_values" in made.values[show].attrs else "region"]
    lines = [
        f"{float((area == code).mean()):7.1%}  {name.replace('_', ' ')}"
        for code, name in enumerate(area.attrs["flag_meanings"].split())
        if bool((area == code).any())
    ]
    lines += [f"boundary {curve.name}: {curve.x.size} roots" for curve in made.boundaries]
    return "\n".join(lines)


def _draw(made: PhaseDiagram, show: str, target: Path) -> None:
    from lazyrich import plot
    from lazyrich.cli.show import say

    with plot.style():
        figure = plot.figure(width=5.5, height=4.4)
        plot.phase_diagram(made, show=show, ax=figure.axes[0])
        say(f"wrote {plot.save(figure, target)}")
