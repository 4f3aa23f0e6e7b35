"""Phase diagrams over any two parameters of a typical network, or any two scaling exponents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.boundary import ZERO, Boundary, boundaries, piecewise_boundaries
from lazyrich.numerics.exact import Array
from lazyrich.numerics.fractions import ExponentLike
from lazyrich.phases.mechanisms import acting, activity
from lazyrich.phases.order import is_frozen, order_parameters
from lazyrich.phases.scaling import (
    FeatureKind,
    Power,
    ScalingLaw,
    exponents,
    rate_exponents,
)
from lazyrich.phases.setting import Setting
from lazyrich.theory.labels import ParameterLike, real, with_axis_attrs
from lazyrich.theory.two_layer_linear.flow import flow, time_to_residual
from lazyrich.vocabulary.quantity import DERIVED, XU2025, Quantity, by_name
from lazyrich.vocabulary.regimes import Mechanism, Phase

# kernel changes that bound the feature-learning region: those of F = 1 and F = 10 from zero output
KERNEL_BELOW, VANISHING_ABOVE = (float(np.sqrt(1 + f**2 / 4)) - 1 for f in (1, 10))
FEATURE_REGIONS = tuple(f"{Phase.FEATURE}_{kind}" for kind in FeatureKind)
REGIONS = (Phase.FROZEN, Phase.UNSTABLE, Phase.KERNEL, *FEATURE_REGIONS)
"""All regions, in the order of their codes."""
MECHANISM_SETS = tuple(
    "+".join(name for bit, name in enumerate(Mechanism) if code >> bit & 1) or "none"
    for code in range(2 ** len(Mechanism))
)
"""All sets of mechanisms that act together, in the order of their codes."""

QUANTITIES = (
    Quantity(
        name="region",
        symbol="phase",
        meaning="phase of the network",
        low=0,
        high=len(REGIONS) - 1,
    ),
    Quantity(
        name="acting_mechanisms",
        symbol="Σ 2ⁱ",
        meaning="mechanisms that act during training",
        low=0,
        high=len(MECHANISM_SETS) - 1,
    ),
    Quantity(
        name="signal_excess",
        symbol="b − k",
        meaning="power of the width that the order parameter F is proportional to",
        source=DERIVED,
    ),
    Quantity(
        name="rate_exponent",
        symbol="r",
        meaning="power of the width that the rate of learning 1/τ is proportional to",
        source=DERIVED,
    ),
)
_KNOWN = by_name(QUANTITIES)

PROGRESS = 33  # states along each trajectory in the mechanism map
_RESIDUALS = (1e-9, 1.0)


@dataclass(frozen=True, kw_only=True)
class PhaseDiagram:
    """A phase diagram.

    Attributes:
        values: Dataset over (y, x). `region` is the phase: of parameters that of the typical
            network, beside its order parameters and `acting_mechanisms`; of exponents that of the
            limit of infinite width, beside `signal_excess` and `rate_exponent`. The integer codes
            carry `flag_values` and `flag_meanings`.
        boundaries: the curves between the regions.
        at: the codes of `region` or `acting_mechanisms` at points between the values of the axes,
            from the name and the points' horizontal and vertical coordinates.
    """

    values: xr.Dataset
    boundaries: tuple[Boundary, ...]
    at: Callable[[str, Array, Array], Array] = field(repr=False, compare=False)

    def _repr_html_(self) -> str:
        """What a notebook shows: how much of the plane each phase takes; `plot` draws it."""
        y, x = self.values.region.dims
        names, codes = self.values.region.attrs["flag_meanings"].split(), self.values.region.values
        shares = ((name, float(np.mean(codes == code))) for code, name in enumerate(names))
        rows = "".join(
            f"<tr><td>{name.replace('_', ' ')}</td><td>{100 * share:.0f} %</td></tr>"
            for name, share in shares
            if share
        )
        curves = ", ".join(dict.fromkeys(curve.name for curve in self.boundaries))
        return (
            f"<div><p><b>Phase diagram</b> over {x} and {y}; boundaries: {curves or 'none'}.</p>"
            f"<table><thead><tr><th>phase</th><th>of the plane</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
            "<p><code>lazyrich.plot.phase_diagram</code> draws it.</p></div>"
        )


def parameter_diagram(
    x: tuple[str, ArrayLike],
    y: tuple[str, ArrayLike],
    *,
    levels: tuple[float, float] = (KERNEL_BELOW, VANISHING_ABOVE),
    **fixed: ParameterLike,
) -> PhaseDiagram:
    """Map the phases of a typical network of finite width over two of its parameters.

    Regions are named by the relative change of the kernel at t = ∞: `kernel` below the first
    level, `feature_critical` up to the second, `feature_vanishing_init` above it. From zero output
    the change is √(1 + F²/4) − 1, so that the default levels are the curves F = 1 and F = 10.
    A network that ends at a saddle, which its neighbours leave, is counted as they are; one that
    can never move (both layers zero, no learning rate, output scale or inputs) is `frozen`.

    Args:
        x: name and increasing values of the horizontal parameter, see `Setting`; `lr` and
            `init_std` stand for both layers.
        y: the same for the vertical one.
        levels: the two changes of the kernel, increasing; 0.118 and 4.1 if not given.
        fixed: the other parameters.

    Raises:
        InputError: if a name is unknown or used twice, or an axis or the levels do not increase.

    Example:
        >>> scales = np.geomspace(1e-3, 10, 16)
        >>> diagram = parameter_diagram(("output_scale", scales), ("init_std", scales), width=100)
        >>> [boundary.name for boundary in diagram.boundaries]
        ['ΔΘ/Θ = 0.118', 'ΔΘ/Θ = 4.1']

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """
    if not 0 < levels[0] < levels[1]:
        raise InputError(f"`levels` must be two increasing values > 0, got {levels}")
    axes = _checked_axes(x, y, fixed)
    (x_name, x_values), (y_name, y_values) = axes.items()

    setting = Setting.of(**fixed, **axes)
    values = _order(setting)
    limit = _limit_of_change(setting, values)
    frozen = is_frozen(values)
    values["region"] = _flags(_regions(setting, values, levels), "region", REGIONS)
    acting_there = _acting_mechanisms(setting)
    values["acting_mechanisms"] = _flags(acting_there, "acting_mechanisms", MECHANISM_SETS)
    values = with_axis_attrs(values.transpose(y_name, x_name, ...))

    def there(xs: Array, ys: Array) -> Setting:
        point = {x_name: xr.DataArray(xs, dims="p"), y_name: xr.DataArray(ys, dims="p")}
        return Setting.of(**fixed, **point)

    def side(level: float, xs: Array, ys: Array) -> Array:
        points = there(xs, ys)
        return _side(_limit_of_change(points, _order(points)).values, level)

    def at(name: str, xs: Array, ys: Array) -> Array:
        points = there(xs, ys)
        if name == "acting_mechanisms":
            return np.asarray(_acting_mechanisms(points).values)
        return np.asarray(_regions(points, _order(points), levels).values)

    known = limit.where(~frozen | np.isinf(limit))  # F is 0/0, no limit
    grid = known.transpose(y_name, x_name).values
    per_level = [
        boundaries(
            f"ΔΘ/Θ = {level:.3g}",
            partial(side, level),
            x_values,
            y_values,
            _side(grid, level),
        )
        for level in levels
    ]
    return PhaseDiagram(
        values=values,
        boundaries=tuple(curve for curves in per_level for curve in curves),
        at=at,
    )


def exponent_diagram(
    x: tuple[str, ArrayLike],
    y: tuple[str, ArrayLike],
    *,
    tune_rates: bool = True,
    **fixed: ExponentLike,
) -> PhaseDiagram:
    """Map the phases of infinitely wide networks over two of their scaling exponents.

    Args:
        x: name and increasing values of the horizontal exponent: `output_scale_exponent`,
            `lr_u_exponent`, `lr_w_exponent`, `init_var_u_exponent`, `init_var_w_exponent`;
            `lr_exponent` and `init_var_exponent` stand for both layers.
        y: the same for the vertical one.
        tune_rates: shift both learning rates so that the network learns in Θ(1) time; without,
            nearly every point is frozen or unstable. An axis over a rate shows its exponent
            before the shift: only the difference of the two rates' exponents matters.
        fixed: the other exponents, 0 if not given.

    Raises:
        InputError: if a name is unknown or used twice, or an axis does not increase.

    Example:
        >>> grid = np.linspace(-2, 1, 31)
        >>> diagram = exponent_diagram(
        ...     ("output_scale_exponent", grid), ("init_var_exponent", grid)
        ... )
        >>> curve, = diagram.boundaries
        >>> bool(np.allclose(curve.x + curve.y, -1))  # γ σ² ∝ 1/d
        True

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """
    axes = _checked_axes(x, y, fixed)
    (x_name, x_values), (y_name, y_values) = axes.items()
    constants = {name: float(Power(value).exponent) for name, value in fixed.items()}

    def of(xs: Array, ys: Array) -> list[Any]:
        return _exponents_of({**constants, x_name: xs, y_name: ys})

    def branches(xs: Array, ys: Array) -> tuple[Array, ...]:
        signal, *kernels = rate_exponents(*of(xs, ys))
        return tuple(signal - k for k in kernels) if tune_rates else (signal, *kernels)

    def powers(xs: Array, ys: Array) -> tuple[Array, Array]:
        signal, kernel, rate, _ = exponents(*of(xs, ys))
        excess, rate, *_ = np.broadcast_arrays(signal - kernel, rate, xs, ys)
        return excess, rate

    def at(_: str, xs: Array, ys: Array) -> Array:
        return _region_of_powers(*powers(xs, ys), tune_rates)

    excess, rate = powers(x_values, y_values[:, None])
    region = _region_of_powers(excess, rate, tune_rates)
    coords = {y_name: y_values, x_name: x_values}
    values = xr.Dataset(
        {
            name: ((y_name, x_name), power, _KNOWN[name].attrs)
            for name, power in (("signal_excess", excess), ("rate_exponent", rate))
        },
        coords=coords,
        attrs={"references": XU2025},
    )
    values["region"] = _flags(xr.DataArray(region, coords=coords), "region", REGIONS)
    values = with_axis_attrs(values)
    name, combine = ("b = k", np.minimum) if tune_rates else ("r = 0", np.maximum)
    curves = piecewise_boundaries(name, branches, combine, x_values, y_values)
    return PhaseDiagram(values=values, boundaries=curves, at=at)


def _region_of_powers(excess: Array, rate: Array, tuned: bool) -> Array:
    """Codes of the regions from both powers of the width; a tuned rate is right everywhere."""
    feature = 2 + (excess >= -ZERO).astype(int) + (excess > ZERO)
    return feature if tuned else np.where(rate < -ZERO, 0, np.where(rate > ZERO, 1, feature))


def _exponents_of(given: Mapping[str, Any]) -> list[Any]:
    """The five exponents in the order of a `ScalingLaw`, 0 where not given."""
    names = [f"{field.name}_exponent" for field in fields(ScalingLaw)]
    exponents: dict[str, Any] = {}
    both = {
        f"{name}_exponent": (f"{name}_u_exponent", f"{name}_w_exponent")
        for name in ("lr", "init_var")
    }
    for name, value in given.items():
        targets = both.get(name, (name,))
        if not set(names) >= set(targets):
            choice = ", ".join(sorted({*names, *both}))
            raise InputError(f"there is no exponent {name!r}; choose from {choice}")
        if exponents.keys() & set(targets):
            raise InputError(
                f"{name!r} sets {' and '.join(targets)}, which is given already. Give one for both "
                "layers or one for each"
            )
        exponents |= dict.fromkeys(targets, value)
    return [exponents.get(name, 0.0) for name in names]


def _regions(setting: Setting, order: xr.Dataset, levels: tuple[float, float]) -> xr.DataArray:
    """Codes of the regions of typical networks."""
    limit = _limit_of_change(setting, order)
    above = (limit >= levels[0]).astype(int) + (limit >= levels[1])
    frozen, kernel = REGIONS.index(Phase.FROZEN), REGIONS.index(Phase.KERNEL)
    return xr.where(is_frozen(order), frozen, kernel + above)


def _acting_mechanisms(setting: Setting) -> xr.DataArray:
    """Which mechanisms act between t = 0 and t = ∞, as a sum of flags.

    The state depends on the output alone, so that equal steps of the residual resolve it; the
    point where the output crosses zero is added, for there |ζ| has its minimum.
    """
    state, network, data = setting.state, setting.network, setting.data
    power = data.mean_aa.where(data.mean_aa > 0, np.inf)  # without inputs nothing moves
    start, goal = network.output_scale * state.uw, data.mean_ay / power
    crossing = (goal / (goal - start).where(goal != start, np.inf)).clip(*_RESIDUALS)
    steps = xr.DataArray(np.linspace(*_RESIDUALS[::-1], PROGRESS), dims="time")
    remaining = -xr.apply_ufunc(
        np.sort,
        -xr.concat([steps + 0 * crossing, crossing], "time"),
        input_core_dims=[("time",)],
        output_core_dims=[("time",)],
    )
    times = time_to_residual(state, network, data, remaining).rename("t")
    acts = acting(activity(flow(state, network, data, times)).sum("interval"))
    codes = xr.DataArray([1 << bit for bit, _ in enumerate(Mechanism)], dims="mechanism")
    return (acts * codes).sum("mechanism")


def _order(setting: Setting) -> xr.Dataset:
    return order_parameters(setting.state, setting.network, setting.data)


def _limit_of_change(setting: Setting, order: xr.Dataset) -> xr.DataArray:
    """The kernel's change at t = ∞, continuous in all parameters.

    At a saddle (`PQ = 0`) it is the limit of the neighbours, `|D/(A(P + Q)) − 1| = |½F − 1|`, which
    is infinite where both layers are zero and the data ask for more.
    """
    saddle = np.isinf(order.learning_time) & np.isfinite(order.time_constant)
    limit = xr.where(saddle, abs(0.5 * order.order_parameter - 1), order.ntk_change)
    empty = (setting.state.uu == 0) & (setting.state.ww == 0)
    network = setting.network
    factors = (network.output_scale, network.lr_u, network.lr_w, setting.data.mean_ay)
    for factor in factors:
        empty = empty & (factor != 0)
    return xr.where(empty, np.inf, limit)


def _side(change: Array, level: float) -> Array:
    """`(change − level)/(change + level)`: zero on the boundary, −1 at 0 and 1 at infinity."""
    side: Array = 1 - 2 / (1 + change / level)
    return side


def _flags(codes: xr.DataArray, name: str, meanings: Sequence[str]) -> xr.DataArray:
    """Integer codes with their meanings, after the CF conventions."""
    flagged = codes.astype(np.int8).drop_attrs()
    flagged.attrs = _KNOWN[name].attrs | {
        "flag_values": list(range(len(meanings))),
        "flag_meanings": " ".join(meanings),
    }
    return flagged


def _checked_axes(
    x: tuple[str, ArrayLike], y: tuple[str, ArrayLike], fixed: Mapping[str, object]
) -> dict[str, Array]:
    axes = {name: real(name, values) for name, values in (x, y)}
    for name, value in fixed.items():
        shape = () if isinstance(value, xr.Dataset) else np.shape(np.asarray(value))
        if shape:
            raise InputError(f"{name!r} must be one number, not an axis; got shape {shape}")
    used = [x[0], y[0], *fixed]
    if len(set(used)) < len(used):
        raise InputError(f"each name may be used once, got {', '.join(used)}")
    for name, values in axes.items():
        if values.ndim != 1 or values.size < 2 or not (np.diff(values) > 0).all():
            raise InputError(f"the axis {name!r} must hold at least two increasing values")
    return axes
