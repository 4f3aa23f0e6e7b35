"""`lazyrich match`: which solved models describe a network and its data."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument, Option


def match(
    factory: Annotated[
        str,
        Argument(
            help="The network: a function without arguments that returns a module of linear "
            "layers, or a list of weights from the first layer on.",
            metavar="MODULE:FUNCTION",
        ),
    ],
    data: Annotated[
        str,
        Argument(
            help="What it learns: a function that returns (inputs, targets).",
            metavar="MODULE:FUNCTION",
        ),
    ],
    output_scale: Annotated[float, Option(help="Output scale γ of a list of weights.")] = 1.0,
    lr: Annotated[float | None, Option(help="Learning rate; one close to the flow.")] = None,
    steps: Annotated[
        int | None, Option(help="Steps; until all but a thousandth is learned.", min=0)
    ] = None,
    seed: Annotated[int, Option(help="Of random weights and data.", min=0)] = 0,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Name the solved models that describe a network: what each assumes, predicts and misses."""
    import torch

    from lazyrich.cli.factory import called
    from lazyrich.cli.show import print_json
    from lazyrich.study.matching.match import match as matched

    torch.manual_seed(seed)
    network, samples = called(factory, "the network"), called(data, "the data")
    found = matched(network, samples, output_scale=output_scale, lr=lr, steps=steps)
    if not json:
        typer.echo(repr(found))
        return
    table = found.to_dataset()
    every = {**table.coords, **table.data_vars}
    print_json(
        {"descent": None if found.descent is None else vars(found.descent), "lr": found.lr}
        | {str(name): values.values.tolist() for name, values in every.items()}
        | {
            "residuals": {
                one.name: {part.sentence: part.value for part in one.residuals}
                for one in found.theories
            }
        }
    )
