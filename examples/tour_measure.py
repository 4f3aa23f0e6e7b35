"""The tour's second act: a network on digits, forecast, dialled lazy and rich, watched, diagnosed.

The same ReLU network, from the same weights, learns scikit-learn's digits twice: `lazyrich.dial`
sets its output scale and learning rate so that the richness ρ is 0.03, then 10.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import lazyrich as lr
from lazyrich import plot
from lazyrich.study import (
    DataSet,
    Recipe,
    accuracy,
    digits,
    fcn,
    learning_rate,
    optimizer_of,
    targets,
    train,
)
from lazyrich.vocabulary import LossName

WIDTH = 128
EPOCHS = 20
BATCH = 64
PER_CLASS = 10  # probe samples
Progress = Callable[[str, int], Callable[[int], object]]
RICHNESS = {"lazy": 0.03, "rich": 10.0}
LOSS: LossName = "squared_error"
MEASUREMENTS = 40
REHEARSAL = 2000  # steps of the forecast, at most


def run(name: str, data: DataSet, seed: int, progress: Progress, out: Path) -> lr.Probe:
    """Dial, forecast, train under a probe's eyes, report."""
    torch.manual_seed(seed)
    network = fcn(data.inputs, data.outputs, width=WIDTH, depth=2, bias=True)
    few = data.balanced(PER_CLASS, seed=seed)
    batch = few.x, targets(few, data.classes, LOSS)
    base = torch.optim.SGD(network.parameters(), lr=1.0)
    model = lr.dial(network, batch, LOSS, optimizer=base, richness=RICHNESS[name]).model
    steps = EPOCHS * (len(data.train) // BATCH)
    rate = learning_rate(lr.first_step(model, batch, LOSS))
    recipe = Recipe(loss=LOSS, lr=rate, batch_size=BATCH, steps=steps)
    probe = lr.Probe(model, batch, LOSS, samples=None, seed=seed)
    probe.forecast(optimizer=optimizer_of(model, recipe), max_steps=REHEARSAL)
    advance = progress(f"training: dialled {name}", steps)

    def observe(step: int) -> None:
        probe.measure(step)
        advance(step)

    train(model, data, recipe, seed=seed, observe=observe, when=lr.every(steps // MEASUREMENTS))
    lr.write_report(probe.history, out / f"{name}.html")
    return probe


def measured(name: str, probe: lr.Probe, data: DataSet) -> dict[str, Any]:
    """The numbers of one run."""
    verdict, before = probe.verdict(), probe.forecasted
    assert before is not None
    return {
        "target_richness": RICHNESS[name],
        "richness": before.richness,
        "predicted_ntk_change": before.predicted_ntk_change,
        "ntk_change": verdict.evidence["ntk_change"],
        "ntk_change_interval": verdict.interval,
        "kernel_distance": verdict.evidence["kernel_distance"],
        "regime": verdict.regime,
        "sentence": verdict.sentence,
        "loss": probe.history.loss.values[[0, -1]].tolist(),
        "train_accuracy": accuracy(probe.model, data.train),
        "test_accuracy": accuracy(probe.model, data.test),
        "mechanisms": {
            layer.name: [window.mechanism for window in layer.mechanisms]
            for layer in verdict.layers
        },
        "overhead": probe.overhead,
    }


def draw(probes: dict[str, lr.Probe], target: Path) -> None:
    """Forecast and measured change of the kernel, and the loss, of both runs."""
    made = plot.figure(1, 2, width=4.4, height=3.4)
    kernel, loss = made.axes
    histories = {name: probe.history.isel(step=slice(1, None)) for name, probe in probes.items()}
    plot.trajectory(histories, "ntk_change", ax=kernel)
    for line, probe in zip(kernel.get_lines(), probes.values(), strict=True):
        assert probe.forecasted is not None
        kernel.axhline(probe.forecasted.predicted_ntk_change, color=line.get_color(), ls="--")
    kernel.set_title("change of the kernel; dashed: forecast")
    plot.trajectory({name: probe.history for name, probe in probes.items()}, "loss", ax=loss)
    for ax in made.axes:
        ax.set_yscale("log")
    plot.save(made, target)


def measure(out: Path, seed: int, progress: Progress) -> dict[str, dict[str, Any]]:
    """Both runs; writes `lazy.html`, `rich.html` and `measured.png` into the folder.

    Args:
        out: the folder.
        seed: of weights, batches and probes.
        progress: from a title and a number of steps to a function that takes the steps made.
    """
    data = digits()
    probes = {name: run(name, data, seed, progress, out) for name in RICHNESS}
    with plot.style():
        draw(probes, out / "measured.png")
    return {name: measured(name, probe, data) for name, probe in probes.items()}
