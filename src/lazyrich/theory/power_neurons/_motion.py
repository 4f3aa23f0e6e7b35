"""How neurons of power β move, in arrays: each on its own hyperbola, all by one number s.

In units in which both weights learn equally fast, `x ∝ √β u` and `V ∝ w`, a neuron obeys

    dx/ds = sgn(V)|V|^β,        dV/ds = x|V|^{β−1},

a hyperbolic rotation by the angle θ with `dθ/ds = |V|^{β−1}`, so that `C = x² − V²` is conserved.
The output `f = Σ x sgn(V)|V|^β` grows with s, and `ds/dτ = f* − f`. A neuron and its negative are
the same, so that V ≥ 0 at the start, and s is counted in the direction of the target.

The angle is the coordinate, but where V is on its way to zero, C > 0 and x < 0: there
it is `h = ((V/V₀)^{2−β} − 1)/(2−β)`, which obeys `dh/ds = x V₀^{β−2}` whatever V is: between the
powers 1 and 2 V goes through zero there, where its own equation has more than one solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853

from lazyrich.numerics.exact import Array

RTOL, ATOL = 3e-14, 1e-15  # of a coordinate; ATOL relative to what changes its neuron
ARRIVED = 1e-15  # of the output's terms: what is left to learn is their rounding
NEAR = 1e-9  # the same, from where Newton's steps of s lead to the end
FADED = 17.0  # e-foldings from there to rounding
NEWTON = 20  # such steps at most: each squares the gap
MOST_STEPS = 20_000


class Neurons(NamedTuple):
    """Both weights of every neuron, (neurons,), in units in which they learn equally fast."""

    x: Array
    V: Array

    def output(self, power: float) -> float:
        """`f = Σ x sgn(V)|V|^β`."""
        return float(np.sum(self.x * np.sign(self.V) * np.abs(self.V) ** power))

    def reach(self, power: float) -> float:
        """The sum of the sizes of the terms of f."""
        return float(np.sum(np.abs(self.x) * np.abs(self.V) ** power))

    def kernel(self, power: float) -> float:
        """`df/ds = Σ |V|^{2β−2}(V² + βx²)`, the tangent kernel."""
        return float(np.sum(np.abs(self.V) ** (2 * power - 2) * (self.V**2 + power * self.x**2)))


@dataclass(frozen=True, kw_only=True)
class Hyperbolas:
    """The curves of neurons that start at (x, V) with V ≥ 0.

    Attributes:
        start: where they begin, (neurons,).
        power: β ≥ 1.
    """

    start: Neurons
    power: float

    @cached_property
    def invariant(self) -> Array:
        """`C = x² − V²`."""
        x, V = self.start
        return (x - V) * (x + V)

    @cached_property
    def steep(self) -> NDArray[np.bool_]:
        """Whose coordinate is h."""
        falls = (self.start.x < 0) & (self.start.V > 0)
        steep: NDArray[np.bool_] = falls & (self.invariant > 0) & (self.power > 1)
        return steep

    @property
    def grows(self) -> NDArray[np.bool_]:
        """Which neurons grow without bound as s does; all others end at V = 0, or are there."""
        x, V = self.start
        if self.power == 1:
            return x != -V
        falls = x < 0
        dies = falls & (self.invariant == 0) if self.power < 2 else falls & (self.invariant >= 0)
        alive: NDArray[np.bool_] = (V > 0) & ~dies
        return alive

    @property
    def scale(self) -> Array:
        """What a coordinate changes by when its neuron does."""
        x, V = (np.abs(each) for each in self.start)
        size = np.where(self.power == 1, 1.0, V / np.where(x > V, x, np.where(V > 0, V, 1.0)))
        return np.where(self.steep, 1.0, np.maximum(size, np.finfo(float).tiny))

    def at(self, coordinate: Array) -> Neurons:
        """Where neurons are on their curves."""
        x, V = self.start
        theta = np.where(self.steep, 0.0, coordinate)
        cosh, sinh = np.cosh(theta), np.sinh(theta)
        now_V, now_x = V * np.exp(-theta) + (V + x) * sinh, x * cosh + V * sinh
        steep_V = V * _share(np.where(self.steep, coordinate, 0.0), self.power)
        steep_x = -np.hypot(np.sqrt(np.maximum(self.invariant, 0.0)), steep_V)
        return Neurons(np.where(self.steep, steep_x, now_x), np.where(self.steep, steep_V, now_V))

    def slope(self, now: Neurons) -> Array:
        """By how much a coordinate moves with s."""
        V = self.start.V
        base = np.where(self.steep, V, 1.0)
        return np.where(
            self.steep, now.x * base ** (self.power - 2), np.abs(now.V) ** (self.power - 1)
        )

    @property
    def limit(self) -> Neurons:
        """Where they end if none grows: V = 0."""
        size = np.sqrt(np.maximum(self.invariant, 0.0))
        moves = self.start.V > 0
        return Neurons(np.where(moves, np.sign(self.start.x) * size, self.start.x), 0 * size)


def _share(h: Array, power: float) -> Array:
    """`V/V₀ = (1 + (2 − β)h)^{1/(2 − β)}`, with the sign of what is in the brackets."""
    rest = 2 - power
    if rest == 0:
        return np.exp(h)
    inner = 1 + rest * h
    near = np.abs(rest * h) < 0.5
    close = np.log1p(np.where(near, rest * h, 0.0))
    far = np.log(np.abs(np.where(inner == 0, 1.0, inner)))
    return np.sign(inner) * np.exp(np.where(near, close, far) / rest)


class Journey(NamedTuple):
    """Neurons at several times, where they end, and whether the target is not reached."""

    path: list[Neurons]
    end: Neurons
    stuck: bool
    stopped: float | None  # the time at which the solver gave up


def follow(start: Neurons, power: float, target: float, times: Array) -> Journey:
    """Neurons at rising times τ ≥ 0, infinity included, under `ds/dτ = f* − f`.

    Args:
        start: any weights.
        power: β ≥ 1.
        target: f*.
        times: (n,), rising.
    """
    turn = np.where(start.V < 0, -1.0, 1.0)
    way = 1.0 if target >= start.output(power) else -1.0
    curves = Hyperbolas(start=Neurons(start.x * turn * way, start.V * turn), power=power)
    stuck = not curves.grows.any() and target * way >= 0
    path, end, stopped = _travel(curves, target * way, times, stuck=stuck)

    def back(now: Neurons) -> Neurons:
        return Neurons(now.x * turn * way, now.V * turn)

    return Journey([back(now) for now in path], back(end), stuck and target != 0, stopped)


def _travel(
    curves: Hyperbolas, target: float, times: Array, *, stuck: bool
) -> tuple[list[Neurons], Neurons, float | None]:
    """The path and its end, in the direction of the target."""
    start, power = curves.start, curves.power
    if _left(start, power, target) <= ARRIVED or not start.kernel(power):
        return [start] * len(times), start, None
    end, last, stopped = (curves.limit, np.inf, None) if stuck else _arrival(curves, target)
    coordinate, now, path = np.zeros_like(start.x), 0.0, []
    for time in times:
        if stopped is not None and time > stopped:
            break
        if time >= last:
            path.append(end)
            continue
        if time > now:
            solver = DOP853(
                lambda _, at: _rate(curves, at, target),
                *(now, coordinate, time),
                rtol=RTOL,
                atol=ATOL * curves.scale,
            )
            if not _finished(solver):
                return path, end, float(solver.t)
            coordinate, now = solver.y, time
        path.append(curves.at(coordinate))
    return path, end, stopped


def _rate(curves: Hyperbolas, at: Array, target: float) -> Array:
    now = curves.at(at)
    return curves.slope(now) * (target - now.output(curves.power))


def _left(now: Neurons, power: float, target: float) -> float:
    """`f* − f` over the sizes of its terms; below zero beyond the target."""
    return (target - now.output(power)) / (abs(target) + now.reach(power))


def _finished(solver: DOP853) -> bool:
    for _ in range(MOST_STEPS):
        if solver.status != "running":
            break
        solver.step()
    return solver.status == "finished"


def _arrival(curves: Hyperbolas, target: float) -> tuple[Neurons, float, float | None]:
    """Where f is the target, to rounding, when, and where the solver gave up.

    The clock is `dξ = (k + (f* − f) v) dτ`, v the fastest of the neurons: it counts by what factor
    the gap has shrunk, and neurons have grown, so that a plateau is as short as the rest.
    """
    power = curves.power

    def velocity(_: float, state: Array) -> Array:
        now = curves.at(state[:-1])
        gap, slope = target - now.output(power), curves.slope(now)
        own = np.where(curves.steep, 1 + np.abs(state[:-1]), 1.0)
        pace = now.kernel(power) + abs(gap) * float(np.abs(slope / own).max())
        return np.append(slope * gap, 1.0) / pace

    begin = np.zeros(len(curves.start.x) + 1)
    scale = np.append(curves.scale, 1.0)
    solver = DOP853(velocity, 0.0, begin, np.inf, rtol=RTOL, atol=ATOL * scale)
    for _ in range(MOST_STEPS):
        solver.step()
        now = curves.at(solver.y[:-1])
        if solver.status == "failed":
            break
        if _left(now, power, target) <= NEAR:
            end = _landed(curves, solver.y[:-1], target)
            return end, float(solver.y[-1]) + FADED / end.kernel(power), None
    return now, np.inf, float(solver.y[-1])


def _landed(curves: Hyperbolas, coordinate: Array, target: float) -> Neurons:
    """The end, from nearby."""
    for _ in range(NEWTON):
        now = curves.at(coordinate)
        if abs(_left(now, curves.power, target)) <= ARRIVED:
            break
        step = (target - now.output(curves.power)) / now.kernel(curves.power)
        coordinate = coordinate + curves.slope(now) * step
    return curves.at(coordinate)
