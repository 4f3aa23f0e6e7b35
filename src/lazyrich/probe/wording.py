"""The sentences of a verdict: each is a claim, and holds wherever it is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, sqrt

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich.numerics.windows import Window
from lazyrich.probe.thresholds import Thresholds
from lazyrich.vocabulary.numerals import in_words
from lazyrich.vocabulary.regimes import JudgedRegime, Regime

NOTHING = 1e-6  # a relative change below that is the rounding of single precision
LINEAR_TO = 0.25  # share of the output's change that a linearisation may miss and still describe it

ITSELF = "(the model itself)"  # with parameters of its own
STILL = "Nothing that was measured moved by more than a millionth."


def diverged(steps: NDArray[np.int64], lost: NDArray[np.bool_]) -> str:
    """What is said where the network was not finite at some of the steps."""
    first = int(np.argmax(lost))
    if len(steps) == 1:
        return "The only measurement found a loss or a gradient that is not a finite number."
    if lost[first:].all():
        return (
            f"From step {steps[first]} on the loss or a gradient is no longer a finite number: "
            "training diverged."
        )
    return f"At step {steps[first]} the loss or a gradient was not a finite number."


def grown(ratio: float) -> str:
    """What is said of a loss that ended at a multiple of where it began."""
    return (
        f"The loss grew to {in_words(ratio, 3)} times its first value. Lower the learning rate; "
        "or, if these samples are not trained on, the network is overfitting."
    )


def joined(*sentences: str) -> str:
    """Sentences one after the other, without those that say nothing."""
    return " ".join(sentence for sentence in sentences if sentence)


def one_threshold(lazy_below: float, rich_from: float) -> str:
    """What is said of a history that was saved when one threshold parted lazy from rich."""
    return (
        f"Saved when one threshold, {lazy_below:g}, separated lazy from rich: now lazy is "
        f"below it, and rich from {rich_from:g} on."
    )


def reached(history: xr.Dataset) -> str:
    """Where the loss came to, as the beginning of a sentence about what had happened by then."""
    first, last = ends(history)
    if not (isfinite(first) and isfinite(last)):
        return "In training, whose loss was not measured,"
    step = int(history.step.values[0])
    start = f"its value at step {step}" if step else "its start"
    if not (first > 0 and last >= 0):  # then it has no multiples
        if last == first:
            return f"With a loss that stayed at {in_words(first)},"
        way = "fell" if last < first else "rose"
        return f"After the loss {way} from {in_words(first, 3)} to {in_words(last, 3)},"
    percent = in_words(100 * (last / first))
    if percent == "100":
        return f"With a loss within 1 % of {start},"
    return f"After the loss {'fell' if last < first else 'rose'} to {percent} % of {start},"


def ends(history: xr.Dataset) -> tuple[float, float]:
    """The first and the last loss; NaN where it was not measured."""
    loss = history["loss"].values if "loss" in history else np.array([])
    return (float(loss[0]), float(loss[-1])) if loss.size else (np.nan, np.nan)


def measured(times: int) -> str:
    """What is said where too little was measured to compare."""
    how = "Only one measurement was made" if times else "Nothing was measured"
    return f"{how}: measure again after training."


def no_step(optimizer: object) -> str:
    """What is said where weights changed inside a watch that saw no step."""
    return (
        f"No step of {type(optimizer).__name__} was seen inside `watch`, though weights changed: "
        "the measurement at its end stands one step after the one before. Where another optimiser "
        "makes the steps, watch that one; or call `probe.measure(step)`."
    )


def no_kernel(history: xr.Dataset) -> str:
    """Why there is no change of the kernel to judge."""
    if "ntk_change" not in history:
        return "The kernel was not measured."
    if not history.ntk_change.notnull().any():
        return "The kernel was zero at the start, or is not finite: its change has no size."
    return "The kernel could not be measured at the last step: it is not a finite number there."


def no_interval(change: float) -> str:
    """What is said of a change whose uncertainty is not known."""
    return (
        f"the tangent kernel had changed by {in_words(change)} of its size, with an "
        "uncertainty that was not measured. Measure on more samples."
    )


def spread(change: float, low: float, high: float, limits: Thresholds) -> str:
    """A change of the kernel, with its interval."""
    value, least, most = (beside(x, limits) for x in (change, low, high))
    return f"the tangent kernel had changed by {value} of its size ({least} to {most})"


def beside(change: float, limits: Thresholds) -> str:
    """A change in so many digits that it does not read as a threshold that it is not."""
    thresholds = (limits.lazy_below, limits.rich_from)
    texts = [in_words(change, digits) for digits in range(2, 7)]
    read = {in_words(x) for x in thresholds if x != change}
    return next((text for text in texts if text not in read), texts[-1])


def between(may_be: Sequence[Regime], limits: Thresholds) -> str:
    """Which thresholds an interval holds, and what training may have been."""
    if len(may_be) == 3:
        return (
            f"which contains both thresholds, {limits.lazy_below:g} and {limits.rich_from:g}: it "
            f"may be {alternatives(may_be)}"
        )
    threshold = limits.lazy_below if Regime.LAZY in may_be else limits.rich_from
    return f"which contains the threshold {threshold:g} between {' and '.join(may_be)}"


def alternatives(may_be: Sequence[Regime]) -> str:
    """Some regimes, of which one is right."""
    *others, last = may_be
    return f"{', '.join(others)} or {last}" if others else str(last)


def frozen(output: float, most: float) -> str:
    """What is said of a network that hardly moved; the way to the fit may not be known."""
    way = f"the output had moved {in_words(output)} of the distance to the fit, and "
    return (
        f"{way if isfinite(output) else ''}the kernel had "
        f"changed by at most {in_words(most)} of its size: too little was learned to say more."
    )


def turned(history: xr.Dataset, evidence: Mapping[str, float], threshold: float, to: Regime) -> str:
    """How a kernel moved that did.

    Whether it turned is judged without the mean over samples, in which most of a kernel's norm can
    stand still while all that tells samples apart turns.
    """
    distance, error = (evidence[f"centred_kernel_distance{end}"] for end in ("", "_stderr"))
    if not isfinite(distance):
        return "and whether it turned is not known"
    off = 2 * error if isfinite(error) else 0.0
    if distance - off >= threshold:
        first, last = ends(history)
        if last >= first:
            return "and turned: features changed, but the loss did not fall"
        learned = to == Regime.RICH and last < first
        return f"and turned: features {'were learned' if learned else 'changed'}"
    if distance + off < threshold:
        if _grew(evidence):
            return "mostly in size, not direction"
        below = f", which is below the threshold {threshold:g}"
        return f"and turned by {in_words(distance)} between samples{below}"
    return (
        f"and turned by {in_words(distance)} between samples, give or take {in_words(off)}, which "
        f"may be above or below the threshold {threshold:g}"
    )


def _grew(evidence: Mapping[str, float]) -> bool:
    """Whether the larger part of a kernel's change is along itself.

    With the change c = ‖Θ − Θ₀‖/‖Θ₀‖ and the distance d = 1 − cos(Θ₀, Θ), its relative size r
    solves r² − 2r(1 − d) + 1 = c²; the part of the change in another direction is r √(d(2 − d)).
    """
    change, distance = evidence["ntk_change"], evidence["kernel_distance"]
    if not isfinite(distance):
        return False
    cosine = 1 - distance
    largest = cosine + sqrt(max(0.0, cosine**2 - 1 + change**2))
    return largest * sqrt(max(0.0, distance * (2 - distance))) <= change / sqrt(2)


def linearised(missed: float, regime: JudgedRegime, *, while_finite: bool) -> str:
    """What the linearisation around the start makes of the outputs, beside the kernel's word."""
    if not isfinite(missed):
        return ""
    little = "only " if regime == Regime.RICH and missed <= LINEAR_TO else ""
    off = (
        f"is off by {in_words(missed)} times the change of the output"
        if missed > 1
        else f"misses {little}{in_words(100 * missed)} % of the change of the output"
    )
    if regime == Regime.LAZY and missed > LINEAR_TO:
        return f"But its linearisation {off}, which speaks against lazy training."
    if little:
        return f"But its linearisation {off}, which speaks against rich training."
    if while_finite:
        return f"While it was finite, its linearisation {off}."
    return f"Its linearisation {off}{': the network acts like it' * (regime == Regime.LAZY)}."


def layer(
    regime: JudgedRegime,
    may_be: Sequence[Regime],
    share: float,
    changes: tuple[float, float, float],
    acting: Sequence[Window] | None,
    limits: Thresholds,
    *,
    too_small: bool,
) -> str:
    """What one layer did.

    Args:
        regime: the regime of the layer.
        may_be: what it may be where that cannot be told; nothing if nobody knows.
        share: share of the kernel's norm; NaN if it was not measured.
        changes: changes of its part of the kernel, with the ends of its interval.
        acting: None where mechanisms were not measured.
        limits: limits of the regimes.
        too_small: whether it is lazy since its part does not matter.
    """
    change, low, high = changes
    word = f"{regime}, {alternatives(may_be)}" if may_be else str(regime)
    ending = ""
    if acting is not None:
        acted = ", ".join(f"{w.mechanism} (steps {w.start:.0f} to {w.stop:.0f})" for w in acting)
        ending = f"; {acted or 'no mechanism acted'}"
    if not isfinite(change):
        return f"{word}{ending}."
    size = "under 1%" if 0 < share < 0.005 else f"{share:.0%}"
    part = f", {size} of the kernel's norm," if isfinite(share) else ""
    value, least, most = (beside(x, limits) for x in changes)
    around = f" ({least} to {most})" if isfinite(low) and isfinite(high) else ""
    little = ", too little of the whole to matter" if too_small else ""
    return f"{word}: its tangent features{part} changed by {value}{around}{little}{ending}."


def late_reference(step: int, *, stepped: bool) -> tuple[str, ...]:
    """That the first look came after training began; nothing if it did not.

    Args:
        step: step of the first look.
        stepped: whether the optimiser had made steps before it.
    """
    if step > 0:
        why = f"the first look came at step {step}"
    elif stepped:
        why = "the optimiser had made steps before the first look"
    else:
        return ()
    return (
        f"The reference is not the initial network: {why}, and all changes are counted from there. "
        "A run that goes on from a checkpoint has the first reference again with "
        "`probe.load_state_dict`.",
    )


def acts_otherwise(names: Sequence[str]) -> str:
    """That layers acted at some look in another way than at the first one.

    Args:
        names: names of the layers.
    """
    return (
        f"At some look, layers acted differently than at the first: {', '.join(names)}. Where "
        "they do, their numbers are missing, as are the shares of layers in `log_output`; the "
        "kernel is that of the network at that look."
    )


def one_by_one(parameters: Sequence[str]) -> str:
    """That gradients of parameters had to be taken sample by sample at some look.

    Args:
        parameters: their names.
    """
    return (
        "At some look, unlike at the first one, samples met or weights were used in another way: "
        f"gradients of {', '.join(parameters)} were taken sample by sample, among the measured "
        "samples alone."
    )
