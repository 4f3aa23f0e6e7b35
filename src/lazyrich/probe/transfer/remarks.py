"""What a reader of a transfer has to know, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, log

import numpy as np

from lazyrich.probe.transfer.family import Anatomy
from lazyrich.probe.transfer.layout import Axis, Layout
from lazyrich.probe.transfer.matching import Matched, Measure, Seeds, ratio, rms
from lazyrich.vocabulary.numerals import in_words

TRUSTED = 0.1  # of a size, as a logarithm: what no run would notice in a learning rate
NOISY = 0.2  # standard error of a factor, relative, from which on it is told


def remarks(
    layout: Layout, large: Anatomy, goal: Measure, found: Sequence[Matched]
) -> Iterator[str]:
    """Whether it came out, and what does not transfer and why.

    Args:
        layout: layout of the family.
        large: the largest network that was measured.
        goal: what the first steps of the smallest one do.
        found: what was found for the other parameters, the largest last.
    """
    yield _agreement(layout, large, goal, found)
    keys = layout.keys(large)
    owned = {key for name, key in keys.items() if name in large.owners}
    if missing := [name for name in large.shapes if name not in large.owners]:
        yield (
            f"No optimiser owns {', '.join(missing)}, or only at a learning rate of 0: frozen at "
            "every size."
        )
    if still := [key for key, own in goal.own.items() if key in owned and not _moves(own)]:
        yield (
            f"The first steps leave {', '.join(still)} alone in the small network, or the loss "
            "does not depend on it (biases of keys, biases before a batch norm): nothing to match, "
            "factor 1. If it does, measure more `steps`."
        )
    if len(next(iter(goal.own.values()))) > 1 and all(map(_same, goal.own.values())):
        yield (
            "All seeds gave the same small network (`factory` holds models or sets a seed), so "
            "that what chance does to the factors is not known."
        )
    yield from _respread(layout, found[-1])
    yield from _doubts(goal, found[-1].after)
    yield from _without_readout(layout, large)
    for times in _unmatched_flows(layout, large, goal, found[-1].after):
        yield _multiplier(layout, large, times)


def _agreement(layout: Layout, large: Anatomy, goal: Measure, found: Sequence[Matched]) -> str:
    for one in found:
        pairs = ((key, own, one.after.own[key]) for key, own in goal.own.items())
        if alone := [key for key, a, b in pairs if _moves(a) != _moves(b)]:
            return (
                f"No learning rate makes the first steps agree: {', '.join(alone)} move in the "
                f"small network or in that of {layout.axis} {one.size} alone. Do not trust the "
                "transfer."
            )
    worst = max(found, key=lambda one: one.residual)
    apart = f"{in_words(100 * (exp(worst.residual) - 1))} %"
    if worst.residual <= TRUSTED and any(_unmatched_flows(layout, large, goal, found[-1].after)):
        return (
            f"With them all own updates agree within {apart}, but not what they do to the outputs."
        )
    if worst.residual <= TRUSTED:
        return f"With them the first steps of all sizes agree within {apart}."
    return (
        f"With them the first steps still differ by {apart} at {layout.axis} {worst.size}: do not "
        "trust the transfer as it is. More `rounds`, `seeds` or `steps` may help."
    )


def _respread(layout: Layout, largest: Matched) -> Iterator[str]:
    if largest.spread:
        times = [1 / factor for factor in largest.spread.values()]
        span = sorted({in_words(t, 3) for t in (min(times), max(times))}, key=len)
        yield (
            f"The initial entries of {', '.join(largest.spread)} do not fall as one over the root "
            f"of the fan-in: at {layout.axis} {largest.size} they are {' to '.join(span)} times as "
            "large as that. Their init is scaled, too."
        )


def _same(own: Seeds) -> bool:
    return bool((own == own[0]).all())


def _moves(own: Seeds) -> bool:
    return rms(own) > 0


def _doubts(goal: Measure, after: Measure) -> Iterator[str]:
    noisy = [key for key, own in goal.own.items() if _spread(own, after.own[key]) > NOISY]
    if noisy:
        yield (
            f"The seeds leave a standard error of more than {100 * NOISY:.0f} % in the factor of "
            f"{', '.join(noisy)}. Use more `seeds`."
        )


def _spread(wanted: Seeds, got: Seeds) -> float:
    """The standard error of the logarithm of a ratio of means over the seeds."""
    logs = [np.log(x) for x in (wanted, got) if len(x) > 1 and (x > 0).all()]
    return float(np.sqrt(sum(x.var(ddof=1) / len(x) for x in logs)))


def _without_readout(layout: Layout, large: Anatomy) -> Iterator[str]:
    if layout.axis == Axis.DEPTH and not layout.flows(large):
        yield (
            "No `branches` were named: every learning rate transfers by itself, and what all "
            "blocks do together to the output does not."
        )
    if layout.axis == Axis.WIDTH and not layout.readouts:
        yield (
            "No layer that is trained has inputs that grow with the width and outputs that stay: "
            "there is none whose init could be scaled as that of a readout."
        )


def _unmatched_flows(
    layout: Layout, large: Anatomy, goal: Measure, after: Measure
) -> Iterator[float]:
    """How many times too large is what no init sets, where it matters."""
    asked = layout.flows(large)
    for (_, scaled), wanted, got in zip(asked, goal.flows, after.flows, strict=True):
        if not scaled and abs(log(ratio(got, wanted))) > TRUSTED:
            yield ratio(got, wanted)


def _multiplier(layout: Layout, large: Anatomy, times: float) -> str:
    tied = [place for place in layout.readouts if not layout.owned_by(large, place)]
    which = (
        f"`{tied[-1]}` is a readout without a weight of its own (tied embeddings?), so that no init"
        if tied
        else "The outputs are no trained layer's own (tied embeddings, a frozen readout, "
        "parameters of the model itself?), so that no init"
    )
    return (
        f"{which} can match what the steps do to the outputs of the network: that is "
        f"{in_words(times, 3)} times what it is in the small network. To match it, too, let "
        f"`factory` multiply these outputs by {in_words(1 / times, 3)} at {layout.axis} "
        f"{large.size}, and transfer again."
    )
