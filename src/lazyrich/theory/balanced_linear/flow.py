"""Gradient flow of a λ-balanced network on whitened data, in closed form."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory.balanced_linear._riccati import Eigenmodes, Target, evolve, steps_of
from lazyrich.theory.balanced_linear.rule import balanced_regime
from lazyrich.theory.balanced_linear.start import (
    OF_LAYERS,
    balance_of,
    of_one_rate,
    rank_of,
    require_balanced,
    row_units,
)
from lazyrich.theory.balanced_linear.start import QUANTITIES as OF_START
from lazyrich.theory.labels import (
    ParameterLike,
    apply,
    dataset,
    labelled,
    real,
    require_free,
    require_range,
    with_axis_attrs,
)
from lazyrich.theory.two_layer_linear._units import scaled, units_for
from lazyrich.theory.two_layer_linear.data import MomentData
from lazyrich.theory.two_layer_linear.flow import NAMES, SADDLE, axes_of, require_pair
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.readout import KNOWN as OF_LINEAR
from lazyrich.theory.two_layer_linear.readout import Movement, gram_quantities
from lazyrich.theory.two_layer_linear.state import Blocks, GramState
from lazyrich.theory.whitened import white_power
from lazyrich.vocabulary.quantity import DERIVED, DOMINE2024, Quantity, by_name
from lazyrich.vocabulary.shared import KERNEL_DISTANCE

MOST_STEPS = 10**5  # of a solution whose exponentials leave the range of floats
ROUNDING_GROWS = 37.0  # ℓt after which a rounding error is of order one
QUANTITIES = (
    Quantity(
        name="readout_gram",
        symbol="UUᵀ",
        meaning="matrix of the second layer, a product for each pair of outputs",
        dims=("k", "k_"),
        source=DOMINE2024,
    ),
    Quantity(
        name="tangent_kernel",
        symbol="Θ(x, x')",
        meaning="tangent kernel on pairs of inputs, learning rates inside",
        dims=("sample", "sample_", "k", "k_"),
        source=DERIVED,
    ),
)
KNOWN = OF_LINEAR | by_name(OF_START, QUANTITIES)


def balanced_flow(
    state: GramState, network: LinearNetwork, data: MomentData, times: ParameterLike
) -> xr.Dataset:
    """Follow gradient flow `θ̇ = −η ∇L` on `L = E‖γ U W x − y‖²` from λ-balanced weights.

    What `lazyrich.theory.two_layer_linear.flow` integrates is a formula here: any time costs the
    same, in every shape and at every rank.

    Args:
        state: weights with `|γ|(√(η_w/η_u) UᵀU − √(η_u/η_w) WWᵀ) = λI`.
        network: output scale γ ≠ 0 and learning rates η_u, η_w > 0.
        data: whitened, `Σ_xx = cI`.
        times: finite times ≥ 0; a sequence becomes the dim `time`.

    Returns:
        What `flow` returns, with `kernel_distance`, `readout_gram`, `relative_scale` and its
        residual; as coordinates `status`, "ok" or "near a saddle: …", `regime` and `delayed`.

    Raises:
        InputError: weights that are not balanced or inputs that are not whitened, by how much;
            shapes that do not fit, a layer that does not learn, times that are too long.

    Example:
        >>> import numpy as np
        >>> from lazyrich.theory.two_layer_linear import GramState, LinearNetwork, MomentData
        >>> state = GramState.from_weights(np.diag([1.36, 1.09]) ** 0.5, np.diag([0.6, 0.3]))
        >>> network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
        >>> target = np.array([[1.0, 0.5], [-0.25, 0.75]])
        >>> data = MomentData(sigma_xx=np.eye(2), sigma_yx=target, mean_yy=(target**2).sum())
        >>> balanced_flow(state, network, data, 0.5).end_to_end_map.values[0].round(6)
        array([0.890391, 0.284013])

    References:
        Fukumizu 1998; Braun et al. 2022; Dominé et al., arXiv:2409.14623. The form without an
        inverse, which needs no dimensions to be equal and no rank to be full, is ours.
    """
    time = labelled("time", times)
    require_range("times", time, 0, np.inf)
    require_pair(state, data)
    require_free({*NAMES, *KNOWN, "regime", "delayed"}, *axes_of(state, network, data), time)
    power = white_power(data)
    theta = of_one_rate(state, network)
    balance = balance_of(theta, state.outputs)
    require_balanced(balance)
    speed = 2 * power * abs(network.output_scale) * (network.lr_u * network.lr_w) ** 0.5
    target = Target.of(data.best_map)
    _require_reach(balance["relative_scale"], speed * time, target)
    gram = _gram(theta, balance["relative_scale"], speed * time, target=target)
    rows = row_units(state, network)
    result = _read(state, network, data, gram / (rows * rows.rename(row="col")))
    result = result.assign(dataset(balance, KNOWN)).assign_coords(
        _judgement(theta, balance["relative_scale"], speed, target)
        | {"time" if time.dims == ("time",) else "t": time}
    )
    result.attrs = {"references": DOMINE2024, "dynamics": "gradient flow"}
    return with_axis_attrs(result)


def tangent_kernel(solution: xr.Dataset, network: LinearNetwork, x: ArrayLike) -> xr.DataArray:
    """The whole tangent kernel `Θ(x, x') = γ²(η_w xᵀx' UUᵀ + η_u xᵀWᵀWx' I)` along a solution.

    Args:
        solution: the solution of `balanced_flow`.
        network: the same as there.
        x: inputs, (n, m).

    Returns:
        The kernel over the axes of the solution, with dims `sample`, `sample_`, `k` and `k_`.

    Raises:
        InputError: inputs of another dimension.

    Example:
        >>> import numpy as np
        >>> from lazyrich.theory.two_layer_linear import GramState, LinearNetwork, MomentData
        >>> state = GramState.from_weights(np.eye(2), np.eye(2))
        >>> network = LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0)
        >>> data = MomentData(sigma_xx=np.eye(2), sigma_yx=np.eye(2), mean_yy=2.0)
        >>> solution = balanced_flow(state, network, data, 0.0)
        >>> tangent_kernel(solution, network, np.eye(2)).values[0, 0]
        array([[2., 0.],
               [0., 2.]])

    References:
        Dominé et al., arXiv:2409.14623.
    """
    samples = real("x", x)
    m = solution.sizes["m"]
    if samples.ndim != 2 or samples.shape[1] != m or not np.isfinite(samples).all():
        raise InputError(f"`x` must hold finite inputs of shape (n, {m}), got {samples.shape}")
    here = xr.DataArray(samples, dims=("sample", "m"))
    there = here.rename(sample="sample_", m="m_")
    plain = xr.dot(here, there.rename(m_="m"), dim="m") * solution.readout_gram
    seen = xr.dot(here, solution.nfm, there, dim=("m", "m_"))
    outputs = np.eye(solution.sizes["k"])
    kernel = network.output_scale**2 * (
        network.lr_w * plain + network.lr_u * seen * xr.DataArray(outputs, dims=("k", "k_"))
    )
    (_, quantity) = QUANTITIES
    kernel = kernel.transpose(..., *quantity.dims)
    return dataset({quantity.name: kernel}, KNOWN)[quantity.name]


def _require_reach(balance: xr.DataArray, time: xr.DataArray, target: Target) -> None:
    """Refuse times of which a solution would take too many steps."""
    rate = np.hypot(target.sizes.max(), balance / 2)
    steps = apply(steps_of, rate, time)
    if not float(steps.max()) <= MOST_STEPS:
        raise InputError(
            f"`times` must be at most {MOST_STEPS:,} steps of the solution, got "
            f"{float(steps.max()):.3g}: everything that is learned at all has been long before"
        )


def _gram(
    theta: xr.DataArray, balance: xr.DataArray, time: xr.DataArray, *, target: Target
) -> xr.DataArray:
    """`ΘΘᵀ` at all times; neurons that nobody has are left out."""

    def alone(start: Array, scale: float, when: float) -> Array:
        moved = evolve(start, scale, when, target=target)
        return moved @ moved.T

    some = (theta != 0).any([dim for dim in theta.dims if dim != "neuron"])
    gram: xr.DataArray = apply(
        alone,
        *(theta.isel(neuron=some.values), balance, time),
        input_core_dims=[OF_LAYERS, (), ()],
        output_core_dims=[("row", "col")],
        vectorize=True,
        output_dtypes=[float],
    )
    return gram


def _read(
    state: GramState, network: LinearNetwork, data: MomentData, gram: xr.DataArray
) -> xr.Dataset:
    """Every quantity of a network that now has this Gram matrix."""
    units = units_for(
        *(state, network),
        *(xr.DataArray(np.abs(of).max()) for of in (data.best_map, data.sigma_xx)),
    )
    rows = units.rows(state.outputs, state.inputs)
    both = rows + rows.rename(row="col")
    now, start = (scaled(matrix, -both) for matrix in (gram, state.matrix))
    moved = Movement(units, start, now, now - start)
    result = gram_quantities(state, network, data, moved)
    _, lr_u, lr_w = units.network(network.output_scale, network.lr_u, network.lr_w)
    extra = {
        KERNEL_DISTANCE.name: _distance(
            Blocks.of(start, state.outputs), Blocks.of(now, state.outputs), lr_u, lr_w
        ),
        "readout_gram": Blocks.of(gram, state.outputs).uu,
    }
    return result.assign(dataset(extra, KNOWN))


def _distance(start: Blocks, now: Blocks, lr_u: xr.DataArray, lr_w: xr.DataArray) -> xr.DataArray:
    """`½‖Θ/‖Θ‖ − Θ₀/‖Θ₀‖‖²` over pairs of whitened inputs, for `Θ = xᵀx' A + xᵀBx' I`.

    `‖Θ‖² = m tr A² + 2 tr A tr B + k tr B²`; 0 where there is no kernel at the start.
    """
    k, m = start.uw.sizes["k"], start.uw.sizes["m"]

    def trace(matrix: xr.DataArray, of: str) -> xr.DataArray:
        size = matrix.sizes[of]
        return (matrix * xr.DataArray(np.eye(size), dims=(of, f"{of}_"))).sum((of, f"{of}_"))

    def squared(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
        squares = m * (a**2).sum(("k", "k_")) + k * (b**2).sum(("m", "m_"))
        return (squares + 2 * trace(a, "k") * trace(b, "m")).clip(0.0)

    def unit(blocks: Blocks) -> tuple[xr.DataArray, xr.DataArray]:
        a, b = lr_w * blocks.uu, lr_u * blocks.ww
        size = squared(a, b) ** 0.5
        size = size.where(size > 0, 1.0)
        return a / size, b / size

    before, after = unit(start), unit(now)
    turned: xr.DataArray = squared(*(y - x for x, y in zip(before, after, strict=True))) / 2
    return turned.where(squared(*before) > 0, 0.0)


def _judgement(
    theta: xr.DataArray, balance: xr.DataArray, speed: xr.DataArray, target: Target
) -> dict[str, xr.DataArray]:
    """Status, regime and delay of every network."""
    k, m = len(target.outputs), len(target.inputs)
    width, rate = apply(
        partial(_rank_and_wait, target=target),
        *(theta, balance),
        input_core_dims=[OF_LAYERS, ()],
        output_core_dims=[(), ()],
        vectorize=True,
        output_dtypes=[float, float],
    )
    judged = balanced_regime(
        balance.where(width > 0, 0.0),
        float(target.sizes.max()),
        width=width.clip(1),
        outputs=k,
        inputs=m,
    )
    with np.errstate(divide="ignore"):
        until = ROUNDING_GROWS / (rate * speed)
    status = apply(_status, width, until, vectorize=True, output_dtypes=[object])
    return {"status": status.astype(str), "regime": judged.regime, "delayed": judged.delayed}


def _status(neurons: float, until: float) -> str:
    """Whether a network learns what it can, in words."""
    if not np.isfinite(until):
        return "ok"
    if not neurons:
        return SADDLE
    return (
        f"near a saddle: a direction of the target has no weight at the start; in exact arithmetic "
        f"it stays so, rounding may leave it from t = {until:.3g} on"
    )


def _rank_and_wait(theta: Array, balance: float, *, target: Target) -> tuple[float, float]:
    """How many neurons there are, and the growth rate of a direction that they cannot reach."""
    rank = int(rank_of(np.linalg.svd(theta, compute_uv=False)))
    return float(rank), Eigenmodes.of(theta, balance, target).unreached(rank)
