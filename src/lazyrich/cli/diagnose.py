"""`lazyrich diagnose`: train a network, watch it, and say how lazy or rich it was."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from lazyrich._errors import InputError
from lazyrich.cli.device import DeviceOption, PrecisionOption
from lazyrich.cli.gate import FAILED, KNOWN, VERDICTS, Gate
from lazyrich.cli.options import LossOption
from lazyrich.vocabulary.losses import LOSSES

if TYPE_CHECKING:
    from torch import nn

    from lazyrich.probe.probe import Probe
    from lazyrich.probe.verdict import Verdict
    from lazyrich.study.compute import Compute
    from lazyrich.study.data.samples import DataSet

LARGEST_RATE = 1e30  # single precision ends at 3e38
DATA = ("digits", "mnist", "fashion-mnist", "cifar10")

Kind = Literal["fcn", "cnn", "transformer"]


def diagnose(
    factory: Annotated[
        str | None,
        Argument(help="Your own network: a function without arguments.", metavar="MODULE:FUNCTION"),
    ] = None,
    data: Annotated[
        str,
        Option(
            help="What to learn: digits, mnist, fashion-mnist, cifar10, or a function of your own, "
            "MODULE:FUNCTION, that returns (inputs, targets) or batches of them.",
            metavar="DATA",
            autocompletion=lambda: list(DATA),
        ),
    ] = "digits",
    data_dir: Annotated[
        Path | None, Option(help="Folder with the files of MNIST, Fashion-MNIST or CIFAR-10.")
    ] = None,
    download: Annotated[
        bool, Option("--download", help="Fetch the data if they are not on this machine.")
    ] = False,
    samples: Annotated[int | None, Option(help="Train on so many images, not on all.")] = None,
    model: Annotated[
        Kind | None, Option(help="A network without a factory; fcn.", case_sensitive=False)
    ] = None,
    width: Annotated[int | None, Option(help="Its width: 128 fcn, 16 cnn, 32 transformer.")] = None,
    init_scale: Annotated[
        float | None, Option(help="Initial scale κ, a factor on its initial weights; 1.")
    ] = None,
    output_scale: Annotated[
        float | None, Option(help="Output scale γ; the output starts at zero; 1.")
    ] = None,
    loss: LossOption = "cross_entropy",
    optimizer: Annotated[
        str | None,
        Option(
            help="Your own optimiser, a function of the network; else plain SGD.",
            metavar="MODULE:FUNCTION",
        ),
    ] = None,
    initial: Annotated[
        Path | None, Option(help="Checkpoint of the start: nothing is trained, see --trained.")
    ] = None,
    trained: Annotated[Path | None, Option(help="Checkpoint after training.")] = None,
    lr: Annotated[float | None, Option(help="Learning rate; from the forecast.")] = None,
    epochs: Annotated[int, Option(help="How often each image is seen.", min=1)] = 10,
    batch_size: Annotated[int, Option(help="Images a step.", min=1)] = 64,
    seed: Annotated[int, Option(help="Of the weights and of the order of images.")] = 0,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    html: Annotated[Path | None, Option(help="Report to write.")] = None,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
    fail_if: Annotated[
        list[str] | None,
        Option(
            help="End with exit code 3 if the verdict is so, or is unstable; repeat.",
            metavar="VERDICT",
            autocompletion=lambda: list(VERDICTS),
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        Option(
            help="End with exit code 3 unless the verdict is so, or one of several; repeat.",
            metavar="REGIME",
            autocompletion=lambda: list(KNOWN),
        ),
    ] = None,
) -> None:
    """Train a network and diagnose it, lazy to rich, layer by layer; by default on images by SGD.

    The network is MODULE:FUNCTION, which returns a torch module from images (n, channels, height,
    width), or from vectors of their pixels, to a number for each of the 10 classes; or one of the
    built-in ones, by --model, --width, --init-scale, --output-scale. Data, loss and optimiser may
    be functions of your own. With --initial and --trained two files are compared instead.
    """
    from lazyrich.cli.diagnosed import summary_of, tell
    from lazyrich.cli.show import print_json
    from lazyrich.study.compute import Compute

    gate = Gate.of(fail_if or (), require or ())
    asked = Asked(
        factory=factory, data=_word(data, DATA, "--data"), data_dir=data_dir, download=download,
        samples=samples, loss=_word(loss, tuple(LOSSES), "--loss"), optimizer=optimizer, lr=lr,
        epochs=epochs, batch_size=batch_size, seed=seed, initial=initial, trained=trained,
        network={
            **{"model": model, "width": width},
            **{"init_scale": init_scale, "output_scale": output_scale},
        },
    )  # fmt: skip
    if html is not None:
        from lazyrich.report.write import check_page, write_report

        check_page(html)
    probe, verdict = _diagnosed(asked, Compute.chosen(device, precision), gate)
    if html is not None:
        write_report(probe.history, html, verdict=verdict)
    ruling = None if gate is None else gate.ruling(verdict.regime)
    summary = summary_of(probe, verdict)
    if json:
        print_json(summary | {"gate": None if ruling is None else vars(ruling)})
    else:
        tell(summary, verdict, loss_words=probe.history.loss.attrs["long_name"])
        if ruling is not None:
            typer.echo(ruling.sentence)
    if ruling is not None and not ruling.passed:
        raise typer.Exit(FAILED)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command was asked for, by its options.

    Raises:
        InputError: options that do not go together, or a number out of its range.
    """

    factory: str | None
    data: str
    data_dir: Path | None
    download: bool
    samples: int | None
    loss: str
    optimizer: str | None
    lr: float | None
    epochs: int
    batch_size: int
    seed: int
    initial: Path | None
    trained: Path | None
    network: dict[str, Any]

    def __post_init__(self) -> None:
        if self.lr is not None and not 0 < self.lr < inf:
            raise InputError(f"--lr must be a positive number, got {self.lr}")
        if self.lr is not None and self.lr > LARGEST_RATE:
            raise InputError(
                f"--lr must be at most {LARGEST_RATE:g}, got {self.lr}: no network bears that"
            )
        if self.lr is not None and self.optimizer is not None:
            raise InputError("--lr is for plain SGD: the optimiser of your own has its rates")
        if (self.initial is None) != (self.trained is None):
            alone = "--initial" if self.trained is None else "--trained"
            raise InputError(f"--initial and --trained belong together, got {alone} alone")
        if self.initial is not None and (self.lr is not None or self.optimizer is not None):
            raise InputError("--initial and --trained train nothing: leave out --lr, --optimizer")
        if self.own_data and self.factory is None:
            raise InputError("data of your own need a network of your own: give MODULE:FUNCTION")

    @property
    def own_data(self) -> bool:
        """Whether the data are the user's."""
        return ":" in self.data

    @property
    def built_in(self) -> bool:
        """Whether all but the network comes with the command."""
        own = (self.own_data, ":" in self.loss, self.optimizer, self.initial)
        return not any(own)


def _word(text: str, words: tuple[str, ...], option: str) -> str:
    """One of the words, in capital or small letters, or the name of a function."""
    if ":" in text:
        return text
    if text.lower() not in words:
        raise InputError(
            f"{option} must be one of {', '.join(words)}, or MODULE:FUNCTION, got {text!r}"
        )
    return text.lower()


def _diagnosed(asked: Asked, compute: Compute, gate: Gate | None) -> tuple[Probe, Verdict]:
    """Whatever is to be compared with its start, compared."""
    from lazyrich.cli.factory import answerable
    from lazyrich.cli.training import judged, some_of, watched
    from lazyrich.study.data.datasets import load
    from lazyrich.study.networks.catalogue import as_taken_by

    known = None
    if not asked.own_data:
        known = load(asked.data, folder=asked.data_dir, download=asked.download)
        known = known if asked.samples is None else some_of(known, asked.samples, asked.seed)
    network = _network(asked, known).to(compute.torch_device)
    responsible = nullcontext() if asked.factory is None else answerable(asked.factory)
    diverged: str | None = None
    notes: tuple[str, ...] = ()
    with responsible, compute.applied():
        known = known and as_taken_by(network, known).to(compute.torch_device)
        if known is not None and asked.built_in:
            recipe = {"loss": asked.loss, "batch_size": asked.batch_size, "mixed": compute.mixed}
            probe, outcome = watched(network, known, recipe, asked.lr, asked.epochs, asked.seed)
            diverged = outcome.sentence if outcome.status == "diverged" else None
        else:
            probe, diverged, notes = _of_own_parts(asked, network, known, compute)
    verdict = judged(probe, diverged, () if gate is None else gate.require)
    return probe, replace(verdict, notes=(*verdict.notes, *notes))


def _of_own_parts(
    asked: Asked, network: nn.Module, known: DataSet | None, compute: Compute
) -> tuple[Probe, str | None, tuple[str, ...]]:
    """With data, loss or optimiser of the user's own, or between two files."""
    from lazyrich.cli.checkpoint import between
    from lazyrich.cli.own import known_data, own_data, own_loss, watched_own

    if compute.mixed:
        raise InputError(
            "--precision bfloat16-mixed is for data, loss and optimiser that come with the command"
        )
    size, seed = asked.batch_size, asked.seed
    learned = (
        own_data(asked.data, batch=size, samples=asked.samples, seed=seed)
        if known is None
        else known_data(known, asked.loss, batch=size, seed=seed)
    ).on(network)
    loss = own_loss(asked.loss, network, learned.probed)
    if asked.initial is not None and asked.trained is not None:
        probe, notes = between(network, asked.initial, asked.trained, learned.probed, loss, seed)
        return probe, None, notes
    probe, diverged = watched_own(
        network, learned, loss,
        optimizer=asked.optimizer, lr=asked.lr, epochs=asked.epochs, seed=seed,
    )  # fmt: skip
    return probe, diverged, ()


def _network(asked: Asked, data: DataSet | None) -> nn.Module:
    from lazyrich.cli.factory import build
    from lazyrich.cli.training import built_in

    if asked.factory is None:
        assert data is not None  # data of the user's own come with a factory
        return built_in(data, asked.seed, **asked.network)
    named = (f"--{k.replace('_', '-')}" for k, v in asked.network.items() if v is not None)
    if given := next(named, None):
        raise InputError(f"{given} is for the built-in networks: leave out {given} or MODULE")
    return build(asked.factory, asked.seed)
