"""What a dial did, or advises: its numbers, and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Literal

from torch import nn

from lazyrich.probe.forecast.result import Certificate, Forecast
from lazyrich.probe.one_look import preformatted
from lazyrich.probe.wording import ITSELF
from lazyrich.vocabulary.numerals import in_words
from lazyrich.vocabulary.regimes import JudgedRegime

Aim = Literal["richness", "ntk_change"]


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """A layer's learning rate before and after.

    Attributes:
        before: what the optimiser had.
        after: what it has now, or should have (`dry_run`).
    """

    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Dialled:
    """What `dial` changed, or advises to change. `print` it.

    Attributes:
        model: train this one: γ(h − h₀). With `dry_run` the model that was given.
        output_scale: γ.
        forecast: forecast of the result's training: predicted change, certificate, regime and what
            else a rehearsal shows.
        richness: ρ of the result, measured; NaN if its first step leads to no minimum.
        richness_before: ρ of the centred network at the output scale and rates it came with.
        quantity: what was asked for, `"richness"` or `"ntk_change"`.
        target: its value to reach.
        learning_rates: learning rates of every layer, by its path in the network that was given.
        applied: False for a `dry_run`.
        gradients: what the dial cost, in gradients of the network on this batch: as many training
            steps.
        notes: what else one has to know, in sentences.
    """

    model: nn.Module
    output_scale: float
    forecast: Forecast
    richness: float
    richness_before: float
    quantity: Aim
    target: float
    learning_rates: Mapping[str, LearningRate]
    applied: bool
    gradients: float
    notes: tuple[str, ...]

    @property
    def predicted_ntk_change(self) -> float:
        """‖Θ − Θ₀‖/‖Θ₀‖ at the end of the result's rehearsal."""
        return self.forecast.predicted_ntk_change

    @property
    def certificate(self) -> Certificate:
        """Whether the result trains as its linearisation does."""
        return self.forecast.certificate

    @property
    def regime(self) -> JudgedRegime:
        """In which regime the result trains, by its rehearsal."""
        return self.forecast.regime

    def __str__(self) -> str:
        margin = max(8, *(len(layer or ITSELF) for layer in self.learning_rates))
        lines = [
            _aimed(self),
            _rehearsed(self.forecast),
            f"Output: {in_words(self.output_scale, 4)} × (network − its initial function).",
            f"The dial cost as much as {self.gradients:.0f} training steps on this batch.",
            f"{'layer':>{margin}}   learning rate",
        ]
        lines += [
            f"{layer or ITSELF:>{margin}}   {in_words(rate.before, 4)} → {in_words(rate.after, 4)}"
            for layer, rate in self.learning_rates.items()
        ]
        return "\n".join([*lines, *self.notes])

    _repr_html_ = preformatted


def _aimed(of: Dialled) -> str:
    """What was asked for, and what came."""
    did = "Dialled" if of.applied else "Advice (nothing was changed): dial"
    asked, rho = in_words(of.target, 3), in_words(of.richness, 3)
    before = (
        ""
        if isnan(of.richness_before)
        else f"; without its initial function the network had {in_words(of.richness_before, 3)}"
    )
    if of.quantity == "richness":
        return f"{did} the richness to ρ = {rho} (target: {asked}){before}."
    change = in_words(of.predicted_ntk_change, 3)
    richness = "" if isnan(of.richness) else f" Richness ρ = {rho}{before}."
    return (
        f"{did} the change of the kernel (NTK) to {change} of its size (target: {asked}).{richness}"
    )


def _rehearsed(of: Forecast) -> str:
    """Regime, predicted change and certificate of the result."""
    course = of.network
    cut = "" if of.is_whole else f" ({course.ended})"
    gap = (
        ""
        if of.certificate == Certificate.CANNOT_TELL
        else f", gap {in_words(of.linearisation_gap)}"
    )
    kernel = f"the kernel changes by {in_words(of.predicted_ntk_change, 3)}"
    return (
        f"{of.regime.capitalize()}: in a rehearsal of {course.steps} "
        f"step{'s' if course.steps != 1 else ''} the loss goes from "
        f"{in_words(course.losses[0], 3)} to {in_words(course.losses[-1], 3)}{cut} and {kernel}. "
        f"Certificate: {of.certificate}{gap}."
    )
