"""Linearised Barlow Twins: self-supervised learning that steps from one direction to the next.

A linear embedding `f(x) = W x` of pairs of views x, x′ is trained on `L = ‖C − I‖²` with
`C = W Γ Wᵀ` and `Γ = E[x x′ᵀ]`, made symmetric, whose eigenvalues γ may be negative. From a small
start one mode after the other is learned, and its eigenvalue of C is a logistic curve,

    ċ_j = 8 η γ_j c_j (1 − c_j),    c_j = γ_j s_j²,

where s is what the weights along an eigenvector of Γ add to those before: in order of falling γ
the diagonal of R in a QR decomposition. With the features of a kernel for x it is a wide network.

References:
    The linear model, its steps and the kernel: Simon et al., arXiv:2303.15438, as far as they are
    known to us. The start by QR, its error and the closed form for every γ are derived in the
    documentation.
"""

from __future__ import annotations

from math import inf

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory.labels import (
    ParameterLike,
    along,
    apply,
    dataset,
    labelled,
    require_free,
    require_range,
    require_whole,
)
from lazyrich.vocabulary.quantity import DERIVED, SIMON2023, Quantity, by_name

QUANTITIES = (
    Quantity(
        name="view_eigenvalue",
        dims=("mode",),
        symbol="γ",
        meaning="eigenvalue of the correlation of two views",
        units="x^2",
        source=SIMON2023,
    ),
    Quantity(
        name="embedding_weight",
        dims=("mode",),
        symbol="s",
        meaning="weight of a mode in the embedding",
        units="1/x",
        low=0.0,
        source=SIMON2023,
    ),
    Quantity(
        name="embedding_eigenvalue",
        dims=("mode",),
        symbol="γs²",
        meaning="eigenvalue of the cross-correlation of two embeddings",
        source=SIMON2023,
    ),
    Quantity(
        name="embedding_step_time",
        dims=("mode",),
        symbol="τ",
        meaning="time at which an eigenvalue of the embeddings reaches a share of 1",
        units="time",
        low=0.0,
        source=SIMON2023,
    ),
    Quantity(
        name="barlow_loss",
        symbol="‖C − I‖²",
        meaning="squared distance of the cross-correlation of two embeddings from 1",
        low=0.0,
        source=SIMON2023,
    ),
    Quantity(
        name="start_error",
        symbol="(√γ₁ s)^{2(1 − γ′/γ)}",
        meaning="error of the eigenvalues of the embeddings that a start leaves, about",
        low=0.0,
        source=DERIVED,
    ),
)
KNOWN = by_name(QUANTITIES)


def barlow_flow(
    view_eigenvalue: ArrayLike | xr.DataArray,
    start: ArrayLike | xr.DataArray,
    times: ParameterLike,
    *,
    outputs: float | None = None,
    lr: ParameterLike = 1.0,
) -> xr.Dataset:
    """Follow the modes of an embedding under `Ẇ = −η ∇L`, `L = ‖WΓWᵀ − I‖²`.

    Args:
        view_eigenvalue: γ of every mode, along `mode`, of any sign.
        start: s ≥ 0 of every mode at the start, one number or along `mode`.
        times: finite times ≥ 0; a sequence becomes the dim `time`.
        outputs: d, the dimension of the embedding, at least the number of modes, which it is if
            left out.
        lr: η > 0.

    Returns:
        `embedding_weight` s, `embedding_eigenvalue` γs², `view_eigenvalue` γ and `barlow_loss`.

    Raises:
        InputError: starts below 0, times that are not finite, more modes than outputs.

    Example:
        >>> found = barlow_flow([2.0, 1.0, -0.5], 0.01, [0.0, 0.7, 9.0])
        >>> found.embedding_eigenvalue.transpose("time", "mode").values.round(3) + 0.0
        array([[0.   , 0.   , 0.   ],
               [0.936, 0.026, 0.   ],
               [1.   , 1.   , 0.   ]])

    References:
        Simon et al., arXiv:2303.15438; the form for every γ is ours.
    """
    gamma, s, rate = _modes(view_eigenvalue, start, lr)
    time = labelled("times", times).rename(None)
    time = time.rename(times="time") if "times" in time.dims else time
    require_range("times", time, 0, inf)
    require_free(KNOWN, gamma, s, rate, time)
    modes = gamma.sizes["mode"]
    d = modes if outputs is None else require_whole("outputs", outputs, 1)
    if d < modes:
        raise InputError(f"an embedding of {d} `outputs` has at most {d} modes, got {modes}")
    weight = apply(_weight, gamma, s, 4 * rate * time)
    eigenvalue = gamma * weight**2
    found = {
        "embedding_weight": weight,
        "embedding_eigenvalue": eigenvalue,
        "view_eigenvalue": gamma,
        "barlow_loss": ((1 - eigenvalue) ** 2).sum("mode") + (d - modes),
    }
    result = dataset(found, KNOWN)
    return result.assign_coords({"time" if time.dims == ("time",) else "t": time})


def barlow_times(
    view_eigenvalue: ArrayLike | xr.DataArray,
    start: ArrayLike | xr.DataArray,
    share: float = 0.5,
    *,
    lr: ParameterLike = 1.0,
) -> xr.DataArray:
    """When each eigenvalue of the embeddings steps; sorted, the schedule of the plateaus.

    Args:
        view_eigenvalue: γ of every mode, as for `barlow_flow`.
        start: s of every mode at the start.
        share: the share that γs² reaches, between 0 and 1, both excluded.
        lr: η > 0.

    Returns:
        `embedding_step_time`: 0 where it is there at the start, infinite where it never comes: for
        γ ≤ 0, and without a start.

    Raises:
        InputError: as `barlow_flow`, or a share that is not between 0 and 1.

    Example:
        >>> barlow_times([2.0, 1.0, -0.5], 0.01).values.round(4)
        array([0.5323, 1.1513,    inf])

    References:
        Simon et al., arXiv:2303.15438.
    """
    if not 0 < share < 1:
        raise InputError(f"`share` must be between 0 and 1, got {share}")
    gamma, s, rate = _modes(view_eigenvalue, start, lr)
    require_free(KNOWN, gamma, s, rate)
    found = apply(lambda *arrays: _time_of(*arrays, share=share), gamma, s) / rate
    return dataset({"embedding_step_time": found}, KNOWN)["embedding_step_time"]


def _modes(
    view_eigenvalue: object, start: object, lr: ParameterLike
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    gamma = along("mode", "view_eigenvalue", view_eigenvalue, always=True)
    s, rate = along("mode", "start", start), labelled("lr", lr).rename(None)
    require_range("view_eigenvalue", gamma, -inf, inf)
    require_range("start", s, 0, inf)
    require_range("lr", rate, 0, inf)
    if not bool((rate > 0).all()):
        raise InputError("`lr` must be > 0, or nothing is learned, got 0")
    return gamma, s, rate


def _weight(gamma: Array, s: Array, time: Array) -> Array:
    """`s/√(e^{−2a} + γs²(1 − e^{−2a}))` with `a = γ · time`, without an exponential that grows."""
    gamma, s, time = np.broadcast_arrays(gamma, s, time)
    fall = np.exp(-np.abs(gamma) * time)
    grown = np.sqrt(np.abs(gamma)) * s * np.sqrt(-np.expm1(-2 * np.abs(gamma) * time))
    below = np.hypot(np.where(gamma > 0, fall, 1.0), grown)
    value: Array = s * np.where(gamma < 0, fall, 1.0) / np.where(below > 0, below, 1.0)
    return value


def _time_of(gamma: Array, s: Array, *, share: float) -> Array:
    """`(logit(share) − logit(γs²))/8γ`."""
    gamma, s = np.broadcast_arrays(gamma, s)
    value = np.full(gamma.shape, inf)
    moves = (gamma > 0) & (s > 0)
    rate, size = gamma[moves], np.sqrt(gamma[moves]) * s[moves]
    below = size**2 < share
    size = np.where(below, size, 0.5)
    odds = np.log(share) - np.log1p(-share) - 2 * np.log(size) + np.log1p(-(size**2))
    value[moves] = np.where(below, odds / (8 * rate), 0.0)
    return value
