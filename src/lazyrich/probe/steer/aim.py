"""Turn the dial until a measure is what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log

from lazyrich._errors import ConvergenceError
from lazyrich.probe.forecast.rehearsal import Goal
from lazyrich.probe.steer.ruler import Ruler, Trial
from lazyrich.probe.steer.secant import next_scale
from lazyrich.vocabulary.numerals import in_words

TOLERANCE = 0.1
AIM = 0.01
MAX_ROUNDS = 8
MAX_REHEARSED = 14  # scales
MAX_SHORT = 2  # of them with too few steps: a first guess that is too lazy trains more slowly
CLOSE = log(1.05)  # enough, in ln of the change of the kernel
NEAR = log(1.15)  # enough after some rehearsals
PATIENCE = 6  # of them
FAR = log(1.3)  # enough when nothing closer was found
KERNEL_PER_RICHNESS = 0.5  # change of the kernel over ρ, in the lazy limit of two linear layers


def at_richness(ruler: Ruler, target: float) -> float:
    """Set ρ: as ρ ∝ 1/γ it hits at once, unless weight decay bends it; then it is repeated.

    Args:
        ruler: its scale and rates are set.
        target: ρ*.

    Returns:
        ρ as measured.

    Raises:
        ConvergenceError: it is not within 10 %.
    """
    rho = ruler.richness()
    for _ in range(MAX_ROUNDS):
        ruler.set(ruler.output_scale * rho / target)
        rho = ruler.richness()
        if abs(rho / target - 1) <= AIM:
            break
    if abs(rho / target - 1) <= TOLERANCE:
        return rho
    raise ConvergenceError(
        f"the richness could not be set to {target:.3g} within {TOLERANCE:.0%}: after {MAX_ROUNDS} "
        f"rounds it is {rho:.3g} at output scale {ruler.output_scale:.3g}. "
        "Strong weight decay and noise in the forward pass are the usual reasons: lower them, or "
        "ask for a smaller change."
    )


def at_change(ruler: Ruler, target: float, richness: float, goal: Goal) -> Trial:
    """Set the change of the kernel in a rehearsal, by secants in ln–ln from ρ's guess.

    Args:
        ruler: its scale and rates are set.
        target: the change of the kernel.
        richness: ρ as it is now; NaN if there is none.
        goal: the goal of the rehearsals.

    Returns:
        The rehearsal that hits.

    Raises:
        ConvergenceError: no scale was found with a change within a factor of 1.3.
    """
    guess = 1.0
    if 0 < richness < inf:  # the straight line from the lazy limit ends at a change of 1
        guess = KERNEL_PER_RICHNESS * richness / min(target, 1.0)
    scale: float | None = guess * ruler.output_scale
    tried, short = list[Trial](), list[Trial]()
    while scale is not None and len(tried) < MAX_REHEARSED:
        # what had to be slowed down has to be so at any richer scale
        slowed = min((t.slowed for t in tried if t.output_scale >= scale), default=1.0)
        tried.append(ruler.rehearsed(scale, goal, slowed))
        short = [trial for trial in tried if _is_short(trial, target)]
        if len(short) == MAX_SHORT:
            raise _too_slow(short[-1], target)
        best = min(tried, key=lambda trial: _off(trial, target))
        if _off(best, target) < (CLOSE if len(tried) < PATIENCE else NEAR):
            break
        scale = next_scale([(t.output_scale, t.ntk_change) for t in tried], target)
    if _off(best, target) > FAR:
        raise _too_slow(short[-1], target) if short else _out_of_reach(tried, target)
    ruler.set(best.output_scale, best.slowed)
    return best


def _off(trial: Trial, target: float) -> float:
    return abs(log(trial.ntk_change / target)) if trial.is_whole else float("inf")


def _is_short(trial: Trial, target: float) -> bool:
    """Whether the steps were out before the change was there: it may come with more of them."""
    return not trial.is_whole and trial.ntk_change < target


def _too_slow(trial: Trial, target: float) -> ConvergenceError:
    course = trial.course
    return ConvergenceError(
        f"the rehearsal must come to its loss within `max_steps`, got {in_words(course.losses[-1])}"
        f" after {course.steps} steps at output scale {in_words(trial.output_scale, 3)}, with a "
        f"change of the kernel of {in_words(trial.ntk_change)} where {in_words(target)} was asked "
        "for. Nothing was changed. Give more `max_steps`, other learning rates, or a `to_loss`."
    )


def _out_of_reach(tried: Sequence[Trial], target: float) -> ConvergenceError:
    scales = [trial.output_scale for trial in tried]
    changes = [trial.ntk_change for trial in tried]
    below = max((change for change in changes if change < target), default=None)
    above = min((change for change in changes if change > target), default=None)
    advice = "Ask for a change in this range"
    if below is not None and above is not None:
        advice = f"It jumps from {in_words(below)} to {in_words(above)}: ask for one of these"
    return ConvergenceError(
        f"the change of the kernel could not be set to {in_words(target)}: over output scales from "
        f"{in_words(min(scales))} to {in_words(max(scales))} it went from {in_words(min(changes))} "
        f"to {in_words(max(changes))} in {len(tried)} rehearsals. Nothing was changed. {advice}; a "
        "wider network, other learning rates or another loss to stop at have another range."
    )
