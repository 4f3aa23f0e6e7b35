"""Order parameters: how lazy or rich a network is going to be, in closed form.

The central one is `F = |B| / (A ½(P + Q)) = 4 |γ X f*| / Θ₀`: the distance to travel in units of
what the kernel has. From zero output, `Θ_∞/Θ₀ = √(1 + F²/4)`.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from lazyrich.numerics.exact import Array, Scaled
from lazyrich.numerics.ladder import TOLERANCE
from lazyrich.phases.scaling import FeatureKind
from lazyrich.theory.labels import apply, dataset, require_free
from lazyrich.theory.two_layer_linear.data import LineData
from lazyrich.theory.two_layer_linear.flow import flow, line_arguments, time_to_residual
from lazyrich.theory.two_layer_linear.line import LineProblem, natural_units
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import LineState
from lazyrich.vocabulary.quantity import DERIVED, XU2025, Quantity, by_name
from lazyrich.vocabulary.regimes import CANNOT_TELL, Phase
from lazyrich.vocabulary.shared import QUANTITIES as SHARED

QUANTITIES = (
    Quantity(
        name="order_parameter",
        symbol="F",
        meaning="distance to travel in units of what the initial kernel has",
        source=DERIVED,
    ),
    Quantity(
        name="time_constant",
        symbol="τ = 1/D",
        meaning="time constant of the exact solution",
        units="time",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="plateau_time",
        symbol="t₁₀",
        meaning="time at which the residual has lost 10 % of its initial value",
        units="time",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="learning_time",
        symbol="t₉₀",
        meaning="time at which the residual has lost 90 % of its initial value",
        units="time",
        low=0.0,
        source=DERIVED,
    ),
)


FROZEN = f"{Phase.FROZEN}: nothing can move, for the layers, the rates, γ or the inputs are zero"
PLATEAU_LEFT, LEARNED_LEFT = 0.9, 0.1  # shares of the residual that name the two times


def order_parameters(state: LineState, network: LinearNetwork, data: LineData) -> xr.Dataset:
    """What training will do to a network, without training it.

    Args:
        state: where it starts.
        network: scale and learning rates.
        data: moments of the data.

    Returns:
        A Dataset over the axes of all arguments: `order_parameter` F, `ntk_change` and `alignment`
        at t = ∞, `time_constant` 1/D, and the times at which the residual has lost 10 %
        (`plateau_time`) and 90 % (`learning_time`). The coordinate `status` is that of `flow`, or
        "frozen: …" where nothing can ever move; F is 0 there, and all times are infinite.

    Example:
        >>> from lazyrich.theory.two_layer_linear import LineData, LineState, LinearNetwork
        >>> state = LineState(uu=1.0, uw=0.0, ww=1.0)
        >>> network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
        >>> data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
        >>> order_parameters(state, network, data).order_parameter.item()
        2.0

    References:
        Xu & Ziyin, arXiv:2401.07085; F is derived in the documentation.
    """
    require_free(by_name(QUANTITIES), *line_arguments(state, network, data))

    def evaluate(*arrays: Array) -> tuple[Array, ...]:
        units = natural_units(LineProblem(*arrays))
        kernel = units.scaled(units.p + units.q)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            way = (Scaled.of(2 * np.abs(units.drive)) / kernel).value()
            goes = (units.drive != 0) & (kernel.mantissa > 0)
            distance = np.where(goes, way, 0.0)
            constant = (Scaled.of(1 / units.growth) / units.rate).value()
        still = (units.rate.mantissa == 0) | (kernel.mantissa == 0)
        moves = ~still & (units.growth > 0)
        return (
            distance,
            np.where(moves, constant, np.inf),
            still | np.zeros(np.shape(constant), bool),
        )

    arguments = line_arguments(state, network, data)
    f, tau, still = apply(evaluate, *arguments, output_core_dims=[()] * 3)
    end = flow(state, network, data, float("inf")).drop_vars("t")
    found = {
        "order_parameter": f,
        "ntk_change": end.ntk_change,
        "alignment": end.alignment,
        "time_constant": tau,
        "plateau_time": time_to_residual(state, network, data, PLATEAU_LEFT),
        "learning_time": time_to_residual(state, network, data, LEARNED_LEFT),
    }
    # arguments may come with a status of the run that they are from
    found = {name: part.drop_vars("status", errors="ignore") for name, part in found.items()}
    result = dataset(found, by_name(SHARED, QUANTITIES))
    result.attrs = {"references": XU2025}
    status = end.status.broadcast_like(result.order_parameter).transpose(*f.dims)
    texts = np.where(still.transpose(*f.dims), FROZEN, status)
    like = result.order_parameter.drop_attrs(deep=False)
    result = result.assign_coords(status=like.copy(data=texts))
    return result.drop_vars("remaining", errors="ignore")


def is_frozen(order: xr.Dataset) -> xr.DataArray:
    """Where `order_parameters` says that a network can never move."""
    frozen: xr.DataArray = order.status == FROZEN
    return frozen.drop_vars("status")


def fitted_feature_kind(change: xr.Dataset, *, tolerance: float = TOLERANCE) -> xr.DataArray:
    """Which kind of feature learning a ladder of widths shows, where its phase is `feature`.

    Args:
        change: `fit_exponent` of `ntk_change`.
        tolerance: exponents nearer to zero than this count as zero.

    Returns:
        The words of `FeatureKind`: `critical` where the change of the kernel stays,
        `vanishing_init` where it grows; or `"cannot tell"`.

    Example:
        >>> low, high = ("x", [-0.02, 0.4]), ("x", [0.02, 0.6])
        >>> fit = xr.Dataset({"exponent_low": low, "exponent_high": high})
        >>> fitted_feature_kind(fit).values.tolist()
        ['critical', 'vanishing_init']
    """
    stays = (change.exponent_low > -tolerance) & (change.exponent_high < tolerance)
    kind = xr.where(stays, FeatureKind.CRITICAL, CANNOT_TELL)
    kind = xr.where(change.exponent_low > tolerance, FeatureKind.VANISHING_INIT, kind)
    words: xr.DataArray = kind.drop_attrs().rename("feature_kind")
    return words.assign_attrs(long_name="kind of feature learning that the widths show")
