"""Where a λ-balanced network starts: its relative scale, measured, and states that have one.

A flow with unequal rates and an output scale is one with equal rates and none of
`U₂ = √|γ| (η_w/η_u)^¼ U` and `U₁ = √|γ| (η_u/η_w)^¼ W`, whose product is the map `γUW` up to the
sign of γ. It conserves `U₂ᵀU₂ − U₁U₁ᵀ`, in the units of the map.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory.labels import (
    ParameterLike,
    apply,
    dataset,
    labelled,
    require_free,
    require_range,
    require_whole,
)
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import GramState, gram_of
from lazyrich.theory.two_layer_linear.wishart import OF_MATRICES, SeedLike
from lazyrich.vocabulary.quantity import DOMINE2024, Quantity, by_name

QUANTITIES = (
    Quantity(
        name="relative_scale",
        symbol="λ",
        meaning="relative scale of the layers, the λ of W₂ᵀW₂ − W₁W₁ᵀ = λI",
        units="y/x",
        source=DOMINE2024,
    ),
    Quantity(
        name="relative_scale_residual",
        symbol="‖W₂ᵀW₂ − W₁W₁ᵀ − λI‖/‖θ‖²",
        meaning="what of the layers is not λ-balanced, relative to their squared size",
        low=0.0,
        source=DOMINE2024,
    ),
)
BALANCED_TOLERANCE = 1e-9  # of the residual: the solution is wrong by as much
NEURON_EXISTS = 1e-12  # of the largest singular value of the weights; rounding is below
OF_LAYERS = ("row", "neuron")


def relative_scale(state: GramState, network: LinearNetwork) -> xr.Dataset:
    """How far apart two layers are in size, and how far from balanced with that.

    `λ = tr(U₂ᵀU₂ − U₁U₁ᵀ)/h`, over all h neurons that have a weight, with the layers in the units
    in which they learn at one rate.

    Args:
        state: a state, as of `GramState.from_weights`, any weights.
        network: output scale γ ≠ 0 and learning rates > 0.

    Returns:
        `relative_scale` and `relative_scale_residual`, the Frobenius norm of what is left of
        the difference of both sides, over the largest eigenvalue of their sum.

    Raises:
        InputError: γ = 0, or a layer that does not learn.

    Example:
        >>> from lazyrich.theory.two_layer_linear import GramState, LinearNetwork
        >>> network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
        >>> state = GramState.from_weights([[2.0, 0.0], [0.0, 5.0**0.5]], [[1.0], [0.0]])
        >>> found = relative_scale(state, network)
        >>> round(found.relative_scale.item(), 3), round(found.relative_scale_residual.item(), 3)
        (4.0, 0.283)

    References:
        Dominé et al., arXiv:2409.14623, for balanced weights; the estimate is ours.
    """
    return dataset(balance_of(of_one_rate(state, network), state.outputs), by_name(QUANTITIES))


def balanced_state(
    *,
    outputs: int,
    inputs: int,
    width: int,
    init_relative_scale: ParameterLike,
    init_std: ParameterLike,
    seed: SeedLike,
) -> GramState:
    """Draw a λ-balanced start, for γ = 1 and equal rates: the smaller layer is Gaussian.

    The larger layer completes it to `UᵀU − WWᵀ = λI`, in directions that are drawn, too.

    Args:
        outputs: k.
        inputs: m.
        width: h, at most k where λ > 0 and at most m where λ < 0.
        init_relative_scale: λ, any sign.
        init_std: standard deviation of the smaller layer.
        seed: a seed or a NumPy generator. All λ and standard deviations share the draws.

    Raises:
        InputError: a width for which no weights have this λ.

    Example:
        >>> balanced_state(
        ...     outputs=2, inputs=3, width=2, init_relative_scale=[-1, 1], init_std=0.1, seed=0
        ... ).matrix.sizes["init_relative_scale"]
        2

    References:
        Dominé et al., arXiv:2409.14623.
    """
    k, m, h = (
        require_whole(name, value, 1)
        for name, value in (("outputs", outputs), ("inputs", inputs), ("width", width))
    )
    scale, std = (
        labelled("init_relative_scale", init_relative_scale),
        labelled("init_std", init_std),
    )
    require_range("init_relative_scale", scale, -np.inf, np.inf)
    require_range("init_std", std, 0, np.inf)
    require_free(OF_MATRICES, scale, std)
    for name, count, wrong in (("outputs", k, scale > 0), ("inputs", m, scale < 0)):
        if h > count and bool(wrong.any()):
            sign = "> 0" if name == "outputs" else "< 0"
            raise InputError(
                f"a relative scale {sign} needs a width of at most the {name}, for h vectors in "
                f"{count} dimensions are not orthogonal: got width {h} and {name} {count}"
            )
    random = np.random.default_rng(seed)
    neurons, of_u, of_w = (_orthonormal(random, rows, h) for rows in (h, k, m))
    learned = min(h, k, m)
    drawn = np.linalg.svd(random.standard_normal((h, m)), compute_uv=False)
    size = np.pad(drawn[:learned], (0, h - learned))

    def weights(balance: Array, sigma: Array) -> Array:
        small = sigma[..., None] * size
        large = np.hypot(small, np.sqrt(np.abs(balance))[..., None])
        above = (balance >= 0)[..., None]
        u, w = np.where(above, large, small), np.where(above, small, large)
        rows = [of_u * u[..., None, :], of_w * w[..., None, :]]
        return np.concatenate(np.broadcast_arrays(*rows) if k == m else rows, axis=-2) @ neurons.T

    factor = apply(weights, *xr.broadcast(scale, std), output_core_dims=[OF_LAYERS])
    return GramState(matrix=gram_of(factor), outputs=k, factor=factor)


def of_one_rate(state: GramState, network: LinearNetwork) -> xr.DataArray:
    """The weights in the units in which the layers learn at one rate and the map is `U₂U₁`."""
    return state.factor * row_units(state, network)


def row_units(state: GramState, network: LinearNetwork) -> xr.DataArray:
    """What a row of `[U; Wᵀ]` is multiplied with; U also carries the sign of γ."""
    gamma, lr_u, lr_w = network.output_scale, network.lr_u, network.lr_w
    for name, value in (("output_scale", gamma), ("lr_u", lr_u), ("lr_w", lr_w)):
        if not bool((value != 0).all()):
            raise InputError(
                f"`{name}` must not be 0: a λ-balanced network learns in both layers, got "
                f"{value.values}. Use lazyrich.theory.two_layer_linear.flow"
            )
    size, tilt = abs(gamma) ** 0.5, (lr_w / lr_u) ** 0.25
    is_u = xr.DataArray(np.arange(state.outputs + state.inputs) < state.outputs, dims="row")
    return xr.where(is_u, size * tilt * np.sign(gamma), size / tilt)


def balance_of(theta: xr.DataArray, outputs: int) -> dict[str, xr.DataArray]:
    """λ, and what is left, of weights of one rate."""
    names = [quantity.name for quantity in QUANTITIES]
    found = apply(
        _balance,
        theta,
        kwargs={"outputs": outputs},
        input_core_dims=[OF_LAYERS],
        output_core_dims=[(), ()],
    )
    return dict(zip(names, found, strict=True))


def require_balanced(found: dict[str, xr.DataArray]) -> None:
    """Refuse weights that are not λ-balanced; the message says by how much.

    Raises:
        InputError: a residual above `BALANCED_TOLERANCE`.
    """
    residual = found["relative_scale_residual"]
    worst = int(residual.values.argmax())
    if float(residual.max()) > BALANCED_TOLERANCE:
        scale = found["relative_scale"].broadcast_like(residual).values.ravel()[worst]
        raise InputError(
            f"the weights must be λ-balanced, η_w UᵀU − η_u WWᵀ ∝ I: with λ = {scale:.4g} they are "
            f"off by {residual.values.ravel()[worst]:.2g} of their squared size, and the solution "
            f"would be by as much. Use lazyrich.theory.two_layer_linear.flow, or balanced_state"
        )


def _orthonormal(random: np.random.Generator, rows: int, columns: int) -> Array:
    """As many orthonormal columns as there are dimensions, and zeros."""
    found = np.linalg.qr(random.standard_normal((rows, min(rows, columns)))).Q
    return np.pad(found, ((0, 0), (0, columns - found.shape[1])))


def rank_of(sizes: NDArray[np.floating]) -> NDArray[np.intp]:
    """How many neurons have a weight, from the singular values of Θ."""
    rank: NDArray[np.intp] = (
        sizes > NEURON_EXISTS * sizes.max(-1, keepdims=True, initial=0.0)
    ).sum(-1)
    return rank


def _balance(theta: Array, *, outputs: int) -> tuple[Array, Array]:
    rows, sizes, _ = np.linalg.svd(theta, full_matrices=False)
    kept = np.arange(sizes.shape[-1]) < rank_of(sizes)[..., None]
    neurons = rows * np.where(kept, sizes, 0.0)[..., None, :]
    sign = np.where(np.arange(theta.shape[-2]) < outputs, 1.0, -1.0)[:, None]
    difference = np.swapaxes(neurons, -1, -2) @ (sign * neurons)
    trace = np.trace(difference, axis1=-2, axis2=-1)
    balance = trace / np.maximum(rank_of(sizes), 1)
    unit = np.where(kept, balance[..., None], 0.0)[..., None] * np.eye(sizes.shape[-1])
    size = sizes.max(-1) ** 2
    left = np.linalg.norm(difference - unit, axis=(-2, -1))
    return balance, left / np.where(size > 0, size, 1.0)
