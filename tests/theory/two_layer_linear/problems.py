"""Problems on a line for the vector tests: floats under the names of `tests.reference.line`."""

from __future__ import annotations

import math

import numpy as np

from lazyrich.theory.two_layer_linear import LinearNetwork, LineData, LineState, flow

VARIABLES = {
    "uu": "uu",
    "uw": "uw",
    "ww": "ww",
    "zeta": "alignment",
    "ntk_trace": "ntk_trace",
    "loss": "loss",
    "excess_loss": "excess_loss",
}
"""The reference's names and the library's."""


def problem(uu, uw, ww, g=0.7, eu=0.3, ew=0.5, Eaa=1.3, Eay=0.9, Eyy=2.0):
    """A problem, with a generic network and generic data unless told."""
    values = (uu, uw, ww, g, eu, ew, Eaa, Eay, Eyy)
    names = ("uu", "uw", "ww", "g", "eu", "ew", "Eaa", "Eay", "Eyy")
    return dict(zip(names, map(float, values), strict=True))


def inputs(case):
    """State, network and data of the library."""
    return (
        LineState(uu=case["uu"], uw=case["uw"], ww=case["ww"]),
        LinearNetwork(output_scale=case["g"], lr_u=case["eu"], lr_w=case["ew"]),
        LineData(mean_aa=case["Eaa"], mean_ay=case["Eay"], mean_yy=case["Eyy"]),
    )


def solved(case, times):
    """The library's solution."""
    return flow(*inputs(case), np.asarray(times, dtype=float))


def times(case, multiples):
    """Multiples of the time that the fastest part of the problem takes."""
    g, root = abs(case["g"]), math.sqrt(case["eu"]) * math.sqrt(case["ew"])
    drive = 4 * g * root * abs(case["Eay"])
    kernel = g * case["Eaa"] * (g * case["ew"] * case["uu"] + g * case["eu"] * case["ww"])
    rate = drive + kernel
    return [0.0, *(multiple / rate if 0 < rate < math.inf else multiple for multiple in multiples)]


EDGES = {
    "frozen u": problem(1.1, 0.3, 0.8, eu=0),
    "frozen w": problem(1.1, 0.3, 0.8, ew=0),
    "both frozen": problem(1.1, 0.3, 0.8, eu=0, ew=0),
    "frozen u at zero": problem(0, 0, 0.8, eu=0),
    "no network": problem(0, 0, 0),
    "no second layer": problem(0, 0, 0.8),
    "no first layer": problem(0.8, 0, 0),
    "no output scale": problem(1.1, 0.3, 0.8, g=0),
    "negative output scale": problem(1.1, 0.3, 0.8, g=-0.7),
    "no inputs": problem(1.1, 0.3, 0.8, Eaa=0, Eay=0),
    "no inputs, huge weights": problem(1e277, 1e265, 1e271, Eaa=0, Eay=0),
    "no signal": problem(1.1, 0.3, 0.8, Eay=0),
    "no signal, aligned: algebraic decay": problem(1, 1, 1, eu=0.3, ew=0.3, Eay=0),
    "no signal, anti-aligned: algebraic decay": problem(4, -4, 4, eu=0.3, ew=0.3, Eay=0),
    "aligned": problem(4, 2, 1),
    "aligned, balanced": problem(1, 1, 1, eu=0.3, ew=0.3),
    "anti-aligned, unbalanced": problem(4, -2, 1),
    "anti-aligned, balanced: the saddle": problem(1, -1, 1, eu=0.3, ew=0.3),
    "the saddle of unequal rates": problem(4, -2, 1, eu=1, ew=0.25),
    "aligned against a negative signal": problem(1, 1, 1, eu=0.3, ew=0.3, Eay=-0.9),
    "orthogonal": problem(1, 0, 1, eu=0.3, ew=0.3),
    "at the optimum": problem(1, 0.5, 2, g=2, Eaa=0.25, Eay=0.25),
    "disalignment": problem(4, 4.4, 5, g=1, eu=0.05, ew=0.02, Eaa=1, Eay=0.5, Eyy=1),
    "tiny weights": problem(1e-300, 2e-301, 3e-300),
    "tiny first layer": problem(1.0, 1e-151, 1e-300),
    "tiny second layer": problem(1e-300, 1e-151, 1.0),
    "huge weights": problem(1e300, -2e299, 3e300, g=1e-3),
    "huge against tiny": problem(1e290, 0.3, 1e-290),
    "tiny output scale": problem(1.1, 0.3, 0.8, g=1e-300),
    "huge output scale": problem(1.1, 0.3, 0.8, g=1e150),
    "tiny rates": problem(1.1, 0.3, 0.8, eu=1e-300, ew=1e-300),
    "huge rates": problem(1.1, 0.3, 0.8, eu=1e300, ew=1e300),
    "tiny against huge rate": problem(1.1, 0.3, 0.8, eu=1e-300, ew=1e300),
    "tiny data": problem(1.1, 0.3, 0.8, Eaa=1e-300, Eay=2e-300, Eyy=5e-300),
    "huge data": problem(1.1, 0.3, 0.8, Eaa=1e300, Eay=2e299, Eyy=5e299),
    "huge scale, tiny weights": problem(1e-300, 1e-301, 2e-300, g=1e150, Eay=0.1),
    "tiny scale, huge weights": problem(1e300, 1e299, 2e300, g=1e-150),
}
"""Every edge of the closed form by its name."""


def random_problem(kind, rng):
    """A random problem of a kind: generic, small, kernel, wide, orthogonal, near, exact."""

    def spread(low, high):
        return float(10 ** rng.uniform(low, high))

    low, high = {"small": (-12, -3), "kernel": (2, 6), "wide": (-8, 8)}.get(kind, (-2, 2))
    uu, ww, sign = spread(low, high), spread(low, high), float(rng.choice([-1, 1]))
    cosine = {"orthogonal": sign * spread(-12, 0), "near": sign * (1 - spread(-14, -1))}
    uw = cosine.get(kind, rng.uniform(-1, 1)) * math.sqrt(uu) * math.sqrt(ww)
    if kind == "exact":
        a, b = map(float, rng.integers(1, 2000, 2))
        uu, uw, ww = a * a, sign * a * b, b * b
    eu = spread(-2, 1)
    ew = eu if rng.random() < 0.3 else spread(-2, 1)
    aa, slope = spread(-1, 1), rng.normal()
    yy = slope**2 * aa * (1 + rng.random()) + 1e-3
    return problem(uu, uw, ww, sign * spread(-2, 1), eu, ew, aa, slope * aa, yy)
