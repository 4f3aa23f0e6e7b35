"""What a forecast says: its numbers, their words, and as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import exp, inf, isfinite, isnan, nan
from typing import Any

from lazyrich._errors import InputError
from lazyrich.probe import one_look
from lazyrich.probe.forecast.rehearsal import Ended, Rehearsal
from lazyrich.probe.thresholds import Thresholds
from lazyrich.probe.wording import ITSELF, NOTHING
from lazyrich.vocabulary.losses import meaning_of
from lazyrich.vocabulary.numerals import in_words
from lazyrich.vocabulary.quantity import DERIVED, Quantity
from lazyrich.vocabulary.regimes import (
    CANNOT_TELL,
    JudgedRegime,
    Regime,
    Word,
    only,
)

HOLDS_TO = 0.1  # gap of the certificate
ABOUT_TO = 0.25
YOUNGER = ("predicted_centred_kernel_distance", "output_change")  # than the first forecasts
TRACE = "trace of the kernel"  # over the columns
MOTION, CHANGE = "motion", "change of its NTK"

QUANTITIES = (
    Quantity(
        name="richness",
        symbol="ρ",
        meaning="relative displacement of the tangent features that fitting will ask for",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="time_to_fit",
        symbol="τ",
        meaning="time to fit along the first step, by a quadratic model of the loss",
        units="steps",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="predicted_ntk_change",
        symbol="‖Θ − Θ₀‖/‖Θ₀‖",
        meaning="relative change of the kernel in a rehearsal of training on the probe batch",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="linearisation_gap",
        symbol="‖f − f_lin‖/‖f_lin − f₀‖",
        meaning="distance between the network and its linearisation in a rehearsal of training",
        low=0.0,
        source=DERIVED,
    ),
)


class Certificate(Word):
    """Whether training the linearised network is training the network."""

    HOLDS = "holds", "the network trains as its linearisation does"
    ABOUT = "about", "the network trains nearly as its linearisation does"
    NOT_LAZY = "not lazy", "the network leaves its linearisation"
    CANNOT_TELL = CANNOT_TELL, "the rehearsal was cut short, and leaves the question open"


@dataclass(frozen=True, kw_only=True)
class LayerShare:
    """One layer's part in the first step, and in the kernel.

    Attributes:
        motion: its share of ‖dJ̃/dt‖², hence of ρ²; the shares of all layers add up to 1.
        kernel: its share of the trace of the kernel; these add up to 1, too. In a `Forecast` it is
            that of the NTK whose change is told, in a `FirstStep` that of J̃J̃ᵀ, with the rates that
            an optimiser has come to.
    """

    motion: float
    kernel: float


@dataclass(frozen=True, kw_only=True)
class FirstStep:
    """What the first step shows, without a rehearsal.

    Attributes:
        richness: ρ ≥ 0.
        richness_stderr: its standard error over the random output directions; 0 if exact.
        time_to_fit: τ, in steps of the optimiser (without one: steps of gradient descent with
            learning rate 1).
        layers: the share of every layer, by its name, as in a history.
        initial_loss: the loss before training.
        gradients: what it cost, in gradients of the network on this batch.
        notes: what else one has to know, in sentences.
    """

    richness: float
    richness_stderr: float
    time_to_fit: float
    layers: Mapping[str, LayerShare]
    initial_loss: float
    gradients: float
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What training will do to the features, known before the first step. `print` it.

    Attributes:
        predicted_ntk_change: ‖Θ − Θ₀‖/‖Θ₀‖ at the end of the network's rehearsal.
        predicted_ntk_change_stderr: its standard error; 0 if exact.
        predicted_kernel_distance: 1 − cos(Θ, Θ₀) there.
        predicted_centred_kernel_distance: the same of the kernels without their mean over samples,
            which says whether the kernel turns.
        layer_ntk_change: ‖Θ_l − Θ₀_l‖/‖Θ₀_l‖ there, by the layer's name, as in a history.
        output_change: ‖f − f₀‖ at that end, in units of the distance to the fit; NaN if not known.
        linearisation_gap: ‖f − f_lin‖/‖f_lin − f₀‖, the larger one of that where the linearised
            network ended and of that where the network itself did.
        network: the rehearsal of the network itself.
        linear: the rehearsal of the linearised network; None if there was none, because the
            network had left its linearisation already, diverged, or was interrupted.
        goal: the loss at which training was to stop; None for a number of steps.
        least_loss: the least possible loss of any outputs; −∞ if there is none.
        richness: ρ ≥ 0, of the first step; NaN if that leads to no minimum.
        richness_stderr: its standard error over the random output directions; 0 if exact.
        time_to_fit: τ, in steps of the optimiser (without one: steps of gradient descent with
            learning rate 1).
        layers: the share of every layer in ρ and in the kernel's trace.
        initial_loss: the loss before training.
        loss: its name, or what the user's own function is called.
        gradients: what the forecast cost, in gradients of the network on this batch: as many
            training steps.
        notes: what else one has to know, in sentences.
    """

    predicted_ntk_change: float
    predicted_ntk_change_stderr: float
    predicted_kernel_distance: float
    predicted_centred_kernel_distance: float
    layer_ntk_change: Mapping[str, float]
    output_change: float
    linearisation_gap: float
    network: Rehearsal
    linear: Rehearsal | None
    goal: float | None
    least_loss: float
    richness: float
    richness_stderr: float
    time_to_fit: float
    layers: Mapping[str, LayerShare]
    initial_loss: float
    loss: str
    gradients: float
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            _came(self),
            _certified(self),
            f"Initial loss: {in_words(self.initial_loss, 4)} ({meaning_of(self.loss)}).",
            *_first(self),
            f"The forecast cost as much as {self.gradients:.0f} training steps on this batch.",
        ]
        return "\n".join([*lines, *_table(self), *self.notes])

    def __repr__(self) -> str:
        change, error = self.predicted_ntk_change, self.predicted_ntk_change_stderr
        return one_look.one_line(
            "Forecast",
            self.regime,
            f"NTK change {with_error(change, error)}" if isfinite(change) else "",
            f"certificate {self.certificate}",
            one_look.counted(self.network.steps, "step"),
        )

    def _repr_html_(self) -> str:
        rows = [
            (name or ITSELF, _cell(share.motion, ".1%"), _cell(change, ".3g"))
            for name, change in self.layer_ntk_change.items()
            if (share := self.layers.get(name, LayerShare(motion=nan, kernel=nan)))
        ]
        word, _, sentence = _came(self).partition(". ")
        head = ("layer", f"share of {MOTION}", CHANGE)
        below = " ".join([_certified(self), *_first(self), *self.notes])
        return one_look.card(f"{word}.", sentence, head, rows, below)

    @property
    def steps_to_fit(self) -> int | None:
        """Steps of the rehearsal to its goal; None if it did not come there."""
        return self.network.steps if self.network.ended == Ended.FITTED else None

    @property
    def is_whole(self) -> bool:
        """Whether the rehearsal came to its goal, or made all the steps that were asked for."""
        return self.network.ended in (Ended.FITTED, Ended.ALL_STEPS)

    @property
    def certificate(self) -> Certificate:
        """Whether the linearised network predicts what the network does, by the gap.

        It holds up to 0.1, predicts nearly the same up to 0.25, and says nothing above: not lazy. A
        rehearsal that was cut short can only show the last, for the gap can still open.
        """
        gap = self.linearisation_gap
        if gap > ABOUT_TO:
            return Certificate.NOT_LAZY
        if isnan(gap) or not self.is_whole:
            return Certificate.CANNOT_TELL
        return Certificate.HOLDS if gap <= HOLDS_TO else Certificate.ABOUT

    @property
    def regime(self) -> JudgedRegime:
        """Lazy below a change of 0.1, rich from 1, intermediate between.

        As in a verdict, what is uncertain by so much that it holds a threshold cannot be told:
        here by two standard errors over random directions. Unstable if the rehearsal diverges,
        frozen if hardly anything moves in it. Of one that was cut short only rich and unstable can
        be told, for the kernel can still change.
        """
        return self.judged(Thresholds())

    def judged(self, limits: Thresholds) -> JudgedRegime:
        """The regime by other thresholds.

        Args:
            limits: the same as for a verdict.
        """
        so_far = regime_so_far(self, limits)
        settled = self.is_whole or so_far in (Regime.RICH, Regime.UNSTABLE)
        return so_far if settled else CANNOT_TELL

    def to_json(self) -> str:
        """As text, for the attributes of a saved history."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Forecast:
        """From the text that `to_json` made.

        Raises:
            InputError: other text.
        """
        try:
            fields = json.loads(text)
            for name in YOUNGER:
                fields.setdefault(name, nan)
            fields["layers"] = {n: LayerShare(**share) for n, share in fields["layers"].items()}
            fields["network"] = _rehearsal(fields["network"])
            fields["linear"] = None if fields["linear"] is None else _rehearsal(fields["linear"])
            return cls(**{**fields, "notes": tuple(fields["notes"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"a forecast must be what `to_json` made, got {text[:80]!r}. Make it again with "
                "lazyrich.forecast, and keep its to_json()."
            ) from error


def _rehearsal(fields: Mapping[str, Any]) -> Rehearsal:
    return Rehearsal(
        losses=tuple(fields["losses"]),
        ended=Ended(fields["ended"]),
        gradients=fields["gradients"],
    )


def regime_so_far(of: Forecast, limits: Thresholds) -> JudgedRegime:
    """The regime of the stretch that was rehearsed.

    Args:
        of: the forecast.
        limits: its thresholds.
    """
    losses = of.network.losses
    ratio = losses[-1] / losses[0] if losses[0] > 0 else nan
    if of.network.ended == Ended.DIVERGED or ratio > limits.unstable_above:
        return Regime.UNSTABLE
    if isnan(of.predicted_ntk_change):
        return CANNOT_TELL
    most = _range(of)[1]
    stood_still = max(most, abs(losses[-1] - losses[0])) < NOTHING
    if stood_still or limits.is_frozen(most, of.output_change, ratio):
        return Regime.FROZEN
    return only(_may_be(of, limits))


def _may_be(of: Forecast, limits: Thresholds) -> tuple[Regime, ...]:
    """By the kernel alone."""
    return limits.regimes(*_range(of))


def _range(of: Forecast) -> tuple[float, float]:
    """The kernel's change, give or take two standard errors of its logarithm."""
    change, error = of.predicted_ntk_change, of.predicted_ntk_change_stderr
    factor = exp(2 * error / change) if error and 0 < change < inf else 1.0
    return change / factor, change * factor


def _came(of: Forecast) -> str:
    """Where the rehearsal came, and what it did to the kernel."""
    course, so_far = of.network, regime_so_far(of, Thresholds())
    change = with_error(of.predicted_ntk_change, of.predicted_ntk_change_stderr)
    word = of.regime.capitalize()
    word += f": {so_far} so far" if of.regime == CANNOT_TELL != so_far else ""
    may_be = _may_be(of, Thresholds()) if so_far == CANNOT_TELL else ()
    word += f": {' or '.join(may_be)}{'' if of.is_whole else ' so far'}" if may_be else ""
    aim = "" if of.goal is None else f", short of its goal of {in_words(of.goal, 3)}"
    diverged = course.ended == Ended.DIVERGED
    cut = "" if of.is_whole else ": it diverges" if diverged else f": {course.ended}{aim}"
    kernel = (
        f"the kernel (NTK) has changed by {change} of its size{turned_by(of)}."
        if isfinite(of.predicted_ntk_change)
        else "the kernel (NTK) is not finite."
    )
    return (
        f"{word}. In a rehearsal of {course.steps} step{'s' if course.steps != 1 else ''} the loss "
        f"goes from {in_words(course.losses[0], 3)} to {in_words(course.losses[-1], 3)}{cut}. "
        f"By then {kernel}"
    )


def _first(of: Forecast) -> list[str]:
    """What the first step shows; where it shows nothing, a note says why."""
    if isnan(of.richness):
        return []
    return [
        f"By the first step alone: richness ρ = {with_error(of.richness, of.richness_stderr)}, "
        f"time to fit {in_words(of.time_to_fit, 3)} steps."
    ]


def turned_by(of: Forecast) -> str:
    """How far the kernel turns, to be said after by how much it changes.

    Args:
        of: the forecast.
    """
    turn = of.predicted_centred_kernel_distance
    return f", and turned by {in_words(turn)} between samples" if isfinite(turn) else ""


def _certified(of: Forecast) -> str:
    gap = f"gap {in_words(of.linearisation_gap)}"
    against = _against(of)
    return {
        Certificate.HOLDS: "Certificate: holds. The network trains as its linearisation does "
        f"({gap}){against}.",
        Certificate.ABOUT: f"Certificate: about. The network trains nearly as its linearisation "
        f"does ({gap}){against}.",
        Certificate.NOT_LAZY: f"Certificate: not lazy. The network leaves its linearisation "
        f"({gap}){against}.",
        Certificate.CANNOT_TELL: "Certificate: cannot tell. "
        + (
            "The outputs did not move."
            if isnan(of.linearisation_gap)
            else f"So far the network is near its linearisation ({gap})."
        ),
    }[of.certificate]


def _against(of: Forecast) -> str:
    """Where the linearisation contradicts the word that the kernel gave."""
    if of.regime == Regime.LAZY and of.certificate == Certificate.NOT_LAZY:
        return ", which speaks against lazy training"
    if of.regime == Regime.RICH and of.certificate in (Certificate.HOLDS, Certificate.ABOUT):
        return ", which speaks against rich training"
    return ""


def _table(of: Forecast) -> list[str]:
    names = {name: name or ITSELF for name in of.layer_ntk_change}
    margin = max(8, *map(len, names.values()))
    none = LayerShare(motion=nan, kernel=nan)
    rows = [f"{'share of':>{margin}}   {MOTION}   {TRACE}   {CHANGE}"]
    for name, shown in names.items():
        share = of.layers.get(name, none)
        rows.append(
            f"{shown:>{margin}}   {_cell(share.motion, '.1%'):>{len(MOTION)}}   "
            f"{_cell(share.kernel, '.1%'):>{len(TRACE)}}   "
            f"{_cell(of.layer_ntk_change[name], '.3g'):>{len(CHANGE)}}"
        )
    return rows


def _cell(value: float, form: str) -> str:
    return "–" if isnan(value) else format(value, form)


def with_error(value: float, error: float) -> str:
    """A number ± its standard error; the number alone where it is exact."""
    return f"{in_words(value, 3)} ± {in_words(error, 1)}" if error else in_words(value, 3)
