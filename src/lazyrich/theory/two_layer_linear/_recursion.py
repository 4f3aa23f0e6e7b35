"""The inner loops of gradient descent, compiled by Numba."""

from __future__ import annotations

import math

import numpy as np
from numba import guvectorize, njit
from numpy.typing import NDArray

from lazyrich.numerics.exact import Array

Indices = NDArray[np.int64]

TOO_LARGE = 1e150  # its square, the loss, is about to overflow


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
    ["f8,f8,f8,f8,f8,f8,f8,f8[:],f8[:],i8[:],f8[:],f8[:],f8[:],i8[:]"],
    "(),(),(),(),(),(),(),(b),(b),(s)->(s),(s),(s),()",
    nopython=True,
    cache=True,
)  # type: ignore[untyped-decorator]
def line_steps(
    p: float,
    q: float,
    r: float,
    inner: float,
    area: float,
    keep_u: float,
    keep_w: float,
    slopes: Array,
    pushes: Array,
    recorded: Indices,
    uu: Array,
    uw: Array,
    ww: Array,
    diverged_at: Indices,
) -> None:
    """Step P, Q, R (natural units) and record `‖u‖², u·w, ‖w‖²` in the same units.

    `h = slope · X u·w − push`; the modes scale by `m₁ = a − h` and `m₂ = a + h` and mix by
    `δ = ½(a_u − a_w)`, where `a` is what weight decay keeps. `X u·w` is carried beside P − Q,
    which replaces it wherever that difference does not cancel.
    """
    mean, delta = 0.5 * (keep_u + keep_w), 0.5 * (keep_u - keep_w)
    diverged_at[0] = -1
    row, step = 0, 0
    while row < len(recorded):
        if step == recorded[row]:
            total = p + q
            uu[row] = _squared_norm(total, r, inner, area)
            ww[row] = _squared_norm(total, -r, inner, area)
            uw[row] = inner
            row += 1
        batch = step % len(slopes)
        h = slopes[batch] * inner - pushes[batch]
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
        if not p + q < TOO_LARGE:
            diverged_at[0] = step
            uu[row:], ww[row:] = np.inf, np.inf
            uw[row:] = np.inf if inner > 0 else -np.inf
            return


@njit(cache=True)
def _step_matrix(
    gram: Array, k: int, gamma: float, rates: Array, decays: Array, mu: float, xx: Array, yx: Array
) -> Array:
    """`M` of one step, on Θ alone or, with momentum, on Θ and its velocities."""
    n = len(rates)
    residual = gamma * np.ascontiguousarray(gram[:k, k:n]) @ xx - yx
    gradient = np.diag(decays)
    gradient[:k, k:] = 2.0 * gamma * residual
    gradient[k:, :k] = 2.0 * gamma * residual.T
    matrix = np.eye(len(gram))
    for i in range(n):
        matrix[i, :n] -= rates[i] * gradient[i]
    if len(gram) > n:
        matrix[n:, :n] = gradient
        for i in range(n):
            matrix[i, n + i] = -rates[i] * mu
            matrix[n + i, n + i] = mu
    return matrix


@njit(cache=True)
def gram_steps(
    gram: Array,
    k: int,
    gamma: float,
    rates: Array,
    decays: Array,
    mu: float,
    xx: Array,
    yx: Array,
    recorded: Indices,
) -> tuple[Array, Array, int]:
    """Step `G ← M G Mᵀ` and `Φ ← M Φ`; returns both where recorded, and where it diverged."""
    n = len(gram)
    size = 2 * n if mu > 0.0 else n
    state, phi = np.zeros((size, size)), np.zeros((size, n))
    state[:n, :n], phi[:n] = gram, np.eye(n)
    grams, phis = np.full((len(recorded), n, n), np.inf), np.full((len(recorded), n, n), np.inf)
    row, step = 0, 0
    while True:
        if step == recorded[row]:
            grams[row], phis[row] = state[:n, :n], phi[:n]
            row += 1
            if row == len(recorded):
                return grams, phis, -1
        batch = step % len(xx)
        matrix = _step_matrix(state, k, gamma, rates, decays, mu, xx[batch], yx[batch])
        state, phi = matrix @ state @ matrix.T, matrix @ phi
        step += 1
        if not np.trace(state[:n, :n]) < TOO_LARGE:
            return grams, phis, step
