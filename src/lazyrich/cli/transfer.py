"""`lazyrich transfer`: carry hyperparameters over from a small network to a large one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from lazyrich.cli.options import DataOption, LossOption

if TYPE_CHECKING:
    from lazyrich.cli.own import Batch
    from lazyrich.probe.transfer.result import Transfer

BATCH_SIZE, SEED = 64, 0  # of the data; the first steps are made on the probe's samples


def transfer(
    factory: Annotated[
        str,
        Argument(
            help="Your own network: a function of its width or depth.", metavar="MODULE:FUNCTION"
        ),
    ],
    small: Annotated[int, Option(help="Size of the network whose hyperparameters are known.")],
    large: Annotated[int, Option(help="Size of the network that they are for.")],
    data: DataOption = "digits",
    loss: LossOption = "cross_entropy",
    optimizer: Annotated[
        str | None,
        Option(
            help="Your own optimiser or several, a function of the network; else Adam.",
            metavar="MODULE:FUNCTION",
        ),
    ] = None,
    ladder: Annotated[
        str | None,
        Option(help="Sizes to measure in place of the large one.", metavar="SIZE,SIZE,…"),
    ] = None,
    branch: Annotated[
        list[str] | None,
        Option(
            help="Over depths: layers that end a residual branch, as 'blocks.*.out'; repeat.",
            metavar="PATTERN",
        ),
    ] = None,
    steps: Annotated[int, Option(help="First steps that are measured together.", min=1)] = 1,
    seeds: Annotated[int, Option(help="Initialisations of each size.", min=1)] = 3,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the factors on learning rates and init that make a large network train like a small one.

    The network is MODULE:FUNCTION, which returns a torch module of the size that it is given. Tune
    the small one, then train the large one with the same settings times these factors. Only first
    steps are made, of copies.
    """
    from lazyrich.cli.factory import answerable, sized
    from lazyrich.cli.own import own_loss, own_optimizers_or_adam
    from lazyrich.cli.parse import numbers
    from lazyrich.cli.show import print_json
    from lazyrich.probe.transfer.transfer import transfer as find

    network = sized(factory, small)
    batch = _batch(data, network, loss)
    with answerable(factory):
        found = find(
            lambda size: sized(factory, size),
            batch,
            own_loss(loss, network, batch),
            small=small,
            large=large,
            optimizer=own_optimizers_or_adam(optimizer),
            ladder=[] if ladder is None else [int(n) for n in numbers(ladder, "--ladder")],
            branches=branch or (),
            steps=steps,
            seeds=seeds,
        )
    if json:
        print_json(_summary(found))
    else:
        typer.echo(str(found))


def _batch(data: str, network: Any, loss: str) -> Batch:  # noqa: ANN401 - a torch module
    """What the first steps learn, as the network takes it."""
    from lazyrich.cli.own import known_data, own_data
    from lazyrich.study.data.datasets import load
    from lazyrich.study.networks.catalogue import as_taken_by

    if ":" in data:
        return own_data(data, batch=BATCH_SIZE, samples=None, seed=SEED).probed
    known = as_taken_by(network, load(data, folder=None, download=False))
    return known_data(known, loss, batch=BATCH_SIZE, seed=SEED).probed


def _summary(found: Transfer) -> dict[str, Any]:
    """The keys of `--json`."""
    lr, init = found.factors_at(found.large)
    mup_lr, mup_init = found.mup_factors_at(found.large)
    return {
        "axis": found.axis,
        "small": found.small,
        "large": found.large,
        "parameters": [
            {
                "name": key,
                "lr_factor": lr[key],
                "init_factor": init[key],
                "mup_lr_factor": mup_lr[key],
                "mup_init_factor": mup_init[key],
            }
            for key in lr
        ],
        "notes": list(found.notes),
    }
