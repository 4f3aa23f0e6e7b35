"""`lazyrich diagnose`: train a network on images, watch it, and say whether it was lazy or rich."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from lazyrich._errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from lazyrich.probe.probe import Probe
    from lazyrich.study.datasets import Images

GATE = 3  # exit code of --fail-if
PER_CLASS = 10  # probe samples
MEASUREMENTS = 30
DEFAULT_WIDTH = {"mlp": 128, "cnn": 16, "transformer": 32}

Data = Literal["digits", "mnist", "fashion-mnist"]
Kind = Literal["mlp", "cnn", "transformer"]
Loss = Literal["cross_entropy", "mse"]
Status = Literal["lazy", "rich", "frozen", "unstable"]


def diagnose(
    factory: Annotated[
        str | None,
        Argument(help="Your own network: a function without arguments.", metavar="MODULE:FUNCTION"),
    ] = None,
    data: Annotated[Data, Option(help="What to learn.")] = "digits",
    data_dir: Annotated[
        Path | None, Option(help="Folder with the IDX files of MNIST or Fashion-MNIST.")
    ] = None,
    samples: Annotated[int | None, Option(help="Train on so many images, not on all.")] = None,
    model: Annotated[Kind | None, Option(help="A network without a factory; mlp.")] = None,
    width: Annotated[int | None, Option(help="Its width: 128 mlp, 16 cnn, 32 transformer.")] = None,
    init_scale: Annotated[float | None, Option(help="Factor on its initial weights; 1.")] = None,
    output_scale: Annotated[
        float | None, Option(help="Factor α on its output, which starts at zero; 1.")
    ] = None,
    loss: Annotated[Loss, Option(help="What to minimise.")] = "cross_entropy",
    lr: Annotated[float | None, Option(help="Learning rate; from the forecast.")] = None,
    epochs: Annotated[int, Option(help="How often each image is seen.", min=1)] = 10,
    batch_size: Annotated[int, Option(help="Images a step.", min=1)] = 64,
    seed: Annotated[int, Option(help="Of the weights and of the order of images.")] = 0,
    html: Annotated[Path | None, Option(help="Report to write.")] = None,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
    fail_if: Annotated[
        Status | None, Option(help="End with exit code 3 if this is the verdict.")
    ] = None,
) -> None:
    """Train a network on images by plain SGD and diagnose it: lazy or rich, layer by layer.

    The network is MODULE:FUNCTION, which returns a torch module from images (n, 1, height, width),
    or from vectors of their pixels, to a number for each of the 10 classes; or one of the built-in
    ones, by --model, --width, --init-scale, --output-scale.
    """
    from lazyrich.cli.show import print_json
    from lazyrich.study.networks import as_taken_by

    own: dict[str, Any] = {
        **{"model": model, "width": width},
        **{"init_scale": init_scale, "output_scale": output_scale},
    }
    if lr is not None and not 0 < lr < inf:
        raise InputError(f"--lr must be a positive number, got {lr}")
    if html is not None:
        from lazyrich.report.page import check_target

        check_target(html)
    images = _images(data, data_dir, samples, seed)
    network = _built_in(images, seed, **own) if factory is None else _own(factory, own, seed)
    images = as_taken_by(network, images)
    probe = _watched(network, images, loss, lr, epochs, batch_size, seed)
    if html is not None:
        probe.report(html)
    if json:
        print_json(_summary(probe))
    else:
        _show(probe)
    if probe.verdict().status == fail_if:
        raise typer.Exit(GATE)


def _images(data: Data, folder: Path | None, samples: int | None, seed: int) -> Images:
    from lazyrich.study import datasets

    if data == "digits":
        images = datasets.digits()
    else:
        images = (datasets.mnist if data == "mnist" else datasets.fashion_mnist)(folder)
    return images if samples is None else images.some(samples, seed)


def _built_in(
    images: Images,
    seed: int,
    *,
    model: Kind | None,
    width: int | None,
    init_scale: float | None,
    output_scale: float | None,
) -> nn.Module:
    from lazyrich.study import networks

    kind = model or "mlp"
    neurons = DEFAULT_WIDTH[kind] if width is None else width
    if neurons < 1:
        raise InputError(f"--width must be at least 1, got {neurons}")
    build = {"mlp": networks.mlp, "cnn": networks.cnn, "transformer": networks.transformer}[kind]
    return networks.scaled(
        lambda: build(images, neurons),
        init_scale=1.0 if init_scale is None else init_scale,
        output_scale=1.0 if output_scale is None else output_scale,
        seed=seed,
    )


def _own(factory: str, own: dict[str, Any], seed: int) -> nn.Module:
    from lazyrich.cli.factory import build

    given = [f"--{name.replace('_', '-')}" for name, value in own.items() if value is not None]
    if given:
        raise InputError(f"{given[0]} is for the built-in networks: leave out {given[0]} or MODULE")
    return build(factory, seed)


def _watched(
    network: nn.Module,
    images: Images,
    loss: Loss,
    lr: float | None,
    epochs: int,
    batch_size: int,
    seed: int,
) -> Probe:
    """Train the network under a probe's eyes."""
    from rich.console import Console
    from rich.progress import Progress
    from torch.optim import SGD

    from lazyrich.probe.forecast import forecast
    from lazyrich.probe.probe import Probe
    from lazyrich.probe.schedule import every
    from lazyrich.study import training

    few = images.balanced(PER_CLASS, seed)
    batch = few.x, training.targets(few, loss)
    rate = training.learning_rate(forecast(network, batch, loss)) if lr is None else lr
    optimizer = SGD((p for p in network.parameters() if p.requires_grad), lr=rate)
    probe = Probe(network, batch, loss, samples=None, seed=seed)
    probe.forecast(optimizer)
    steps = epochs * max(1, len(images.y) // batch_size)
    with (
        Progress(console=Console(stderr=True)) as progress,
        probe.watch(optimizer, when=every(max(1, steps // MEASUREMENTS))),
    ):
        task = progress.add_task("training", total=steps)
        training.train(
            network,
            optimizer,
            images,
            loss=loss,
            batch_size=batch_size,
            epochs=epochs,
            seed=seed,
            tick=lambda: progress.advance(task),
        )
    return probe


def _summary(probe: Probe) -> dict[str, Any]:
    verdict, before = probe.verdict(), probe.forecasted
    return {
        "verdict": verdict.status,
        "sentence": verdict.sentence,
        "richness": None if before is None else before.richness,
        "predicted_ntk_change": None if before is None else before.predicted_ntk_change,
        "ntk_change": verdict.evidence["ntk_change"],
        "kernel_distance": verdict.evidence["kernel_distance"],
        "interval": verdict.interval,
        "layers": [
            {
                "name": layer.name,
                "verdict": layer.status,
                "alignment": layer.alignment,
                "rescaling": layer.rescaling,
                "nfa": layer.nfa,
                "cnfa": layer.cnfa,
                "mechanisms": [window.mechanism for window in layer.mechanisms],
            }
            for layer in verdict.layers
        ],
        "loss": probe.history.loss.values[[0, -1]],
        "overhead": probe.overhead,
    }


def _show(probe: Probe) -> None:
    from lazyrich.cli.show import print_table

    found = _summary(probe)
    typer.echo(f"{found['verdict'].upper()}. {found['sentence']}")
    typer.echo(
        f"Forecast: richness ρ = {found['richness']:.3g}. Outcome: the NTK changed by "
        f"{found['ntk_change']:.3g} and turned by {found['kernel_distance']:.3g}; loss "
        f"{found['loss'][0]:.3g} → {found['loss'][1]:.3g}; watching took {found['overhead']:.0%} "
        "of the time."
    )
    rows = found["layers"]
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in rows[0]}
    columns["mechanisms"] = [", ".join(names) or "none" for names in columns["mechanisms"]]
    print_table(columns)
