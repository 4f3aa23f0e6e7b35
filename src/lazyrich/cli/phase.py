"""`lazyrich phase` and `lazyrich presets`: the phase of a family of networks, or of a model."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from lazyrich._errors import InputError
from lazyrich.cli.models import Words, has_model, run_model

if TYPE_CHECKING:
    from lazyrich.phases.scaling import ScalingLaw

Three = tuple[float, float, float]
Five = tuple[str, str, str, str, str]
MOST = 10**12  # networks drawn
TABLE_WIDTHS = "1e2,1e4,1e6,1e8"

Widths = Annotated[str | None, Option(help="Widths such as 1e2,1e4,1e8: adds medians over draws.")]
Moments = Annotated[
    Three, Option(help=r"E\[a²], E\[ay], E\[y²] of the data.", metavar="EAA EAY EYY")
]
Draws = Annotated[int, Option(help="Networks drawn at each width.", min=1, max=MOST)]
Seed = Annotated[int, Option(help="Seed of the draws.", min=0)]
Json = Annotated[bool, Option("--json", help="Print JSON.")]


def phase(
    context: typer.Context,
    words: Words = None,
    exponents: Annotated[
        Five | None,
        Option(help="Powers of d of γ, η_u, η_w, σ_u², σ_w².", metavar="A EU EW SU SW"),
    ] = None,
    preset: Annotated[
        str | None,
        Option(
            help="A named parametrisation, see `presets`; in capital or small letters.",
            autocompletion=lambda: _names(),
        ),
    ] = None,
    widths: Widths = None,
    moments: Moments = (1.0, 1.0, 1.0),
    draws: Draws = 1000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Name the phase of a scaling law: frozen, kernel, feature or unstable; or that of a model."""
    if words and has_model(words):
        return run_model("phase", words, context, json=json)
    from lazyrich.cli.show import print_json, print_table

    law = _law(exponents, preset)
    ladder = _ladder(law, widths, moments, draws, seed) if widths is not None else {}
    if json:
        print_json(_summary(law) | ladder)
        return
    kind = f", {law.feature_kind}" if law.feature_kind else ""
    typer.echo(f"phase: {law.phase}{kind}".replace("_", " "))
    for name, exponent in law.named_exponents().items():
        typer.echo(f"{name.replace('_', ' ')}: {exponent}")
    if law.exponents.rate != 0:
        learnable = law.at_unit_rate()
        typer.echo(
            f"with lr ∝ {learnable.lr_u}, {learnable.lr_w} it learns in Θ(1) time: "
            f"{learnable.phase} phase"
        )
    if law.exponents.output > 0:
        typer.echo("the initial output grows with the width")
    if ladder:
        print_table(ladder)


def presets(
    widths: Annotated[str, Option(help="Widths of the table.")] = TABLE_WIDTHS,
    moments: Moments = (1.0, 1.0, 1.0),
    draws: Draws = 1000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """List the named parametrisations with their phases and final |ζ| at each width."""
    from lazyrich.cli.show import print_json, print_table
    from lazyrich.phases.presets import PRESETS
    from lazyrich.phases.scaling import ScalingLaw
    from lazyrich.vocabulary.parameters import PARAMETERS

    rows = {
        name: _summary(law) | _ladder(law, widths, moments, draws, seed)
        for name, law in PRESETS.items()
    }
    if json:
        print_json(rows)
        return
    table: dict[str, list[Any]] = {
        "name": list(rows),
        **{
            PARAMETERS[field.name].symbol: [
                str(getattr(law, field.name)) for law in PRESETS.values()
            ]
            for field in fields(ScalingLaw)
        },
        "phase": [row["phase"] for row in rows.values()],
    }
    for at, width in enumerate(next(iter(rows.values()))["widths"]):
        table[f"|ζ| at {width:g}"] = [f"{row['alignment'][at]:.2g}" for row in rows.values()]
    print_table(table)


def _summary(law: ScalingLaw) -> dict[str, Any]:
    exponents = {name: float(value) for name, value in law.named_exponents().items()}
    return {"phase": law.phase, "feature_kind": law.feature_kind, **exponents}


def _law(exponents: Five | None, preset: str | None) -> ScalingLaw:
    from lazyrich.phases.presets import PRESETS
    from lazyrich.phases.scaling import ScalingLaw

    if (exponents is None) == (preset is None):
        raise InputError("give either --exponents A EU EW SU SW or --preset NAME")
    if exponents is not None:
        return ScalingLaw.from_exponents(*exponents)
    name = (preset or "").strip().lower().replace("-", "_").replace(" ", "_")
    if name not in PRESETS:
        raise InputError(f"there is no preset {preset!r}; choose from {', '.join(PRESETS)}")
    return PRESETS[name]


def _names() -> list[str]:
    from lazyrich.phases.presets import PRESETS

    return list(PRESETS)


def _ladder(
    law: ScalingLaw, widths: str, moments: Three, draws: int, seed: int
) -> dict[str, list[float]]:
    """Medians over draws of |ζ_∞| and the kernel's change at each width."""
    from lazyrich.cli.parse import check_size, numbers
    from lazyrich.phases.order import order_parameters
    from lazyrich.theory.two_layer_linear.data import LineData

    d = numbers(widths, "--widths")
    check_size(draws * len(d), "--draws times the number of --widths")
    data = LineData(mean_aa=moments[0], mean_ay=moments[1], mean_yy=moments[2])
    order = order_parameters(law.sample(d, draws=draws, seed=seed), law.network(d), data)
    return {
        "widths": d,
        "alignment": abs(order.alignment).median("draw").values.tolist(),
        "ntk_change": order.ntk_change.median("draw").values.tolist(),
    }
