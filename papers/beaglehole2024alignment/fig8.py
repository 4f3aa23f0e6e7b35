"""Adaptive speed-limited optimisation on images, at a constant rate and with a schedule.

The hidden layer with the lowest ansatz learns fast, the others slowly, on gradients of norm 1.
Such gradients never come to rest at a constant rate; a cosine schedule ends at 0. Does the rule
raise the lowest ansatz of the hidden layers, above its null too, without a loss of accuracy?
Beside it gradient descent with the same schedule, each at the rate of the lowest training loss on
a seed of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot
from papers.beaglehole2024alignment.fig4 import IMAGES, dots
from papers.beaglehole2024alignment.watched import Watched
from papers.harness import Bench, Finding, Measured, Record, compared, mean, number

RATES = {"sgd": [0.3, 1.0], "adaptive": [0.03, 0.1, 0.3]}
SCHEDULES = ("constant", "cosine")
ACROSS = "cosine: test accuracy, against a constant rate of gradient descent"
TUNING_SEED = 1000  # of no run that is reported
SEEDS = {"smoke": 2, "laptop": 6, "paper": 12}


def measure(bench: Bench) -> Measured:
    """Tune both rules at both schedules, then compare them seed by seed."""
    findings: dict[str, Finding] = {}
    shown, accuracy = {}, {}
    for schedule in SCHEDULES:
        runs = {rule: _runs(bench, rule, schedule) for rule in RATES}
        findings |= _findings(schedule, runs)
        for rule, run in runs.items():
            shown[f"{rule}, {schedule}"] = _shown(run)
            accuracy[rule, schedule] = run.test_accuracy
    other = accuracy["adaptive", "cosine"] - accuracy["sgd", "constant"]
    findings[ACROSS] = mean(other.values)
    return Measured(findings=findings, shown=shown)


def _runs(bench: Bench, rule: str, schedule: str) -> xr.Dataset:
    """Runs at the rate of the lowest training loss, which looks at no test image."""
    base = {**IMAGES[bench.scale], "rule": rule, "schedule": schedule, "points": 3}
    rates = RATES[rule][:1] if bench.scale == "smoke" else RATES[rule]
    tried = bench.sweep(
        lr.Study(
            name=f"{rule}-{schedule}-tuning",
            experiment=Watched,
            base=base,
            axes={"lr": rates},
            seeds=[TUNING_SEED],
        )
    )
    loss = tried.loss.isel(epoch=-1, seed=0).fillna(np.inf)
    return bench.sweep(
        lr.Study(
            name=f"{rule}-{schedule}",
            experiment=Watched,
            base=base,
            axes={"lr": [rates[int(np.argmin(loss.values))]]},
            seeds=SEEDS[bench.scale],
        )
    ).isel(lr=0)


def _findings(schedule: str, runs: Mapping[str, xr.Dataset]) -> dict[str, Finding]:
    """The adaptive rule less gradient descent, in pairs of one seed."""
    last, plain = (runs[rule].isel(epoch=-1) for rule in ("adaptive", "sgd"))
    excess = [(end.nfa - end.nfa_null).min("layer") for end in (last, plain)]
    return {
        f"{schedule}: lowest ansatz": mean((last.nfa.min("layer") - plain.nfa.min("layer")).values),
        f"{schedule}: lowest ansatz above its null": mean((excess[0] - excess[1]).values),
        f"{schedule}: test accuracy": mean((last.test_accuracy - plain.test_accuracy).values),
    }


def _shown(run: xr.Dataset) -> dict[str, Any]:
    end = run.isel(epoch=-1).transpose("seed", "layer", ...)
    names = ("nfa", "cnfa", "nfa_null", "cnfa_null", "train_accuracy", "test_accuracy")
    return {"lr": run.lr.item(), **{name: end[name].values for name in names}}


def found(record: Record) -> str:
    """On which side of gradient descent the adaptive rule is, with each schedule."""
    findings = record["findings"]
    parts = []
    for schedule in SCHEDULES:
        lowest, excess, accuracy = (
            findings[f"{schedule}: {name}"]
            for name in ("lowest ansatz", "lowest ansatz above its null", "test accuracy")
        )
        parts.append(
            f"With a {schedule} rate the adaptive rule's lowest UC-NFA is {compared(lowest)} that "
            f"of gradient descent (by {number(lowest)}), and so measured from the nulls "
            f"{compared(excess)} it (by {number(excess)}); its test accuracy is "
            f"{compared(accuracy)} that of gradient descent (by {number(accuracy)})."
        )
    across = findings[ACROSS]
    parts.append(
        "The accuracy of the adaptive rule with the schedule is "
        f"{compared(across)} that of gradient descent at a constant rate (by {number(across)})."
    )
    return " ".join(parts)


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """Accuracy, lowest ansatz, and lowest ansatz above its null: every seed, mean and interval."""
    shown = record["shown"]
    made = plot.figure(1, 3, width=3.6, height=2.6)
    nfa, null = ({n: np.array(run[key]) for n, run in shown.items()} for key in ("nfa", "nfa_null"))
    for ax, title, values in (
        (made.axes[0], "test accuracy", [run["test_accuracy"] for run in shown.values()]),
        (made.axes[1], "lowest UC-NFA of the layers", [nfa[n].min(-1) for n in shown]),
        (made.axes[2], "lowest UC-NFA − null", [(nfa[n] - null[n]).min(-1) for n in shown]),
    ):
        dots(ax, list(shown), values, title)
    return made
