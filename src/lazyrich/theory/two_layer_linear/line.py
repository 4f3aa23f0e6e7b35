"""Gradient flow on one-dimensional data, in closed form at any width.

With `P, Q, R = ¼(η_w‖u‖² + η_u‖w‖² ± 2X u·w), ¼(η_w‖u‖² − η_u‖w‖²)`, `X = √(η_u η_w)`,
`A = 4γ²E[a²]` and `B = 4γX E[ay]`, the modes `√η_w u ± √η_u w` grow and shrink as `√χ` and `1/√χ`
with `χ' = −A P χ² + B χ + A Q`, a Riccati equation; `R` is conserved. (P, Q, R carry a factor
`η_u η_w` more and `A` one less than in the paper, so that a layer may be frozen, `η = 0`.)

Everything here is NumPy on broadcast arrays. Nothing large is ever subtracted from anything large:
each returned number is good to about 1e-14 relative wherever the problem itself is well posed.

References:
    Xu & Ziyin, arXiv:2401.07085 (the solution); the stable forms are derived in the documentation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazyrich.numerics.exact import Array, Scaled, difference_of_products


class LineProblem(NamedTuple):
    """State, network and data as broadcast arrays."""

    uu: Array
    uw: Array
    ww: Array
    sine_squared: Array
    output_scale: Array
    lr_u: Array
    lr_w: Array
    mean_aa: Array
    mean_ay: Array


class NaturalUnits(NamedTuple):
    """The same problem without dimensions: P, Q, R, B/A in units of `2^unit`.

    `unit` is chosen so that the largest of `η_w‖u‖²`, `η_u‖w‖²` and `X|u·w|` at the optimum is of
    order one; powers of two make the change exact. Times are in units of `1/(A 2^unit)`.
    """

    p: Array
    q: Array
    r: Array
    root: Array  # √(PQ)
    area: Array  # √(PQ − R²) = ½X‖u‖‖w‖ sin
    inner: Array  # P − Q = X u·w
    drive: Array  # B/A
    growth: Array  # D/A = √((B/A)² + 4PQ)
    rate: Scaled  # A · 2^unit
    one: Scaled  # 2^unit


def natural_units(problem: LineProblem) -> NaturalUnits:
    """Choose units in which nothing overflows, and form P, Q, R without cancellation."""
    u2, w2 = Scaled.of(problem.uu), Scaled.of(problem.ww)
    eta_u, eta_w = Scaled.of(problem.lr_u), Scaled.of(problem.lr_w)
    gamma, signal = Scaled.of(problem.output_scale), Scaled.of(problem.mean_ay)
    power = Scaled.of(problem.mean_aa)
    x = (eta_u * eta_w).sqrt()
    alpha, beta = u2 * eta_w, w2 * eta_u
    with np.errstate(divide="ignore", invalid="ignore"):
        drive = x * signal / (gamma * power)  # X times the optimal u·w
    moves = (gamma.mantissa != 0) & (power.mantissa != 0)
    drive = Scaled(np.where(moves, drive.mantissa, 0.0), drive.exponent)
    reach = np.where(drive.mantissa != 0, drive.exponent, alpha.exponent)
    unit = np.maximum(np.maximum(alpha.exponent, beta.exponent), reach)

    one = Scaled(np.ones(()), unit)
    own = np.maximum(alpha.exponent, beta.exponent)  # the state's unit: its squares stay in range
    a, b, inner = (part.over_power(own) for part in (alpha, beta, x * Scaled.of(problem.uw)))
    half_u, half_w = Scaled(u2.mantissa, alpha.exponent), Scaled(w2.mantissa, beta.exponent)
    r = 0.25 * difference_of_products(
        half_u.over_power(own), eta_w.mantissa, half_w.over_power(own), eta_u.mantissa
    )
    area = 0.5 * np.sqrt(a) * np.sqrt(b) * np.sqrt(problem.sine_squared)
    root = np.hypot(r, area)
    larger = 0.25 * (a + b) + 0.5 * np.abs(inner)
    smaller = root * (root / np.where(larger > 0, larger, 1.0))
    towards = inner >= 0
    b_over_a = drive.over_power(unit)

    def in_units(value: Array) -> Array:
        return Scaled(value, own).over_power(unit)

    return NaturalUnits(
        p=in_units(np.where(towards, larger, smaller)),
        q=in_units(np.where(towards, smaller, larger)),
        r=in_units(r),
        root=in_units(root),
        area=in_units(area),
        inner=in_units(inner),
        drive=b_over_a,
        growth=np.hypot(b_over_a, 2 * in_units(root)),
        rate=Scaled.of(4.0) * gamma * gamma * power * one,
        one=one,
    )


def stays_at_saddle(problem: LineProblem) -> NDArray[np.bool_]:
    """Whether the flow ends at `u = w = 0` although the data ask for more.

    The mode that the data make grow is exactly zero: P if `B > 0`, Q if `B < 0`.
    """
    units = natural_units(problem)
    growing = np.where(units.drive > 0, units.p, units.q)
    stuck: NDArray[np.bool_] = (units.drive != 0) & (growing == 0) & (units.rate.mantissa != 0)
    return stuck


def riccati_coefficients(units: NaturalUnits) -> tuple[Array, Array]:
    """`Y = D + B + 2AQ` and `Z = D − B + 2AP`, with `D ∓ |B| = 4A²PQ/(D + |B|)`."""
    wide = units.growth + np.abs(units.drive)
    turn = 2 * units.root
    narrow = np.where(wide > 0, turn * (turn / wide), 0.0)
    forward = units.drive >= 0
    y = np.where(forward, wide, narrow) + 2 * units.q
    z = np.where(forward, narrow, wide) + 2 * units.p
    return y, z


class Motion(NamedTuple):
    """Where the solution is at one time, in natural units."""

    along: Array  # Pχ
    across: Array  # Q/χ
    remaining: Array  # E = (f − f*)/(f₀ − f*)
    progress: Array  # 1 − E
    growth_of_norms: Array  # Δ = (P + Q)(t) − (P + Q)(0), accurate when small
    y: Array  # χ = y/z
    z: Array
    difference: Array  # y − z, accurate when small


def move(units: NaturalUnits, time: Array) -> Motion:
    """Solve the Riccati equation: `χ = ỹ/z̃`, `E = e/(ỹ z̃)` with `e = exp(−D t)`.

    `ỹ = e + g Y`, `z̃ = e + g Z` and `g = (1 − e)/(2D)`: sums of non-negative terms.
    """
    p, q, drive, d = units.p, units.q, units.drive, units.growth
    with np.errstate(all="ignore"):
        still = (p + q == 0) | (units.rate.mantissa == 0)
        t = np.where(still, 0.0, units.rate.times(time))
        exponent = np.where(d > 0, d * t, 0.0)
        half = np.exp(-0.5 * exponent)  # its square may underflow
        e = half * half
        g = np.where(exponent > 1e-300, -np.expm1(-exponent) / (2 * d), 0.5 * t)
        big_y, big_z = riccati_coefficients(units)
        y = e + np.where(big_y == 0, 0.0, g * big_y)
        z = e + np.where(big_z == 0, 0.0, g * big_z)
        chi = np.where(y == z, 1.0, y / z)
        along = np.where(p == 0, 0.0, p * chi)
        across = np.where(q == 0, 0.0, q / chi)
        # E = e/(ỹ z̃);  1 − E = 2g(P + Q) E + (gY/ỹ)(gZ/z̃)
        fading = np.where(big_y == 0, 1 / z, (half / y) * (half / z))
        remaining = np.where(big_z == 0, 1 / y, fading)
        swept = np.where(big_y * big_z == 0, 0.0, (g * big_y / y) * (g * big_z / z))
        gained = 2 * g * (p + q) * remaining + swept
        progress = np.where(remaining > 0.5, gained, 1 - remaining)
        # Δ = 2s (B − A(P − Q)) ((P − Q)c + B(P + Q)s) / (y z);  y − z = 2s (B − A(P − Q))
        force = 2 * g * (drive - units.inner)
        change = (force / y) * ((units.inner * (0.5 * (1 + e)) + drive * (p + q) * g) / z)
        change = np.where(np.isfinite(change), change, along + across - p - q)
    return Motion(along, across, remaining, progress, change, y, z, force)


class LineSolution(NamedTuple):
    """The network at one time."""

    uu: Array
    uw: Array
    ww: Array
    remaining: Array
    ntk_change: Array


def solve(problem: LineProblem, time: Array) -> LineSolution:
    """The exact state at `time` (0 to infinity), broadcast against the problem."""
    units = natural_units(problem)
    motion = move(units, time)
    u, w = (problem.uu, problem.lr_u), (problem.ww, problem.lr_w)
    with np.errstate(all="ignore"):
        uw = _inner_product(problem, units, motion)
        uu = _squared_norm(u, w, uw, units.r, problem.sine_squared, units, motion)
        ww = _squared_norm(w, u, uw, -units.r, problem.sine_squared, units, motion)
        kernel = units.p + units.q
        change = np.abs(np.where(kernel > 0, motion.growth_of_norms / kernel, 0.0))
    return LineSolution(uu, uw, ww, motion.remaining, change)


def _inner_product(problem: LineProblem, units: NaturalUnits, motion: Motion) -> Array:
    """`u·w`, as the difference `Pχ − Q/χ` or as a mean of start and optimum, whichever is sharper.

    The mean `(1 − E) u·w* + E u·w₀` cancels only where the output crosses zero; the difference
    only where the layers are nearly orthogonal.
    """
    x = (Scaled.of(problem.lr_u) * Scaled.of(problem.lr_w)).sqrt()
    optimum = Scaled.of(problem.mean_ay) / (
        Scaled.of(problem.output_scale) * Scaled.of(problem.mean_aa)
    )
    gain = np.where(motion.progress == 0, 0.0, optimum.times(motion.progress))
    rest = np.where(motion.remaining == 0, 0.0, motion.remaining * problem.uw)

    unit = units.one / x
    sharper = unit.times(motion.along + motion.across) < np.abs(gain) + np.abs(rest)
    moved = np.where(sharper, unit.times(motion.along - motion.across), gain + rest)
    return np.where(motion.progress == 0, problem.uw, moved)


def _squared_norm(
    own: tuple[Array, Array],
    other: tuple[Array, Array],
    uw: Array,
    r: Array,
    sine_squared: Array,
    units: NaturalUnits,
    motion: Motion,
) -> Array:
    """A layer's `‖·‖²` from (norm, learning rate) of both layers at the start; `r` is ±R.

    `η_w‖u‖² = Pχ + Q/χ + 2R`. If `R < 0` this cancels, and becomes
    `(√(Pχ) − √(Q/χ))² + 2(√(PQ) − |R|)`, each part rewritten as a quotient of positive terms:
    what lies along the other layer, and what is left of the part of the start across it.
    """
    (start, own_lr), (_, other_lr) = own, other
    total = motion.along + motion.across
    plain = (units.one / Scaled.of(other_lr)).times(total + 2 * r)
    parallel = (Scaled.of(own_lr) / units.one).sqrt().times(uw)
    share = 0.5 * (units.p + units.q + 2 * np.abs(r)) / (units.root + np.abs(r))
    cancelling = parallel * (parallel / (total + 2 * units.root)) + start * sine_squared * share
    return np.where(motion.progress == 0, start, np.where(r >= 0, plain, cancelling))


def propagate(problem: LineProblem, time: Array) -> Array:
    """The matrix `Φ(t)` with `(u, w)(t) = Φ(t) (u, w)(0)` for every neuron, shape (..., 2, 2).

    The modes `√η_w u ± √η_u w` scale as `χ^{±½}`, so that `Φ = [[c, η_u h], [η_w h, c]]` with
    `c = cosh(½ ln χ)` and `h = sinh(½ ln χ)/X`; if a layer is frozen, `h = Δ(u·w)/(4P)`.
    """
    motion = move(natural_units(problem), time)
    y, z, difference = motion.y, motion.z, motion.difference
    with np.errstate(all="ignore"):
        near = np.abs(difference) < 0.5 * z
        half_log = 0.5 * np.where(near, np.log1p(difference / z), np.log(y) - np.log(z))
        x = (Scaled.of(problem.lr_u) * Scaled.of(problem.lr_w)).sqrt().value()
        reach = problem.lr_w * problem.uu + problem.lr_u * problem.ww
        frozen = (solve(problem, time).uw - problem.uw) / np.where(reach > 0, reach, 1.0)
        h = np.where(x > 0, np.sinh(half_log) / x, frozen)
    c = np.cosh(half_log)
    rows = [[c, problem.lr_u * h], [problem.lr_w * h, c]]
    return np.stack([np.stack(np.broadcast_arrays(*row), -1) for row in rows], -2)


def time_to_reach(problem: LineProblem, remaining: Array) -> Array:
    """The time at which the residual has shrunk to `remaining` of its start; infinite if never.

    With `s = (1 − e)/(2De)` the equation `ỹ z̃ = e/E` is quadratic:
    `YZ s² + 2(P + Q − D n)s − n = 0` where `n = 1/E − 1`, and `e^{Dt} = 1 + 2Ds`.
    """
    units = natural_units(problem)
    p, q, d = units.p, units.q, units.growth
    with np.errstate(all="ignore"):
        n = 1 / remaining - 1
        big_y, big_z = riccati_coefficients(units)
        half = p + q - d * n
        root = np.sqrt(half * half + big_y * big_z * n)
        s = np.where(half > 0, n / (half + root), (root - half) / (big_y * big_z))
        x = 2 * d * s
        t = np.where(x > 1e-300, np.log1p(x) / d, 2 * s)
        reached = (p + q > 0) & (units.rate.mantissa > 0) & np.isfinite(s)
        time = (Scaled.of(t) / units.rate).value()
    return np.where(n == 0, 0.0, np.where(reached, time, np.inf))
