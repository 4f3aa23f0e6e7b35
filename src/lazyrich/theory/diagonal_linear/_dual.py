"""Newton's method for n numbers ν, with `z = a Xᵀν` and `Xβ(z) = y`.

Where D > 2 it goes through larger starts first, and z comes so close to 1 that β has more digits
than z: the last correction is of β itself.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
from scipy.linalg import qr, solve_triangular

from lazyrich._errors import ConvergenceError
from lazyrich.numerics.exact import Array
from lazyrich.theory.diagonal_linear._family import Family

FITTED = 3e-14  # of the targets: what is left after Newton's method
NEARLY, STALLED = 1e-6, 8  # rounding of z, if it stays so for some steps
ROUGHLY = 0.1  # the same, of a start that is only passed through
FACTOR = 10.0  # by which the start shrinks from one to the next
LEAST_SLACK = 1e-8  # of a start, in units in which the coefficients are one: 1 − z is a float
ACTIVE = 1e-3  # 1 − z below which a coefficient is not one of α^D
CORRECTED = 1e-10  # of the targets: what the last correction leaves
MOST_ITERATIONS = 200


def end_of_flow(family: Family, inputs: Array, targets: Array) -> tuple[Array, Array, Array]:
    """The z, β and the logarithm of what the kernel's weights have grown by."""
    solved, z = _dual(family, inputs, targets)
    beta = solved.coefficients(z)
    growth = family.growth(z)
    weights = solved.log_slope(z)
    if solved is not family:  # what is active has its size from the data, the rest from z
        active = 1 - np.abs(z) < ACTIVE
        if active.sum() > len(targets):
            raise ConvergenceError(
                f"with {family.factors:g} factors this `init_scale` is too small: {active.sum()} "
                f"coefficients share {len(targets)} targets, and what decides between them is lost "
                f"in rounding. Use a larger one, or 2 factors"
            )
        beta = np.where(active, beta, family.coefficients(np.where(active, 0.0, z)))
        weights = np.where(active, weights, -inf)
    beta = beta + _corrected(solved, inputs, targets - inputs @ beta, weights)
    left = float(np.linalg.norm(targets - inputs @ beta) / np.linalg.norm(targets))
    if not left < CORRECTED:
        raise ConvergenceError(
            f"Newton's method left {left:.2g} of the targets with {family.factors:g} factors: the "
            f"inputs are nearly dependent, or `init_scale` is too small for them. Use a larger "
            f"one, or leave out rows of `x` that are nearly sums of others"
        )
    if solved is not family:
        with np.errstate(divide="ignore"):
            grown = (2 * family.factors - 2) / family.factors * (
                np.log(np.abs(beta)) - family.log_size
            ) - np.log(2)
        growth = np.where(active, grown, growth)
    return z, beta, growth


def _corrected(family: Family, inputs: Array, residual: Array, log_weights: Array) -> Array:
    """The step of β to fit what is left: of first order, where z has no digits for it."""
    if not residual.any():
        return np.zeros_like(log_weights)
    step = _step(family, inputs, residual, log_weights)
    return np.exp(log_weights) * family.pull * (inputs.T @ step)


def _dual(family: Family, inputs: Array, targets: Array) -> tuple[Family, Array]:
    """The z of the family, or of that of the smallest start that floats resolve."""
    nu = np.zeros(len(inputs))
    if family.factors == 2:
        return family, family.pull * (inputs.T @ _newton(family, inputs, targets, nu, FITTED))
    rest = (family.factors - 2) / family.factors
    goal = rest * float(family.log_size.max())
    least = max(goal, float(np.log(LEAST_SLACK)))
    stage = max(0.0, goal)
    while True:
        last = stage <= least
        now = family
        if stage != goal:
            now = replace(family, log_size=family.log_size + (stage - goal) / rest)
        nu = _newton(now, inputs, targets, nu, FITTED if last else ROUGHLY)
        if last:
            return now, now.pull * (inputs.T @ nu)
        stage = max(stage - float(np.log(FACTOR)), least)


def _newton(family: Family, inputs: Array, targets: Array, nu: Array, tolerance: float) -> Array:
    """ν of a fit: damped Newton steps, each as long as the convex dual falls."""
    size, pull = float(np.linalg.norm(targets)), family.pull
    best, best_nu, stalled = inf, nu, 0
    for _ in range(MOST_ITERATIONS):
        z = pull * (inputs.T @ nu)
        residual = targets - inputs @ family.coefficients(z)
        left = float(np.linalg.norm(residual)) / size
        best, best_nu, stalled = (left, nu, 0) if left < best else (best, best_nu, stalled + 1)
        if best <= tolerance or (stalled > STALLED and best < NEARLY):
            break
        step = _step(family, inputs, residual, family.log_slope(z))
        moved = pull * (inputs.T @ step)
        nu = nu + _length(family, z, moved, inputs.T @ step, float(targets @ step)) * step
    return best_nu


def _step(family: Family, inputs: Array, residual: Array, log_weights: Array) -> Array:
    """`(X W a Xᵀ + μ)⁻¹ r` by QR of sorted rows; μ keeps z within reach."""
    weights = log_weights + np.log(family.pull)
    order = np.argsort(-weights)
    largest = float(np.linalg.norm(inputs, axis=0).max())
    damping = float(np.log(largest * np.linalg.norm(residual) / family.reach))
    top = max(float(weights[order[0]]), damping)
    rows = np.exp((weights[order] - top) / 2)[:, None] * inputs.T[order]
    stack = np.concatenate([rows, np.exp((damping - top) / 2) * np.eye(len(inputs))])
    triangle, pivot = qr(stack, mode="r", pivoting=True, check_finite=False)
    triangle = triangle[: len(inputs)]
    step = np.empty(len(inputs))
    step[pivot] = solve_triangular(triangle, solve_triangular(triangle, residual[pivot], trans=1))
    return step * float(np.exp(-top))


def _length(family: Family, z: Array, moved: Array, along: Array, goal: float) -> float:
    """The share of a step up to which the dual falls; all of it, if it does."""

    def rises(share: float) -> bool:
        there = z + share * moved
        if (np.abs(there) >= family.bound).any():
            return True
        return not float(np.sum(family.coefficients(there) * along)) <= goal

    if not rises(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if rises(middle) else (middle, high)
        if high < 1.1 * low:
            break
    return low
