"""Gradient flow: the closed form on a line, a matrix differential equation on general data.

`Ġ = N G + G Nᵀ` with `N = −2γ [[0, η_u R], [η_w Rᵀ, 0]]` and the residual `R = γ UW Σ_xx − Σ_yx`.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array, Scaled
from lazyrich.theory.labels import (
    ParameterLike,
    apply,
    dataset,
    labelled,
    require_free,
    with_attrs,
    with_axis_attrs,
)
from lazyrich.theory.two_layer_linear._integrator import Course, Equation, integrate
from lazyrich.theory.two_layer_linear._units import Units, scaled, units_for
from lazyrich.theory.two_layer_linear.data import LineData, MomentData, Spectrum
from lazyrich.theory.two_layer_linear.line import (
    LineProblem,
    natural_units,
    propagate,
    solve,
    stays_at_saddle,
    time_to_reach,
)
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
from lazyrich.vocabulary.quantity import DERIVED, XU2025, Quantity, by_name

QUANTITIES = (
    Quantity(
        name="time_to_residual",
        symbol="t_E",
        meaning="time at which the residual has shrunk to a share of its start",
        units="time",
        low=0.0,
        source=DERIVED,
    ),
)

SADDLE = "stays at a saddle: the layers are zero, or balanced and opposed to the data"
CORE = ("row", "col", "neuron", "k", "k_", "m", "m_", "batch", "mechanism", "interval")
NAMES = {*KNOWN, "status", *CORE}
"""Names of what a solution holds, which no axis may have."""

UNOCCUPIED = 1e-14  # singular values of unit rows of Θ: no neuron points there


def flow(
    state: LineState | GramState,
    network: LinearNetwork,
    data: LineData | MomentData,
    times: ParameterLike,
    *,
    propagator: bool = False,
) -> xr.Dataset:
    """Follow gradient flow `θ̇ = −η ∇L` on `L = E‖γ U W x − y‖²`.

    Args:
        state: a `LineState` for `LineData`, a `GramState` for `MomentData`.
        network: output scale γ and learning rates η_u, η_w.
        data: second moments of the data.
        times: times ≥ 0, infinity included; a sequence becomes the dim `time`.
        propagator: whether to return also `Φ(t)` with `Θ(t) = Φ(t) Θ(0)`, for `neurons`.

    Returns:
        A Dataset of every quantity over the axes of all arguments, and as coordinate a `status` per
        run: "ok", "stays at a saddle: …" or "stopped at t = …".

    Raises:
        InputError: if state and data do not fit together, axes disagree, or a time is negative.

    Example:
        >>> from lazyrich.theory.two_layer_linear import LineData, LineState, LinearNetwork
        >>> state = LineState(uu=1.0, uw=0.0, ww=1.0)
        >>> network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
        >>> data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
        >>> round(flow(state, network, data, float("inf")).alignment.item(), 12)
        0.707106781187

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """
    time = _checked_times(times)
    require_pair(state, data)
    require_free(NAMES, *axes_of(state, network, data), time)
    if isinstance(state, LineState):
        result = _flow_on_line(state, network, cast("LineData", data), time, propagator)
    else:
        result = _flow_on_moments(state, network, cast("MomentData", data), time, propagator)
    result = with_axis_attrs(with_attrs(result, KNOWN))
    result.attrs = {"references": XU2025, "dynamics": "gradient flow"}
    return result.assign_coords({"time" if time.dims == ("time",) else "t": time})


def time_to_residual(
    state: LineState, network: LinearNetwork, data: LineData, remaining: ParameterLike
) -> xr.DataArray:
    """The time at which the residual `f − f*` has shrunk to a share of its start, in closed form.

    Args:
        state: where the network starts.
        network: scale and learning rates.
        data: moments of the data.
        remaining: share(s) of the initial residual, between 0 and 1.

    Returns:
        Times, infinite where the network never gets there (a saddle, a frozen network).

    Example:
        >>> from lazyrich.theory.two_layer_linear import LineData, LineState, LinearNetwork
        >>> state = LineState(uu=1e-6, uw=0.0, ww=1e-6)
        >>> network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
        >>> data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
        >>> round(time_to_residual(state, network, data, 0.5).item(), 3)
        36.272
    """
    share = labelled("remaining", remaining)
    if not bool(((share > 0) & (share <= 1)).all()):
        raise InputError(f"`remaining` must be between 0 (excluded) and 1, got {share.values}")

    require_free(NAMES, *line_arguments(state, network, data), share)

    def evaluate(*arrays: Array) -> Array:
        return time_to_reach(LineProblem(*arrays[:-1]), arrays[-1])

    times = apply(evaluate, *line_arguments(state, network, data), share)
    (quantity,) = QUANTITIES
    return dataset({quantity.name: times}, by_name(QUANTITIES))[quantity.name]


def require_pair(state: LineState | GramState, data: LineData | MomentData) -> None:
    """Refuse a state and data of different kinds or shapes."""
    line = isinstance(state, LineState)
    if line != isinstance(data, LineData):
        raise InputError(
            f"a LineState needs LineData and a GramState needs MomentData, "
            f"got {type(state).__name__} with {type(data).__name__}. Make the state with "
            f"{'Gram' if line else 'Line'}State.from_weights, or the data with "
            f"{'Line' if line else 'Moment'}Data.from_samples"
        )
    if isinstance(state, GramState) and isinstance(data, MomentData):
        have, need = (state.outputs, state.inputs), data.sigma_yx.shape
        if have != need:
            raise InputError(
                f"the state has (outputs, inputs) = {have}, the data have {need}: they must agree. "
                f"Give weights u of shape ({need[0]}, d) and w of shape (d, {need[1]})"
            )


def axes_of(
    state: LineState | GramState, network: LinearNetwork, data: LineData | MomentData
) -> tuple[xr.DataArray, ...]:
    """Everything that may have axes, without those of a matrix."""
    numbers = (network.output_scale, network.lr_u, network.lr_w)
    if isinstance(state, GramState):
        return *numbers, state.matrix.isel(row=0, col=0)
    parts = (state.uu, state.uw, state.ww, state.sine_squared)
    moments = (data.mean_aa, data.mean_ay, data.mean_yy) if isinstance(data, LineData) else ()
    return *numbers, *parts, *moments


def line_arguments(
    state: LineState, network: LinearNetwork, data: LineData
) -> tuple[xr.DataArray, ...]:
    """The fields of a `LineProblem`, labelled; refuses what is not on a line."""
    if not (isinstance(state, LineState) and isinstance(data, LineData)):
        raise InputError(
            f"the closed form needs a LineState and LineData, "
            f"got {type(state).__name__} and {type(data).__name__}. For inputs off a line there is "
            f"flow(GramState, network, MomentData, times)"
        )
    return (
        *(state.uu, state.uw, state.ww, state.sine_squared),
        *(network.output_scale, network.lr_u, network.lr_w),
        *(data.mean_aa, data.mean_ay),
    )


def _flow_on_line(
    state: LineState, network: LinearNetwork, data: LineData, time: xr.DataArray, propagator: bool
) -> xr.Dataset:
    def evaluate(saddle: NDArray[np.bool_], *arrays: Array) -> tuple[Array, ...]:
        *fields, noise, when = arrays
        problem = LineProblem(*fields)
        uu, uw, ww, remaining, ntk_change = solve(problem, when)
        with np.errstate(over="ignore", invalid="ignore"):  # beyond the range of floats
            readout = line_readout(problem, noise, (uu, uw, ww), remaining, ntk_change)
        gone = saddle & (readout.alignment == 0)  # both layers, with their directions opposed
        alignment = np.where(gone, np.sign(problem.uw), readout.alignment)
        alignment = np.where(np.isinf(uw), np.sign(uw), alignment)  # what is across is conserved
        units = natural_units(problem)
        balance = (Scaled.of(4 * units.r) * units.own).value()  # conserved
        return LineReadout(
            *np.broadcast_arrays(*readout._replace(alignment=alignment, balancedness=balance))
        )

    arguments = line_arguments(state, network, data)
    names = LineReadout._fields
    saddle = apply(lambda *arrays: stays_at_saddle(LineProblem(*arrays)), *arguments)
    values = apply(
        evaluate, saddle, *arguments, data.noise, time, output_core_dims=[()] * len(names)
    )
    texts = np.where(saddle, SADDLE, "ok") if saddle.any() else np.full(saddle.shape, "ok")
    result = dataset(dict(zip(names, values, strict=True)), KNOWN)
    result = result.assign_coords(status=saddle.copy(data=texts))
    if propagator:
        result["propagator"] = apply(
            lambda *arrays: propagate(LineProblem(*arrays[:-1]), arrays[-1]),
            *(*arguments, time),
            output_core_dims=[("row", "col")],
        )
    return result


def _flow_on_moments(
    state: GramState, network: LinearNetwork, data: MomentData, time: xr.DataArray, propagator: bool
) -> xr.Dataset:
    if time.ndim > 1:
        raise InputError(
            f"on MomentData `times` must be a number or one-dimensional, for the flow is "
            f"integrated; got {dict(time.sizes)}. Give all times in one list"
        )
    units = units_for(
        *(state, network),
        *(xr.DataArray(np.abs(of).max()) for of in (data.best_map, data.sigma_xx)),
    )
    begin = Path.at_start(state, units)
    path, phi, status = _follow(begin, units, network, data, time, propagator)
    result = gram_quantities(state, network, data, Movement.of(units, state, path))
    start = gram_quantities(state, network, data, Movement.of(units, state, begin))
    reached = result.balancedness.notnull()
    conserved = start.balancedness.where(reached).transpose(*result.balancedness.dims)
    result["balancedness"] = conserved.assign_attrs(result.balancedness.attrs)
    result = result.assign_coords(status=status.astype(str))
    if propagator:
        rows = units.rows(state.outputs, state.inputs)
        result["propagator"] = scaled(phi, rows - rows.rename(row="col"))
    return result


def _follow(
    begin: Path,
    units: Units,
    network: LinearNetwork,
    data: MomentData,
    time: xr.DataArray,
    propagator: bool,
) -> tuple[Path, xr.DataArray, xr.DataArray]:
    """The smallest network at all times, the propagator and the status of every run."""
    dims = time.dims or ("time",)
    theta, moved, product, phi, status = apply(
        partial(
            _integrate,
            times=np.atleast_1d(time.values),
            spectrum=data.spectrum,
            propagator=propagator,
        ),
        *(begin.theta, begin.product),
        *units.network(network.output_scale, network.lr_u, network.lr_w),
        scaled(xr.DataArray(data.best_map, dims=("k", "m")), units.x - units.y),
        *(units.x, units.t),
        input_core_dims=[("row", "neuron"), ("k", "m"), (), (), (), ("k", "m"), (), ()],
        output_core_dims=[
            *[(*dims, "row", "neuron")] * 2,
            (*dims, "k", "m"),
            (*dims, "row", "col"),
            (),
        ],
        vectorize=True,
        output_dtypes=[float, float, float, float, object],
    )
    theta, moved, product, phi = (
        path.assign_coords(time.coords) if time.ndim else path.isel({dims[0]: 0})
        for path in (theta, moved, product, phi)
    )
    return Path(theta, moved, product), phi, status


def _integrate(
    theta: Array,
    product: Array,
    gamma: float,
    eta_u: float,
    eta_w: float,
    best: Array,
    of_inputs: int,
    of_time: int,
    *,
    times: Array,
    spectrum: Spectrum,
    propagator: bool,
) -> tuple[Array, Array, Array, Array, str]:
    """The smallest network along the flow, the propagator and a status, in units of their own.

    The propagator is that of the directions that neurons take up: along those that none does it
    may grow without bound.
    """
    n, neurons = theta.shape
    k, directions = len(best), spectrum.directions
    inverse = _inverse(theta) if propagator else None
    carried = np.eye(n) if propagator and inverse is None else np.zeros((n, 0))
    start = np.concatenate([theta, carried], axis=1)
    with np.errstate(over="ignore"):
        order, place = np.unique(np.ldexp(times, -of_time), return_inverse=True)
    shape, status = (len(order), *start.shape), "ok"
    path, moved = np.broadcast_to(start, shape).copy(), np.zeros(shape)
    products = np.broadcast_to(product, (len(order), *product.shape)).copy()
    if gamma and (eta_u or eta_w) and theta.any() and order[-1] > 0:
        equation = Equation(
            outputs=k,
            columns=neurons,
            scale=gamma,
            rate_u=-2 * gamma * eta_u,
            rate_w=-2 * gamma * eta_w,
            best=best @ directions,
            powers=np.ldexp(spectrum.powers, -2 * of_inputs),
        )
        turned = np.concatenate([start[:k], directions.T @ start[k:]])
        nothing = np.zeros_like(product)
        motion = Course(turned, np.zeros_like(turned), product @ directions, nothing)
        found, stopped = integrate(equation, motion, order[order > 0])
        if stopped is not None:
            status = f"stopped at t = {np.ldexp(stopped, of_time):g}: the steps became too small"
        for at, now in zip(np.flatnonzero(order > 0), found, strict=True):
            for target, turned in ((path, now.theta), (moved, now.moved)):
                target[at, :k], target[at, k:] = turned[:k], directions @ turned[k:]
            products[at] = now.product @ directions.T
    weights = path[place][..., :neurons]
    phi = path[place][..., neurons:] if inverse is None else weights @ inverse
    phi = phi if propagator else np.zeros((len(place), n, n))
    return weights, moved[place][..., :neurons], products[place], phi, status


def _inverse(theta: Array) -> Array | None:
    """`Θ⁺` if Θ is singular, None if not."""
    norms = np.linalg.norm(theta, axis=1)
    scale = np.where(norms > 0, norms, 1.0)[:, None]
    if np.linalg.svd(theta / scale, compute_uv=False).min() > UNOCCUPIED:
        return None
    return np.linalg.pinv(theta / scale, rcond=UNOCCUPIED) / scale.T


def _checked_times(times: ParameterLike) -> xr.DataArray:
    name = times.name or "time" if isinstance(times, xr.DataArray) else "time"
    time = labelled(str(name), times)
    bad = ~(time.values >= 0)
    if bad.any():
        at = np.unravel_index(int(np.argmax(bad)), bad.shape)
        where = f" at index {', '.join(map(str, at))}" if at else ""
        raise InputError(f"`times` must be ≥ 0, got {time.values[at]}{where}")
    return time
