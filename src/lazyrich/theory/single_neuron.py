"""A single linear neuron with a readout, `f(x) = γ u w·x`, on whitened data, in closed form.

In units in which both weights learn equally fast, `A ∝ u` and `W ∝ w`, the flow is
`A′ = W·(β* − AW)`, `W′ = A (β* − AW)`, and `λ = A² − ‖W‖²` is conserved. Along the target, of size
s, the weights `(W_∥, A)` follow the exponentials of `[[−λ/2, s], [s, λ/2]]`, whose eigenvalues are
±Ω, `Ω = √(s² + λ²/4)`; across it W decays as `e^{−λt/2}`; and all are divided by √N with

    N = 1 + p² ∫e^{2Ωτ} + q² ∫e^{−2Ωτ} + ‖W_⊥‖² ∫e^{−λτ},

where p and q are `(W_∥, A)` in the eigenvectors. No exponential is formed that could overflow.

References:
    The network and its regimes: Kunin et al., arXiv:2406.06158. The closed form, for every sign
    and size of λ and of the weights, is derived in the documentation.
"""

from __future__ import annotations

from math import inf
from typing import Any

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
from lazyrich.theory.model import Assumption, Model
from lazyrich.theory.two_layer_linear._units import scaled, units_for
from lazyrich.theory.two_layer_linear.data import MomentData
from lazyrich.theory.two_layer_linear.flow import NAMES, axes_of
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.neurons import QUANTITIES as OF_NEURONS
from lazyrich.theory.two_layer_linear.readout import KNOWN as OF_LINEAR
from lazyrich.theory.two_layer_linear.readout import Movement, gram_quantities
from lazyrich.theory.two_layer_linear.state import GramState
from lazyrich.theory.whitened import white_power
from lazyrich.vocabulary.quantity import DERIVED, KUNIN2024, Quantity, by_name
from lazyrich.vocabulary.regimes import LAZY_BELOW, RICH_FROM, Regime

__all__ = ["neuron_flow"]

QUANTITIES = (
    Quantity(
        name="neuron_imbalance",
        symbol="λ/2s",
        meaning="conserved imbalance of a neuron in units of twice the target, above 0 upstream",
        source=KUNIN2024,
    ),
)
KNOWN = OF_LINEAR | by_name(OF_NEURONS, QUANTITIES)

ROUNDING = 1e-14  # share of the start in the direction that grows, below which it is rounding
SADDLE = "stays at a saddle: the start has no part that grows, and rounding would decide"


def neuron_flow(
    u: float | xr.DataArray,
    w: ArrayLike | xr.DataArray,
    network: LinearNetwork,
    data: MomentData,
    times: ParameterLike,
) -> xr.Dataset:
    """Follow gradient flow `θ̇ = −η ∇L` of one neuron on `L = E(γ u w·x − y)²`, in closed form.

    Args:
        u: readout weight at the start.
        w: input weights at the start, (m,), or labelled with the dim `m`.
        network: output scale γ ≠ 0 and learning rates η_u, η_w > 0.
        data: one output, whitened inputs, `Σ_xx = cI`.
        times: finite times ≥ 0; a sequence becomes the dim `time`.

    Returns:
        What `lazyrich.theory.two_layer_linear.flow` returns, with the weights `u` and `w` and
        `neuron_imbalance` λ/2s; as coordinates `status`, `regime`, and `delayed`: whether the
        neuron first turns, without output, and then learns.

    Raises:
        InputError: inputs that are not whitened, by how much; several outputs; shapes that do not
            fit; a layer that does not learn.

    Example:
        >>> network = LinearNetwork(output_scale=1.0, lr_u=0.5, lr_w=0.5)
        >>> target = np.array([[1.0, 0.5]])
        >>> data = MomentData(sigma_xx=np.eye(2), sigma_yx=target, mean_yy=1.25)
        >>> found = neuron_flow(0.1, [-2.0, 1.5], network, data, 3.0)
        >>> found.u.item(), found.regime.item(), found.delayed.item()  # u changes its sign
        (-0.2840408647625..., 'rich', True)

    References:
        Kunin et al., arXiv:2406.06158; the closed form is ours.
    """
    start_u, start_w = _weights(u, w, data)
    time = labelled("time", times)
    require_range("times", time, 0, inf)
    power = white_power(data)
    for name, allowed in (("output_scale", "not be 0"), ("lr_u", "be > 0"), ("lr_w", "be > 0")):
        if bool((getattr(network, name) == 0).any()):
            raise InputError(f"`{name}` must {allowed}, or the neuron cannot learn, got 0")
    theta = xr.concat([start_u, start_w.rename(m="row")], "row", coords="minimal")
    factor = theta.expand_dims(neuron=1).transpose(..., "row", "neuron")
    matrix = (factor * factor.rename(row="col")).sum("neuron").transpose(..., "row", "col")
    state = GramState(matrix=matrix, outputs=1, factor=factor)
    require_free({*NAMES, *KNOWN, "regime", "delayed"}, *axes_of(state, network, data), time)

    ratio = (network.lr_w / network.lr_u) ** 0.25
    size = abs(network.output_scale) ** 0.5
    sign = np.sign(network.output_scale)
    speed = 2 * power * abs(network.output_scale) * (network.lr_u * network.lr_w) ** 0.5
    best = xr.DataArray(data.best_map[0], dims="m")
    A, W, imbalance, saddle = apply(
        _evolve,
        *(start_u * size * ratio, start_w * sign * size / ratio, best, speed * time),
        input_core_dims=[(), ("m",), ("m",), ()],
        output_core_dims=[(), ("m",), (), ()],
    )
    now_u, now_w = A / (size * ratio), W * sign * ratio / size
    found = _read(state, network, data, xr.concat([now_u, now_w.rename(m="row")], "row"))
    own = {"u": now_u, "w": now_w, "neuron_imbalance": imbalance}
    own["neuron_imbalance"] = imbalance.isel(dict.fromkeys(time.dims, 0), drop=True)
    result = found.assign(dataset(own, KNOWN).drop_vars("time", errors="ignore"))
    judged = _judgement(own["neuron_imbalance"], saddle.any(time.dims), len(best))
    when = {"time" if time.dims == ("time",) else "t": time}
    return with_axis_attrs(result.assign_coords(judged | when))


def _evolve(A: Array, W: Array, best: Array, t: Array) -> tuple[Array, Array, Array, Array]:
    """The weights at t, `λ/2s`, and where the start has no part that grows."""
    root = np.maximum(np.abs(A), np.abs(W).max(-1))
    root = np.maximum(root, np.sqrt(np.abs(best).max()))
    root = np.where(root > 0, root, 1.0)
    A, W, t = A / root, W / root[..., None], t * root * root
    target = best / root[..., None] / root[..., None]
    s = np.linalg.norm(target, axis=-1)
    e = target / np.where(s > 0, s, 1.0)[..., None]
    along = (W * e).sum(-1)
    across = W - along[..., None] * e
    lam = (A - along) * (A + along) - (across**2).sum(-1)
    Omega = np.hypot(s, lam / 2)
    sin, cos = (np.sin(np.arctan2(s, side) / 2) for side in (-lam / 2, lam / 2))
    p, q = along * cos + A * sin, A * cos - along * sin
    still = np.abs(p) <= ROUNDING * np.hypot(A, along)
    p = np.where(still, 0.0, p)

    wide = (across**2).sum(-1)
    fastest = np.maximum(np.where(p != 0, 2 * Omega, 0.0), np.where(wide > 0, -lam, 0.0))
    N = np.exp(-fastest * t)
    for share, rate in ((p**2, 2 * Omega), (q**2, -2 * Omega), (wide, -lam)):
        N = N + share * _integral(np.where(share > 0, rate, 0.0), fastest, t)
    P, R, decay = (
        np.exp(np.where(there, rate - fastest / 2, -fastest / 2) * t) / np.sqrt(N)
        for there, rate in ((p != 0, Omega), (True, -Omega), (wide > 0, -lam / 2))
    )
    grown = -p * np.expm1(-2 * Omega * t) * P  # p (e^Ωt − e^−Ωt): what is left is the start's
    A, along = grown * sin + R * A, grown * cos + R * along
    W = along[..., None] * e + decay[..., None] * across
    with np.errstate(divide="ignore", invalid="ignore"):
        imbalance = np.where(lam == 0, 0.0, lam / (2 * s))
    arrays = np.broadcast_arrays(A * root, imbalance, still & (s > 0))
    return arrays[0], W * root[..., None], arrays[1], arrays[2]


def _integral(rate: Array, fastest: Array, t: Array) -> Array:
    """`e^{−μt} ∫₀ᵗ e^{rτ} dτ` for `r ≤ μ`, without an exponential that grows."""
    grown = np.abs(rate) * t
    flat = grown < 1e-300
    share = np.where(flat, 1.0, -np.expm1(-grown) / np.where(flat, 1.0, grown))
    value: Array = t * np.exp((np.maximum(rate, 0.0) - fastest) * t) * share
    return value


def _read(state: GramState, network: LinearNetwork, data: MomentData, theta: Any) -> xr.Dataset:  # noqa: ANN401
    """The quantities of the two-layer linear network that this neuron is."""
    units = units_for(
        *(state, network),
        *(xr.DataArray(np.abs(of).max()) for of in (data.best_map, data.sigma_xx)),
    )
    rows = units.rows(state.outputs, state.inputs)
    both = rows + rows.rename(row="col")
    gram = (theta * theta.rename(row="col")).transpose(..., "row", "col")
    now, start = (scaled(matrix, -both) for matrix in (gram, state.matrix))
    return gram_quantities(state, network, data, Movement(units, start, now, now - start))


def _judgement(imbalance: xr.DataArray, saddle: xr.DataArray, inputs: int) -> dict[str, Any]:
    """Regime and status: the kernel `√(λ² + 4s²)` of the aligned neuron beside |λ| at the start."""
    with np.errstate(divide="ignore"):
        inverse = 1 / abs(imbalance)
    change: xr.DataArray = (1 + inverse**2) ** 0.5 - 1
    delayed: xr.DataArray = (change < LAZY_BELOW) & (imbalance < 0) & (inputs > 1) & (inverse > 0)
    word = xr.where(change < RICH_FROM, Regime.INTERMEDIATE.value, Regime.RICH.value)
    word = xr.where(change < LAZY_BELOW, Regime.LAZY.value, word)
    word = xr.where(delayed, Regime.RICH.value, word)
    return {
        "regime": word.drop_attrs().assign_attrs(long_name="regime of the network"),
        "delayed": delayed.drop_attrs().assign_attrs(
            long_name="whether the network is lazy at first"
        ),
        "status": xr.where(saddle, SADDLE, "ok").drop_attrs(),
    }


def _weights(u: Any, w: Any, data: MomentData) -> tuple[xr.DataArray, xr.DataArray]:  # noqa: ANN401
    """Both layers, labelled and finite."""
    outputs, inputs = data.sigma_yx.shape
    if outputs != 1:
        raise InputError(
            f"a single neuron has one output, got data with {outputs}. For several there is "
            "lazyrich.theory.two_layer_linear.flow"
        )
    first = w if isinstance(w, xr.DataArray) else xr.DataArray(real("w", w), dims="m")
    if first.sizes.get("m") != inputs:
        raise InputError(
            f"`w` must have one weight for each of the {inputs} inputs, with the dim `m`, got "
            f"{dict(first.sizes)}"
        )
    second = labelled("u", u)
    require_range("u", second, -inf, inf)
    require_range("w", first, -inf, inf)
    return second.rename(None), first.astype(float).rename(None)


def _solve(
    u: float,
    w: ArrayLike,
    target: ArrayLike,
    times: ParameterLike,
    output_scale: ParameterLike = 1.0,
    lr_u: ParameterLike = 1.0,
    lr_w: ParameterLike = 1.0,
) -> xr.Dataset:
    """As typed: the target is the best linear map, of inputs with Σ_xx = I and no noise."""
    best = np.atleast_2d(real("target", target))
    data = MomentData(sigma_xx=np.eye(best.shape[1]), sigma_yx=best, mean_yy=float((best**2).sum()))
    network = LinearNetwork(output_scale=output_scale, lr_u=lr_u, lr_w=lr_w)
    return neuron_flow(u, np.atleast_1d(real("w", w)), network, data, times)


def _phase(
    u: float,
    w: ArrayLike,
    target: ArrayLike,
    output_scale: ParameterLike = 1.0,
    lr_u: ParameterLike = 1.0,
    lr_w: ParameterLike = 1.0,
) -> xr.Dataset:
    """As typed: the regime alone, which is known at the start."""
    return _solve(u, w, target, 0.0, output_scale, lr_u, lr_w)[["neuron_imbalance"]].drop_vars("t")


def _problem(sigma_xx: Array) -> xr.Dataset:
    target = np.array([[1.0, 0.5]])
    data = MomentData(sigma_xx=sigma_xx, sigma_yx=target, mean_yy=2.0)
    network = LinearNetwork(output_scale=1.0, lr_u=0.2, lr_w=[0.1, 0.2])
    return neuron_flow(0.5, [0.3, -0.4], network, data, [0.0, 1.0, 5.0])


MODEL = Model(
    name="single_neuron",
    equation="θ̇ = −η ∇L, L = E(γ u w·x − y)²",
    assumptions=(
        Assumption(
            sentence="The inputs are whitened, Σ_xx = cI.",
            broken=lambda: _problem(np.diag([1.0, 1.1])),
        ),
    ),
    quantities=KNOWN,
    example=lambda: _problem(np.eye(2)),
    references=(KUNIN2024, DERIVED),
    commands={"solve": _solve, "phase": _phase},
)


def __dir__() -> list[str]:
    return __all__
