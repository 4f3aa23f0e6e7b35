"""Gradient flow of a network of power neurons on a line, as functions of one scalar."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
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
from lazyrich.theory.power_neurons._motion import Neurons, follow
from lazyrich.theory.power_neurons.start import require_power, signed_power
from lazyrich.theory.two_layer_linear.data import LineData
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.neurons import QUANTITIES as OF_NEURONS
from lazyrich.theory.two_layer_linear.readout import KNOWN as OF_LINEAR
from lazyrich.vocabulary.quantity import DERIVED, Quantity, by_name
from lazyrich.vocabulary.regimes import only, regimes_of_change
from lazyrich.vocabulary.shared import NTK_CHANGE

QUANTITIES = (
    Quantity(
        name="amplitude",
        symbol="F",
        meaning="amplitude of the output, the F of f(a) = F sgn(a)|a|^β",
        units="y/φ(x)",
        source=DERIVED,
    ),
)
OF_LINE = {name: OF_LINEAR[name] for name in ("loss", "excess_loss", "uu", "ww")}
KNOWN = by_name(QUANTITIES, OF_NEURONS, (NTK_CHANGE,)) | OF_LINE
SADDLE = "ends at a saddle: no neuron grows towards the target"
CROSSED = "passes w = 0, where the flow of powers below 2 is not unique, as gradient descent does"


def power_flow(
    u: ArrayLike | xr.DataArray,
    w: ArrayLike | xr.DataArray,
    network: LinearNetwork,
    data: LineData,
    times: ParameterLike,
    *,
    power: ParameterLike,
) -> xr.Dataset:
    """Follow gradient flow of `f(a) = γ Σ_i u_i φ(w_i a)`, `φ(z) = sgn(z)|z|^β`, on `E(f − y)²`.

    `f = F φ(a)` with `F = γ Σ u_i φ(w_i)`; each neuron conserves `β u_i²/η_u − w_i²/η_w` and moves
    with one scalar s of all, `ds/dt = −2γ√(η_u η_w)(A F(s) − B)`, at any width.

    Args:
        u: readout weights at the start, (neurons,), or labelled with the dim `neuron`.
        w: input weights along the line at the start, likewise.
        network: output scale γ ≠ 0 and learning rates η_u, η_w > 0.
        data: the moments `A = E φ(a)²`, `B = E φ(a)y` and `E y²`, of `power_data`; those of `a`
            itself for β = 1.
        times: times ≥ 0, infinity included; a sequence becomes the dim `time`.
        power: β ≥ 1.

    Returns:
        `amplitude` F, `loss`, `excess_loss`, `ntk_change`, `u`, `w` and their squared norms `uu`
        and `ww`; as coordinates `regime`, by the change of the kernel at the end, and `status`:
        "ok", "ends at a saddle: …", "passes w = 0, …" or "stopped at t = …".

    Raises:
        InputError: β below 1, weights of different lengths, a layer that does not learn.

    Example:
        >>> network = LinearNetwork(output_scale=0.8, lr_u=0.3, lr_w=0.1)
        >>> data = LineData(mean_aa=1.5, mean_ay=0.9, mean_yy=1.0)
        >>> found = power_flow([0.5, -0.3], [0.7, 0.4], network, data, [1.0, np.inf], power=1.7)
        >>> found.amplitude.values.round(6), found.regime.item()
        (array([0.298254, 0.6     ]), 'rich')

    References:
        A network of Xu & Ziyin, arXiv:2401.07085, has β = 1; powers above it are ours.
    """
    beta, time = require_power(power), labelled("times", times)
    if not bool((time >= 0).all()):
        raise InputError(f"`times` must be ≥ 0, got {time.values}")
    if time.ndim > 1:
        raise InputError(f"`times` must be a number or one-dimensional, got {dict(time.sizes)}")
    start_u, start_w = _weights(u, w)
    for name, allowed in (("output_scale", "not be 0"), ("lr_u", "be > 0"), ("lr_w", "be > 0")):
        if bool((getattr(network, name) == 0).any()):
            raise InputError(f"`{name}` must {allowed}, or the neurons cannot learn, got 0")
    fields = (network.output_scale, network.lr_u, network.lr_w, data.mean_aa, data.mean_ay, beta)
    free = [one.isel(neuron=0) for one in (start_u, start_w)]
    require_free({*KNOWN, "neuron", "regime", "status"}, *free, *fields, time)
    moments = tuple("time" if dim == "times" else str(dim) for dim in time.dims)
    weights = (*moments, "neuron")
    now_u, now_w, end_u, end_w, status = apply(
        _solved,
        *(start_u, start_w, *fields),
        kwargs={"times": np.atleast_1d(time.values), "alone": not time.ndim},
        input_core_dims=[("neuron",), ("neuron",), *[()] * len(fields)],
        output_core_dims=[weights, weights, ("neuron",), ("neuron",), ()],
        vectorize=True,
        output_dtypes=[*[float] * 4, object],
    )
    when = {"time": time.values} if time.ndim else {"t": time}
    result = _read((now_u, now_w), (start_u, start_w), network, data, beta)
    change = _kernel_change((end_u, end_w), (start_u, start_w), network, beta)
    word = xr.apply_ufunc(lambda x: str(only(regimes_of_change(x, x))), change, vectorize=True)
    result = result.assign_coords(
        regime=word.astype(str).drop_attrs().assign_attrs(long_name="regime of the network"),
        status=status.astype(str).drop_attrs(),
        **when,
    )
    result.attrs = {"references": DERIVED, "dynamics": "gradient flow"}
    return with_axis_attrs(result)


def _weights(u: ArrayLike | xr.DataArray, w: ArrayLike | xr.DataArray) -> list[xr.DataArray]:
    """Both layers, labelled and finite."""
    found = []
    for name, value in (("u", u), ("w", w)):
        if isinstance(value, xr.DataArray):
            array = labelled(name, value)
        else:
            plain = np.atleast_1d(real(name, value))
            if plain.ndim > 1:
                raise InputError(f"`{name}` must be (neurons,), got shape {plain.shape}")
            array = xr.DataArray(plain, dims="neuron")
        if "neuron" not in array.dims:
            raise InputError(f"`{name}` must have the dim `neuron`, got {array.dims}")
        require_range(name, array, -np.inf, np.inf)
        found.append(array)
    have = [array.sizes["neuron"] for array in found]
    if have[0] != have[1]:
        raise InputError(
            f"`u` and `w` must have one weight a neuron each, got {have[0]} and {have[1]}"
        )
    return found


def _solved(
    u: Array,
    w: Array,
    gamma: float,
    lr_u: float,
    lr_w: float,
    power_in: float,
    signal: float,
    beta: float,
    *,
    times: Array,
    alone: bool,
) -> tuple[Array, Array, Array, Array, str]:
    """The weights of one network at all times and at the end, and its status.

    In units in which both layers learn equally fast, `x = √β ρ u`, `V = w/ρ`, `ρ⁴ = η_w/η_u`,
    and of the largest of weights and target, `F ∝ Σ x sgn(V)|V|^β` and `τ ∝ t`.
    """
    rho = (lr_w / lr_u) ** 0.25
    x, V = np.sqrt(beta) * rho * u, w / rho
    of_f = gamma * rho ** (beta - 1) / np.sqrt(beta)
    target = signal / power_in / of_f if power_in > 0 else 0.0
    size = max(float(np.abs([x, V]).max()), abs(target) ** (1 / (1 + beta))) or 1.0
    rate = 2 * power_in * gamma**2 * np.sqrt(lr_u * lr_w) * rho ** (2 * beta - 2)
    order, place = np.unique(times, return_inverse=True)
    start = Neurons(x / size, V / size)
    target = target / size ** (1 + beta) if rate else start.output(beta)  # else nothing moves
    with np.errstate(over="ignore"):
        paces = np.where(order > 0, order, 0.0) * (rate * size ** (2 * beta))
    course = follow(start, beta, target, paces)
    lost = [Neurons(x * np.nan, V * np.nan)] * (len(order) - len(course.path))
    path = [*course.path, *lost]
    now_u = np.stack([path[at].x for at in place]) * (size / np.sqrt(beta) / rho)
    now_w = np.stack([path[at].V for at in place]) * (size * rho)
    first = order[place] == 0
    now_u[first], now_w[first] = u, w
    end_u, end_w = course.end.x * (size / np.sqrt(beta) / rho), course.end.V * (size * rho)
    status = "ok"
    if course.stopped is not None:
        at = course.stopped / (rate * size ** (2 * beta))
        status = f"stopped at t = {at:g}: the steps became too small"
    elif course.stuck:
        status = SADDLE
    elif beta > 1 and bool((end_w * w < 0).any()):
        status = CROSSED
    if alone:
        now_u, now_w = now_u[0], now_w[0]
    return now_u, now_w, end_u, end_w, status


def _read(
    now: tuple[xr.DataArray, xr.DataArray],
    start: tuple[xr.DataArray, xr.DataArray],
    network: LinearNetwork,
    data: LineData,
    beta: xr.DataArray,
) -> xr.Dataset:
    """The quantities of networks with these weights."""
    u, w = now
    amplitude = network.output_scale * (u * signed_power(w, beta)).sum("neuron", skipna=False)
    seen = data.mean_aa.where(data.mean_aa > 0, 1.0)
    excess = data.mean_aa * (amplitude - data.mean_ay / seen) ** 2
    return dataset(
        {
            "amplitude": amplitude,
            "loss": data.noise + excess,
            "excess_loss": excess,
            "ntk_change": _kernel_change(now, start, network, beta),
            "u": u,
            "w": w,
            "uu": (u**2).sum("neuron", skipna=False),
            "ww": (w**2).sum("neuron", skipna=False),
        },
        KNOWN,
    )


def _kernel_change(
    now: tuple[xr.DataArray, xr.DataArray],
    start: tuple[xr.DataArray, xr.DataArray],
    network: LinearNetwork,
    beta: xr.DataArray,
) -> xr.DataArray:
    """Of `Θ(a, a') ∝ φ(a)φ(a') (η_u Σ φ(w)² + η_w β² Σ u²|w|^{2β−2})`; 0 where it is not there."""

    def kernel(u: xr.DataArray, w: xr.DataArray) -> xr.DataArray:
        first = network.lr_u * abs(w) ** (2 * beta)
        second = network.lr_w * beta**2 * u**2 * abs(w) ** (2 * beta - 2)
        whole: xr.DataArray = (first + second).sum("neuron", skipna=False)
        return whole

    before, after = kernel(*start), kernel(*now)
    change: xr.DataArray = abs(after - before) / before.where(before > 0, 1.0)
    return change
