"""When each mechanism of feature learning acted: how far it moved, and between which times.

Over a trajectory of an alignment A and the logarithm of a norm, a layer aligns where |A| rises and
disaligns where |A| falls; it rescales where the norm varies. A mechanism acts if its total change
reaches a threshold; its window holds the change between the first and the last tenth.

Every function takes time along the last axis and broadcasts over the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lazyrich.numerics.exact import Array
from lazyrich.vocabulary.regimes import Mechanism

UNBOUNDED = 1e300
"""A change from or to zero; some of them still have a sum."""

WINDOW_SHARE = 0.1  # a window holds the change between its first and last tenth


@dataclass(frozen=True, kw_only=True)
class Window:
    """A mechanism that acted.

    Attributes:
        mechanism: the mechanism that acts in it.
        start: when a tenth of its change was done.
        stop: when nine tenths were done.
        change: total rise of |A|, total fall of |A|, or total variation of the logarithm of norms.
    """

    mechanism: Mechanism
    start: float
    stop: float
    change: float


def movements(alignment: Array, log_norm: Array) -> Array:
    """How much each mechanism moves between two records.

    Where A changes its sign, |A| has fallen to zero and risen again.

    Args:
        alignment: A at n times, of either sign.
        log_norm: logarithm of the norms at these times, up to a constant; −∞ where they are zero.

    Returns:
        Shape (…, 3, n − 1): rise of |A|, fall of |A|, size of the step of the logarithm, in the
        order of `Mechanism`.

    Example:
        >>> movements(np.array([-0.1, 0.2, 0.1]), np.array([0.0, 1.0, 1.0])).round(3)
        array([[0.2, 0. ], [0.1, 0.1], [1. , 0. ]])
    """
    before, after = alignment[..., :-1], alignment[..., 1:]
    turns = np.sign(before) * np.sign(after) < 0
    rise = np.abs(after) - np.abs(before)
    parts = (
        np.where(turns, np.abs(after), rise.clip(min=0)),
        np.where(turns, np.abs(before), (-rise).clip(min=0)),
        np.nan_to_num(_steps(log_norm), posinf=UNBOUNDED),  # a layer that starts at zero
    )
    return np.stack(np.broadcast_arrays(*parts), axis=-2)


def exceeds_threshold(
    change: Array, *, alignment_threshold: float = 0.1, rescaling_threshold: float = 0.1
) -> NDArray[np.bool_]:
    """Which mechanisms act.

    Args:
        change: total change of each, over a last axis in the order of `Mechanism`.
        alignment_threshold: rise or fall of |A| from which (dis)alignment acts.
        rescaling_threshold: variation of the logarithm of norms from which rescaling acts.

    Example:
        >>> exceeds_threshold(np.array([0.3, 0.05, 0.1]))
        array([ True, False,  True])
    """
    thresholds = np.array([alignment_threshold, alignment_threshold, rescaling_threshold])
    acts: NDArray[np.bool_] = (change >= thresholds) & (change > 0)
    return acts


def window(parts: Array, times: Array) -> tuple[Array, Array]:
    """When a tenth and nine tenths of all movement were done, linear between records.

    Args:
        parts: movement ≥ 0 in each interval, shape (…, n − 1).
        times: times of the records, increasing, shape (…, n) or (n,); the last may be infinite.

    Returns:
        Start and stop, shape (…,); NaN where nothing moves.

    Example:
        >>> [float(end) for end in window(np.array([5.0, 5.0, 0.0]), np.arange(4.0))]
        [0.2, 1.8]
    """
    return _time_of_share(parts, times, WINDOW_SHARE), _time_of_share(
        parts, times, 1 - WINDOW_SHARE
    )


def windows(
    times: Array,
    alignment: Array,
    log_norm: Array,
    *,
    alignment_threshold: float,
    rescaling_threshold: float,
) -> tuple[Window, ...]:
    """The mechanisms that acted in one layer, and when.

    Args:
        times: times of the records.
        alignment: A at these times.
        log_norm: logarithm of the norms at these times, up to a constant.
        alignment_threshold: threshold of alignment, see `exceeds_threshold`.
        rescaling_threshold: threshold of rescaling, see `exceeds_threshold`.

    Returns:
        At most one window a mechanism. Records in which a curve is not finite are left out.

    Example:
        >>> a = np.array([0.1, 0.5, 0.9, 0.9])
        >>> acting = windows(np.arange(4.0), a, 0 * a, alignment_threshold=0.1,
        ...                 rescaling_threshold=0.1)
        >>> [(w.mechanism, round(w.start, 2), round(w.stop, 2)) for w in acting]
        [('alignment', 0.2, 1.8)]

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """
    known = np.isfinite(alignment) & np.isfinite(log_norm)
    if known.sum() < 2:
        return ()
    parts = movements(alignment[known], log_norm[known])
    change = parts.sum(-1)
    acts = exceeds_threshold(
        change, alignment_threshold=alignment_threshold, rescaling_threshold=rescaling_threshold
    )
    rows = zip(Mechanism, acts, *window(parts, times[known]), change, strict=True)
    return tuple(
        Window(mechanism=name, start=float(start), stop=float(stop), change=float(total))
        for name, active, start, stop, total in rows
        if active
    )


def _steps(log_norm: Array) -> Array:
    with np.errstate(invalid="ignore"):  # −∞ less −∞
        return np.abs(np.diff(log_norm))


def _time_of_share(parts: Array, times: Array, share: float) -> Array:
    done = np.cumsum(parts, axis=-1)
    total = done[..., -1:]
    goal = np.maximum(share * total, np.finfo(float).tiny)
    at = np.argmax(done >= goal, axis=-1)[..., None]
    times = np.broadcast_to(times, (*parts.shape[:-1], times.shape[-1]))
    part, after, left, right = (
        np.take_along_axis(array, index, -1)
        for array, index in ((parts, at), (done, at), (times, at), (times, at + 1))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = (goal - (after - part)) / part
        time = np.where(fraction <= 0, left, left + fraction * (right - left))
    return np.where(total > 0, time, np.nan)[..., 0]
