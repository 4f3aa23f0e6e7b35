"""The sentences of a verdict: each is a claim, and holds wherever it is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, sqrt

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich.numerics.windows import Window
from lazyrich.vocabulary.numerals import in_words

NOTHING = 1e-6  # a relative change below that is the rounding of single precision
LINEAR_TO = 0.25  # share of the output's change that a linearisation may miss and still describe it

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


def measured(times: int) -> str:
    """What is said where too little was measured to compare."""
    how = "Only one measurement was made" if times else "Nothing was measured"
    return f"{how}: measure again after training."


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
        f"In training the tangent kernel changed by {in_words(change)} of its size, with an "
        "uncertainty that was not measured. Measure on more samples."
    )


def spread(change: float, low: float, high: float) -> str:
    """A change of the kernel, with its interval."""
    return (
        f"the tangent kernel changed by {in_words(change)} of its size "
        f"({in_words(low)} to {in_words(high)})"
    )


def frozen(output: float, most: float) -> str:
    """What is said of a network that hardly moved."""
    return (
        f"The output moved {in_words(output)} of the distance to the fit, and the kernel changed "
        f"by at most {in_words(most)} of its size: too little was learned to say more."
    )


def turned(evidence: Mapping[str, float], threshold: float) -> str:
    """How a kernel moved that did.

    With the change c = ‖Θ − Θ₀‖/‖Θ₀‖ and the distance d = 1 − cos(Θ₀, Θ), its relative size r
    solves r² − 2r(1 − d) + 1 = c²; the part of the change in another direction is r √(d(2 − d)).
    """
    distance = evidence["kernel_distance"]
    if not isfinite(distance):
        return "and whether it turned was not measured"
    if distance >= threshold:
        if evidence["loss_ratio"] >= 1:
            return "and turned: features changed, but the loss did not fall"
        return "and turned: features were learned"
    change, cosine = evidence["ntk_change"], 1 - distance
    largest = cosine + sqrt(max(0.0, cosine**2 - 1 + change**2))
    if largest * sqrt(max(0.0, distance * (2 - distance))) <= change / sqrt(2):
        return "mostly in size, not direction"
    return f"and turned by {in_words(distance)}, which is below the threshold {threshold:g}"


def linear(evidence: Mapping[str, float]) -> str:
    """What is said of a network whose kernel stayed."""
    missed = evidence["linearisation_error"]
    if missed > LINEAR_TO:
        return (
            f"features stayed, but its linearisation misses {in_words(missed)} of the change of "
            "the output"
        )
    return "the network acts like its linearisation, features stayed"


def layer(
    regime: str,
    share: float,
    changes: tuple[float, float, float],
    acting: Sequence[Window] | None,
) -> str:
    """What one layer did; `acting` is None where mechanisms were not measured."""
    change, low, high = changes
    ending = ""
    if acting is not None:
        acted = ", ".join(f"{w.mechanism} (steps {w.start:.0f} to {w.stop:.0f})" for w in acting)
        ending = f"; {acted or 'no mechanism acted'}"
    if not isfinite(change):
        return f"{regime}{ending}."
    part = f", {share:.0%} of the kernel's norm," if isfinite(share) else ""
    around = f" ({in_words(low)} to {in_words(high)})" if isfinite(low) and isfinite(high) else ""
    return f"{regime}: its tangent features{part} changed by {in_words(change)}{around}{ending}."
