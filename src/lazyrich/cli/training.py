"""What `lazyrich diagnose` trains where data, loss and optimiser are those that come with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from lazyrich._errors import InputError
from lazyrich.cli.progress import shown
from lazyrich.probe.advice import Findings, advice
from lazyrich.probe.forecast.first_step import first_step
from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import every
from lazyrich.probe.verdict import Verdict
from lazyrich.study.data.samples import DataSet
from lazyrich.study.networks.catalogue import NETWORKS
from lazyrich.study.networks.parametrisation import parametrise
from lazyrich.study.training.recipe import Outcome
from lazyrich.study.training.train import Recipe, learning_rate, optimizer_of, targets, train
from lazyrich.vocabulary.regimes import JudgedRegime, Regime

PER_CLASS = 10  # probe samples
MEASUREMENTS = 30
REHEARSAL = 1000  # steps of the forecast, at most
DEFAULT_WIDTH = {"fcn": 128, "cnn": 16, "transformer": 32}
FCN = {"depth": 2, "bias": True}

Kind = Literal["fcn", "cnn", "transformer"]


def some_of(data: DataSet, samples: int, seed: int) -> DataSet:
    """So many of the training samples.

    Args:
        data: the data from which it takes them.
        samples: how many.
        seed: seed of the choice.

    Raises:
        InputError: so many are not there.
    """
    if not 1 <= samples <= len(data.train):
        most = f"{len(data.train)} for {data.name}"
        raise InputError(f"--samples must lie in 1 to {most}, got {samples}")
    return data.take(samples, seed=seed)


def built_in(
    data: DataSet,
    seed: int,
    *,
    model: Kind | None,
    width: int | None,
    init_scale: float | None,
    output_scale: float | None,
) -> nn.Module:
    """One of the networks that come with the command, for a data set.

    Args:
        data: the data set whose shapes it takes and gives.
        seed: seed of its weights.
        model: name of the model; None for the fully connected one.
        width: None for its own.
        init_scale: factor on its initial weights; None for 1.
        output_scale: factor on its output; None for 1.

    Raises:
        InputError: a width below 1, or a scale that is not positive.
    """
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


def watched(
    network: nn.Module,
    data: DataSet,
    given: Mapping[str, Any],
    lr: float | None,
    epochs: int,
    seed: int,
) -> tuple[Probe, Outcome]:
    """Train a network by plain SGD under a probe's eyes.

    Args:
        network: the network to be trained, in place.
        data: what it learns.
        given: the rest of the recipe: loss, batch size and precision.
        lr: learning rate; None for that of the first step.
        epochs: how often each sample is seen.
        seed: seed of the samples' order.
    """
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


def judged(
    probe: Probe, diverged: str | None = None, wanted: Sequence[JudgedRegime] = ()
) -> Verdict:
    """The probe's verdict; unstable where training diverged, also if its own samples fared well.

    Args:
        probe: the probe that has watched.
        diverged: how training did, in a sentence; None if it did not.
        wanted: regimes that were asked for, to which the advice leads.
    """
    seen = probe.verdict()
    if diverged is not None and seen.regime != Regime.UNSTABLE:
        layers = tuple(replace(layer, regime=Regime.UNSTABLE) for layer in seen.layers)
        sentence = f"Training diverged: {diverged}"
        seen = replace(seen, regime=Regime.UNSTABLE, sentence=sentence, layers=layers)
    found = Findings(
        history=probe.history,
        regime=seen.regime,
        evidence=seen.evidence,
        layers={layer.name: layer.regime for layer in seen.layers},
        limits=seen.thresholds,
        wanted=wanted,
    )
    return replace(seen, advice=advice(found))
