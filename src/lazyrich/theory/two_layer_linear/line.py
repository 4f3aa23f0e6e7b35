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
    """The same problem without dimensions, in two units: powers of two make the change exact.

    The state, P, Q, R, is in units of `own`, in which the largest of `η_w‖u‖²` and `η_u‖w‖²` is of
    order one. What the data ask for is in units of `one`, in which the largest of these and of
    `X|u·w|` at the optimum is. Times are in units of `1/(A one)`. The state may be smaller than
    the float range of `one`, and is Scaled there.
    """

    p: Array
    q: Array
    r: Array
    root: Array  # √(PQ)
    area: Array  # √(PQ − R²) = ½X‖u‖‖w‖ sin
    inner: Array  # P − Q = X u·w
    drive: Array  # B/A, from here on in units of `one`
    growth: Array  # D/A = √((B/A)² + 4PQ)
    rate: Scaled  # A · one
    one: Scaled
    own: Scaled

    def scaled(self, value: Array) -> Scaled:
        """A number of the state, in units of `one`."""
        return Scaled.of(value).shifted(self.own.exponent - self.one.exponent)

    def in_one(self, value: Array) -> Array:
        """The same as a float, 0 where it is too small for one."""
        return self.scaled(value).value()


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
    own = np.maximum(alpha.exponent, beta.exponent)
    reach = np.where(drive.mantissa != 0, drive.exponent, own)
    unit = np.maximum(own, reach)

    one = Scaled(np.ones(()), unit)
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
    return NaturalUnits(
        p=np.where(towards, larger, smaller),
        q=np.where(towards, smaller, larger),
        r=r,
        root=root,
        area=area,
        inner=inner,
        drive=b_over_a,
        growth=np.hypot(b_over_a, Scaled(2 * root, own).over_power(unit)),
        rate=Scaled.of(4.0) * gamma * gamma * power * one,
        one=one,
        own=Scaled(np.ones(()), own),
    )


def stays_at_saddle(problem: LineProblem) -> NDArray[np.bool_]:
    """Whether the flow ends at `u = w = 0` although the data ask for more.

    The mode that the data make grow is exactly zero: P if `B > 0`, Q if `B < 0`.
    """
    units = natural_units(problem)
    growing = np.where(units.drive > 0, units.p, units.q)
    stuck: NDArray[np.bool_] = (units.drive != 0) & (growing == 0) & (units.rate.mantissa != 0)
    return stuck


class Modes(NamedTuple):
    """The mode that the data make grow, and the other one: P and Q if `B ≥ 0`, else Q and P."""

    forward: NDArray[np.bool_]
    growing: Scaled  # in units of `one`, as all that follows
    fading: Scaled
    wide: Array  # Y = D + B + 2Q of the growing mode
    narrow: Array  # Z = D − B + 2P of the other, over the growing mode itself: 2 + 4Q/(D + B)

    @classmethod
    def of(cls, units: NaturalUnits) -> Modes:
        """With `D − |B| = 4PQ/(D + |B|)` both are sums, and Z is a multiple of P."""
        forward = units.drive >= 0
        growing, fading = (
            units.scaled(np.where(forward, first, second))
            for first, second in ((units.p, units.q), (units.q, units.p))
        )
        wide, other = units.growth + np.abs(units.drive), fading.value()
        narrow = 2 + np.where(wide > 0, 4 * other / np.where(wide > 0, wide, 1.0), 0.0)
        return cls(forward, growing, fading, wide + 2 * other, narrow)


class Motion(NamedTuple):
    """Where the solution is at one time, in units of `one`."""

    along: Scaled  # Pχ
    across: Scaled  # Q/χ
    remaining: Array  # E = (f − f*)/(f₀ − f*)
    progress: Scaled  # 1 − E
    kernel_change: Array  # ((P + Q)(t) − (P + Q)(0))/(P + Q)(0), accurate when small
    log_chi: Array  # ln χ, accurate when small


def move(units: NaturalUnits, time: Array) -> Motion:
    """Solve the Riccati equation: `χ = ỹ/z̃`, `E = e/(ỹ z̃)` with `e = exp(−D t)`.

    `ỹ = e + g Y`, `z̃ = e + g Z` and `g = (1 − e)/(2D)`: sums of non-negative terms. Z is a multiple
    of the growing mode, which may be smaller than any float: what is needed is `z̃` over it.
    """
    modes, d = Modes.of(units), units.growth
    with np.errstate(all="ignore"):
        still = (units.p + units.q == 0) | (units.rate.mantissa == 0)
        t = np.where(still, 0.0, units.rate.times(time))
        exponent = np.where(d > 0, d * t, 0.0)
        quarter = np.exp(-0.25 * exponent)  # its fourth power may underflow
        e = quarter**4
        g = np.where(exponent > 1e-300, -np.expm1(-exponent) / (2 * d), 0.5 * t)
        rise = modes.growing.sqrt().sqrt() / Scaled.of(quarter)  # of the growing mode, e^{Dt}
        rise = rise * rise * rise * rise
        rise = Scaled(np.where(quarter == 0, np.inf, rise.mantissa), rise.exponent)
        gone = modes.growing.mantissa == 0
        rise = Scaled(np.where(gone, 0.0, rise.mantissa), rise.exponent)

        passed = np.where(modes.wide == 0, 0.0, g * modes.wide)
        first = e + passed  # ỹ
        lag = np.where(gone, np.inf, (Scaled.of(1.0) / rise).value())  # e over the growing mode
        swing = g * modes.narrow
        second = lag + swing  # z̃ over the growing mode
        ahead = np.where(lag > 1, 1 / (1 + swing / lag), lag / second)
        ahead = np.where(gone, 1.0, ahead)  # e/z̃
        share = np.where(gone, 0.0, np.where(np.isinf(swing), 1.0, swing / second))
        remaining = ahead / first
        late = np.where(lag > 1, e / ahead, modes.growing.value() * second)  # z̃
        slow = ~gone & (lag > 1e200)  # the growing mode is still far below all others
        grown = Scaled.of(np.where(gone, 0.0, first / second))
        grown = _choose(slow, rise * Scaled.of(first), grown)
        faded = modes.fading * Scaled.of(np.where(modes.fading.mantissa == 0, 0.0, late / first))

        gained = _gained(units, modes, g, remaining, passed / first, share, rise, slow, swing)
        change = _kernel_change(units, g, e, first, late)
        ratio = np.where(modes.forward, 1.0, -1.0)
        logs = np.log(first) - np.where(slow, np.log(late), modes.growing.log() + np.log(second))
        step = 2 * g * (np.abs(units.drive) - ratio * units.in_one(units.inner))  # ỹ − z̃
        near = np.abs(step) < 0.5 * late
        log_chi = ratio * np.where(near, np.log1p(step / late), logs)
    along, across = _choose(modes.forward, grown, faded), _choose(modes.forward, faded, grown)
    with np.errstate(all="ignore"):
        kernel = units.p + units.q
        total = (along.plus(across) / units.own * units.one).value()
        change = np.where(np.isfinite(change), change, (total - kernel) / kernel)
    return Motion(along, across, remaining, gained, change, log_chi)


def _choose(condition: NDArray[np.bool_], one: Scaled, other: Scaled) -> Scaled:
    return Scaled(
        np.where(condition, one.mantissa, other.mantissa),
        np.where(condition, one.exponent, other.exponent),
    )


def _gained(
    units: NaturalUnits,
    modes: Modes,
    g: Array,
    remaining: Array,
    passed: Array,
    share: Array,
    rise: Scaled,
    slow: NDArray[np.bool_],
    swing: Array,
) -> Scaled:
    """`1 − E = 2g(P + Q) E + (gY/ỹ)(gZ/z̃)`."""
    linear = units.scaled(units.p + units.q) * Scaled.of(2 * g * remaining)
    swept = _choose(slow, rise * Scaled.of(passed * swing), Scaled.of(passed * share))
    return _choose(remaining > 0.5, linear.plus(swept), Scaled.of(1 - remaining))


def _kernel_change(units: NaturalUnits, g: Array, e: Array, first: Array, late: Array) -> Array:
    """`Δ = 2s (B − A(P − Q)) ((P − Q)c + B(P + Q)s) / (y z)` over `P + Q`."""
    kernel = units.p + units.q
    force = 2 * g * (units.drive - units.in_one(units.inner))
    turned = units.inner * (0.5 * (1 + e)) + units.drive * g * kernel
    change: Array = (force / first) * ((turned / kernel) / late)
    return np.where(kernel > 0, change, 0.0)


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
    still = motion.progress.mantissa == 0
    change = np.where(still, 0.0, np.abs(motion.kernel_change))
    return LineSolution(uu, uw.value(), ww, motion.remaining, change)


def _inner_product(problem: LineProblem, units: NaturalUnits, motion: Motion) -> Scaled:
    """`u·w`, as the difference `Pχ − Q/χ` or as a mean of start and optimum, whichever is sharper.

    The mean `(1 − E) u·w* + E u·w₀` cancels only where the output crosses zero; the difference
    only where the layers are nearly orthogonal.
    """
    x = (Scaled.of(problem.lr_u) * Scaled.of(problem.lr_w)).sqrt()
    optimum = Scaled.of(problem.mean_ay) / (
        Scaled.of(problem.output_scale) * Scaled.of(problem.mean_aa)
    )
    start, still = Scaled.of(problem.uw), motion.progress.mantissa == 0
    nothing = Scaled.of(np.zeros(()))
    gain = _choose(still, nothing, optimum * motion.progress)
    rest = _choose(motion.remaining == 0, nothing, start * Scaled.of(motion.remaining))

    unit = units.one / x
    size = _magnitude(gain).plus(_magnitude(rest))
    sharper = ((motion.along.plus(motion.across) * unit) / size).value() < 1
    backwards = Scaled(-motion.across.mantissa, motion.across.exponent)
    difference = motion.along.plus(backwards) * unit
    return _choose(still, start, _choose(sharper, difference, gain.plus(rest)))


def _magnitude(value: Scaled) -> Scaled:
    return Scaled(np.abs(value.mantissa), value.exponent)


def _squared_norm(
    own: tuple[Array, Array],
    other: tuple[Array, Array],
    uw: Scaled,
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
    total = motion.along.plus(motion.across)
    plain = (total.plus(units.scaled(2 * r)) * units.one / Scaled.of(other_lr)).value()
    parallel = Scaled.of(own_lr) / units.one * uw * uw
    share = 0.5 * (units.p + units.q + 2 * np.abs(r)) / (units.root + np.abs(r))
    along = (parallel / total.plus(units.scaled(2 * units.root))).value()
    cancelling = along + start * sine_squared * share
    still = motion.progress.mantissa == 0
    return np.where(still, start, np.where(r >= 0, plain, cancelling))


def propagate(problem: LineProblem, time: Array) -> Array:
    """The matrix `Φ(t)` with `(u, w)(t) = Φ(t) (u, w)(0)` for every neuron, shape (..., 2, 2).

    The modes `√η_w u ± √η_u w` scale as `χ^{±½}`, so that `Φ = [[c, η_u h], [η_w h, c]]` with
    `c = cosh(½ ln χ)` and `h = sinh(½ ln χ)/X`; if a layer is frozen, `h = Δ(u·w)/(4P)`.
    """
    half_log = 0.5 * move(natural_units(problem), time).log_chi
    with np.errstate(all="ignore"):
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
    `YZ ε s² + 2((P + Q)ε − D)s − 1 = 0` where `ε = E/(1 − E)`, and `e^{Dt} = 1 + 2Ds`.
    """
    units = natural_units(problem)
    modes, d = Modes.of(units), units.growth
    with np.errstate(all="ignore"):
        odds = remaining / (1 - remaining)
        half = units.in_one(units.p + units.q) * odds - d
        product = modes.growing * Scaled.of(modes.wide) * Scaled.of(modes.narrow)
        product = product * Scaled.of(odds)  # YZ ε
        root = np.hypot(half, product.sqrt().value())
        direct = half > 0
        log_s = np.where(direct, -np.log(half + root), np.log(root - half) - product.log())
        s = np.where(direct, 1 / (half + root), (Scaled.of(root - half) / product).value())
        x = 2 * d * s
        t = np.where(x > 1e-300, np.log1p(x) / d, 2 * s)
        t = np.where((d > 0) & (x > 1e100), (np.log(2 * d) + log_s) / d, t)
        reached = (units.p + units.q > 0) & (units.rate.mantissa > 0) & np.isfinite(log_s)
        time = (Scaled.of(t) / units.rate).value()
    return np.where(remaining == 1, 0.0, np.where(reached, time, np.inf))
