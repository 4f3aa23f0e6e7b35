"""What `lazyrich diagnose` prints of a watched network: for programs, and for people."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import typer

from lazyrich.cli.show import print_table
from lazyrich.probe.advice import what_now
from lazyrich.probe.agreement import agreement
from lazyrich.probe.probe import Probe
from lazyrich.probe.verdict import Verdict
from lazyrich.vocabulary.numerals import in_words


def summary_of(probe: Probe, verdict: Verdict) -> dict[str, Any]:
    """The keys of `--json`.

    Args:
        probe: the probe that has watched.
        verdict: the verdict on the network.
    """
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


def tell(summary: Mapping[str, Any], verdict: Verdict, *, loss_words: str) -> None:
    """Print the verdict, the forecast beside it, the notes, the layers, and what to do now.

    Args:
        summary: summary of the same verdict.
        verdict: the verdict to be printed.
        loss_words: what the loss is called.
    """
    typer.echo(f"{verdict.regime.upper()}. {verdict.sentence}")
    typer.echo(" ".join(_course(summary, verdict, loss_words)))
    if summary["agreement"]:
        typer.echo(" ".join(summary["agreement"][1:]))
    for note in verdict.notes:
        typer.echo(note)
    rows = summary["layers"]
    first = rows[0] if rows else {}
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in first}
    columns["mechanisms"] = [
        ", ".join(row["mechanisms"]) or ("none" if isfinite(row["layer_log_alignment"]) else "–")
        for row in rows  # of what has no weight to study, nobody knows
    ]
    print_table(columns)
    for line in what_now(verdict.advice):
        typer.echo(line)


def _course(summary: Mapping[str, Any], verdict: Verdict, loss_words: str) -> list[str]:
    """Forecast, outcome and cost, in sentences."""
    when = ", as long as it was finite" if verdict.evidence["diverged"] else ""
    first, last = (in_words(x, 3) if isfinite(x) else "not finite" for x in summary["loss"])
    turn = summary["centred_kernel_distance"]
    turned = f" and turned by {in_words(turn, 3)} between samples" if isfinite(turn) else ""
    sentences = []
    if summary["predicted_regime"] is not None:
        sentences.append(
            f"Forecast: {summary['predicted_regime']}, the NTK changes by "
            f"{in_words(summary['predicted_ntk_change'], 3)} of its size "
            f"(certificate: {summary['certificate']}); richness ρ = "
            f"{in_words(summary['richness'], 3)}."
        )
    cost = ""
    if summary["overhead"] is not None:
        cost = f"; watching took {summary['overhead']:.0%} of the time"
    sentences.append(
        f"Outcome{when}: the NTK changed by {in_words(summary['ntk_change'], 3)}{turned}; "
        f"{loss_words} {first} → {last}{cost}."
    )
    return sentences
