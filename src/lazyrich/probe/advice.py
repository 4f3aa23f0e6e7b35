"""What now? At most three sentences, each of which follows from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil, isfinite

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich.probe.thresholds import Thresholds
from lazyrich.probe.wording import ITSELF, NOTHING
from lazyrich.vocabulary.numerals import in_words
from lazyrich.vocabulary.regimes import CANNOT_TELL, JudgedRegime, Regime

MOST = 3  # sentences
NO_GRADIENT = 1e-12  # in units of the largest of any layer
STRAIGHT = 0.1  # of its end, that a motion may be off a straight line
FARTHEST = 100.0  # times a motion so far, to which it is drawn on
BEYOND = 1.2  # times the motion below which a network is frozen, so that it is not
CLEAR = 1.5  # factor from a threshold: a dial comes within 1.3 of what it is asked for
LEARNS = (Regime.LAZY, Regime.INTERMEDIATE, Regime.RICH)
FORECAST = "`lr.forecast(model, batch, optimizer=optimizer)`"
GROUPS = "`optimizer.param_groups`"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What advice follows from.

    Attributes:
        history: the history of a probe.
        regime: the regime of the network.
        evidence: the numbers behind it, see `Verdict`.
        layers: the regime of every layer.
        limits: the thresholds.
        wanted: regimes that the user asked for, one of which it should be; none if he did not say.
    """

    history: xr.Dataset
    regime: JudgedRegime
    evidence: Mapping[str, float]
    layers: Mapping[str, JudgedRegime]
    limits: Thresholds
    wanted: Sequence[JudgedRegime] = ()


def advice(of: Findings) -> tuple[str, ...]:
    """What to change, or that nothing has to be, with the call that does it.

    Who did not say whether he wants rich or lazy training is told what to call for either.

    Args:
        of: what was found.

    Returns:
        At most three sentences.
    """
    return tuple(islice(_sentences(of), MOST))


def what_now(sentences: Sequence[str]) -> list[str]:
    """Advice as the last line of what is printed; no line where there is none.

    Args:
        sentences: sentences of `advice`.
    """
    return [f"What now? {' '.join(sentences)}"] if sentences else []


def _sentences(of: Findings) -> Iterator[str]:
    if of.history.sizes["step"] < 2:
        yield from _dead(of)
        yield (
            "Measure again after training: train inside `with probe.watch(optimizer):`, whose "
            "optimizer is the one that makes the steps."
        )
        return
    if of.regime == Regime.FROZEN and _never(of, "layer_lr", of.layers):
        yield f"The learning rate was 0 at every measurement: set one above 0 in {GROUPS}."
        return
    faults = [*_unstable(of), *_dead(of), *_frozen_layers(of), *_frozen(of), *_unfit(of)]
    yield from faults
    yield from _uncertain(of)
    if faults or of.regime not in LEARNS:  # what is broken is to be mended first
        return
    if of.wanted and of.regime not in of.wanted:
        yield from (_towards(one, of.limits) for one in of.wanted if one in LEARNS)
        return
    yield _nothing(of)
    if not of.wanted:
        yield _either(of.limits)
        if of.regime == Regime.LAZY:
            yield (
                "`lr.coordinate_check(factory, batch, widths=…, optimizer=…)` shows whether it "
                "becomes lazier as its width grows."
            )


def _unstable(of: Findings) -> Iterator[str]:
    if of.regime == Regime.UNSTABLE and not _never(of, "layer_lr", of.layers):
        yield (
            f"If these samples are trained on, lower the learning rate: {FORECAST} rehearses "
            "training at it and says whether it diverges."
        )


def _dead(of: Findings) -> Iterator[str]:
    """Layers at which no gradient arrives, and which tell no sample from another."""
    dead = _died(of.history)
    born = [name for name, step in dead.items() if step is None]
    if born:
        yield (
            f"Dead since the start, without a gradient and the same for all samples: "
            f"{_named(born)}. Initialise anew."
        )
    if killed := {name: step for name, step in dead.items() if step is not None}:
        when = ", ".join(f"{_named([name])} by step {step}" for name, step in killed.items())
        yield (
            f"Died in training, now without a gradient and the same for all samples: {when}. Start "
            "again, and see whether it survives at a lower learning rate."
        )


def _died(history: xr.Dataset) -> dict[str, int | None]:
    """Layers that are dead at the end, and by which step; None for from the first measurement."""
    if not {"gradient_norm", "feature_spread"} <= set(history):
        return {}
    size, spread = history.gradient_norm.values, history.feature_spread.values
    known = np.isfinite(size).any(1) & np.isfinite(spread).any(1)
    size, spread, steps = size[known], spread[known], history.step.values[known]
    if not steps.size:
        return {}
    largest = np.nanmax(size, axis=1, keepdims=True)
    dead = (size <= NO_GRADIENT * largest) & (spread <= NOTHING)  # NaN is neither
    found: dict[str, int | None] = {}
    for name, column in zip(history.layer.values, dead.T, strict=True):
        if column[-1]:
            first = _since(column)
            found[str(name)] = None if first == 0 else int(steps[first])
    return found


def _since(holds: NDArray[np.bool_]) -> int:
    """The index from which on something holds to the end, where it does."""
    fails = np.nonzero(~holds)[0]
    return int(fails[-1]) + 1 if fails.size else 0


def _frozen_layers(of: Findings) -> Iterator[str]:
    """Layers that did not move in a network that did."""
    if of.regime in (Regime.FROZEN, Regime.UNSTABLE):
        return
    without = [
        name
        for name in of.layers
        if _never(of, "layer_lr", [name]) and not _moved(of.history, name)
    ]
    if without:
        yield (
            f"Not trained, with a learning rate of 0 at every measurement: {_named(without)}. If "
            f"that is not intended, give it one in {GROUPS}."
        )
    frozen = [name for name, regime in of.layers.items() if regime == Regime.FROZEN]
    still = [name for name in frozen if name not in without]
    if still and not _died(of.history):  # before a dead layer no gradient arrives either
        yield (
            f"Did not move at all: {_named(still)}. Check that a gradient arrives there "
            "(`.weight.grad`), and that the optimiser holds its parameters."
        )


def _moved(history: xr.Dataset, layer: str) -> bool:
    """Whether a weight is known to have moved."""
    if "weight_movement" not in history:
        return False
    return bool((history.weight_movement.sel(layer=layer) > 0).any())


def _frozen(of: Findings) -> Iterator[str]:
    """A network that hardly moved, though it has learning rates."""
    if of.regime != Regime.FROZEN or _died(of.history):
        return
    loss = _numbers(of.history, "loss")
    if loss.size and loss[-1] == 0 == loss[0]:
        yield "The loss is 0 on these samples: there is nothing to fit, and nothing to change."
        return
    moved, needed = of.evidence["output_change"], BEYOND * of.limits.frozen_below
    if not moved >= NOTHING:  # also of an unknown motion
        yield (
            "Check that steps were made, that the learning rate is large enough, and that the loss "
            "has a slope at these weights."
        )
        return
    if of.evidence["loss_ratio"] >= 1:
        return  # more of it would not help: see `_unfit`
    steps = int(of.history.step.values[-1] - of.history.step.values[0])
    times = needed / moved
    if not (of.evidence["loss_ratio"] < 1 and times < FARTHEST and _is_straight(of.history)):
        yield f"Train longer, or raise the learning rate: {FORECAST} says how far that goes."
        return
    yield (
        f"The output moves in a straight line so far, {in_words(moved)} of the way to the fit in "
        f"{steps} steps: if this continues, {in_words(ceil(times * steps), 3)} steps, or a "
        f"learning rate {in_words(times)} times as high where {FORECAST} finds that stable, "
        f"take it to {needed:g}, and it is no longer frozen."
    )


def _is_straight(history: xr.Dataset) -> bool:
    """Whether the output has moved by as much in equal numbers of steps, as far as was measured."""
    moved, steps = history.output_change.values, history.step.values
    if len(steps) < 3 or not np.isfinite(moved).all():
        return False
    line = moved[-1] * (steps - steps[0]) / (steps[-1] - steps[0])
    return bool((np.abs(moved - line) <= STRAIGHT * moved[-1]).all())


def _unfit(of: Findings) -> Iterator[str]:
    """A loss that did not fall although features or outputs moved."""
    moved = of.regime != Regime.FROZEN or of.evidence["output_change"] >= NOTHING
    if of.regime != Regime.UNSTABLE and moved and of.evidence["loss_ratio"] >= 1:
        yield (
            "The loss on these samples did not fall: if they are trained on, lower the learning "
            f"rate ({FORECAST} rehearses it)."
        )


def _uncertain(of: Findings) -> Iterator[str]:
    """What would have to be measured to tell the regime."""
    if of.regime != CANNOT_TELL:
        return
    if "ntk_change" not in of.history:
        yield "Measure the kernel, which the verdict is about: `lr.Probe(model, batch)`."
    elif isfinite(of.evidence["ntk_change"]):
        yield (
            "Measure on more samples, `lr.Probe(model, larger_batch, samples=None)`: the interval "
            "narrows as one over the root of their number."
        )


def _nothing(of: Findings) -> str:
    """That nothing has to be changed, with what that rests on."""
    seen = ["the loss fell"] if of.evidence["loss_ratio"] < 1 else []
    if "weight_movement" in of.history:
        dead = " or dead" if "gradient_norm" in of.history else ""
        seen.append(f"no layer is frozen{dead}")
    rests = f": {' and '.join(seen)}" if seen else ""
    return f"These measurements give no reason to change anything{rests}."


def _either(limits: Thresholds) -> str:
    return (
        f"For rich training {_dial(_target(Regime.RICH, limits))} before the first step, for lazy "
        f"training `ntk_change={_target(Regime.LAZY, limits)}`."
    )


def _towards(wanted: JudgedRegime, limits: Thresholds) -> str:
    return f"For {wanted} training {_dial(_target(wanted, limits))} before the first step."


def _target(wanted: JudgedRegime, limits: Thresholds) -> str:
    """A change of the kernel that is well within a regime."""
    change = {
        Regime.LAZY: limits.lazy_below / CLEAR,
        Regime.INTERMEDIATE: (limits.lazy_below * limits.rich_from) ** 0.5,
    }.get(Regime(wanted), limits.rich_from * CLEAR)
    return f"{change:.2g}"


def _dial(change: str) -> str:
    return f"call `lr.dial(model, batch, optimizer=optimizer, ntk_change={change})`"


def _never(of: Findings, name: str, layers: Sequence[str] | Mapping[str, object]) -> bool:
    """Whether a number of these layers was 0 whenever it was measured, and it was measured."""
    if name not in of.history:
        return False
    values = of.history[name].values[:, np.isin(of.history.layer.values, list(layers))]
    known = values[np.isfinite(values)]
    return bool(known.size) and not known.any()


def _numbers(history: xr.Dataset, name: str) -> NDArray[np.float64]:
    return history[name].values if name in history else np.array([])


def _named(names: Sequence[str]) -> str:
    more = len(names) - 4
    listed = ", ".join(f"`{name or ITSELF}`" for name in names[:4])
    return f"{listed} and {more} more" if more > 0 else listed
