"""A deep linear network with weight decay: where its minima are, and when it collapses to zero.

N weights in a chain, `f(x) = w_N ⋯ w_1 x`, minimise `E(f − y)² + (λ/2) Σ w_i²`. Equal sizes b have
the smallest sum for a product, so that only b is left, and with `A = E[a²]`, `s = E[ay]`,
`v = A b^N/|s|`, a minimum with weights is the larger root of

    v + κ v^{−p} = 1,    p = 1 − 2/N,    κ = (λ/2|s|) (A/|s|)^p .

Two layers collapse to zero continuously as λ grows. From three on the transition is of first order:
the minimum with weights stays a local one beyond the λ at which zero is as good, up to another at
which it is gone, and zero is a local minimum at every λ > 0. Layers that are matrices, on whitened
inputs, have a chain for each singular value of the best map.

References:
    The loss, and that zero is special beyond one hidden layer: Ziyin, Li & Meng, arXiv:2202.04777,
    as far as they are known to us. The solution of the chain, both values of λ and the modes of
    matrices are derived in the documentation.
"""

from __future__ import annotations

from math import inf

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory.aligned_modes import KNOWN as OF_MODES
from lazyrich.theory.labels import (
    ParameterLike,
    apply,
    dataset,
    labelled,
    real,
    require_free,
    require_range,
)
from lazyrich.theory.model import Assumption, Model
from lazyrich.theory.two_layer_linear.data import MomentData
from lazyrich.theory.two_layer_linear.readout import KNOWN as OF_LINEAR
from lazyrich.theory.whitened import white_power
from lazyrich.vocabulary.quantity import DERIVED, ZIYIN2022, Quantity, by_name
from lazyrich.vocabulary.regimes import Word

__all__ = ["Collapse", "chain_minima", "chain_modes"]

QUANTITIES = (
    Quantity(
        name="learned_map",
        dims=("mode",),
        symbol="u",
        meaning="end-to-end map of the minimum with weights, 0 where there is none",
        units="y/x",
        source=DERIVED,
    ),
    Quantity(
        name="chain_weight",
        dims=("mode",),
        symbol="b",
        meaning="size of each weight in the minimum with weights, 0 where there is none",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="learned_gain",
        dims=("mode",),
        symbol="F(0) − F(b)",
        meaning="by how much the minimum with weights lies below zero weights, decay included",
        units="y^2",
        source=DERIVED,
    ),
    Quantity(
        name="critical_decay",
        dims=("mode",),
        symbol="λ_c",
        meaning="weight decay from which zero weights are the better minimum",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="spinodal_decay",
        dims=("mode",),
        symbol="λ_sp",
        meaning="weight decay from which zero weights are the only minimum",
        low=0.0,
        source=DERIVED,
    ),
)
KNOWN = by_name(QUANTITIES) | {
    "end_to_end_map": OF_LINEAR["end_to_end_map"],
    "mode_target": OF_MODES["mode_target"],
    "mode_size": OF_MODES["mode_size"],
}
MOST_FACTORS = 10**6
STEPS = 200  # of Newton's method, which takes some ten, or halves its error at a double root


class Collapse(Word):
    """What weight decay leaves of a network, or of a mode of it.

    References:
        Ziyin, Li & Meng, arXiv:2202.04777.
    """

    LEARNED = "learned"
    METASTABLE = "metastable"
    COLLAPSED = "collapsed"


def chain_minima(
    mean_aa: ParameterLike,
    mean_ay: ParameterLike,
    *,
    factors: ParameterLike,
    weight_decay: ParameterLike,
) -> xr.Dataset:
    """The minima of `E(w_N ⋯ w_1 a − y)² + (λ/2) Σ w_i²`, over axes of all arguments.

    Args:
        mean_aa: `A = E[a²]` > 0.
        mean_ay: `s = E[ay]`.
        factors: N ≥ 1, a whole number: the layers, one more than hidden ones.
        weight_decay: λ ≥ 0 as in PyTorch, which adds λw to the gradient.

    Returns:
        `end_to_end_map` of the global minimum; of the minimum with weights `learned_map`,
        `chain_weight` b and `learned_gain`; `critical_decay` and `spinodal_decay`. The coordinate
        `collapse` is a word of `Collapse`: learned, metastable where zero is better, or collapsed.

    Raises:
        InputError: numbers out of range.

    Example:
        >>> found = chain_minima(1.0, 1.0, factors=[1, 2, 3], weight_decay=0.6)
        >>> found.chain_weight.values.round(4), found.critical_decay.values.round(4)
        (array([0.7692, 0.8367, 0.8682]), array([   inf, 2.    , 0.7937]))

    References:
        Ziyin et al., arXiv:2202.04777; the solution is ours.
    """
    A, s = labelled("mean_aa", mean_aa), labelled("mean_ay", mean_ay)
    N, decay = labelled("factors", factors), labelled("weight_decay", weight_decay)
    for name, array, low in (("mean_aa", A, 0), ("mean_ay", s, -inf), ("weight_decay", decay, 0)):
        require_range(name, array, low, inf)
    require_range("factors", N, 1, MOST_FACTORS)
    if bool((N % 1 != 0).any()):
        raise InputError(f"`factors` must be whole numbers, got {float(N.where(N % 1 != 0).max())}")
    if not bool((A > 0).all()):
        raise InputError("`mean_aa` must be > 0: without inputs there is nothing to learn, got 0")
    A, s, N, decay = (array.rename(None) for array in (A, s, N, decay))
    require_free({*KNOWN, "collapse"}, A, s, N, decay)
    names = ("learned_map", "chain_weight", "learned_gain", "critical_decay", "spinodal_decay")
    arrays = apply(_branch, A, s, N, decay, output_core_dims=[()] * 5)
    found = dict(zip(names, arrays, strict=True))
    gain, weight = found["learned_gain"], found["chain_weight"]
    found["end_to_end_map"] = found["learned_map"].where(gain >= 0, 0.0)
    word = np.where(gain >= 0, Collapse.LEARNED, Collapse.METASTABLE)
    word = np.where(weight > 0, word, Collapse.COLLAPSED)
    attrs = {"long_name": "what weight decay leaves"}
    return dataset(found, KNOWN).assign_coords(collapse=(gain.dims, word, attrs))


def chain_modes(
    data: MomentData, *, factors: ParameterLike, weight_decay: ParameterLike
) -> xr.Dataset:
    """The minima of a deep linear network of matrices with weight decay: a chain for each mode.

    Args:
        data: moments of whitened inputs, `Σ_xx = cI`.
        factors: N ≥ 1, the number of layers, hidden ones as wide as the rank of the map at least.
        weight_decay: λ ≥ 0 as in PyTorch.

    Returns:
        What `chain_minima` returns of every mode, along `mode`, but `end_to_end_map`, which is the
        matrix of the global minimum; `mode_size` and `mode_target`, its singular values and those
        of the best map.

    Raises:
        InputError: inputs that are not whitened, by how much; numbers out of range.

    Example:
        >>> data = MomentData(sigma_xx=np.eye(2), sigma_yx=np.diag([3.0, 0.5]), mean_yy=10.0)
        >>> found = chain_modes(data, factors=3, weight_decay=0.8)
        >>> found.mode_size.values.round(3), found.collapse.values.tolist()
        (array([2.713, 0.   ]), ['learned', 'collapsed'])

    References:
        Derived in the documentation.
    """
    power = white_power(data)
    outputs, targets, inputs = np.linalg.svd(data.best_map, full_matrices=False)
    mode = xr.DataArray(targets, dims="mode", coords={"mode": np.arange(len(targets))})
    found = chain_minima(power, power * mode, factors=factors, weight_decay=weight_decay)
    size = found["end_to_end_map"]
    left = xr.DataArray(outputs, dims=("k", "mode"))
    right = xr.DataArray(inputs, dims=("mode", "m"))
    product = xr.dot(left, size, right, dim="mode").transpose(..., "k", "m")
    new = {"end_to_end_map": product, "mode_target": mode, "mode_size": size}
    return found.assign(dataset({name: x.rename(None) for name, x in new.items()}, KNOWN))


def _branch(A: Array, s: Array, N: Array, decay: Array) -> tuple[Array, ...]:
    """Map, weight and gain of the minimum with weights; both limits of λ."""
    A, s, N, decay = np.broadcast_arrays(A, s, N, decay)
    p, best = 1 - 2 / N, np.abs(s) / A
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        unit = np.where(s == 0, 0.0, 2 * np.abs(s) * best**p)  # λ in units of κ
        kappa = np.where(s == 0, inf, decay / unit)
        deep = N > 2
        v_spinodal = np.where(deep, p / (1 + p), 0.0)
        v_critical = np.where(deep, 2 * p / (1 + p), 0.0)
        spinodal = np.where(deep, v_spinodal**p / (1 + p), np.where(N == 2, 1.0, inf))
        critical = np.where(deep, v_critical**p * (1 - p) / (1 + p), spinodal)
        limits = (
            np.where(s == 0, 0.0, x * np.where(s == 0, 1.0, unit)) for x in (critical, spinodal)
        )
        alive = (s != 0) & np.where(deep, kappa <= spinodal, kappa < spinodal)
        v = np.where(N == 2, 1 - kappa, 1 / (1 + kappa))
    v = np.where(alive, v, 0.0)
    rooted = alive & deep
    v[rooted] = _root(p[rooted], kappa[rooted], v_spinodal[rooted])
    u = v * best
    # (λ/2) N b² = N |s| u (1 − v), by the equation of v
    gain = np.where(alive, np.abs(s) * u * (2 - v - N * (1 - v)), 0.0)
    return np.sign(s) * u + 0.0, u ** (1 / N), gain, *limits


def _root(p: Array, kappa: Array, lowest: Array) -> Array:
    """The larger root of `v^{1+p} − v^p + κ`, which is convex: Newton's method from above."""
    v = np.ones_like(p)
    for _ in range(STEPS):
        slope = (1 + p) * v - p
        step = (v - 1 + kappa * v**-p) * v / np.where(slope > 0, slope, inf)
        new = np.maximum(v - step, lowest)
        if bool((new >= v).all()):
            break
        v = np.minimum(new, v)
    return v


def _solve(
    factors: ParameterLike,
    weight_decay: ParameterLike,
    mean_aa: ParameterLike = 1.0,
    mean_ay: ParameterLike = 1.0,
    target: ArrayLike | None = None,
) -> xr.Dataset:
    """As typed: moments of data on a line, or the best map as a matrix, of inputs with Σ_xx = I."""
    if target is None:
        return chain_minima(mean_aa, mean_ay, factors=factors, weight_decay=weight_decay)
    best = np.atleast_2d(real("target", target))
    data = MomentData(sigma_xx=np.eye(best.shape[1]), sigma_yx=best, mean_yy=float((best**2).sum()))
    return chain_modes(data, factors=factors, weight_decay=weight_decay)


def _phase(
    factors: ParameterLike,
    weight_decay: ParameterLike,
    mean_aa: ParameterLike = 1.0,
    mean_ay: ParameterLike = 1.0,
) -> xr.Dataset:
    """As typed: what is left, and between which values of λ."""
    found = chain_minima(mean_aa, mean_ay, factors=factors, weight_decay=weight_decay)
    return found[["learned_gain", "critical_decay", "spinodal_decay"]]


def _of_two_inputs(power: float) -> xr.Dataset:
    best = np.array([[2.0, 0.0], [0.0, 0.5]])
    data = MomentData(sigma_xx=np.diag([1.0, power]), sigma_yx=best, mean_yy=9.0)
    return chain_modes(data, factors=3, weight_decay=[0.2, 0.8])


MODEL = Model(
    name="weight_decay_chain",
    equation="A b^{2N−2} − |s| b^{N−2} + λ/2 = 0, of min E(w_N ⋯ w_1 a − y)² + (λ/2) Σ w_i²",
    assumptions=(
        Assumption(
            sentence="The inputs are whitened, Σ_xx = cI, or lie on a line.",
            broken=lambda: _of_two_inputs(1.1),
        ),
        Assumption(
            sentence="The layers are a whole number, all with the same decay.",
            broken=lambda: chain_minima(1.0, 1.0, factors=2.5, weight_decay=0.1),
        ),
    ),
    quantities=KNOWN,
    example=lambda: _of_two_inputs(1.0),
    references=(ZIYIN2022, DERIVED),
    commands={"solve": _solve, "phase": _phase},
)


def __dir__() -> list[str]:
    return __all__
