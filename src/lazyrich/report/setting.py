"""How the run was measured, and what the words of the report mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import xarray as xr

from lazyrich.probe.verdict import Verdict
from lazyrich.report.page import html_table
from lazyrich.report.words import items, number
from lazyrich.vocabulary.losses import meaning_of

WORDS = """<details><summary>What the words mean</summary><dl class="words">
<dt>lazy</dt><dd>The neural tangent kernel hardly changes: the features stay those of the random
start. Mostly the network then acts like its linearisation around it; what that misses of the change
of the output is the linearisation error.</dd>
<dt>intermediate</dt><dd>The kernel changes by a share of its size.</dd>
<dt>rich</dt><dd>The kernel changes by its own size or more: features are learned.</dd>
<dt>frozen</dt><dd>The outputs hardly moved towards the targets.</dd>
<dt>unstable</dt><dd>The loss grew or is no longer a number.</dd>
<dt>cannot tell</dt><dd>The uncertainty of the measurement contains the threshold, or too little was
measured.</dd>
<dt>NTK, neural tangent kernel</dt><dd>How much a step that fits one sample moves the output of
another one. Its change is ‖Θ − Θ₀‖/‖Θ₀‖, its rotation 1 − cos(Θ₀, Θ), and that between samples the
same without the means over samples, which may hide it.</dd>
<dt>richness ρ</dt><dd>The relative displacement of the tangent features that fitting the data will
ask for, known before the first step.</dd>
<dt>alignment, disalignment, rescaling</dt><dd>The three mechanisms of feature learning: a layer's
weight turns towards its inputs (A = ‖z‖/(‖W‖‖h‖) grows), or away from them, or changes its
size ‖W‖.</dd>
<dt>NFA, C-NFA</dt><dd>Correlation of a layer's WᵀW, or of (W − W₀)ᵀ(W − W₀), with the average
gradient outer product.</dd>
</dl></details>"""


@dataclass(frozen=True, kw_only=True)
class MeasurementSetup:
    """What a history says of how it was made.

    Attributes:
        network: class of the network.
        trainable: number of its trainable parameters.
        batch: shapes of inputs and targets.
        how: samples, directions, mode, loss and seed.
        versions: versions of the packages that it was measured with, by name; none where the
            history does not say.
        steps: first, last and number of the measurements.
        overhead: share of the time that measuring took.
        seconds: seconds spent on measuring; None in histories of old.
        skipped: modules and parameters without a weight to study, and why.
    """

    network: str
    trainable: int
    batch: tuple[str, str]
    how: Mapping[str, Any]
    versions: Mapping[str, str]
    steps: tuple[int, int, int]
    overhead: float
    seconds: float | None
    skipped: tuple[str, ...]

    @property
    def loss(self) -> str:
        """What the loss is, in words."""
        return meaning_of(self.how["loss"])

    @classmethod
    def of(cls, history: xr.Dataset) -> MeasurementSetup:
        """From the attributes of a history."""
        how = json.loads(history.attrs["setting"])
        steps = history.step.values
        return cls(
            network=how["model"],
            trainable=how["trainable"],
            batch=tuple(how["batch"]),
            how=how,
            versions=how.get("versions", {}),
            steps=(int(steps[0]), int(steps[-1]), steps.size),
            overhead=float(history.attrs["overhead"]),
            seconds=history.attrs.get("measuring_seconds"),
            skipped=tuple(history.attrs["skipped"].splitlines()),
        )


def setup_section(of: MeasurementSetup, verdict: Verdict) -> str:
    """Everything that one needs to measure the same again, and what was left out."""
    first, last, count = of.steps
    rates = of.how["learning_rates"]
    took = "" if of.seconds is None else f"{number(of.seconds)} s, "
    rows = {
        "network": f"{of.network}, {of.trainable:,} trainable parameters",
        "probe batch": f"inputs {of.batch[0]}, targets {of.batch[1]}",
        "measured on": f"{of.how['samples']} samples, {of.how['directions']} as directions",
        "mode": of.how["mode"],
        "loss": of.loss,
        "learning rates in the kernel": rates
        if isinstance(rates, str)
        else ", ".join(f"{name} {number(rate)}" for name, rate in rates.items()),
        "seed": str(of.how["seed"]),
        "measured": f"{count} times, steps {first} to {last}",
        "cost of watching": f"{took}{number(100 * of.overhead)} % of the time",
        "thresholds": ", ".join(
            f"{name.replace('_', ' ')} {value:g}"
            for name, value in vars(verdict.thresholds).items()
        ),
        "versions": ", ".join(f"{name} {version}" for name, version in of.versions.items())
        or "not recorded",
    }
    lines = [[escape(title), escape(value)] for title, value in rows.items()]
    return f"""<h2>The setting</h2>
{html_table(("", ""), lines)}
<h3>Parameters that are not studied</h3>
{items(of.skipped) or "<p>None was left out.</p>"}
<p>Those that train have their part in the kernel all the same.</p>"""
