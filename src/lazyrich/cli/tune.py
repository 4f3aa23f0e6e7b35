"""`lazyrich tune`: the richness at which a small network tests best."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Abort, Argument, Option

from lazyrich.cli.options import DataOption, LossOption

if TYPE_CHECKING:
    from lazyrich.cli.own import Batch, Learned
    from lazyrich.study.tuning.curve import RichnessCurve

BATCH_SIZE, SEED = 64, 0  # of the data
MEANS = ("mean_test_loss", "mean_test_loss_low", "mean_test_loss_high")


def tune(
    factory: Annotated[
        str,
        Argument(help="Your own network: a function of its width.", metavar="MODULE:FUNCTION"),
    ],
    width: Annotated[int, Option(help="Width of the small network that is trained.", min=1)],
    steps: Annotated[int, Option(help="Optimiser steps of every training.", min=1)],
    data: DataOption = "digits",
    test: Annotated[
        str | None,
        Option(
            help="What to test on: a function of your own that returns (inputs, targets); else the "
            "test samples of the data.",
            metavar="MODULE:FUNCTION",
        ),
    ] = None,
    loss: LossOption = "cross_entropy",
    optimizer: Annotated[
        str | None,
        Option(
            help="Your own optimiser, a function of the network; else Adam at its default rate.",
            metavar="MODULE:FUNCTION",
        ),
    ] = None,
    richness: Annotated[
        str | None,
        Option(help="ρ to try; else seven around where the network stands.", metavar="ρ,ρ,…"),
    ] = None,
    lr_scales: Annotated[
        str, Option(help="What multiplies the learning rates of every setting.", metavar="FACTOR,…")
    ] = "1",
    seeds: Annotated[int, Option(help="Initialisations.", min=2)] = 5,
    out: Annotated[
        Path | None,
        Option(help="Folder that keeps the trainings: the same command goes on from there."),
    ] = None,
    plot: Annotated[Path | None, Option(help="Draw the curve to this file.")] = None,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find the richness at which a small network tests best, and what going there gains.

    The network is trained as it stands and at every richness that `dial` is set to, with several
    seeds. Test losses come with their intervals, and what the seeds leave open is said.
    """
    from lazyrich.cli.factory import answerable, sized
    from lazyrich.cli.own import own_loss, own_optimizer_or_adam
    from lazyrich.cli.parse import numbers
    from lazyrich.cli.show import print_json
    from lazyrich.study.tuning.tune import best_richness

    if plot is not None:
        from lazyrich.plot.style import check_picture, save

        check_picture(plot)
    network = sized(factory, width)
    learned, held_out = _data(data, test, network, loss)
    try:
        with answerable(factory):
            found = best_richness(
                lambda size: sized(factory, size),
                learned.probed,
                own_loss(loss, network, learned.probed),
                width=width, optimizer=own_optimizer_or_adam(optimizer), steps=steps, test=held_out,
                batches=Epochs(learned),
                richness=None if richness is None else numbers(richness, "--richness"),
                lr_scales=numbers(lr_scales, "--lr-scales"), seeds=seeds, out=out,
                progress=not json,
            )  # fmt: skip
    except KeyboardInterrupt as stop:
        typer.echo(f"lazyrich: {str(stop) or 'stopped'}", err=True)
        raise Abort from None
    if plot is not None:
        save(found.figure(), plot)
    if json:
        print_json(_summary(found))
    else:
        typer.echo(str(found))


class Epochs:
    """The batches of the data, each time in another order, which PyTorch's random numbers choose.

    Args:
        learned: the data.
    """

    def __init__(self, learned: Learned) -> None:
        self._learned = learned

    def __iter__(self) -> Iterator[Batch]:
        import torch

        return self._learned.epoch(int(torch.randint(2**31, ())))


def _data(data: str, test: str | None, network: Any, loss: str) -> tuple[Learned, Batch]:  # noqa: ANN401 - a torch module
    """What is learned, and what is held out."""
    from lazyrich._errors import InputError
    from lazyrich.cli.own import known_data, own_data, own_pair
    from lazyrich.study.data.datasets import load
    from lazyrich.study.data.samples import targets
    from lazyrich.study.networks.catalogue import as_taken_by
    from lazyrich.vocabulary.losses import LOSSES

    held_out = None if test is None else own_pair(test, seed=SEED)
    if ":" in data:
        if held_out is None:
            raise InputError(
                f"--test must be given with data of your own, got none with {data}. Write a "
                "function that returns the (inputs, targets) to test on."
            )
        return own_data(data, batch=BATCH_SIZE, samples=None, seed=SEED), held_out
    known = as_taken_by(network, load(data, folder=None, download=False))
    learned = known_data(known, loss, batch=BATCH_SIZE, seed=SEED)
    if held_out is None:
        part = known.test
        y = targets(part, known.classes, loss) if loss in LOSSES else part.y  # type: ignore[arg-type]
        held_out = part.x, y
    return learned, held_out


def _summary(found: RichnessCurve) -> dict[str, Any]:
    """The keys of `--json`."""
    from math import nan

    best, stands = found.best, found.standing_best
    tuned = best.richness == found.richness
    return {
        "advice": found.advice,
        "sentence": found.sentence,
        "richness": found.richness,
        "interval": found.interval,
        "edge": found.optimum.edge,
        "stands_at": found.stands_at,
        "lr_scale": float(best.lr_scale[tuned][0]) if tuned.any() else nan,
        "gain": {"mean": found.gain.mean, "low": found.gain.low, "high": found.gain.high},
        "trainings": found.data.test_loss.size + found.standing.test_loss.size,
        "curve": {
            "richness": best.richness.values,
            "lr_scale": best.lr_scale.values,
            **{name: best[name].values for name in MEANS},
            "test_loss": best.test_loss.values,
        },
        "as_it_stands": {
            "lr_scale": float(stands.lr_scale),
            **{name: float(stands[name]) for name in MEANS},
            "test_loss": stands.test_loss.values,
        },
    }
