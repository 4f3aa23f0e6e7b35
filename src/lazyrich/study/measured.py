"""Measured phase diagrams: order parameters of trained networks, their width exponents, phases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from lazyrich._errors import InputError
from lazyrich.numerics.ladder import TOLERANCE, exponent_columns, fit_exponent, fitted_phase
from lazyrich.sweeps.store.grid import AXES, POINT, grid
from lazyrich.sweeps.store.results import final
from lazyrich.vocabulary.quantity import DERIVED, Quantity

QUANTITIES = (
    Quantity(
        name="diverged",
        symbol="n_∞/n",
        meaning="share of networks that diverged",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
)

ORDER = (
    "ntk_change",
    "kernel_distance",
    "centred_kernel_distance",
    "alignment",
    "linearisation_error",
    "test_accuracy",
    "output_change",
)
"""Order parameters that a diagram shows where they were measured."""


def measured_diagram(
    data: xr.Dataset,
    x: str,
    y: str,
    *,
    order: Sequence[str] | None = None,
    dim: str = "width",
    confidence: float = 0.95,
    tolerance: float = TOLERANCE,
) -> xr.Dataset:
    """Order parameters, width exponents and phases of trained networks over two axes.

    Args:
        data: the Dataset of `results`, over axes or along `point`; of several measurements the last
            one is taken, as by `final`.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        order: quantities to map; None takes those of `ORDER` that were measured.
        dim: the axis of widths; without it, with fewer than three widths, or where it is one of the
            two axes, there are neither exponents nor phases.
        confidence: level of the intervals.
        tolerance: tolerance of the fitted phases.

    Returns:
        Over (y, x), or along `point` with x and y as coordinates, one a place: every quantity as
        its geometric mean over the seeds (over `dim`, too) of the networks that did not diverge,
        the share of `diverged` networks, and with a ladder of widths `<quantity>_exponent`, the
        ends `<quantity>_exponent_low` and `<quantity>_exponent_high` of its interval, and the
        `phase`.

    Raises:
        InputError: an axis that there is not, further axes, or a quantity that was not measured.

    Example:
        >>> a, d = xr.DataArray([-0.5, 0.0], dims="a"), xr.DataArray([64, 256, 1024], dims="width")
        >>> change = (d.astype(float) ** a).expand_dims(b=[1, 2], seed=[0, 1])
        >>> data = xr.Dataset({"ntk_change": change}).assign_coords(a=a, width=d)
        >>> diagram = measured_diagram(data, "a", "b")
        >>> diagram.phase.sel(b=1).values.tolist()
        ['kernel', 'feature']
    """
    data = _laid_out(final(data), {x, y}, dim)
    ladder = dim not in (x, y) and data.sizes.get(dim, 0) >= 3
    if ladder:
        data = data.sortby(dim)
    chosen = [name for name in ORDER if name in data] if order is None else list(order)
    if missing := [name for name in chosen if name not in data] or not chosen:
        choice = ", ".join(sorted(map(str, data.data_vars)))
        raise InputError(f"`order` must be among {choice}, got {missing or 'none'}.")
    columns: dict[str, xr.DataArray] = {}
    fits: dict[str, xr.Dataset] = {}
    for name in chosen:
        values = data[name].where(data.status != "diverged") if "status" in data else data[name]
        columns[name] = _typical(values)
        if ladder:
            fits[name] = fit_exponent(values, dim=dim, confidence=confidence)
            columns |= exponent_columns(fits[name], name)
    diverged = _diverged(data)
    if diverged is not None:
        columns["diverged"] = diverged
    if "ntk_change" in fits:
        columns["phase"] = fitted_phase(
            fits["ntk_change"],
            progress=fits.get("output_change"),
            diverged=diverged,
            dim=dim,
            tolerance=tolerance,
        )
    result = xr.Dataset(columns).transpose(..., *((POINT,) if POINT in data.dims else (y, x)))
    return result.assign_attrs(confidence=confidence, tolerance=tolerance)


def _laid_out(data: xr.Dataset, plane: set[str], dim: str) -> xr.Dataset:
    """Seeds and widths as dimensions, over the plane or along `point`; no other axis."""
    axes = set(data.attrs[AXES]) if POINT in data.dims else set(map(str, data.dims))
    if missing := sorted(plane - axes):
        raise InputError(
            f"`x` and `y` must be axes of the study, {sorted(axes)}, got {', '.join(missing)}."
        )
    if POINT in data.dims:
        constant = {name for name in axes - plane - {"seed"} if np.unique(data[name]).size <= 1}
        spread = sorted((axes - constant - plane) & {dim, "seed"})
        data = grid(data.drop_vars(constant).assign_attrs({AXES: sorted(axes - constant)}), *spread)
        axes -= constant
    if further := sorted(axes - plane - {dim, "seed", "layer"}):
        raise InputError(
            f"`data` must have no axes but `x`, `y`, `{dim}` and `seed`, got {', '.join(further)} "
            "too. Choose one value with .sel or .isel."
        )
    return data


def _typical(values: xr.DataArray) -> xr.DataArray:
    """The geometric mean of sizes over the seeds; of positive numbers the natural middle."""
    size = abs(values.astype(float))
    if "seed" not in size.dims:
        return size.assign_attrs(values.attrs)
    logs: xr.DataArray = np.log(size.where((size > 0) & np.isfinite(size)))  # type: ignore[assignment]
    middle: xr.DataArray = np.exp(logs.mean("seed"))  # type: ignore[assignment]
    return middle.assign_attrs(values.attrs)


def _diverged(data: xr.Dataset) -> xr.DataArray | None:
    """The share of the networks trained that diverged."""
    if "status" not in data:
        return None
    done = (data.status != "") & (data.status != "failed")
    over = [name for name in ("seed",) if name in data.status.dims]
    share = (done & (data.status == "diverged")).sum(over) / done.sum(over).where(
        done.any(over) if over else done
    )
    (quantity,) = QUANTITIES
    return share.assign_attrs(quantity.attrs)
