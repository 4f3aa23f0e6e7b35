"""Measured phase diagrams: order parameters of trained networks, their width exponents, phases."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import numpy as np
import xarray as xr
from scipy import stats

from lazyrich._errors import InputError
from lazyrich.sweeps.store.results import final

ORDER = (
    "ntk_change",
    "kernel_distance",
    "alignment",
    "linearisation_error",
    "test_accuracy",
    "output_change",
)
"""Order parameters that a diagram shows where they were measured."""

PHASES = ("frozen", "unstable", "kernel", "feature", "undecided")
"""Phases that a ladder of widths can show; their places in this list are the codes of `phase`."""

FROZEN, UNSTABLE, KERNEL, FEATURE, UNDECIDED = range(5)
TOLERANCE = 0.1  # exponents nearer to zero count as zero


def width_exponents(
    values: xr.DataArray,
    *,
    dim: str = "width",
    repeats: Collection[str] = ("seed",),
    confidence: float = 0.95,
) -> xr.Dataset:
    """Fit `|values| ∝ dim^exponent` at every point of a grid at once.

    Least squares on logarithms, with the networks of all seeds as repeats; the interval is
    Student's. Networks without a value (not trained yet, diverged) and zeros are left out.

    Args:
        values: with the numeric coordinate `dim` and any other dims.
        dim: the dimension that is scaled.
        repeats: dims that repeat the experiment; those that there are not are ignored.
        confidence: level of the interval.

    Returns:
        `exponent`, `low`, `high` and `samples` over all remaining dims; NaN where fewer than three
        values of `dim` have a measurement.

    Raises:
        InputError: fewer than three values of `dim`, or a confidence that is none.

    Example:
        >>> width = xr.DataArray([1.0, 4.0, 16.0], dims="width", coords={"width": [1, 4, 16]})
        >>> power = xr.DataArray([-1.0, 0.0, 0.5], dims="power")
        >>> width_exponents(width**power).exponent.values.round(6)
        array([-1. ,  0. ,  0.5])
    """
    if dim not in values.coords or values.sizes[dim] < 3:
        raise InputError(
            f"`values` must have the dimension `{dim}` with at least three values for an exponent "
            f"with an interval, got {dict(values.sizes)}. Add widths to the study."
        )
    if not 0 < confidence < 1:
        raise InputError(f"`confidence` must lie between 0 and 1, got {confidence:g}.")
    over = [dim, *(name for name in repeats if name in values.dims)]
    size = abs(values.astype(float))
    y: xr.DataArray = np.log(size.where((size > 0) & np.isfinite(size)))  # type: ignore[assignment]
    x = (0 * y + np.log(values[dim].astype(float))).where(y.notnull())
    samples = y.count(over)
    x, y = x - x.mean(over), y - y.mean(over)
    sxx = (x**2).sum(over)
    enough = (y.notnull().any(over[1:]) if over[1:] else y.notnull()).sum(dim) >= 3
    slope = (x * y).sum(over) / sxx.where(enough)
    left = ((y - slope * x) ** 2).sum(over)
    freedom = (samples - 2).where(enough)
    half = np.sqrt(left / freedom / sxx) * stats.t.ppf((1 + confidence) / 2, freedom)
    fit = {"exponent": slope, "low": slope - half, "high": slope + half, "samples": samples}
    found = xr.Dataset({name: part.drop_attrs() for name, part in fit.items()})
    meaning = values.attrs.get("long_name", values.name or "values")
    found.exponent.attrs = {"long_name": f"{dim} exponent of the {meaning}", "units": "1"}
    return found.assign_attrs(confidence=confidence)


def within(fit: xr.Dataset, theory: xr.DataArray | float) -> xr.DataArray:
    """Whether a theoretical exponent lies in the interval of a fit; False where there is none.

    Example:
        >>> fit = xr.Dataset({"low": ("x", [-1.2, -0.4]), "high": ("x", [-0.8, -0.2])})
        >>> within(fit, -1.0).values
        array([ True, False])
    """
    inside: xr.DataArray = (fit.low <= theory) & (theory <= fit.high)
    return inside


def phases(
    change: xr.Dataset,
    *,
    progress: xr.Dataset | None = None,
    diverged: xr.DataArray | None = None,
    tolerance: float = TOLERANCE,
) -> xr.DataArray:
    """The phase that a ladder of widths shows at every point, from intervals alone.

    In this order: `unstable`, if more than half of the networks diverge at the largest width;
    `frozen`, if the progress of the output falls with the width; `kernel`, if the change of the
    kernel does; `feature`, if it does not; `undecided`, if the interval covers both.

    Args:
        change: `width_exponents` of `ntk_change`.
        progress: `width_exponents` of `output_change`.
        diverged: share of networks that diverge at the largest width.
        tolerance: exponents nearer to zero than this count as zero.

    Returns:
        Codes with `flag_values` and `flag_meanings`, in the order of `PHASES`.

    Example:
        >>> fit = xr.Dataset({"low": ("x", [-1.2, -0.04, -0.3]), "high": ("x", [-0.8, 0.1, 0.2])})
        >>> [PHASES[code] for code in phases(fit).values]
        ['kernel', 'feature', 'undecided']
    """
    code = xr.where(change.low > -tolerance, FEATURE, UNDECIDED)
    code = xr.where(change.high < -tolerance, KERNEL, code)
    if progress is not None:
        code = xr.where(progress.high < -tolerance, FROZEN, code)
    if diverged is not None:
        code = xr.where(diverged > 0.5, UNSTABLE, code)
    code = code.astype(np.int8).drop_attrs()
    code.attrs = {
        "long_name": "phase that the widths show",
        "flag_values": list(range(len(PHASES))),
        "flag_meanings": " ".join(PHASES),
    }
    return code.rename("phase")


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
        data: of `results`; of several measurements the last one is taken, as by `final`.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        order: quantities to map; None takes those of `ORDER` that were measured.
        dim: the axis of widths; without it, with fewer than three widths, or where it is one of the
            two axes, there are neither exponents nor phases.
        confidence: level of the intervals.
        tolerance: of the phases.

    Returns:
        Over (y, x): every quantity as its geometric mean over the seeds (over `dim`, too) of the
        networks that did not diverge, the share of `diverged` networks, and with a ladder of widths
        `<quantity>_exponent`, `_low` and `_high` and the `phase`.

    Raises:
        InputError: an axis that there is not, further axes, or a quantity that was not measured.

    Example:
        >>> a, d = xr.DataArray([-0.5, 0.0], dims="a"), xr.DataArray([64, 256, 1024], dims="width")
        >>> change = (d.astype(float) ** a).expand_dims(b=[1, 2], seed=[0, 1])
        >>> data = xr.Dataset({"ntk_change": change}).assign_coords(a=a, width=d)
        >>> found = measured_diagram(data, "a", "b")
        >>> [PHASES[code] for code in found.phase.sel(b=1).values]
        ['kernel', 'feature']
    """
    data = final(data)
    _check_axes(data, {x, y}, dim)
    ladder = dim not in (x, y) and data.sizes.get(dim, 0) >= 3
    if ladder:
        data = data.sortby(dim)
    chosen = [name for name in ORDER if name in data] if order is None else list(order)
    if missing := [name for name in chosen if name not in data] or not chosen:
        choice = ", ".join(sorted(map(str, data.data_vars)))
        raise InputError(f"`order` must be among {choice}, got {missing or 'none'}.")
    found: dict[Hashable, xr.DataArray] = {}
    fits: dict[str, xr.Dataset] = {}
    for name in chosen:
        values = data[name].where(data.status != "diverged") if "status" in data else data[name]
        found[name] = _typical(values)
        if ladder:
            fits[name] = width_exponents(values, dim=dim, confidence=confidence)
            found[f"{name}_exponent"] = fits[name].exponent
            found |= {f"{name}_{end}": fits[name][end] for end in ("low", "high")}
    diverged = _diverged(data)
    if diverged is not None:
        found["diverged"] = diverged
    if "ntk_change" in fits:
        found["phase"] = phases(
            fits["ntk_change"],
            progress=fits.get("output_change"),
            diverged=None if diverged is None else diverged.isel({dim: -1}),
            tolerance=tolerance,
        )
    result = xr.Dataset(found).transpose(..., y, x)
    return result.assign_attrs(confidence=confidence, tolerance=tolerance)


def _check_axes(data: xr.Dataset, plane: set[str], dim: str) -> None:
    if missing := sorted(name for name in plane if name not in data.dims):
        raise InputError(
            f"`x` and `y` must be axes of the study, {sorted(map(str, data.dims))}, "
            f"got {', '.join(missing)}."
        )
    if further := sorted(map(str, set(data.dims) - plane - {dim, "seed", "layer"})):
        raise InputError(
            f"`data` must have no axes but `x`, `y`, `{dim}` and `seed`, got {', '.join(further)} "
            "too. Choose one value with .sel or .isel."
        )


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
    return share.assign_attrs(long_name="share of networks that diverged", units="1")
