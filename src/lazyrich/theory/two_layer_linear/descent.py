"""Gradient descent: the exact discrete-time recursion of the Gram matrix, at any width.

One step on weights is `Θ ← M Θ`, on the state `G ← M G Mᵀ`, with
`M = I − 2γ [[0, η_u R], [η_w Rᵀ, 0]] − diag(η_u λ_u, η_w λ_w)`. No step size is too large for it:
the catapult and divergence are in it. Momentum stacks the velocities below Θ; a minibatch puts its
own moments into R. The step follows PyTorch's SGD: the decay λ θ is added to the gradient, the
velocity is `v ← μ v + g`, the weights move by `−η v`. What is stepped is the smallest network
with this G, of at most k + m neurons, so that G stays positive semidefinite.

On a line three numbers move instead of a matrix, at a few nanoseconds a step (`_kernels`).

References:
    Xu & Ziyin, arXiv:2401.07085 (the model); Lewkowycz et al., arXiv:2003.02218 (the catapult).
    The recursion is derived in the documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array, Scaled
from lazyrich.theory.labels import (
    Labelled,
    Parameter,
    ParameterLike,
    apply,
    dataset,
    require_free,
    require_whole,
    with_attrs,
    with_axis_attrs,
)
from lazyrich.theory.two_layer_linear import _recursion as _kernels
from lazyrich.theory.two_layer_linear._units import Units, by_row, scaled, units_for
from lazyrich.theory.two_layer_linear.data import LineData, MomentData
from lazyrich.theory.two_layer_linear.flow import (
    NAMES,
    axes_of,
    line_arguments,
    require_pair,
)
from lazyrich.theory.two_layer_linear.line import LineProblem, natural_units
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.readout import (
    KNOWN,
    LineReadout,
    Movement,
    Path,
    gram_quantities,
    line_readout,
)
from lazyrich.theory.two_layer_linear.state import GramState, LineState
from lazyrich.vocabulary.quantity import XU2025

Steps = NDArray[np.int64]

MOST_STEPS = 10**15  # months of computing
MOST_ROWS = 10**8
LARGEST_RATE = 1e300  # in natural units: beyond it the first step diverges all the same
LOWEST = 10_000  # powers of two that a start may lie below what the data ask for
RELATIVE = ("alignment", "nfa", "balancedness")  # keep their last finite value after divergence


def descent(
    state: LineState | GramState,
    network: LinearNetwork,
    data: LineData | MomentData,
    *,
    steps: float,
    every: float = 1,
    momentum: ParameterLike = 0.0,
    weight_decay_u: ParameterLike = 0.0,
    weight_decay_w: ParameterLike = 0.0,
    batches: Iterable[LineData] | Iterable[MomentData] | None = None,
    propagator: bool = False,
) -> xr.Dataset:
    """Follow gradient descent on `L = E‖γ U W x − y‖²`, step by step and exactly.

    Args:
        state: a `LineState` for `LineData`, a `GramState` for `MomentData`.
        network: output scale γ and step sizes η_u, η_w.
        data: second moments of the data; the loss is reported on these.
        steps: number of steps, a whole number ≥ 0.
        every: record each so many steps (and the last one).
        momentum: μ of heavy-ball momentum, in [0, 1).
        weight_decay_u: λ_u ≥ 0 of the second layer.
        weight_decay_w: λ_w ≥ 0 of the first layer.
        batches: minibatches, used in turn for the gradients; None for full batch.
        propagator: whether to return also `Φ` with `Θ(step) = Φ Θ(0)`, for `neurons`.

    Returns:
        A Dataset of every quantity with dim `step`, as coordinate a `status` per run ("ok" or
        "diverged at step …"), and `diverged_at` (−1 if never). After divergence magnitudes are
        infinite; alignment, NFA and balancedness keep their last finite value.

    Raises:
        InputError: if arguments do not fit together or are out of range.

    Example:
        >>> from lazyrich.theory.two_layer_linear import LineData, LineState, LinearNetwork
        >>> state = LineState(uu=1.0, uw=0.1, ww=1.0)
        >>> data = LineData(mean_aa=1.0, mean_ay=0.0, mean_yy=0.0)
        >>> network = LinearNetwork(output_scale=1.0, lr_u=1.5, lr_w=1.5)
        >>> descent(state, network, data, steps=100).status.item()
        'diverged at step 8'

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """
    require_pair(state, data)
    used: list[LineData | MomentData] = [data] if batches is None else list(batches)
    for batch in used:
        require_pair(state, batch)
    if not used:
        raise InputError("`batches` must hold at least one batch; None is full batch")
    recorded = _records(steps, every)
    rule = _Rule(momentum=momentum, weight_decay_u=weight_decay_u, weight_decay_w=weight_decay_w)
    axes = axes_of(state, network, data)
    require_free({*NAMES, "step"}, *axes, rule.momentum, rule.weight_decay_u, rule.weight_decay_w)
    if isinstance(state, LineState):
        result = _descend_on_line(
            state,
            network,
            cast("LineData", data),
            cast("Sequence[LineData]", used),
            rule,
            recorded,
            propagator,
        )
    else:
        moments = cast("MomentData", data)
        parts = cast("Sequence[MomentData]", used)
        xx = xr.DataArray([batch.sigma_xx for batch in parts], dims=("batch", "m", "m_"))
        yx = xr.DataArray([batch.sigma_yx for batch in parts], dims=("batch", "k", "m"))
        power = xr.DataArray(np.trace(moments.sigma_xx))
        best = xr.DataArray(np.abs(moments.best_map).max())
        units = units_for(state, network, best, power)
        path, phi, diverged = _step_factor(state, network, xx, yx, power, units, rule, recorded)
        movement = Movement.of(units, state, path)
        result = gram_quantities(state, network, moments, movement).assign(
            propagator=phi, diverged_at=diverged
        )
    result = with_axis_attrs(with_attrs(result, KNOWN)).assign_coords(step=recorded)
    result = _after_divergence(result)
    result.attrs = {"references": XU2025, "dynamics": "gradient descent"}
    return result if propagator else result.drop_vars("propagator", errors="ignore")


def _records(steps: float, every: float) -> Steps:
    """The steps that are recorded, the last one among them."""
    steps, every = require_whole("steps", steps, 0, MOST_STEPS), require_whole("every", every, 1)
    rows = steps // every + 1
    if rows > MOST_ROWS:
        raise InputError(
            f"`steps` and `every` must give at most {MOST_ROWS:g} records, which fit into memory, "
            f"got {rows:g}. Raise `every`"
        )
    return np.unique(np.append(np.arange(0, steps + 1, min(every, steps + 1)), steps))


@dataclass(frozen=True, kw_only=True, repr=False)
class _Rule(Labelled):
    """What a step does beside following the gradient."""

    momentum: Parameter = Parameter(low=0)
    weight_decay_u: Parameter = Parameter(low=0)
    weight_decay_w: Parameter = Parameter(low=0)

    def __post_init__(self) -> None:
        largest = float(self.momentum.max())
        if largest >= 1:
            raise InputError(f"`momentum` must be between 0 and 1 (excluded), got {largest:g}")


def _descend_on_line(
    state: LineState,
    network: LinearNetwork,
    data: LineData,
    batches: Sequence[LineData],
    rule: _Rule,
    recorded: Steps,
    propagator: bool,
) -> xr.Dataset:
    """Three numbers a step; the matrix only for momentum, a frozen layer or the propagator."""
    aa = xr.concat([batch.mean_aa for batch in batches], "batch", join="exact")
    ay = xr.concat([batch.mean_ay for batch in batches], "batch", join="exact")
    both_learn = bool((network.lr_u > 0).all() and (network.lr_w > 0).all())
    known: dict[str, xr.DataArray] = {}
    if both_learn and not propagator and bool((rule.momentum == 0).all()):
        *norms, balance, change, diverged = _step_line(state, network, data, aa, ay, rule, recorded)
        known |= {"balancedness": balance, "ntk_change": change}
        extra = {"diverged_at": diverged}
    else:
        xx, yx = aa.expand_dims(["m", "m_"], (-2, -1)), ay.expand_dims(["k", "m"], (-2, -1))
        gram = state.gram()
        best = abs(data.mean_ay) / data.mean_aa.where(data.mean_aa > 0, np.inf)
        units = units_for(gram, network, best, data.mean_aa)
        path, phi, diverged = _step_factor(
            gram, network, xx, yx, data.mean_aa, units, rule, recorded
        )
        moved = Movement.of(units, gram, path)
        norms = [block.isel(dict.fromkeys(block.dims[-2:], 0)) for block in moved.blocks(1)]
        known["ntk_change"] = moved.line_kernel_change(network)
        extra = {"diverged_at": diverged, "propagator": phi}

    def evaluate(*arrays: Array) -> tuple[Array, ...]:
        with np.errstate(over="ignore", invalid="ignore"):  # divergence is a status
            uu, uw, ww = arrays[10:]
            return line_readout(LineProblem(*arrays[:9]), arrays[9], (uu, uw, ww))

    names = LineReadout._fields
    arguments = (*line_arguments(state, network, data), data.noise, *norms)
    values = apply(evaluate, *arguments, output_core_dims=[()] * len(names))
    return dataset(dict(zip(names, values, strict=True)) | known, KNOWN).assign(extra)


def _step_line(
    state: LineState,
    network: LinearNetwork,
    data: LineData,
    mean_aa: xr.DataArray,
    mean_ay: xr.DataArray,
    rule: _Rule,
    recorded: Steps,
) -> tuple[xr.DataArray, ...]:
    """`‖u‖², u·w, ‖w‖²`, balance, kernel change and divergence, in units of the start."""

    def evaluate(*arrays: Array) -> tuple[Array, ...]:
        problem, (keep_u, keep_w, aa, ay) = LineProblem(*arrays[:9]), arrays[9:]
        units = natural_units(problem)
        column = LineProblem(*(np.asarray(field)[..., None] for field in problem))
        eta_u, eta_w = Scaled.of(column.lr_u), Scaled.of(column.lr_w)
        x, gamma = (eta_u * eta_w).sqrt(), Scaled.of(column.output_scale)
        own, one = (
            Scaled(np.ones(()), np.asarray(unit.exponent)[..., None])
            for unit in (units.own, units.one)
        )
        slopes = (Scaled.of(2.0) * gamma * gamma * one * Scaled.of(aa)).value()
        pushes = (Scaled.of(2.0) * gamma * x * Scaled.of(ay)).value()
        lag = np.maximum(units.own.exponent - units.one.exponent, -LOWEST)
        modes = units.p, units.q, units.r, units.inner, units.area, lag
        slope = gamma * (Scaled.of(column.mean_aa).sqrt() * one / x)
        most = Scaled.of(_kernels.LARGEST)
        before = np.where(units.p + units.q > 0, units.p + units.q, np.inf)[..., None]
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # divergence: a status
            limits = most * eta_w / one, most * eta_u / one, most.sqrt() / slope
            ends = np.concatenate([np.abs(limit.value()) for limit in limits], -1)
            own_u, inner, own_w, balance, change, powers, diverged = _kernels.line_steps(
                *modes, keep_u, keep_w, slopes, pushes, ends, recorded
            )
            changed = Scaled.of(np.abs(change) / before).shifted(powers).value()
        own = own.shifted(powers)
        uu, ww = Scaled.of(own_u) * own / eta_w, Scaled.of(own_w) * own / eta_u
        uw, balance = Scaled.of(inner) * own / x, Scaled.of(balance) * own
        return uu.value(), uw.value(), ww.value(), balance.value(), changed, diverged

    return tuple(
        apply(
            evaluate,
            *line_arguments(state, network, data),
            1 - network.lr_u * rule.weight_decay_u,
            1 - network.lr_w * rule.weight_decay_w,
            mean_aa,
            mean_ay,
            input_core_dims=[()] * 11 + [("batch",)] * 2,
            output_core_dims=[("step",)] * 5 + [()],
        )
    )


def _step_factor(
    state: GramState,
    network: LinearNetwork,
    sigma_xx: xr.DataArray,
    sigma_yx: xr.DataArray,
    power: xr.DataArray,
    units: Units,
    rule: _Rule,
    recorded: Steps,
) -> tuple[Path, xr.DataArray, xr.DataArray]:
    """The smallest network and the propagator, step by step, and where they diverged."""
    k, m = state.outputs, state.inputs
    rows, begin = units.rows(k, m), Path.at_start(state, units)
    gamma, eta_u, eta_w = units.of_steps().network(network.output_scale, network.lr_u, network.lr_w)
    drops = network.lr_u * rule.weight_decay_u, network.lr_w * rule.weight_decay_w

    # copies, as Numba would compile the steps anew for each mix of arrays that are read-only
    steps = np.array(recorded, np.int64)

    def evaluate(gamma: float, mu: float, *arrays: Array) -> tuple[Array, Array, Array, Array, int]:
        theta, product, rates, drops, limits, xx, yx = (
            np.array(a, float, order="C") for a in arrays
        )
        return _kernels.factor_steps(
            theta, product, float(gamma), rates, drops, float(mu), xx, yx, limits, steps
        )

    theta, moved, product, phi, diverged = apply(
        evaluate,
        *(gamma, rule.momentum, begin.theta, begin.product),
        *(by_row(eta_u, eta_w, k, m).clip(max=LARGEST_RATE), by_row(*drops, k, m)),
        _limits(network, power, units),
        *(scaled(sigma_xx, -2 * units.x), scaled(sigma_yx, -(units.x + units.y))),
        input_core_dims=[
            *[(), (), ("row", "neuron"), ("k", "m"), ("row",), ("row",), ("limit",)],
            *[("batch", "m", "m_"), ("batch", "k", "m")],
        ],
        output_core_dims=[
            *[("step", "row", "neuron")] * 2,
            *[("step", "k", "m"), ("step", "row", "col"), ()],
        ],
        vectorize=True,
    )
    return Path(theta, moved, product), scaled(phi, rows - rows.rename(row="col")), diverged


def _limits(network: LinearNetwork, power: xr.DataArray, units: Units) -> xr.DataArray:
    """From where squared norms, and the product of norms, have left the range of numbers."""

    def evaluate(gamma: Array, power: Array, u: Steps, w: Steps) -> tuple[Array, ...]:
        most = Scaled.of(_kernels.LARGEST)
        with np.errstate(divide="ignore"):  # an output of zero has no limit
            product = most.sqrt() / (Scaled.of(np.abs(gamma)) * Scaled.of(power).sqrt())
        ends = most.shifted(-2 * u), most.shifted(-2 * w), product.shifted(-(u + w))
        return tuple(np.broadcast_arrays(*(end.value() for end in ends)))

    arguments = (network.output_scale, power, units.u, units.w)
    limits = apply(evaluate, *arguments, output_core_dims=[()] * 3)
    return xr.concat(limits, "limit")


def _after_divergence(result: xr.Dataset) -> xr.Dataset:
    """Give each run its status; magnitudes become infinite, what is none keeps its last value."""
    diverged = result.diverged_at
    alive = (diverged < 0) | (result.step < diverged)
    last = np.minimum(
        xr.DataArray(np.arange(result.sizes["step"]), dims="step"), alive.sum("step") - 1
    )
    for name in [name for name in result.data_vars if "step" in result[name].dims]:
        attrs, dims = result[name].attrs, result[name].dims
        held = result[name].isel(step=last).drop_vars("step").assign_coords(step=result.step)
        if name not in RELATIVE:
            held = held.where(alive, np.copysign(np.inf, held))
        result[name] = held.transpose(*dims).assign_attrs(attrs)
    messages = [f"diverged at step {step}" if step >= 0 else "ok" for step in diverged.values.flat]
    texts = np.reshape(np.array(messages), diverged.shape)
    return result.assign_coords(status=diverged.copy(data=texts).drop_attrs(deep=False))
