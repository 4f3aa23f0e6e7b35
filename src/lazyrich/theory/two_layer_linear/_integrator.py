"""Integrate `Θ̇ = N Θ` on general data: explicitly while that is cheap, implicitly from there on.

Directions of the inputs that vary little are learned slowly, those that vary much are at rest long
before. An explicit method then keeps stepping at the pace of what is at rest. The implicit one
extrapolates Euler steps and grows them with the time that has passed, so that any time, infinity
included, costs some hundred steps.

The weights alone do not tell their product where layers are nearly orthogonal, as wide ones are:
`UW` is a variable of its own beside Θ, and so is what Θ has moved by. With the gap to the best map
`g = γUW − B`, in the principal directions of the inputs, the residual is `R = g Λ`. While the slow
directions move, R in the fast ones is small and held by a balance, not by `g`, in whose rounding
error it would drown. So R is a variable of its own, `R = g Λ` a constraint, and a step of size h
from `(Θ, R)` solves for `(δΘ, δR)`

    (I − hN) δΘ = hN Θ + h δN Θ,        δR = g Λ − R + γ(δU W + U δW) Λ .

References:
    E. Hairer & G. Wanner, Solving Ordinary Differential Equations II, IV.9 (extrapolation).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.integrate import DOP853

from lazyrich.numerics.exact import Array

EXPLICIT_STEPS = 3000
STIFF_STEPS = 50  # that are as long as stability allows: the rest is implicit, if it is long
STABLE = 3.0  # a step times the fastest rate: half of what the explicit method bears
RTOL, ATOL = 1e-12, 1e-14  # of the explicit steps; ATOL relative to the norm of the column
TOLERANCE = 3e-13  # of an implicit step, relative to each column and layer
ORDERS = 10  # Euler steps of h/2, h/4 … h/20: fast directions do not bear a single long one
GROWING = 8  # orders with which a step may still grow: large steps of high order cost least
GIVE_UP = 1e6  # times the tolerance: more orders do not help
IMPLICIT_STEPS = 20_000
LEAST_SHARE = 1e-16  # of the layers' sizes: what their product ends at where the data ask for 0
FASTEST = 1e126  # a product's velocity over the size that counts: it and its square are floats
SHRUNK = 0.1  # of their largest product: norms by whose part `UW` is known better
NEGLIGIBLE = 1e-20  # of its largest size: what is left of a layer that has died
LONG = 1e200  # units of time: infinity
GAP_ROUNDING, MOTION_ROUNDING = 4 * np.finfo(float).eps, 32 * np.finfo(float).eps


class Course(NamedTuple):
    """Where the weights are, each with the digits of its own size.

    `UW` is known to a part of `reach`, from the weights to the same part of `‖U_i‖‖W_j‖` now.
    """

    theta: Array
    moved: Array  # by how much Θ has changed since the start
    product: Array  # U W
    reach: Array  # the largest ‖U_i‖‖W_j‖ since UW was that of the weights

    def refreshed(self, outputs: int, columns: int) -> Course:
        """The same; `UW` is that of the weights where it is no small difference or they shrank."""
        u, w = _layers(self.theta, outputs, columns)
        direct = u @ w.T
        sizes = np.linalg.norm(u, axis=1)[:, None] * np.linalg.norm(w, axis=1)
        reach = np.maximum(self.reach, sizes)
        better = (np.abs(direct) > 0.5 * sizes) | (sizes < SHRUNK * reach)
        product = np.where(better, direct, self.product)
        return self._replace(product=product, reach=np.where(better, sizes, reach))

    def plus(self, step: Array, outputs: int, columns: int) -> Course:
        """After a step of Θ."""
        (du, dw), u = _layers(step, outputs, columns), self.theta[:outputs, :columns]
        theta = self.theta + step
        product = self.product + du @ theta[outputs:, :columns].T + u @ dw.T
        return Course(theta, self.moved + step, product, self.reach).refreshed(outputs, columns)


def _layers(theta: Array, outputs: int, columns: int) -> tuple[Array, Array]:
    """`U` and `Wᵀ`."""
    return theta[:outputs, :columns], theta[outputs:, :columns]


class Equation(NamedTuple):
    """What moves the weights, in principal directions of the inputs and units of order one.

    `columns` of Θ are the neurons; any that follow are carried along by the same N.
    """

    outputs: int
    columns: int
    scale: float  # γ
    rate_u: float  # −2γη_u
    rate_w: float
    best: Array  # (k, m)
    powers: Array  # Λ, (m,)

    def generator(self, residual: Array) -> Array:
        """`N`, from the residual `R`."""
        k, n = self.outputs, sum(residual.shape)
        matrix = np.zeros((n, n))
        matrix[:k, k:], matrix[k:, :k] = self.rate_u * residual, self.rate_w * residual.T
        return matrix

    def layers(self, theta: Array) -> tuple[Array, Array]:
        """`U` and `Wᵀ`."""
        return _layers(theta, self.outputs, self.columns)

    def gap(self, product: Array) -> Array:
        """`γUW − B`; zero where it is rounding."""
        gap = self.scale * product - self.best
        rounding = GAP_ROUNDING * (np.abs(self.scale * product) + np.abs(self.best))
        return np.where(np.abs(gap) > rounding, gap, 0.0)

    def at_rest(self, now: Course) -> bool:
        """Whether nothing moves, up to rounding."""
        generator, neurons = self.generator(self.gap(now.product) * self.powers), self.columns
        rounding = MOTION_ROUNDING * (np.abs(generator) @ np.abs(now.theta[:, :neurons]))
        return bool((np.abs(generator @ now.theta[:, :neurons]) <= rounding).all())

    def fastest(self, theta: Array) -> float:
        """A bound on the rate at which a gap closes."""
        u, w = self.layers(theta)
        of_u = abs(self.rate_w) * np.linalg.norm(u, 2) ** 2 * self.powers.max()
        of_w = abs(self.rate_u) * np.linalg.norm(w * np.sqrt(self.powers)[:, None], 2) ** 2
        return abs(self.scale) * float(of_u + of_w)

    def gap_change(self, theta: Array, step: Array) -> Array:
        """By how much the gap changes with a `step` of Θ."""
        (u, w), (du, dw) = self.layers(theta), self.layers(step)
        return self.scale * (du @ (w + dw).T + u @ dw.T)


def integrate(equation: Equation, start: Course, times: Array) -> tuple[list[Course], float | None]:
    """The motion at increasing `times`, which may end at infinity, and where it stopped, if it did.

    After that it is missing.
    """
    found: list[Course] = []
    now, t, step = start, 0.0, 0.0
    for solver in _explicit(equation, start, times):
        far = now.reach
        now = _unpacked(solver.y, start)._replace(reach=far).refreshed(*equation[:2])
        now = now._replace(reach=np.maximum(far, now.reach))  # what the solver goes on with
        t, step = solver.t, solver.step_size
        if t == times[len(found)]:
            found.append(now)
    residual = equation.gap(now.product) * equation.powers
    stopped = None
    for end in times[len(found) :]:
        if stopped is None:
            now, residual, step, t = _implicit(equation, now, residual, t, float(end), step)
            stopped = t if t < end else None
        gone = Course(*(np.full_like(part, np.nan) for part in now))
        found.append(now if stopped is None else gone)
    return found, stopped


def _packed(motion: Course) -> Array:
    return np.concatenate([part.ravel() for part in motion[:3]])


def _unpacked(flat: Array, like: Course) -> Course:
    size = like.theta.size
    theta, moved, product = np.split(flat, [size, 2 * size])
    shape = like.theta.shape
    product = product.reshape(like.product.shape)
    return Course(theta.reshape(shape), moved.reshape(shape), product, like.reach)


def _explicit(equation: Equation, start: Course, times: Array) -> Iterator[DOP853]:
    """The explicit solver after each of its steps, as many as are cheap; it stops at all times."""

    def velocity(_: float, flat: Array) -> Array:
        now = _unpacked(flat, start)
        residual = (equation.scale * now.product - equation.best) * equation.powers
        speed = equation.generator(residual) @ now.theta
        (u, w), (du, dw) = equation.layers(now.theta), equation.layers(speed)
        return _packed(Course(speed, speed, du @ w.T + u @ dw.T, now.reach))

    flat = _packed(start)
    speed = float(np.abs(_unpacked(velocity(0.0, flat), start).product).max())
    atol = _tolerances(equation, start, speed)
    solver = DOP853(velocity, 0.0, flat, times[0], rtol=RTOL, atol=atol)
    ends, stiff = iter(times[1:]), 0
    patience = equation.best.size**2 / 4  # explicit steps that cost what the implicit ones do
    for _ in range(EXPLICIT_STEPS + int(patience)):
        solver.step()
        if solver.status == "failed":
            return
        yield solver
        now = _unpacked(solver.y, start)
        stiff += solver.step_size * equation.fastest(now.theta) > STABLE
        left = (times[-1] - solver.t) / max(solver.step_size, np.finfo(float).tiny)
        if (stiff > STIFF_STEPS and left > patience) or equation.at_rest(now):
            return
        if solver.status == "finished":
            end = next(ends, None)
            if end is None:
                return
            solver.t_bound, solver.status = end, "running"


def _tolerances(equation: Equation, start: Course, speed: float) -> Array:
    """What counts as nothing: of what layers that hardly move move by, a part of that.

    Args:
        equation: the same as there.
        start: the same as there.
        speed: initial speed of the product, which leaves its size at once where a layer starts at
            zero.
    """
    u, w = equation.layers(start.theta)
    sizes = abs(equation.scale) * float(np.linalg.norm(u) * np.linalg.norm(w))

    def share(of: Array) -> float:
        size = float(np.abs(of).max())
        return (size or LEAST_SHARE * sizes) / sizes if size < sizes else 1.0

    columns = np.broadcast_to(np.linalg.norm(start.theta, axis=0), start.theta.shape)
    way = share(equation.scale * start.product - equation.best)
    product = max(share(equation.best) * sizes / abs(equation.scale), speed / FASTEST)
    products = np.full_like(start.product, product)
    floors = _packed(Course(columns, way * columns, products, start.reach))
    return np.maximum(ATOL * floors, np.finfo(float).tiny)


def _implicit(
    equation: Equation, now: Course, residual: Array, t: float, end: float, step: float
) -> tuple[Course, Array, float, float]:
    """Extrapolated implicit steps until `end`: the motion, R, the next step, the time reached."""
    largest = _sizes(equation, now.theta)
    unit = 1 / max(float(np.abs(equation.generator(residual)).sum()), np.finfo(float).tiny)
    for _ in range(IMPLICIT_STEPS):
        if t >= end:
            break
        if equation.at_rest(now) or t > LONG * unit:
            return now, residual, step, end
        step = min(step or unit, end - t)
        moved, pushed, error, order = _extrapolated(equation, now, residual, step, largest)
        if error <= TOLERANCE:
            now, residual = now.plus(moved, equation.outputs, equation.columns), residual + pushed
            t = end if step == end - t else t + step
            largest = np.maximum(largest, _sizes(equation, now.theta))
        ideal = 0.8 * (TOLERANCE / max(error, 1e-300)) ** (1 / order)
        bounds = (0.3, 1000.0 if order <= 3 else 30.0) if error <= TOLERANCE else (0.05, 0.5)
        step *= float(np.clip(ideal * (2 if order <= GROWING else 1), *bounds))
        if step <= np.finfo(float).eps * t:
            break
    return now, residual, step, t


def _extrapolated(
    equation: Equation, now: Course, residual: Array, step: float, largest: Array
) -> tuple[Array, Array, float, int]:
    """One step of as many orders as it needs: changes of Θ and R, the error and the order."""
    row: list[tuple[Array, Array]] = []
    theta, error = now.theta, np.inf
    for order in range(1, ORDERS + 1):
        above, row = row, [_euler(equation, now, residual, step, 2 * order)]
        for i, known in enumerate(above):  # Aitken and Neville
            share = order / (order - i - 1) - 1
            row.append(
                tuple(new + (new - old) / share for new, old in zip(row[i], known, strict=True))  # type: ignore[arg-type]
            )
        if order < 3:
            continue
        difference = row[-1][0] - row[-2][0]
        if not np.isfinite(difference).all():
            return *row[-1], np.inf, order
        size = np.maximum(_sizes(equation, theta), _sizes(equation, theta + row[-1][0]))
        size = np.maximum(size, np.maximum(NEGLIGIBLE * largest, np.finfo(float).tiny))
        error = float((_sizes(equation, difference) / size).max())
        if error <= TOLERANCE or (order >= 5 and error > GIVE_UP * TOLERANCE):
            break
    return *row[-1], error, order


def _euler(
    equation: Equation, start: Course, residual: Array, step: float, count: int
) -> tuple[Array, Array]:
    """`count` linearly implicit Euler steps over `step`: the changes of Θ and R."""
    theta = start.theta
    solve = _LinearisedStep(equation, theta, residual, step / count)
    moved, pushed = np.zeros_like(theta), np.zeros_like(residual)
    gap = equation.gap(start.product)
    for _ in range(count):
        now = theta + moved
        change, push = solve(now, residual + pushed, gap)
        gap = gap + equation.gap_change(now, change)  # no rounding but that of the change
        moved, pushed = moved + change, pushed + push
    return moved, pushed


class _LinearisedStep:
    """Solves the two equations of a step, linearised at `(Θ, R)`: k·m unknowns, those of δR."""

    def __init__(self, equation: Equation, theta: Array, residual: Array, step: float) -> None:
        self.equation, self.theta, self.step = equation, theta, step
        k, m = residual.shape
        generator = equation.generator(residual)
        self.inverse = np.linalg.inv(np.eye(k + m) - step * generator)
        (uu, uw), (wu, ww) = (
            (self.inverse[rows, :k], self.inverse[rows, k:])
            for rows in (slice(None, k), slice(k, None))
        )
        u, w = equation.layers(theta)
        powers, rate_u, rate_w = equation.powers, equation.rate_u, equation.rate_w
        response = np.einsum("ia,bj->ijab", rate_u * uu, w @ w.T * powers)
        response += np.einsum("ib,aj->ijab", rate_w * uw, u @ w.T * powers)
        response += np.einsum("ib,aj->ijab", rate_u * u @ w.T, wu.T * powers)
        response += np.einsum("ia,bj->ijab", rate_w * u @ u.T, ww.T * powers)
        size = k * m
        matrix = np.eye(size) - step * equation.scale * response.reshape(size, size)
        self.solver = np.linalg.inv(matrix)

    def __call__(self, theta: Array, residual: Array, gap: Array) -> tuple[Array, Array]:
        equation = self.equation
        plain = self.inverse @ (self.step * (equation.generator(residual) @ theta))
        (u, w), (du, dw) = equation.layers(self.theta), equation.layers(plain)
        change = (gap + equation.scale * (du @ w.T + u @ dw.T)) * equation.powers - residual
        push = (self.solver @ change.ravel()).reshape(residual.shape)
        pushed = self.step * (self.inverse @ (equation.generator(push) @ self.theta))
        return plain + pushed, push


def _sizes(equation: Equation, theta: Array) -> Array:
    """Norms of the columns of each layer."""
    k = equation.outputs
    return np.array([np.linalg.norm(layer, axis=0) for layer in (theta[:k], theta[k:])])
