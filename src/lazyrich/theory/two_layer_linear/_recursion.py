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
SHRUNK = 0.1  # of the product of norms since UW was that of the weights: it is again
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
    ["f8,f8,f8,f8,f8,i8,f8,f8,f8[:],f8[:],f8[:],i8[:],f8[:],f8[:],f8[:],f8[:],f8[:],i8[:],i8[:]"],
    "(),(),(),(),(),(),(),(),(b),(b),(l),(s)->(s),(s),(s),(s),(s),(s),()",
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
    changes: Array,
    powers: Indices,
    diverged_at: Indices,
) -> None:
    """Step P, Q, R in units of the start; record `‖u‖², u·w, ‖w‖², 4R`, in units of `2^powers`.

    `h = slope · X u·w − push`; the modes scale by `m₁ = a − h` and `m₂ = a + h` and mix by
    `δ = ½(a_u − a_w)`, where `a` is what weight decay keeps. `X u·w` is carried beside P − Q,
    which replaces it wherever that difference does not cancel. So is the change of P + Q, by which
    the kernel changes, and of which a difference would leave nothing if it is small. Slopes and
    limits are in units that are larger by `2^-lag`.
    """
    mean, delta = 0.5 * (keep_u + keep_w), 0.5 * (keep_u - keep_w)
    diverged_at[0] = -1
    row, step, power, unit, change = 0, 0, 0, math.ldexp(1.0, lag), 0.0
    loss = (mean - 1.0) * (mean + 1.0) + delta * delta
    while row < len(recorded):
        if step == recorded[row]:
            total = p + q
            uu[row] = _squared_norm(total, r, inner, area)
            ww[row] = _squared_norm(total, -r, inner, area)
            uw[row] = inner
            balance[row], changes[row], powers[row] = 4.0 * r, change, power
            row += 1
        batch = step % len(slopes)
        h = slopes[batch] * unit * inner - pushes[batch]
        m1, m2 = mean - h, mean + h
        total, twice = p + q, 2.0 * r
        change += (loss + h * h) * total - 2.0 * mean * (h * inner - delta * twice)
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
            balance[row:], changes[row:], powers[row:] = np.inf, np.inf, 0
            return
        if p + q > FAR:  # a start that is tiny beside what the data ask for: a larger unit
            power += FAR_POWER
            unit = math.ldexp(1.0, lag + power)
            p, q, r, inner, area = p / FAR, q / FAR, r / FAR, inner / FAR, area / FAR
            change /= FAR


@njit(cache=True)
def _step_matrix(residual: Array, gamma: float, rates: Array, drops: Array, mu: float) -> Array:
    """`M − I` of one step, on Θ alone or, with momentum, on Θ and what it last fell by, `D V`."""
    k, n = len(residual), len(rates)
    gradient = np.zeros((n, n))
    gradient[:k, k:] = 2.0 * gamma * residual
    gradient[k:, :k] = 2.0 * gamma * residual.T
    size = 2 * n if mu > 0.0 else n
    matrix = np.zeros((size, size))
    for i in range(n):
        matrix[i, :n] = -rates[i] * gradient[i]
        matrix[i, i] -= drops[i]
        if mu > 0.0:
            matrix[n + i, :n] = -matrix[i, :n]
            matrix[i, n + i] = -mu
            matrix[n + i, n + i] = mu - 1.0
    return matrix


@njit(cache=True)
def _refresh(product: Array, reach: Array, u: Array, w: Array) -> None:
    """Take `UW` from `U` and `Wᵀ` where that has more digits, as in `_integrator.Motion`."""
    for i in range(len(u)):
        for j in range(len(w)):
            size = math.sqrt(np.sum(u[i] ** 2)) * math.sqrt(np.sum(w[j] ** 2))
            reach[i, j] = max(reach[i, j], size)
            direct = np.sum(u[i] * w[j])
            if abs(direct) > 0.5 * size or size < SHRUNK * reach[i, j]:
                product[i, j], reach[i, j] = direct, size


@njit(cache=True)
def factor_steps(
    start: Array,
    product: Array,
    gamma: float,
    rates: Array,
    drops: Array,
    mu: float,
    xx: Array,
    yx: Array,
    limits: Array,
    recorded: Indices,
) -> tuple[Array, Array, Array, Array, int]:
    """Step `Θ ← M Θ` and `Φ ← M Φ`; returns Θ, its change, UW and Φ, and where it diverged.

    A step adds `(M − I) Θ`, so that the change and `UW`, which Θ alone does not tell where layers
    are nearly orthogonal, keep the digits of their own size. After divergence all keep their last
    finite values.
    """
    (n, neurons), k = start.shape, len(product)
    size = 2 * n if mu > 0.0 else n
    both = np.zeros((size, neurons + n))  # Θ and Φ side by side, what they fell by below
    both[:n, :neurons], both[:n, neurons:] = start, np.eye(n)
    moved, reach = np.zeros((n, neurons)), np.zeros((k, n - k))
    thetas, changes = np.empty((len(recorded), n, neurons)), np.empty((len(recorded), n, neurons))
    products, phis = np.empty((len(recorded), k, n - k)), np.empty((len(recorded), n, n))
    row, step = 0, 0
    while True:
        if step == recorded[row]:
            thetas[row], phis[row] = both[:n, :neurons], both[:n, neurons:]
            changes[row], products[row] = moved, product
            row += 1
            if row == len(recorded):
                return thetas, changes, products, phis, -1
        batch = step % len(xx)
        residual = gamma * product @ xx[batch] - yx[batch]
        change = _step_matrix(residual, gamma, rates, drops, mu) @ both
        now = both + change
        step += 1
        uu, ww = np.sum(now[:k, :neurons] ** 2), np.sum(now[k:n, :neurons] ** 2)
        if not _finite(uu, ww, limits[0], limits[1], limits[2]):
            thetas[row:], phis[row:] = both[:n, :neurons], both[:n, neurons:]
            changes[row:], products[row:] = moved, product
            return thetas, changes, products, phis, step
        u, w = now[:k, :neurons].copy(), now[k:n, :neurons].copy()
        du, dw = change[:k, :neurons].copy(), change[k:n, :neurons].copy()
        product = product + du @ w.T + both[:k, :neurons].copy() @ dw.T
        _refresh(product, reach, u, w)
        moved += change[:n, :neurons]
        both = now
