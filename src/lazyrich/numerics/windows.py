"""When each mechanism of feature learning acted in a layer, from its history.

A layer aligns where its alignment A rises and disaligns where A falls; it rescales where the
logarithm of its weight's norm varies. A mechanism acts if its total change reaches a threshold;
its window holds the activity between the first and the last tenth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Curve = Float[np.ndarray, " steps"]

WINDOW_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Window:
    """A mechanism that acted.

    Attributes:
        mechanism: `alignment`, `disalignment` or `rescaling`.
        start: step at which a tenth of its change was done.
        stop: step at which nine tenths were done.
        change: total rise of A, total fall of A, or total variation of ln‖W‖.
    """

    mechanism: str
    start: float
    stop: float
    change: float


def windows(
    steps: Curve,
    alignment: Curve,
    log_norm: Curve,
    *,
    alignment_threshold: float,
    rescaling_threshold: float,
) -> tuple[Window, ...]:
    """The mechanisms that acted in one layer, and when.

    Args:
        steps: when it was measured.
        alignment: A at these steps.
        log_norm: ln‖W‖_F at these steps, up to a constant.
        alignment_threshold: total rise or fall of A from which (dis)alignment acts.
        rescaling_threshold: total variation of ln‖W‖ from which rescaling acts.

    Returns:
        At most one window a mechanism. Steps at which a curve is not finite are left out.

    Example:
        >>> a = np.array([0.1, 0.5, 0.9, 0.9])
        >>> found = windows(np.arange(4.0), a, 0 * a, alignment_threshold=0.1,
        ...                 rescaling_threshold=0.1)
        >>> [(w.mechanism, round(w.start, 2), round(w.stop, 2)) for w in found]
        [('alignment', 0.2, 1.8)]

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """
    known = np.isfinite(alignment) & np.isfinite(log_norm)
    steps, alignment, log_norm = steps[known], alignment[known], log_norm[known]
    rise = np.diff(alignment)
    moved = {
        "alignment": (rise.clip(min=0), alignment_threshold),
        "disalignment": ((-rise).clip(min=0), alignment_threshold),
        "rescaling": (np.abs(np.diff(log_norm)), rescaling_threshold),
    }
    return tuple(
        Window(
            mechanism=name,
            start=_time_of_share(parts, steps, WINDOW_SHARE),
            stop=_time_of_share(parts, steps, 1 - WINDOW_SHARE),
            change=float(parts.sum()),
        )
        for name, (parts, threshold) in moved.items()
        if parts.sum() >= threshold and parts.any()
    )


def _time_of_share(parts: Float[np.ndarray, " intervals"], steps: Curve, share: float) -> float:
    """The step at which a share of all movement is done, linear between measurements."""
    done = np.concatenate([[0.0], np.cumsum(parts)])
    goal = share * done[-1]
    i = int(np.argmax(done >= goal))  # goal > 0, hence i ≥ 1
    fraction = (goal - done[i - 1]) / parts[i - 1]
    return float(steps[i - 1] + fraction * (steps[i] - steps[i - 1]))
