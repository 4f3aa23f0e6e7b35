"""Aligned modes of deep linear networks on whitened data: plateaus and steps, at every depth.

Where all singular vectors are those of the target and all L layers are balanced, every mode is a
number of its own, `u̇ = 2ηc L u^{2−2/L}(s − u)`: it waits, steps, and is learned. L = 2 is the
logistic curve; deeper networks wait longer, the smaller the start.

References:
    Saxe, McClelland & Ganguli, arXiv:1312.6120, for the equation as far as it is known to us. The
    solution for every depth, also in the limit of infinite depth, is derived in the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory._mode_clock import clock, read_clock
from lazyrich.theory.labels import (
    ParameterLike,
    along,
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
from lazyrich.vocabulary.quantity import DERIVED, SAXE2014, Quantity, by_name

__all__ = ["mode_flow", "mode_times", "modes_of"]

QUANTITIES = (
    Quantity(
        name="mode_size",
        dims=("mode",),
        symbol="u",
        meaning="size of a mode, the product of its layers",
        low=0.0,
        source=SAXE2014,
    ),
    Quantity(
        name="mode_target",
        dims=("mode",),
        symbol="s",
        meaning="size of a mode in the best linear map, its singular value",
        low=0.0,
        source=SAXE2014,
    ),
    Quantity(
        name="mode_kernel_change",
        dims=("mode",),
        symbol="(u/u₀)^{2−2/L} − 1",
        meaning="relative change of a mode's own tangent kernel since the start",
        low=-1.0,
        source=DERIVED,
    ),
    Quantity(
        name="mode_time",
        dims=("mode",),
        symbol="t_m",
        meaning="time at which a mode has gone a share of its way",
        units="time",
        low=0.0,
        source=DERIVED,
    ),
)
KNOWN = by_name(QUANTITIES, [OF_LINEAR["excess_loss"]])
OFF = 1e-9  # of weights from aligned and balanced ones, in units of the largest


def mode_flow(
    target: ArrayLike | xr.DataArray,
    start: ArrayLike | xr.DataArray,
    times: ParameterLike,
    *,
    depth: ParameterLike = 1,
    lr: ParameterLike = 1.0,
    mean_aa: ParameterLike = 1.0,
) -> xr.Dataset:
    """Follow the modes of a balanced deep linear network under `θ̇ = −η ∇L`, `L = E‖f(x) − y‖²`.

    Args:
        target: s ≥ 0 of every mode, along `mode`.
        start: u₀ ≥ 0 of every mode, one number or along `mode`.
        times: finite times ≥ 0; a sequence becomes the dim `time`.
        depth: hidden layers, L − 1, so that 1 is a two-layer network; `inf` is the limit of many
            layers with the learning rate η/L.
        lr: η > 0 of every layer.
        mean_aa: c of the whitened inputs, `Σ_xx = cI`.

    Returns:
        `mode_size` u, `mode_target` s, `mode_kernel_change` and `excess_loss` `c Σ (u − s)²`. A
        mode without weight stays there.

    Raises:
        InputError: targets or starts below 0, times that are not finite, depths below 1.

    Example:
        >>> found = mode_flow([3.0, 1.0], 1e-3, [0.0, 1.5, 6.0], lr=0.5)
        >>> found.mode_size.transpose("time", "mode").values.round(3).tolist()
        [[0.001, 0.001], [2.19, 0.02], [3.0, 0.994]]

    References:
        Saxe et al., arXiv:1312.6120; the solution beyond two layers is ours.
    """
    s, u, q, speed, time = _checked(target, start, times, depth, lr, mean_aa)
    size = apply(_size_at, s, u, q, speed * time)
    waits = u.where(u > 0, 1.0)
    change = ((size / waits) ** (1 + q) - 1).where(u > 0, 0.0)
    power = labelled("mean_aa", mean_aa)
    excess = power * ((size - s) ** 2).sum("mode")
    found = {
        "mode_size": size,
        "mode_target": s,
        "mode_kernel_change": change,
        "excess_loss": excess,
    }
    result = dataset(found, KNOWN)
    return result.assign_coords({"time" if time.dims == ("time",) else "t": time})


def mode_times(
    target: ArrayLike | xr.DataArray,
    start: ArrayLike | xr.DataArray,
    share: float = 0.5,
    *,
    depth: ParameterLike = 1,
    lr: ParameterLike = 1.0,
    mean_aa: ParameterLike = 1.0,
) -> xr.DataArray:
    """When each mode steps: the plateaus of the loss are what lies between; sorted is a schedule.

    Args:
        target: s of every mode, as for `mode_flow`.
        start: u₀ of every mode.
        share: share of the way from start to target, between 0 and 1, both excluded.
        depth: hidden layers, L − 1.
        lr: η of every layer.
        mean_aa: c of the whitened inputs.

    Returns:
        `mode_time` over the axes of all arguments; infinite where a mode has no weight or nothing
        to learn from.

    Raises:
        InputError: as `mode_flow`, or a share that is not between 0 and 1.

    Example:
        >>> mode_times([3.0, 1.0], 1e-3, lr=0.5).values.round(3)
        array([1.334, 3.454])

    References:
        Derived in the documentation.
    """
    if not 0 < share < 1:
        raise InputError(f"`share` must be between 0 and 1, got {share}")
    s, u, q, speed, _ = _checked(target, start, 0.0, depth, lr, mean_aa)
    found = apply(lambda *arrays: _time_to(*arrays, share=share), s, u, q)
    return dataset({"mode_time": found / speed}, KNOWN)["mode_time"]


def modes_of(layers: Sequence[ArrayLike], data: MomentData) -> xr.Dataset:
    """The modes of a deep linear network, if it is aligned with its data and balanced.

    Args:
        layers: weights from the first layer on, each (outputs, inputs) of its own.
        data: moments of inputs that are whitened.

    Returns:
        `mode_target` s and, as `mode_size`, where each mode starts.

    Raises:
        InputError: inputs that are not whitened, layers that are not balanced, or a map that is
            not aligned with the best one, in each case by how much.

    Example:
        >>> layer = np.diag([0.1, 0.1])
        >>> data = MomentData(sigma_xx=np.eye(2), sigma_yx=np.diag([3.0, 1.0]), mean_yy=10.0)
        >>> modes_of([layer, layer, layer], data).mode_size.values.round(6)
        array([0.001, 0.001])

    References:
        Saxe, McClelland & Ganguli, arXiv:1312.6120.
    """
    weights = [real("layers", layer) for layer in layers]
    shapes = [one.shape for one in weights]
    chained = all(one[0] == after[1] for one, after in pairwise(shapes))
    k, m = data.sigma_yx.shape
    if len(weights) < 2 or not chained or (shapes[-1][0], shapes[0][1]) != (k, m):
        raise InputError(
            f"`layers` must be at least two matrices (outputs, inputs), the first layer first, "
            f"from {m} inputs to {k} outputs, got shapes {', '.join(map(str, shapes))}"
        )
    white_power(data)
    gaps = layer_gaps(weights)
    if max(gaps) > OFF:
        at = gaps.index(max(gaps)) + 1
        raise InputError(
            f"layers {at} and {at + 1} must be balanced, W₂ᵀW₂ = W₁W₁ᵀ, got a difference of "
            f"{max(gaps):.2g} of the largest weight's square. See lazyrich.theory.two_layer_linear"
        )
    s, along, gap = mode_gap(weights, data)
    if gap > OFF:
        raise InputError(
            f"the network must be aligned with its data, of the same singular vectors and signs, "
            f"got one that is off by {gap:.2g} of its largest entry, with modes "
            f"{along.round(4).tolist()}. lazyrich.match tells which theory holds instead"
        )
    found = {"mode_target": s, "mode_size": np.maximum(along, 0.0)}
    return dataset({k: xr.DataArray(v, dims="mode") for k, v in found.items()}, KNOWN)


def layer_gaps(weights: Sequence[Array]) -> list[float]:
    """How far neighbouring layers are from balanced, of the square of the largest weight.

    Args:
        weights: the weights from the first layer on.
    """
    largest = max(float(np.abs(one).max()) for one in weights)
    return [
        float(np.abs(after.T @ after - one @ one.T).max()) / (largest**2 or 1.0)
        for one, after in pairwise(weights)
    ]


def mode_gap(weights: Sequence[Array], data: MomentData) -> tuple[Array, Array, float]:
    """The sizes of target and network in the modes of the data, and what is in none of them.

    Args:
        weights: the weights from the first layer on.
        data: Dataset with the best map.

    Returns:
        s; u, below 0 where the network is against its data; what is apart, or below 0, of the
        map's largest entry.
    """
    map_now = weights[0]
    for one in weights[1:]:
        map_now = one @ map_now
    y, s, x = np.linalg.svd(data.best_map, full_matrices=False)
    along = np.diag(y.T @ map_now @ x.T)
    apart = np.abs(map_now - y @ np.diag(along) @ x).max()
    below = max(0.0, -float(along.min()))
    return s, along, max(float(apart), below) / (float(np.abs(map_now).max()) or 1.0)


def _checked(
    target: object, start: object, times: ParameterLike, *rest: ParameterLike
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray, xr.DataArray, xr.DataArray]:
    """s, u₀, q, the rate that times L s^{1+q} counts, and the times."""
    s, u = (_along_modes(name, x) for name, x in (("target", target), ("start", start)))
    depth, lr, power = (
        labelled(name, x) for name, x in zip(("depth", "lr", "mean_aa"), rest, strict=True)
    )
    time = labelled("time", times)
    require_range("times", time, 0, inf)
    require_range("lr", lr, 0, inf)
    require_range("mean_aa", power, 0, inf)
    if not bool((depth >= 1).all()):
        raise InputError(f"`depth` must be ≥ 1 hidden layers, got {float(depth.min()):g}")
    require_free({*KNOWN, "mode_time"}, s, u, depth, lr, power, time)
    layers = depth + 1
    endless = np.isinf(layers)
    speed = 2 * lr * power * layers.where(~endless, 1.0)
    return s, u, 1 - 2 / layers, speed, time.rename(None)


def _along_modes(name: str, value: object) -> xr.DataArray:
    array = along("mode", name, value, always=name == "target")
    require_range(name, array, 0, inf)
    return array


def _size_at(s: Array, u: Array, q: Array, rate: Array) -> Array:
    """U at a time; `rate` is t in units in which the clock runs at `s^{1+q}`."""
    s, u, q, rate = np.broadcast_arrays(s, u, q, rate)
    below, above = ((rate > 0) & each for each in ((s > u) & (u > 0), (u > s) & (s > 0)))
    value = np.array(u, dtype=float)
    nothing = (s == 0) & (u > 0)
    fall = 1 + q[nothing]
    value[nothing] = u[nothing] / (1 + fall * rate[nothing] * u[nothing] ** fall) ** (1 / fall)
    for where, grows in ((below, True), (above, False)):
        goal, at = s[where], u[where]
        y = _place(goal, at, grows=grows)
        y = read_clock(y, q[where], goal ** (1 + q[where]) * rate[where], grows=grows)
        value[where] = goal / (1 + np.exp(-y) if grows else -np.expm1(-y))
    return value


def _time_to(s: Array, u: Array, q: Array, *, share: float) -> Array:
    """Time at unit rate until a share of the way from u to s is gone."""
    s, u, q = np.broadcast_arrays(s, u, q)
    value = np.full(s.shape, inf)
    value[(s == u)] = 0.0
    below, above, nothing = (s > u) & (u > 0), (u > s) & (s > 0), (s == 0) & (u > 0)
    fall = 1 + q[nothing]
    value[nothing] = ((1 - share) ** -fall - 1) / fall / u[nothing] ** fall
    for where, grows in ((below, True), (above, False)):
        goal, at = s[where], u[where]
        ends = (at, at + share * (goal - at))
        first, last = (clock(_place(goal, x, grows=grows), q[where], grows=grows) for x in ends)
        value[where] = (last - first) / goal ** (1 + q[where])
    return value


def _place(s: Array, u: Array, *, grows: bool) -> Array:
    """Y of `u = s/(1 ± e^{−y})`."""
    value: Array = np.log(u / (s - u)) if grows else np.log(u / (u - s))
    return value


def _modes(*layers: Array, power: float = 1.0) -> xr.Dataset:
    """Of two inputs, one of which may have a power of its own."""
    best = np.array([[2.0, 0.0], [0.0, 1.0]])
    data = MomentData(sigma_xx=np.diag([1.0, power]), sigma_yx=best, mean_yy=5.0)
    return modes_of(layers, data)


_SOME = np.diag([0.1, 0.2])

MODEL = Model(
    name="aligned_modes",
    equation="u̇ = 2ηc L u^{2−2/L}(s − u)",
    assumptions=(
        Assumption(
            sentence="The inputs are whitened, Σ_xx = cI.",
            broken=lambda: _modes(_SOME, _SOME, power=1.1),
        ),
        Assumption(
            sentence="All layers are balanced.",
            broken=lambda: _modes(_SOME, 1.01 * _SOME),
        ),
        Assumption(
            sentence="The network has the singular vectors of the best linear map.",
            broken=lambda: _modes(_SOME @ np.array([[0.6, 0.8], [-0.8, 0.6]]), _SOME),
        ),
        Assumption(
            sentence="No mode has the wrong sign.",
            broken=lambda: mode_flow([1.0], [-0.1], 1.0),
        ),
    ),
    quantities=KNOWN,
    example=lambda: mode_flow([3.0, 1.0], 1e-3, [0.0, 1.0, 9.0], depth=[1, 2], lr=0.1),
    references=(SAXE2014, DERIVED),
    commands={"solve": mode_flow},
)


def __dir__() -> list[str]:
    return __all__
