"""Order parameters: how lazy or rich a network is going to be, in closed form.

The central one is `F = |B| / (A ½(P + Q)) = 4 |γ X f*| / Θ₀`: the distance to travel in units of
what the kernel has. From zero output, `Θ_∞/Θ₀ = √(1 + F²/4)`.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array, Scaled
from lazyrich.phases.scaling import FeatureKind
from lazyrich.theory.labels import apply, dataset
from lazyrich.theory.two_layer_linear.data import LineData
from lazyrich.theory.two_layer_linear.flow import flow, learning_time, line_arguments
from lazyrich.theory.two_layer_linear.line import LineProblem, natural_units
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import LineState
from lazyrich.vocabulary.quantity import XU2025
from lazyrich.vocabulary.regimes import Phase

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
        (`plateau_time`) and 90 % (`learning_time`).

    Example:
        >>> from lazyrich import LinearNetwork, LineData, LineState
        >>> state = LineState(uu=1.0, uw=0.0, ww=1.0)
        >>> network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
        >>> data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
        >>> order_parameters(state, network, data).order_parameter.item()
        2.0

    References:
        Xu & Ziyin, arXiv:2401.07085; F is derived in the documentation.
    """

    def evaluate(*arrays: Array) -> tuple[Array, Array]:
        units = natural_units(LineProblem(*arrays))
        kernel = units.p + units.q
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            distance = np.where(units.drive == 0, 0.0, 2 * np.abs(units.drive) / kernel)
            constant = (Scaled.of(1 / units.growth) / units.rate).value()
        moves = (units.rate.mantissa > 0) & (units.growth > 0)
        return distance, np.where(moves, constant, np.inf)

    f, tau = apply(evaluate, *line_arguments(state, network, data), output_core_dims=[()] * 2)
    end = flow(state, network, data, float("inf")).drop_vars("t")
    result = dataset(
        {
            "order_parameter": f,
            "ntk_change": end.ntk_change,
            "alignment": end.alignment,
            "time_constant": tau,
            "plateau_time": learning_time(state, network, data, PLATEAU_LEFT),
            "learning_time": learning_time(state, network, data, LEARNED_LEFT),
        }
    )
    result.attrs = {"references": XU2025}
    return result.drop_vars("remaining", errors="ignore")


def fit_exponent(
    values: xr.DataArray, *, dim: str = "width", confidence: float = 0.95
) -> xr.Dataset:
    """Fit `values ∝ dim^exponent` by least squares on logarithms, over widths and draws.

    Args:
        values: positive values with the coordinate `dim`, and any other dims (draws) as repeats.
        dim: the dimension that is scaled.
        confidence: level of the interval, from Student's t distribution.

    Returns:
        `exponent`, `low` and `high`.

    Raises:
        InputError: if there are fewer than three widths, or values are not positive and finite.

    Example:
        >>> values = xr.DataArray([4.0, 2.0, 1.0], dims="width", coords={"width": [1, 4, 16]})
        >>> fit_exponent(values).exponent.item()
        -0.5
    """
    if dim not in values.coords or values.sizes[dim] < 3:
        raise InputError(f"a width exponent needs at least three values of `{dim}`")
    if not bool(((values > 0) & np.isfinite(values)).all()):
        raise InputError("a width exponent needs positive and finite values: take their size first")
    x, y = (np.log(part.values.ravel()) for part in xr.broadcast(values[dim], values))
    fit = stats.linregress(x, y)
    half = stats.t.ppf((1 + confidence) / 2, x.size - 2) * fit.stderr
    return xr.Dataset(
        {"exponent": fit.slope, "low": fit.slope - half, "high": fit.slope + half},
        attrs={"confidence": confidence, "samples": x.size},
    )


def fitted_phase(
    order: xr.Dataset, *, tolerance: float = 0.1
) -> tuple[Phase, FeatureKind | None] | None:
    """The phase that a ladder of widths shows, where only numbers are known.

    Args:
        order: from `order_parameters`, with the dim `width` and any draws.
        tolerance: exponents nearer to zero than this count as zero.

    Returns:
        Phase and regime, or None where the intervals leave it open.
    """
    rate = fit_exponent(1 / order.time_constant)
    if rate.high < -tolerance:
        return Phase.FROZEN, None
    if rate.low > tolerance:
        return Phase.UNSTABLE, None
    change = fit_exponent(order.ntk_change)
    if change.high < -tolerance:
        return Phase.KERNEL, None
    if change.low > tolerance:
        return Phase.FEATURE, FeatureKind.VANISHING_INIT
    if change.low > -tolerance and change.high < tolerance:
        return Phase.FEATURE, FeatureKind.CRITICAL
    return None
