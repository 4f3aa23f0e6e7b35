"""The inner loops of gradient descent, compiled by Numba."""

from __future__ import annotations

import math

import numpy as np
from numba import guvectorize, njit
from numpy.typing import NDArray

from lazyrich.numerics.exact import Array

Indices = NDArray[np.int64]

FAR_POWER = 300
FAR = 2.0**FAR_POWER
LARGEST = 1e307  # of a squared norm and of the loss: from there they overflow


@njit(cache=True)
def _finite(uu: float, ww: float, norm_u: float, norm_w: float, product: float) -> bool:
    """Whether both squared norms and the loss that they allow are below their limits."""
    return uu < norm_u and ww < norm_w and math.sqrt(uu) * math.sqrt(ww) < product


@njit(cache=True)
def _squared_norm(total: float, r: float, inner: float, area: float) -> float:
    """`P + Q + 2R`; if `R < 0` without cancellation, as in `line._squared_norm`."""
    if r >= 0.0:
        return total + 2.0 * r
    root = math.hypot(area, r)
    across = root - r
    if across == 0.0:
        return total
    return inner * (inner / (total + 2.0 * root)) + 2.0 * area * (area / across)


@guvectorize(
    ["f8,f8,f8,f8,f8,i8,f8,f8,f8[:],f8[:],f8[:],i8[:],f8[:],f8[:],f8[:],f8[:],i8[:],i8[:]"],
    "(),(),(),(),(),(),(),(),(b),(b),(l),(s)->(s),(s),(s),(s),(s),()",
    nopython=True,
    cache=True,
)  # type: ignore[untyped-decorator]
def line_steps(
    p: float,
    q: float,
    r: float,
    inner: float,
    area: float,
    lag: int,
    keep_u: float,
    keep_w: float,
    slopes: Array,
    pushes: Array,
    limits: Array,
    recorded: Indices,
    uu: Array,
    uw: Array,
    ww: Array,
    balance: Array,
    powers: Indices,
    diverged_at: Indices,
) -> None:
    """Step P, Q, R in units of the start; record `‖u‖², u·w, ‖w‖², 4R` in units of `2^powers`.

    `h = slope · X u·w − push`; the modes scale by `m₁ = a − h` and `m₂ = a + h` and mix by
    `δ = ½(a_u − a_w)`, where `a` is what weight decay keeps. `X u·w` is carried beside P − Q,
    which replaces it wherever that difference does not cancel. Slopes and limits are in units
    that are larger by `2^-lag`.
    """
    mean, delta = 0.5 * (keep_u + keep_w), 0.5 * (keep_u - keep_w)
    diverged_at[0] = -1
    row, step, power, unit = 0, 0, 0, math.ldexp(1.0, lag)
    while row < len(recorded):
        if step == recorded[row]:
            total = p + q
            uu[row] = _squared_norm(total, r, inner, area)
            ww[row] = _squared_norm(total, -r, inner, area)
            uw[row] = inner
            balance[row], powers[row] = 4.0 * r, power
            row += 1
        batch = step % len(slopes)
        h = slopes[batch] * unit * inner - pushes[batch]
        m1, m2 = mean - h, mean + h
        total, twice = p + q, 2.0 * r
        inner = (keep_u * keep_w + h * h) * inner - h * (
            keep_u * (total + twice) + keep_w * (total - twice)
        )
        p, q, r = (
            m1 * m1 * p + delta * (m1 * twice + delta * q),
            m2 * m2 * q + delta * (m2 * twice + delta * p),
            (m1 * m2 + delta * delta) * r + delta * (m1 * p + m2 * q),
        )
        area *= abs(m1 * m2 - delta * delta)
        if abs(p - q) > 0.5 * (p + q):
            inner = p - q
        step += 1
        own_u, own_w = max(p + q + 2.0 * r, 0.0), max(p + q - 2.0 * r, 0.0)
        if not _finite(own_u * unit, own_w * unit, limits[0], limits[1], limits[2]):
            diverged_at[0] = step
            uu[row:], uw[row:], ww[row:] = np.inf, np.inf, np.inf
            balance[row:], powers[row:] = np.inf, 0
            return
        if p + q > FAR:  # a start that is tiny beside what the data ask for: a larger unit
            power += FAR_POWER
            unit = math.ldexp(1.0, lag + power)
            p, q, r, inner, area = p / FAR, q / FAR, r / FAR, inner / FAR, area / FAR


@njit(cache=True)
def _step_matrix(
    theta: Array, k: int, gamma: float, rates: Array, decays: Array, mu: float, xx: Array, yx: Array
) -> Array:
    """`M` of one step, on Θ alone or, with momentum, on Θ and its velocities."""
    n = len(rates)
    residual = gamma * theta[:k] @ theta[k:n].T @ xx - yx
    gradient = np.diag(decays)
    gradient[:k, k:] = 2.0 * gamma * residual
    gradient[k:, :k] = 2.0 * gamma * residual.T
    matrix = np.eye(len(theta))
    for i in range(n):
        matrix[i, :n] -= rates[i] * gradient[i]
    if len(theta) > n:
        matrix[n:, :n] = gradient
        for i in range(n):
            matrix[i, n + i] = -rates[i] * mu
            matrix[n + i, n + i] = mu
    return matrix


@njit(cache=True)
def factor_steps(
    start: Array,
    k: int,
    gamma: float,
    rates: Array,
    decays: Array,
    mu: float,
    xx: Array,
    yx: Array,
    limits: Array,
    recorded: Indices,
) -> tuple[Array, Array, int]:
    """Step `Θ ← M Θ` and `Φ ← M Φ`; returns both where recorded, and where it diverged.

    After divergence they keep their last finite values.
    """
    n, neurons = start.shape
    size = 2 * n if mu > 0.0 else n
    both = np.zeros((size, neurons + n))  # Θ and Φ side by side, velocities below
    both[:n, :neurons], both[:n, neurons:] = start, np.eye(n)
    thetas, phis = np.empty((len(recorded), n, neurons)), np.empty((len(recorded), n, n))
    row, step = 0, 0
    while True:
        if step == recorded[row]:
            thetas[row], phis[row] = both[:n, :neurons], both[:n, neurons:]
            row += 1
            if row == len(recorded):
                return thetas, phis, -1
        theta = np.ascontiguousarray(both[:, :neurons])
        batch = step % len(xx)
        moved = _step_matrix(theta, k, gamma, rates, decays, mu, xx[batch], yx[batch]) @ both
        step += 1
        uu, ww = np.sum(moved[:k, :neurons] ** 2), np.sum(moved[k:n, :neurons] ** 2)
        if not _finite(uu, ww, limits[0], limits[1], limits[2]):
            thetas[row:], phis[row:] = both[:n, :neurons], both[:n, neurons:]
            return thetas, phis, step
        both = moved
