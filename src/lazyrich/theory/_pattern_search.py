"""The search for local maxima of the contrastive energy of a neuron, by ascents and their proof.

Where its samples stay on their sides of the bend of the activation, the energy is quadratic, and a
maximum is the largest eigenvector of its form. Maxima may also lie where samples have no output:
the energy bends down there. An ascent leads to either, the sides tell which it is, and the maximum
itself comes from its eigenvector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space

from lazyrich.numerics.exact import Array

STEPS, ROUNDS = 20, 200  # of an ascent between two tests, and how many of these
ON_BEND = 1e-9  # of the size of a sample: its output is zero
SAME = 1e-7  # distance of two maxima that are one
SIMPLE = 1e-9  # of the largest eigenvalue, by which it must exceed the next
SHRINK = 0.97  # of the rate of an ascent in a round, or it would jump across several bends


@dataclass(frozen=True, kw_only=True)
class PatternSearch:
    """Samples X, the Laplacian of their pairs, and the slopes of h below and above zero."""

    inputs: Array
    laplacian: Array
    slopes: Array

    def activate(self, z: Array) -> Array:
        """`h(z)`."""
        return self._slope(z) * z

    def _slope(self, z: Array) -> Array:
        below, above = self.slopes
        return np.where(z < 0, below, above)

    def ascend(self, w: Array, rate: float) -> tuple[Array, Array]:
        """Some steps up, and on which side each sample was, 0 where it was on both."""
        seen = np.zeros((len(w), len(self.inputs)))
        for _ in range(STEPS):
            z = w @ self.inputs.T
            slope = self._slope(z)
            w = w + rate * (slope * ((slope * z) @ self.laplacian)) @ self.inputs
            w = w / np.linalg.norm(w, axis=1, keepdims=True)
            seen = seen + np.sign(z)
        return w, np.where(np.abs(seen) == STEPS, np.sign(seen), 0.0)

    def maxima(self, sides: Array) -> list[Array]:
        """The maximum with samples on these sides, and at the bend where they are 0, if it is one.

        Along the bends w is the largest eigenvector; across, `A w` must push each sample at its
        bend against its bend from both sides.
        """
        below, above = self.slopes
        bent = (sides == 0) & self.inputs.any(axis=1)
        x = np.where(bent, 0.0, np.where(sides < 0, below, above))[:, None] * self.inputs
        free = null_space(self.inputs[bent]) if bent.any() else np.eye(x.shape[1])
        if not free.shape[1]:
            return []
        form = x.T @ self.laplacian @ x
        values, axes = np.linalg.eigh(free.T @ form @ free)
        if len(values) > 1 and values[-1] - values[-2] <= SIMPLE * abs(values[-1]):
            return []
        v = free @ axes[:, -1]
        return [one for one in (v, -v) if self._holds(one, x, form, sides)]

    def _holds(self, v: Array, x: Array, form: Array, sides: Array) -> bool:
        below, above = self.slopes
        if below == above:
            return True
        there, z = self.inputs.any(axis=1), self.inputs @ v
        bent = (sides == 0) & there
        at_zero = np.abs(z) <= ON_BEND * np.linalg.norm(self.inputs, axis=1)
        turn = self.laplacian @ (x @ v)
        falls = turn * (above - below) < 0  # beyond a bend that the sides only reach
        if not np.where(at_zero, falls, z * sides > 0)[there & ~bent].all():
            return False
        pull = form @ v - (v @ form @ v) * v
        push, *_ = np.linalg.lstsq(self.inputs[bent].T, pull, rcond=None)
        held = (push + turn[bent] * above < 0) & (push + turn[bent] * below > 0)
        return bool(held.all())


def local_maxima(problem: PatternSearch, w: Array) -> tuple[Array, Array, int]:
    """Distinct maxima, how many starts found each, and how many starts have no output."""
    x, slopes = problem.inputs, problem.slopes
    stiff = np.linalg.norm(x, 2) ** 2 * np.linalg.norm(problem.laplacian, 2)
    rate = 0.5 / (float(stiff) * float(np.abs(slopes).max()) ** 2 or 1.0)
    maxima, hits, dead = np.zeros((0, x.shape[1])), np.zeros(0), 0
    sides = np.sign(w @ x.T)
    for number in range(ROUNDS):
        speaks = problem.activate(w @ x.T).any(axis=1)
        dead += int((~speaks).sum())
        w, sides = w[speaks], sides[speaks]
        kinds, which = np.unique(sides, axis=0, return_inverse=True)
        left = np.ones(len(w), dtype=bool)
        for at, v in [(at, v) for at, kind in enumerate(kinds) for v in problem.maxima(kind)]:
            here = (which.ravel() == at) & (w @ v > 0) & left
            left &= ~here
            same = np.linalg.norm(maxima - v, axis=1) < SAME
            if here.any() and not same.any():
                maxima, hits, same = (
                    np.vstack([maxima, v]),
                    np.append(hits, 0),
                    np.append(same, True),
                )
            hits[same] += here.sum()
        w = w[left]
        if not len(w):
            break
        w, sides = problem.ascend(w, rate * SHRINK**number)
    return maxima, hits, dead
