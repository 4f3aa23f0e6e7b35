"""The three mechanisms of feature learning, read off a trajectory.

`f = γ ‖u‖‖w‖ ζ`, so that `ln|f_T/f_0| = Δ ln(‖u‖‖w‖) + Δ ln|ζ|` exactly. A layer pair

- **aligns** where |ζ| grows, and **disaligns** where it falls,
- **rescales** where `‖u‖‖w‖` changes.

What counts is Θ(1) change: of |ζ| itself, and of the logarithm of the norms. In the kernel phase of
balanced layers all three vanish as the width grows, although `Δ ln|ζ|` does not: there
|ζ| ~ d^{-1/2} changes by a factor and stays small. (Unbalanced layers can align with hardly a
change of the kernel: `‖u‖²‖w‖²(1 − ζ²)` is conserved, so that ζ depends on the output alone.)

References:
    Xu & Ziyin, arXiv:2401.07085.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.numerics import windows
from lazyrich.numerics.exact import Array
from lazyrich.theory.labels import apply
from lazyrich.vocabulary.quantity import DERIVED, XU2025, Quantity, by_name
from lazyrich.vocabulary.regimes import Mechanism
from lazyrich.vocabulary.shared import LOG_OUTPUT

QUANTITIES = (
    Quantity(
        name="log_alignment",
        symbol="Δln|ζ|",
        meaning="change of the logarithm of the layers' alignment since the start",
        source=DERIVED,
    ),
    Quantity(
        name="log_rescaling",
        symbol="Δln‖u‖‖w‖",
        meaning="change of the logarithm of the product of the layers' norms since the start",
        source=DERIVED,
    ),
    Quantity(
        name="alignment_share",
        symbol="Δln|ζ|/Δln|f|",
        meaning="share of alignment in the output's change, 1 where ζ starts or ends at zero",
        source=DERIVED,
    ),
    Quantity(
        name="mechanism_change",
        symbol="Σ|Δ|",
        meaning="rise of |ζ|, fall of |ζ|, variation of ln‖u‖‖w‖",
        low=0.0,
        dims=("mechanism",),
    ),
    Quantity(
        name="mechanism_acts",
        symbol="Σ|Δ| ≥ threshold",
        meaning="whether the change reaches its threshold",
        low=0,
        high=1,
        dims=("mechanism",),
    ),
    Quantity(
        name="mechanism_activity",
        symbol="|Δ|",
        meaning="rise of |ζ|, fall of |ζ|, change of ln‖u‖‖w‖ from one record to the next",
        low=0.0,
        source=DERIVED,
        dims=("mechanism", "interval"),
    ),
    Quantity(
        name="window_start",
        symbol="t(10 %)",
        meaning="when a tenth of the change is done; NaN if it does not act",
        units="time or steps",
        low=0.0,
        source=DERIVED,
        dims=("mechanism",),
    ),
    Quantity(
        name="window_stop",
        symbol="t(90 %)",
        meaning="when nine tenths of the change are done; NaN if it does not act",
        units="time or steps",
        low=0.0,
        source=DERIVED,
        dims=("mechanism",),
    ),
    Quantity(
        name="sign_changes",
        symbol="#{ζ = 0}",
        meaning="how often ζ changes its sign",
        low=0,
        source=DERIVED,
    ),
    Quantity(
        name="first_sign_change",
        symbol="t(ζ = 0)",
        meaning="when the last record before the first change of sign of ζ is made; NaN if none",
        units="time or steps",
        low=0.0,
        source=DERIVED,
    ),
)

_KNOWN = by_name([LOG_OUTPUT], QUANTITIES)


def mechanisms(
    trajectory: xr.Dataset, *, alignment_threshold: float = 0.1, rescaling_threshold: float = 0.1
) -> xr.Dataset:
    """Decompose a trajectory into alignment, disalignment and rescaling.

    Args:
        trajectory: a solution on a line from `flow` or `descent`, with the dim `time` or `step`.
        alignment_threshold: total rise or fall of |ζ| from which (dis)alignment acts.
        rescaling_threshold: total variation of `ln(‖u‖‖w‖)` from which rescaling acts.

    Returns:
        Over time: `log_output`, `log_alignment`, `log_rescaling`, changes since the start, the
        first being the sum of the others. Over `mechanism`: `mechanism_change` (total rise of |ζ|,
        fall of |ζ|, variation of ln norms), `mechanism_acts`, and the window from `window_start`
        to `window_stop` in which the change went from 10 % to 90 %. Over neither:
        `alignment_share` of the final log output, the number of `sign_changes` of ζ and when the
        first one is. When is a time in `flow`, a step in `descent`.

    Raises:
        InputError: if it is no solution on a line, has fewer than two times, or times decrease.

    Example:
        >>> from lazyrich.theory.two_layer_linear import LineData, LineState, LinearNetwork, flow
        >>> state = LineState(uu=1e-4, uw=1e-6, ww=1e-4)
        >>> network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
        >>> data = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
        >>> result = mechanisms(flow(state, network, data, np.linspace(0, 100, 201)))
        >>> result.mechanism_acts.values
        array([ True, False,  True])
        >>> align, rescale = (result.sel(mechanism=name) for name in ("alignment", "rescaling"))
        >>> bool(align.window_stop < rescale.window_start)
        True

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """
    dim = _checked_time_dim(trajectory)
    times = _checked_times(trajectory, dim)
    zeta = trajectory.alignment
    with np.errstate(divide="ignore", invalid="ignore"):
        log_zeta, log_norms = np.log(abs(zeta)), _log_norms(trajectory)
        log_alignment = log_zeta - log_zeta.isel({dim: 0}, drop=True)
        log_rescaling = log_norms - log_norms.isel({dim: 0}, drop=True)
        log_output = log_alignment + log_rescaling
    crossed = apply(_crossings, zeta, input_core_dims=[(dim,)], output_core_dims=[("interval",)])
    moved = activity(trajectory)
    change = moved.sum("interval")
    acts = acting(change, alignment_threshold, rescaling_threshold)
    cores: dict[str, Any] = {"input_core_dims": [("interval",), (dim,)]}
    start, stop = apply(windows.window, moved, times, **cores, output_core_dims=[(), ()])
    result = xr.Dataset(
        {
            "log_output": log_output,
            "log_alignment": log_alignment,
            "log_rescaling": log_rescaling,
            "mechanism_change": change.where(change < windows.UNBOUNDED, np.inf),
            "mechanism_acts": acts,
            "window_start": start.where(acts),
            "window_stop": stop.where(acts),
            "alignment_share": _share(log_alignment, log_output, dim),
            "sign_changes": crossed.sum("interval").astype(int),
            "first_sign_change": apply(_time_of_first, crossed, times, **cores),
        },
        attrs={
            "references": XU2025,
            "alignment_threshold": alignment_threshold,
            "rescaling_threshold": rescaling_threshold,
        },
    )
    for name in result.data_vars:
        result[name].attrs = _KNOWN[str(name)].attrs
    return result


def activity(trajectory: xr.Dataset) -> xr.DataArray:
    """How much each mechanism moves between records: dims `mechanism` and `interval`."""
    dim = _checked_time_dim(trajectory)
    moved: xr.DataArray = apply(
        windows.movements,
        trajectory.alignment,
        _log_norms(trajectory),
        input_core_dims=[(dim,), (dim,)],
        output_core_dims=[("mechanism", "interval")],
    )
    names = [str(name) for name in Mechanism]
    moved = moved.assign_coords(mechanism=names).transpose("mechanism", ...)
    return moved.rename("mechanism_activity").assign_attrs(_KNOWN["mechanism_activity"].attrs)


def acting(
    change: xr.DataArray, alignment_threshold: float = 0.1, rescaling_threshold: float = 0.1
) -> xr.DataArray:
    """Which mechanisms act, from their total change over `mechanism`."""
    acts: xr.DataArray = apply(
        windows.exceeds_threshold,
        change,
        input_core_dims=[("mechanism",)],
        output_core_dims=[("mechanism",)],
        kwargs={
            "alignment_threshold": alignment_threshold,
            "rescaling_threshold": rescaling_threshold,
        },
    )
    acts = acts.transpose(*change.dims).rename("mechanism_acts")
    return acts.assign_attrs(_KNOWN["mechanism_acts"].attrs)


def _checked_time_dim(trajectory: xr.Dataset) -> str:
    if not isinstance(trajectory, xr.Dataset) or {"alignment", "uu", "ww"} - set(trajectory):
        raise InputError(
            f"mechanisms are read off a Dataset from `flow` or `descent`, got a "
            f"{type(trajectory).__name__} without `alignment`, `uu` and `ww`. Pass all that they "
            f"return"
        )
    if {"k", "m"} & set(trajectory.dims):
        raise InputError(
            "mechanisms need a solution on a line, got one from a GramState. Solve it with a "
            "LineState and LineData, if the inputs lie on a line"
        )
    dim = next((name for name in ("time", "step") if name in trajectory.dims), None)
    if dim is None or trajectory.sizes[dim] < 2:
        raise InputError(
            "a trajectory needs at least two values of `time` or `step`. Give flow more `times`, "
            "or descent more `steps`"
        )
    return dim


def _checked_times(trajectory: xr.Dataset, dim: str) -> xr.DataArray:
    times = trajectory.t if "t" in trajectory.coords else trajectory[dim].astype(float)
    backwards = times.isel({dim: slice(1, None)}).values < times.isel({dim: slice(-1)}).values
    if backwards.any():
        raise InputError(f"the values of `{dim}` must increase along a trajectory")
    return times


def _crossings(zeta: Array) -> NDArray[np.bool_]:
    """The intervals at whose end ζ has for the first time the opposite sign."""
    sign = np.sign(zeta)
    last = np.maximum.accumulate(np.where(sign != 0, np.arange(sign.shape[-1]), 0), axis=-1)
    sign = np.take_along_axis(sign, last, -1)  # at a zero that of the record before
    turns: NDArray[np.bool_] = sign[..., 1:] * sign[..., :-1] < 0
    return turns


def _time_of_first(crossed: NDArray[np.bool_], times: Array) -> Array:
    """The time at the start of the first interval that is crossed, NaN if none is."""
    at = np.broadcast_to(times[..., :-1], np.broadcast_shapes(times[..., :-1].shape, crossed.shape))
    first = np.argmax(crossed, axis=-1)[..., None]
    time = np.take_along_axis(at, np.broadcast_to(first, (*at.shape[:-1], 1)), -1)[..., 0]
    return np.where(crossed.any(-1), time, np.nan)


def _log_norms(trajectory: xr.Dataset) -> xr.DataArray:
    """`ln(‖u‖‖w‖)`, −∞ where a layer is zero."""
    with np.errstate(divide="ignore"):
        return 0.5 * (np.log(trajectory.uu) + np.log(trajectory.ww))


def _share(log_alignment: xr.DataArray, log_output: xr.DataArray, dim: str) -> xr.DataArray:
    """Alignment's share of the final log output; 1 where ζ starts or ends at zero."""
    part, whole = log_alignment.isel({dim: -1}, drop=True), log_output.isel({dim: -1}, drop=True)
    with np.errstate(invalid="ignore"):
        share = xr.where(whole == 0, 0.0, part / whole.where(whole != 0, 1.0))
    only_zeta = np.isinf(part) & np.isfinite(whole - part) | (np.isinf(part) & (part == whole))
    return xr.where(only_zeta, 1.0, share)
