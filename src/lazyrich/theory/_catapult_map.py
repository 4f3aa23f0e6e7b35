"""The loops of the catapult's map, compiled by Numba: a path of it, and the end of a run."""

from __future__ import annotations

import numpy as np
from numba import guvectorize, njit
from numpy.typing import NDArray

from lazyrich.numerics.exact import Array

LARGEST = 1e75  # of z and F, from where each step squares them: it has diverged
SETTLED = 1e-15  # of z: what it can still move by
RUNNING, AT_REST, DIVERGED = 0, 1, 2


@njit(cache=True)
def _step(z: float, G: float, Y: float) -> tuple[float, float]:
    """One step; both are products, so that a small error G keeps its digits."""
    F = G + Y
    return z + G * (G * z - 4.0 * F), G * (1.0 - z + G * F)


@njit(cache=True)
def _gone(z: float, G: float) -> bool:
    return not (abs(z) < LARGEST and abs(G) < LARGEST)


@guvectorize(
    ["f8,f8,f8,i8[:],f8[:],f8[:],i8[:]"], "(),(),(),(s)->(s),(s),()", nopython=True, cache=True
)  # type: ignore[untyped-decorator]
def catapult_path(
    z: float,
    F: float,
    Y: float,
    recorded: NDArray[np.int64],
    zs: Array,
    Gs: Array,
    diverged_at: NDArray[np.int64],
) -> None:
    """Z and G at the recorded steps, and where they left the floats."""
    G, step = F - Y, 0
    diverged_at[0] = -1
    for row in range(len(recorded)):
        while step < recorded[row] and diverged_at[0] < 0:
            z, G = _step(z, G, Y)
            step += 1
            if _gone(z, G):
                diverged_at[0], z, G = step, np.inf, np.inf
        zs[row], Gs[row] = z, G


@guvectorize(
    ["f8,f8,f8,i8,f8[:],f8[:],f8[:],i8[:],f8[:]"],
    "(),(),(),()->(),(),(),(),()",
    nopython=True,
    cache=True,
)  # type: ignore[untyped-decorator]
def catapult_end(
    z: float,
    F: float,
    Y: float,
    steps: int,
    z_end: Array,
    growth: Array,
    peak: Array,
    ended: NDArray[np.int64],
    steep: Array,
) -> None:
    """The end of a run: z, growth of |G| and when, how it ended, and `z − 2` then."""
    G = F - Y
    start = abs(G)
    growth[0], peak[0], ended[0] = 1.0, 0.0, RUNNING
    for step in range(1, steps + 1):
        left = 1.0 - abs(1.0 - z)  # by which share G falls in a step
        moves = 4.0 * abs(G) * (abs(G + Y) + abs(G) * z)
        if G == 0.0 or (left > 0.0 and moves <= SETTLED * z * left):
            ended[0] = AT_REST
            break
        z, G = _step(z, G, Y)
        if _gone(z, G):
            ended[0] = DIVERGED
            break
        if abs(G) > growth[0] * start:
            growth[0], peak[0] = abs(G) / start, step
    z_end[0], steep[0] = z, z - 2.0
