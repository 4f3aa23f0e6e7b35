"""The time that a mode of a deep linear network takes, as a function of its size, and back.

With `u = s/(1 ± e^{−y})`, above or below the target s, and `q = 1 − 2/L`, the flow
`u′ = L u^{1+q}(s − u)` is `dy/dt = L s^{1+q} (1 ± e^{−y})^{−q}`, so that

    L s^{1+q} t = H(y) − H(y₀),    H(y) = ∫ (1 ± e^{−y})^q dy,

+ for a mode that grows and − for one that shrinks. H has no singularity at the target, and a series
of its own on each side.
"""

from __future__ import annotations

import numpy as np

from lazyrich.numerics.exact import Array

TERMS = 64  # of series in e^{−0.7}
SWITCH = 0.7
NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
STEPS = 100  # of Newton's method, which takes some ten, or halves
SETTLED = 4e-15  # of y: H itself is known to some rounding errors


def clock(y: Array, q: Array, *, grows: bool) -> Array:
    """H(y), up to a constant for each q.

    Args:
        y: value of a mode; above 0 where it shrinks.
        q: `1 − 2/L`, from 0 to 1.
        grows: whether modes lie below their targets.
    """
    return _growing(y, q) if grows else _shrinking(y, q)


def _growing(y: Array, q: Array) -> Array:
    middle = np.clip(y, -SWITCH, SWITCH)
    x = middle[..., None] * (1 + NODES) / 2
    value = middle / 2 * ((1 + np.exp(-x)) ** q[..., None] @ WEIGHTS)
    above, below = np.maximum(y, SWITCH), np.minimum(y, -SWITCH)
    value = value + (above - SWITCH)
    binomial = np.ones_like(q)
    for k in range(TERMS):
        if k:
            binomial = binomial * (q - k + 1) / k
            value = value - binomial * (np.exp(-k * above) - np.exp(-k * SWITCH)) / k
        way, rate = below + SWITCH, k - q
        value = value + binomial * np.exp(-rate * SWITCH) * way * _mean_exponential(rate * way)
    return value


def _shrinking(y: Array, q: Array) -> Array:
    above, below = np.maximum(y, SWITCH), np.minimum(y, SWITCH)
    v = -np.expm1(-below)
    value, binomial = above - SWITCH, np.ones_like(q)
    for k in range(TERMS):
        value = value + v ** (q + 1 + k) / (q + 1 + k)
        if k:
            binomial = -binomial * (q - k + 1) / k
            value = value - binomial * (np.exp(-k * above) - np.exp(-k * SWITCH)) / k
    return value


def _mean_exponential(z: Array) -> Array:
    """`(e^z − 1)/z`."""
    flat = np.abs(z) < 1e-300
    value: Array = np.where(flat, 1.0, np.expm1(z) / np.where(flat, 1.0, z))
    return value


def read_clock(y: Array, q: Array, time: Array, *, grows: bool) -> Array:
    """The y at which H has grown by `time`: Newton's method between bounds.

    Args:
        y: at the start, of each mode one, (n,).
        q: `1 − 2/L`, (n,).
        time: `L s^{1+q} t ≥ 0`.
        grows: whether modes lie below their targets.
    """
    goal = clock(y, q, grows=grows) + time
    first = np.minimum(_speed(y, q, grows=grows), 1.0)
    low, high = y, y + time / np.where(first > 0, first, 1.0)
    now = np.where(grows, high, low + time)
    left = np.arange(now.size)  # those that are not settled
    for _ in range(STEPS):
        at, rate, floor, roof = now[left], q[left], low[left], high[left]
        gap = clock(at, rate, grows=grows) - goal[left]
        floor, roof = np.where(gap < 0, at, floor), np.where(gap > 0, at, roof)
        new = at - gap / _speed(at, rate, grows=grows)
        new = np.where((new >= floor) & (new <= roof), new, (floor + roof) / 2)
        now[left], low[left], high[left] = new, floor, roof
        left = left[np.abs(new - at) > SETTLED * np.maximum(np.abs(at), 1.0)]
        if not left.size:
            break
    return now


def _speed(y: Array, q: Array, *, grows: bool) -> Array:
    """`dH/dy`."""
    value: Array = (1 + np.exp(-y) if grows else -np.expm1(-y)) ** q
    return value
