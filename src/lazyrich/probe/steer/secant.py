"""The next output scale to try, from what the scales so far gave.

ln change is nearly a straight line of slope −1 over ln γ: 1/γ in the lazy limit. So the root is
looked for by secants in these variables, within a bracket as soon as there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log

LONGEST = log(100.0)  # step without a bracket
SLOPES = (-3.0, -0.3)  # that are believed
MARGIN = 0.1  # of a bracket, that a secant keeps off its ends
PATIENCE = 6  # points, after which a bracket is halved: the curve has a jump
NARROW = log(1.01)  # bracket, inside which there is nothing to find
WIDE, FLAT = log(10.0), 0.1  # a change by 10 % over a factor of 10 in the scale is a floor


def next_scale(seen: Sequence[tuple[float, float]], target: float) -> float | None:
    """The next output scale γ, or None if no scale will do.

    Args:
        seen: pairs (γ > 0, change > 0), at least one, in any order.
        target: the change to find the scale of, > 0.

    Example:
        >>> seen = [(1.0, 0.4), (4.0, 0.1)]  # change = 0.4/γ
        >>> round(next_scale(seen[:1], 0.05), 6), round(next_scale(seen, 0.2), 6)
        (8.0, 2.0)
        >>> next_scale([(1.0, 0.4), (100.0, 0.4)], 0.1) is None
        True
    """
    points = sorted((log(scale), log(change / target)) for scale, change in seen)
    brackets = [(a, b) for a, b in pairwise(points) if a[1] > 0 >= b[1] or a[1] <= 0 < b[1]]
    if not brackets:
        return _outside(points)
    (x_0, y_0), (x_1, y_1) = min(brackets, key=lambda ends: abs(ends[0][1] - ends[1][1]))
    if x_1 - x_0 < NARROW:
        return None
    share = y_0 / (y_0 - y_1) if len(points) < PATIENCE else 0.5
    return exp(x_0 + min(max(share, MARGIN), 1 - MARGIN) * (x_1 - x_0))


def _outside(points: list[tuple[float, float]]) -> float | None:
    """Beyond the laziest point if all are too rich, else beyond the richest one."""
    if points[0][1] > 0:
        points = points[::-1]
    (x, y), (x_0, y_0) = points[0], points[min(1, len(points) - 1)]
    slope = -1.0
    if x != x_0:
        if abs(x - x_0) > WIDE and abs(y - y_0) < FLAT:
            return None
        slope = min(max((y - y_0) / (x - x_0), SLOPES[0]), SLOPES[1])
    return exp(x + min(max(-y / slope, -LONGEST), LONGEST))
