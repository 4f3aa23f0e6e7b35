"""Whether what was forecast came, in words."""

from __future__ import annotations

from math import ceil, isfinite, nan

import numpy as np
import xarray as xr

from lazyrich.probe.forecast.result import Forecast
from lazyrich.probe.verdict import Verdict
from lazyrich.vocabulary.numerals import in_words

AGREES_TO = 1.5  # factor between two changes of the kernel: what the certificate "about" stands for


def agreement(before: Forecast, verdict: Verdict, history: xr.Dataset) -> tuple[str, ...]:
    """Forecast beside outcome, each with the loss at which it stands.

    A forecast is for the loss at which its rehearsal on the probe batch stopped, and training stops
    where it likes; so a disagreement may be one of horizons.

    Args:
        before: the forecast.
        verdict: verdict of the outcome, by whose thresholds the forecast is judged, too.
        history: the history of the outcome.

    Returns:
        Sentences.
    """
    word = f"Forecast: {before.judged(verdict.thresholds)}."
    if history.sizes["step"] < 2:
        return (word, "There is no outcome to compare it with: measure again after training.")
    sentences = [f"{word} Outcome: {verdict.regime}.", _changes(before, verdict)]
    if not before.is_whole:
        sentences.append(
            f"The rehearsal was cut short ({before.network.ended}): its change is that of "
            "a part of training only."
        )
    sentences += _losses(before, history)
    return tuple(sentence for sentence in sentences if sentence)


def _changes(before: Forecast, verdict: Verdict) -> str:
    """By which factor two changes of the kernel differ."""
    foretold, came = before.predicted_ntk_change, verdict.evidence["ntk_change"]
    until = "As long as it was finite, training" if verdict.evidence["diverged"] else "Training"
    if not isfinite(came):
        return "The change of the kernel was not measured: the forecast cannot be checked."
    if not isfinite(foretold):
        return (
            f"{until} changed the kernel by {in_words(came)} of its size; no number was forecast."
        )
    if not (foretold and came):
        none, some = ("forecast", "outcome") if came else ("outcome", "forecast")
        return "" if foretold == came else f"The kernel changes in the {some}, not in the {none}."
    factor = max(came / foretold, foretold / came)
    if factor <= AGREES_TO:
        return (
            "The change of the kernel is the same in both within a factor of "
            f"{ceil(100 * factor) / 100:g}: they agree."
        )
    if came > foretold:
        return (
            f"{until} changed the kernel {in_words(factor)} times as much as forecast: they do not "
            "agree."
        )
    return (
        f"The forecast change of the kernel is {in_words(factor)} times that of the outcome: they "
        "do not agree."
    )


def _losses(before: Forecast, history: xr.Dataset) -> list[str]:
    """At which loss each of both stands."""
    course = before.network.losses
    loss = history["loss"].values if "loss" in history else np.array([])
    came = loss[np.isfinite(loss)]
    forecast_at = _at(course[0], course[-1])
    if not came.size:
        return [f"The forecast is for a loss of {forecast_at}; that of the outcome is not known."]
    said = (
        f"The forecast is for a loss of {forecast_at}, the outcome was measured at "
        f"{_at(came[0], came[-1])}."
    )
    left = [_left(course[0], course[-1]), _left(came[0], came[-1])]
    if not (all(map(isfinite, left)) and max(left) > AGREES_TO * min(left)):
        return [said]
    how = "further" if left[1] < left[0] else "less far"
    return [said, f"Training went {how} than the rehearsal."]


def _left(first: float, last: float) -> float:
    """The share of a loss that is left; NaN where it has no multiples."""
    return last / first if first > 0 and last >= 0 and isfinite(last) else nan


def _at(first: float, last: float) -> str:
    left = _left(first, last)
    share = f" ({in_words(100 * left)} % of its start)" if isfinite(left) else ""
    return f"{in_words(last, 3)}{share}"
