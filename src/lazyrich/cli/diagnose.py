"""`lazyrich diagnose`: train a network on images, watch it, and say how lazy or rich it was."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from lazyrich._errors import InputError
from lazyrich.cli.device import DeviceOption, PrecisionOption
from lazyrich.cli.gate import FAILED, KNOWN, VERDICTS, Gate
from lazyrich.vocabulary.losses import LossName
from lazyrich.vocabulary.numerals import in_words
from lazyrich.vocabulary.regimes import Regime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from lazyrich.probe.probe import Probe
    from lazyrich.probe.verdict import Verdict
    from lazyrich.study.data.samples import DataSet
    from lazyrich.study.training.recipe import Outcome

LARGEST_RATE = 1e30  # single precision ends at 3e38
PER_CLASS = 10  # probe samples
MEASUREMENTS = 30
REHEARSAL = 1000  # steps of the forecast, at most
DEFAULT_WIDTH = {"fcn": 128, "cnn": 16, "transformer": 32}
FCN = {"depth": 2, "bias": True}

Data = Literal["digits", "mnist", "fashion-mnist", "cifar10"]
Kind = Literal["fcn", "cnn", "transformer"]


def diagnose(
    factory: Annotated[
        str | None,
        Argument(help="Your own network: a function without arguments.", metavar="MODULE:FUNCTION"),
    ] = None,
    data: Annotated[Data, Option(help="What to learn.", case_sensitive=False)] = "digits",
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
    loss: Annotated[
        LossName, Option(help="What to minimise.", case_sensitive=False)
    ] = "cross_entropy",
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
    """Train a network on images by plain SGD and diagnose it: lazy to rich, layer by layer.

    The network is MODULE:FUNCTION, which returns a torch module from images (n, channels, height,
    width), or from vectors of their pixels, to a number for each of the 10 classes; or one of the
    built-in ones, by --model, --width, --init-scale, --output-scale.
    """
    from lazyrich.cli.show import print_json
    from lazyrich.study.compute import Compute
    from lazyrich.study.data.datasets import load
    from lazyrich.study.networks.catalogue import as_taken_by

    own: dict[str, Any] = {
        **{"model": model, "width": width},
        **{"init_scale": init_scale, "output_scale": output_scale},
    }
    gate = Gate.of(fail_if or (), require or ())
    if lr is not None and not 0 < lr < inf:
        raise InputError(f"--lr must be a positive number, got {lr}")
    if lr is not None and lr > LARGEST_RATE:
        raise InputError(f"--lr must be at most {LARGEST_RATE:g}, got {lr}: no network bears that")
    if html is not None:
        from lazyrich.report.write import check_page, write_report

        check_page(html)
    compute = Compute.chosen(device, precision)
    learned = load(data, folder=data_dir, download=download)
    learned = learned if samples is None else _some(learned, samples, seed)
    network = _built_in(learned, seed, **own) if factory is None else _own(factory, own, seed)
    with nullcontext() if factory is None else _answerable(factory), compute.applied():
        learned = as_taken_by(network, learned).to(compute.torch_device)
        network = network.to(compute.torch_device)
        recipe = {"loss": loss, "batch_size": batch_size, "mixed": compute.mixed}
        probe, outcome = _watched(network, learned, recipe, lr, epochs, seed)
    verdict = _verdict(probe, outcome)
    if html is not None:
        write_report(probe.history, html, verdict=verdict)
    ruling = None if gate is None else gate.ruling(verdict.regime)
    summary = _summary(probe, verdict)
    if json:
        print_json(summary | {"gate": None if ruling is None else vars(ruling)})
    else:
        _show(summary, verdict, loss_words=probe.history.loss.attrs["long_name"])
        if ruling is not None:
            typer.echo(ruling.sentence)
    if ruling is not None and not ruling.passed:
        raise typer.Exit(FAILED)


def _some(data: DataSet, samples: int, seed: int) -> DataSet:
    if not 1 <= samples <= len(data.train):
        most = f"{len(data.train)} for {data.name}"
        raise InputError(f"--samples must lie in 1 to {most}, got {samples}")
    return data.take(samples, seed=seed)


def _built_in(
    data: DataSet,
    seed: int,
    *,
    model: Kind | None,
    width: int | None,
    init_scale: float | None,
    output_scale: float | None,
) -> nn.Module:
    from lazyrich.study.networks.catalogue import NETWORKS
    from lazyrich.study.networks.parametrisation import parametrise

    kind = model or "fcn"
    neurons = DEFAULT_WIDTH[kind] if width is None else width
    if neurons < 1:
        raise InputError(f"--width must be at least 1, got {neurons}")
    options = FCN if kind == "fcn" else {}
    return parametrise(
        NETWORKS[kind](data.inputs, data.outputs, width=neurons, **options),
        "default",
        init_scale=1.0 if init_scale is None else init_scale,
        output_scale=1.0 if output_scale is None else output_scale,
        centred=True,
        seed=seed,
    ).model


def _own(factory: str, own: dict[str, Any], seed: int) -> nn.Module:
    from lazyrich.cli.factory import build

    given = [f"--{name.replace('_', '-')}" for name, value in own.items() if value is not None]
    if given:
        raise InputError(f"{given[0]} is for the built-in networks: leave out {given[0]} or MODULE")
    return build(factory, seed)


def _answerable(factory: str) -> AbstractContextManager[None]:
    from lazyrich.cli.factory import answerable

    return answerable(factory)


def _watched(
    network: nn.Module,
    data: DataSet,
    given: Mapping[str, Any],
    lr: float | None,
    epochs: int,
    seed: int,
) -> tuple[Probe, Outcome]:
    """Train the network under a probe's eyes."""
    from lazyrich.cli.progress import shown
    from lazyrich.probe.forecast.first_step import first_step
    from lazyrich.probe.probe import Probe
    from lazyrich.probe.schedule import every
    from lazyrich.study.training.train import Recipe, learning_rate, optimizer_of, targets, train

    loss, batch_size = given["loss"], given["batch_size"]
    few = data.balanced(PER_CLASS, seed=seed)
    batch = few.x, targets(few, data.classes, loss)
    rate = learning_rate(first_step(network, batch, loss)) if lr is None else lr
    steps = epochs * max(1, len(data.train) // batch_size)
    recipe = Recipe(**given, lr=rate, steps=steps)
    probe = Probe(network, batch, loss, samples=None, seed=seed)
    probe.forecast(optimizer=optimizer_of(network, recipe), max_steps=REHEARSAL)
    with shown("training", steps) as done:

        def observe(step: int) -> None:
            done(step)
            probe.measure(step)

        when = every(max(1, steps // MEASUREMENTS))
        outcome = train(network, data, recipe, seed=seed, observe=observe, when=when)
    if outcome.status == "diverged":  # the observer sees finite networks only
        probe.measure(outcome.steps)
    return probe, outcome


def _verdict(probe: Probe, outcome: Outcome) -> Verdict:
    """The probe's; unstable where training diverged, also if the probe's own samples fared well."""
    seen = probe.verdict()
    if outcome.status != "diverged" or seen.regime == Regime.UNSTABLE:
        return seen
    layers = tuple(replace(layer, regime=Regime.UNSTABLE) for layer in seen.layers)
    sentence = f"Training diverged: {outcome.sentence}"
    return replace(seen, regime=Regime.UNSTABLE, sentence=sentence, layers=layers)


def _summary(probe: Probe, verdict: Verdict) -> dict[str, Any]:
    from lazyrich.probe.agreement import agreement

    before = probe.forecasted
    return {
        "regime": verdict.regime,
        "sentence": verdict.sentence,
        "richness": None if before is None else before.richness,
        "predicted_regime": None if before is None else before.regime,
        "predicted_ntk_change": None if before is None else before.predicted_ntk_change,
        "certificate": None if before is None else before.certificate,
        "ntk_change": verdict.evidence["ntk_change"],
        "kernel_distance": verdict.evidence["kernel_distance"],
        "centred_kernel_distance": verdict.evidence["centred_kernel_distance"],
        "linearisation_error": verdict.evidence["linearisation_error"],
        "interval": verdict.interval,
        "agreement": [] if before is None else agreement(before, verdict, probe.history),
        "layers": [
            {
                "name": layer.name,
                "regime": layer.regime,
                "layer_log_alignment": layer.layer_log_alignment,
                "layer_log_rescaling": layer.layer_log_rescaling,
                "nfa": layer.nfa,
                "cnfa": layer.cnfa,
                "mechanisms": [window.mechanism for window in layer.mechanisms],
            }
            for layer in verdict.layers
        ],
        "loss": probe.history.loss.values[[0, -1]],
        "overhead": probe.overhead,
        "notes": list(verdict.notes),
        "advice": list(verdict.advice),
    }


def _show(summary: Mapping[str, Any], verdict: Verdict, *, loss_words: str) -> None:
    from lazyrich.cli.show import print_table
    from lazyrich.probe.advice import what_now

    typer.echo(f"{verdict.regime.upper()}. {verdict.sentence}")
    when = ", as long as it was finite" if verdict.evidence["diverged"] else ""
    first, last = (in_words(x, 3) if isfinite(x) else "not finite" for x in summary["loss"])
    turn = summary["centred_kernel_distance"]
    turned = f" and turned by {in_words(turn, 3)} between samples" if isfinite(turn) else ""
    typer.echo(
        f"Forecast: {summary['predicted_regime']}, the NTK changes by "
        f"{in_words(summary['predicted_ntk_change'], 3)} of its size "
        f"(certificate: {summary['certificate']}); richness ρ = "
        f"{in_words(summary['richness'], 3)}. Outcome{when}: the NTK changed by "
        f"{in_words(summary['ntk_change'], 3)}{turned}; {loss_words} {first} → {last}; watching "
        f"took {summary['overhead']:.0%} of the time."
    )
    typer.echo(" ".join(summary["agreement"][1:]))
    for note in verdict.notes:
        typer.echo(note)
    rows = summary["layers"]
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in rows[0]}
    columns["mechanisms"] = [
        ", ".join(row["mechanisms"]) or ("none" if isfinite(row["layer_log_alignment"]) else "–")
        for row in rows  # of what has no weight to study, nobody knows
    ]
    print_table(columns)
    for line in what_now(verdict.advice):
        typer.echo(line)
