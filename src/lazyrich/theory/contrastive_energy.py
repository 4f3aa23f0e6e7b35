"""The energy that contrastive learning of one neuron climbs, and the patterns at its maxima.

A neuron `h(w·x)` of unit weights, with h homogeneous, `h(z) = h′(z) z`, climbs

    E(w) = ½ wᵀA(w)w = ¼ Σ_ij α_ij (h_i − h_j)²,    ẇ = η (1 − wwᵀ) A(w) w,

where α_ij > 0 drives two samples apart and α_ij < 0 holds them together. While no sample changes
its side, A is a matrix: `A = Xᵀ D L D X`, L being the Laplacian of α and D the slopes. A linear
neuron has one A, and one maximum but for its sign. Others have one for each set of sides whose
largest eigenvector has just these sides, so that a maximum is a pattern in the data.

References:
    That the loss is this energy, and that it has many maxima where the activation bends: Tian,
    arXiv:2206.01342, as far as it is known to us. The linear solution, the test of a maximum and
    the search are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory._pattern_search import PatternSearch, local_maxima
from lazyrich.theory.labels import (
    ParameterLike,
    apply,
    dataset,
    labelled,
    real,
    require_free,
    require_range,
    require_whole,
)
from lazyrich.theory.model import Assumption, Model
from lazyrich.vocabulary.quantity import DERIVED, TIAN2022, Quantity, by_name

__all__ = ["contrastive_flow", "contrastive_maxima"]

QUANTITIES = (
    Quantity(
        name="contrastive_energy",
        dims=("maximum",),
        symbol="E",
        meaning="energy that the weights of a neuron climb in contrastive learning",
        units="x^2",
        source=TIAN2022,
    ),
    Quantity(
        name="unit_weight",
        dims=("maximum", "m"),
        symbol="w",
        meaning="weights of a neuron in contrastive learning, of norm 1",
        low=-1.0,
        high=1.0,
        source=TIAN2022,
    ),
    Quantity(
        name="pattern_overlap",
        symbol="|w·v|",
        meaning="overlap of the weights with the direction of the largest energy",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="basin_share",
        dims=("maximum",),
        symbol="n_k/n",
        meaning="share of the starts from which a maximum is found",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="dead_share",
        symbol="n_0/n",
        meaning="share of the starts at which no sample has an output",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="open_share",
        symbol="n_?/n",
        meaning="share of the starts whose ascent found no maximum within its steps",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
)
KNOWN = by_name(QUANTITIES)

SYMMETRIC = 1e-9
HOMOGENEOUS = 1e-6  # relative; activations may compute in float32


def contrastive_flow(
    x: ArrayLike,
    start: ArrayLike,
    times: ParameterLike,
    *,
    pair_weights: ArrayLike | None = None,
    lr: ParameterLike = 1.0,
) -> xr.Dataset:
    """Follow a linear neuron up its energy, `ẇ = η (1 − wwᵀ) A w`: `w ∝ e^{ηAt} w₀`.

    Args:
        x: samples, (n, m).
        start: weights w₀, (m,), of any length but 0.
        times: finite times ≥ 0; a sequence becomes the dim `time`.
        pair_weights: α, (n, n), symmetric; 1/n² of every pair if left out, for which E is half
            the variance of the output.
        lr: η ≥ 0.

    Returns:
        `unit_weight` w with the dim `m`, `contrastive_energy` E and `pattern_overlap`, its overlap
        with the direction that it comes to from almost every start.

    Raises:
        InputError: weights of pairs that are not symmetric, shapes that do not fit, no start.

    Example:
        >>> found = contrastive_flow([[2.0, 0.0], [0.0, 1.0], [-2.0, -1.0]], [0.1, 1.0], [0, 9])
        >>> found.unit_weight.round(3).values
        array([[0.1  , 0.995],
               [0.957, 0.29 ]])

    References:
        Tian, arXiv:2206.01342; the solution is ours.
    """
    inputs, laplacian = _problem(x, pair_weights)
    first = real("start", start)
    if first.shape != inputs.shape[1:]:
        raise InputError(
            f"`start` must have one weight for each of the {inputs.shape[1]} inputs, got shape "
            f"{first.shape}"
        )
    require_range("start", xr.DataArray(first), -inf, inf)
    if not first.any():
        raise InputError("`start` must not be 0: the weights have norm 1, and 0 has no direction")
    rate, time = labelled("lr", lr).rename(None), labelled("times", times).rename(None)
    time = time.rename(times="time") if "times" in time.dims else time
    require_range("lr", rate, 0, inf)
    require_range("times", time, 0, inf)
    require_free({*KNOWN, "m"}, rate, time)
    values, axes = np.linalg.eigh(inputs.T @ laplacian @ inputs)
    parts = axes.T @ (first / np.abs(first).max())

    def grown(t: Array) -> Array:
        top = values[parts != 0].max()
        size = parts * np.exp((np.minimum(values, top) - top) * np.asarray(t)[..., None])
        shown: Array = size / np.linalg.norm(size, axis=-1, keepdims=True)
        return shown

    along = apply(grown, rate * time, output_core_dims=[("axis",)])
    found = {
        "unit_weight": xr.dot(along, xr.DataArray(axes, dims=("m", "axis")), dim="axis"),
        "contrastive_energy": (along**2 * xr.DataArray(values, dims="axis")).sum("axis") / 2,
        "pattern_overlap": abs(along.isel(axis=-1)),
    }
    result = dataset(found, KNOWN)
    return result.assign_coords({"time" if time.dims == ("time",) else "t": time})


def contrastive_maxima(
    x: ArrayLike,
    *,
    pair_weights: ArrayLike | None = None,
    activation: Callable[[Any], Any] | None = None,
    starts: float = 400,
    seed: int = 0,
) -> xr.Dataset:
    """Local maxima of the energy of one neuron, by ascents from random starts.

    Every maximum that is returned is one: the largest eigenvector of A for the sides that its own
    samples are on. That these are all is not known, so that their number is a lower bound.

    Args:
        x: samples, (n, m).
        pair_weights: α, (n, n), as for `contrastive_flow`.
        activation: an elementwise function of an array that is homogeneous; ReLU if left out.
        starts: how many, uniform on the sphere.
        seed: seed of the starts.

    Returns:
        Along `maximum`, from the largest energy down, `contrastive_energy`, `unit_weight` and
        `basin_share`; `dead_share` and `open_share` of the starts.

    Raises:
        InputError: an activation that is not homogeneous, by how much; weights of pairs that are
            not symmetric; shapes that do not fit.

    Example:
        >>> found = contrastive_maxima(np.diag([3.0, 2.0, 1.0]), starts=100)
        >>> found.unit_weight.values.round(6) + 0.0
        array([[1., 0., 0.],
               [0., 1., 0.],
               [0., 0., 1.]])
        >>> contrastive_maxima(np.diag([3.0, 2.0, 1.0]), activation=lambda z: z).sizes["maximum"]
        2

    References:
        Tian, arXiv:2206.01342; the search is ours.
    """
    inputs, laplacian = _problem(x, pair_weights)
    slopes = _slopes(activation)
    count = require_whole("starts", starts, 1, 10**6)
    rng = np.random.default_rng(require_whole("seed", seed, 0))
    w = rng.standard_normal((count, inputs.shape[1]))
    w = w / np.linalg.norm(w, axis=1, keepdims=True)
    problem = PatternSearch(inputs=inputs, laplacian=laplacian, slopes=slopes)
    maxima, hits, dead = local_maxima(problem, w)
    outputs = problem.activate(maxima @ inputs.T)
    energy = np.einsum("ki,ij,kj->k", outputs, laplacian, outputs) / 2
    order = np.argsort(-energy, kind="stable")
    found = {
        "contrastive_energy": (("maximum",), energy[order]),
        "unit_weight": (("maximum", "m"), maxima[order]),
        "basin_share": (("maximum",), hits[order] / count),
        "dead_share": ((), dead / count),
        "open_share": ((), 1 - (dead + hits.sum()) / count),
    }
    arrays = {name: xr.DataArray(values, dims=dims) for name, (dims, values) in found.items()}
    return dataset(arrays, KNOWN).assign_coords(maximum=np.arange(len(order)))


def _problem(x: ArrayLike, pair_weights: ArrayLike | None) -> tuple[Array, Array]:
    """X, and the Laplacian of α, whose energy does not depend on its diagonal."""
    inputs = real("x", x)
    if inputs.ndim != 2:
        raise InputError(f"`x` must have shape (n, m), got {inputs.shape}")
    require_range("x", xr.DataArray(inputs), -inf, inf)
    n = len(inputs)
    alpha = np.full((n, n), n**-2.0) if pair_weights is None else real("pair_weights", pair_weights)
    if alpha.shape != (n, n):
        raise InputError(f"`pair_weights` must have shape ({n}, {n}), got {alpha.shape}")
    require_range("pair_weights", xr.DataArray(alpha), -inf, inf)
    off = float(np.abs(alpha - alpha.T).max()) / (float(np.abs(alpha).max()) or 1.0)
    if off > SYMMETRIC:
        raise InputError(
            f"`pair_weights` must be symmetric, got some that are off by {off:.2g} of the largest. "
            f"Take (α + αᵀ)/2, which has the same energy"
        )
    return inputs, np.diag(alpha.sum(1)) - alpha


def _slopes(activation: Callable[[Any], Any] | None) -> Array:
    """Slopes below and above zero of an activation that is homogeneous."""
    if activation is None:
        return np.array([0.0, 1.0])
    z = np.concatenate([-np.geomspace(1e-2, 1e2, 9), np.geomspace(1e-2, 1e2, 9)])
    below, above = np.asarray(activation(np.array([-1.0, 1.0])), dtype=float) * [-1.0, 1.0]
    straight = np.where(z < 0, below, above) * z
    size = float(np.max(np.abs(straight))) or 1.0
    gap = float(np.max(np.abs(np.asarray(activation(z), dtype=float) - straight))) / size
    if not gap <= HOMOGENEOUS:
        raise InputError(
            f"`activation` must be homogeneous, h(z) = h′(z) z, as ReLU is, got one that is off by "
            f"{gap:.2g} of its size between −100 and 100. ReLU, leaky ReLU and the identity are"
        )
    return np.array([below, above])


def _phase(
    x: ArrayLike,
    pair_weights: ArrayLike | None = None,
    linear: float = 0,
    starts: float = 400,
    seed: int = 0,
) -> xr.Dataset:
    """As typed: the maxima of a ReLU neuron, or of a linear one."""
    if linear not in (0, 1):
        raise InputError(f"`linear` must be 0 or 1, got {linear!r}")
    activation = np.positive if linear else None
    return contrastive_maxima(
        x, pair_weights=pair_weights, activation=activation, starts=starts, seed=seed
    )


_SAMPLES = [[2.0, 0.0, 0.1], [0.0, 1.0, 0.0], [-1.0, 0.5, 1.0]]

MODEL = Model(
    name="contrastive_energy",
    equation="ẇ = η (1 − wwᵀ) A(w) w, A(w) = Xᵀ D L D X, of E = ¼ Σ α_ij (h(w·x_i) − h(w·x_j))²",
    assumptions=(
        Assumption(
            sentence="The activation is homogeneous, h(z) = h′(z) z.",
            broken=lambda: contrastive_maxima(_SAMPLES, activation=np.tanh),
        ),
        Assumption(
            sentence="The weights of pairs are symmetric, and do not move with the outputs.",
            broken=lambda: contrastive_maxima(_SAMPLES, pair_weights=np.triu(np.ones((3, 3)))),
        ),
        Assumption(
            sentence="The weights of the neuron have norm 1.",
            broken=lambda: contrastive_flow(_SAMPLES, [0.0, 0.0, 0.0], 1.0),
        ),
    ),
    quantities=KNOWN,
    example=lambda: contrastive_maxima(_SAMPLES, starts=50),
    references=(TIAN2022, DERIVED),
    commands={"solve": contrastive_flow, "phase": _phase},
)


def __dir__() -> list[str]:
    return __all__
