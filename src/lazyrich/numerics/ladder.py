"""A ladder of widths: the power of the width that a quantity follows, and the phase that it means.

One fit and one judge, for the exact theory, for studies of trained networks and for the coordinate
check of a user's own.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import xarray as xr
from scipy import stats

from lazyrich._errors import InputError
from lazyrich.vocabulary.regimes import CANNOT_TELL, Phase

REPEATS = ("seed", "draw")
"""Dims that repeat an experiment."""

TOLERANCE = 0.1
"""Exponents nearer to zero count as zero."""

_ESTIMATE = ("exponent", "exponent_low", "exponent_high")


def fit_exponent(
    values: xr.DataArray,
    *,
    dim: str = "width",
    repeats: Collection[str] = REPEATS,
    confidence: float = 0.95,
    cover_last_slope: bool = False,
) -> xr.Dataset:
    """Fit `|values| ∝ dim^exponent`, at every point of a grid at once.

    Least squares on logarithms, with all repeats as values of their own; the interval is
    Student's. Values that are zero, infinite or missing have no logarithm and are left out.

    Args:
        values: values with the numeric coordinate `dim` and any other dims.
        dim: the dimension that is scaled.
        repeats: dims that repeat the experiment; those that there are not are ignored.
        confidence: level of the interval.
        cover_last_slope: let the interval also cover the slope between the two largest values of
            `dim`: where the line is still bent, the exponent is that uncertain.

    Returns:
        Over all remaining dims: `exponent`, the ends `exponent_low` and `exponent_high` of its
        interval, NaN where fewer than three values of `dim` have a measurement, and
        `exponent_points`, the number of values that the line goes through.

    Raises:
        InputError: fewer than three values of `dim`, or a confidence that is none.

    Example:
        >>> width = xr.DataArray([1.0, 4.0, 16.0], dims="width", coords={"width": [1, 4, 16]})
        >>> power = xr.DataArray([-1.0, 0.0, 0.5], dims="power")
        >>> fit_exponent(width**power).exponent.values.round(6)
        array([-1. ,  0. ,  0.5])
    """
    if not isinstance(values, xr.DataArray):
        raise InputError(
            f"`values` must be a DataArray with the coordinate `{dim}`, got "
            f"{type(values).__name__}. Label it: xarray.DataArray(values, {{{dim!r}: ...}})"
        )
    if dim not in values.coords or values.sizes.get(dim, 0) < 3:
        raise InputError(
            f"`values` must have the dimension `{dim}` with at least three values for an exponent "
            f"with an interval, got {dict(values.sizes)}. Add values of `{dim}`."
        )
    places = values[dim].values
    if not np.issubdtype(places.dtype, np.number) or not (np.isfinite(places) & (places > 0)).all():
        raise InputError(f"`{dim}` must hold numbers > 0, which have a logarithm, got {places}")
    if np.unique(places).size < 3:
        raise InputError(
            f"`{dim}` must have at least three different values, got {np.unique(places)}"
        )
    if not 0 < confidence < 1:
        raise InputError(f"`confidence` must lie between 0 and 1, got {confidence:g}.")
    over: list[str] = [dim, *(name for name in repeats if name in values.dims)]
    size = abs(values.astype(float))
    y: xr.DataArray = np.log(size.where((size > 0) & np.isfinite(size)))  # type: ignore[assignment]
    x = (0 * y + np.log(values[dim].astype(float))).where(y.notnull())
    ends = _student(x, y, over, confidence)
    if cover_last_slope:
        last = _last_slope(x, y, over)
        for name, extreme in (("exponent_low", np.minimum), ("exponent_high", np.maximum)):
            ends[name] = xr.apply_ufunc(extreme, ends[name], last)
    fit = xr.Dataset(ends)
    for name, attrs in exponent_attrs(values, dim=dim, confidence=confidence).items():
        fit[name].attrs = attrs
    return fit.assign_attrs(confidence=confidence)


def exponent_attrs(
    values: xr.DataArray, *, dim: str, confidence: float
) -> dict[str, dict[str, str]]:
    """The attributes of each variable of a fit, in the words of what was fitted.

    Args:
        values: what was fitted: its `long_name`, else its name.
        dim: the dimension that was scaled.
        confidence: level of the interval.

    Example:
        >>> values = xr.DataArray(1.0, attrs={"long_name": "change of the kernel"})
        >>> attrs = exponent_attrs(values, dim="width", confidence=0.95)
        >>> attrs["exponent_low"]["long_name"]
        'lower end of the 95 % interval of the width exponent of: change of the kernel'
    """
    name = f"{dim} exponent of: {values.attrs.get('long_name', values.name or 'values')}"
    meanings = {
        "exponent": name,
        "exponent_low": f"lower end of the {100 * confidence:g} % interval of the {name}",
        "exponent_high": f"upper end of the {100 * confidence:g} % interval of the {name}",
        "exponent_points": f"number of values in the fit of the {name}",
    }
    return {part: {"long_name": said, "units": "1"} for part, said in meanings.items()}


def exponent_columns(fit: xr.Dataset, name: str) -> dict[str, xr.DataArray]:
    """A fit among other quantities: `<name>_exponent`, `<name>_exponent_low`, `…_high`.

    Args:
        fit: result of `fit_exponent`.
        name: name of the quantity that was fitted.

    Example:
        >>> width = xr.DataArray([1.0, 4.0, 16.0], dims="width", coords={"width": [1, 4, 16]})
        >>> list(exponent_columns(fit_exponent(width), "progress"))
        ['progress_exponent', 'progress_exponent_low', 'progress_exponent_high']
    """
    return {f"{name}_{part}": fit[part] for part in _ESTIMATE}


def exponent_of(data: xr.Dataset, name: str) -> xr.Dataset:
    """The fit of one quantity, out of a Dataset that `exponent_columns` went into.

    Args:
        data: Dataset with `<name>_exponent`, `<name>_exponent_low` and `<name>_exponent_high`.
        name: name of the quantity.

    Example:
        >>> data = xr.Dataset({"x_exponent": 1.0, "x_exponent_low": 0.9, "x_exponent_high": 1.1})
        >>> exponent_of(data, "x").exponent_high.item()
        1.1
    """
    return xr.Dataset({part: data[f"{name}_{part}"] for part in _ESTIMATE})


def _student(
    x: xr.DataArray, y: xr.DataArray, over: list[str], confidence: float
) -> dict[str, xr.DataArray]:
    """The line y = slope · x + constant over the dims `over`, the first of which x follows."""
    points = y.count(over)
    x, y = x - x.mean(over), y - y.mean(over)
    sxx = (x**2).sum(over)
    enough = (y.notnull().any(over[1:]) if over[1:] else y.notnull()).sum(over[0]) >= 3
    slope = (x * y).sum(over) / sxx.where(enough)
    left = ((y - slope * x) ** 2).sum(over)
    freedom = (points - 2).where(enough)
    half = np.sqrt(left / freedom / sxx) * stats.t.ppf((1 + confidence) / 2, freedom)
    return {
        "exponent": slope,
        "exponent_low": slope - half,
        "exponent_high": slope + half,
        "exponent_points": points,
    }


def _last_slope(x: xr.DataArray, y: xr.DataArray, over: list[str]) -> xr.DataArray:
    """The slope between the means at the two largest x that have a value."""
    x, y = (part.mean(over[1:]).sortby(over[0], ascending=False) for part in (x, y))
    place = y.notnull().cumsum(over[0]).where(y.notnull())
    top, following = (
        [part.where(place == i).sum(over[0], min_count=1) for part in (x, y)] for i in (1, 2)
    )
    return (top[1] - following[1]) / (top[0] - following[0])


def within(fit: xr.Dataset, theory: xr.DataArray | float) -> xr.DataArray:
    """Whether a theoretical exponent lies in the interval of a fit; False where there is none.

    Example:
        >>> low, high = ("x", [-1.2, -0.4]), ("x", [-0.8, -0.2])
        >>> fit = xr.Dataset({"exponent_low": low, "exponent_high": high})
        >>> within(fit, -1.0).values
        array([ True, False])
    """
    inside: xr.DataArray = (fit.exponent_low <= theory) & (theory <= fit.exponent_high)
    return inside.rename("within").assign_attrs(long_name="theory lies in the interval")


def covers_both(fit: xr.Dataset, tolerance: float = TOLERANCE) -> xr.DataArray:
    """Whether an interval holds both falling and growing exponents; True where there is none.

    Example:
        >>> low, high = ("x", [-0.2, -0.2]), ("x", [0.05, 0.3])
        >>> fit = xr.Dataset({"exponent_low": low, "exponent_high": high})
        >>> covers_both(fit).values
        array([False,  True])
    """
    one_sided: xr.DataArray = (fit.exponent_low >= -tolerance) | (fit.exponent_high <= tolerance)
    return ~one_sided


def fitted_phase(
    change: xr.Dataset,
    *,
    richness: xr.Dataset | None = None,
    rate: xr.Dataset | None = None,
    progress: xr.Dataset | None = None,
    diverged: xr.DataArray | None = None,
    dim: str = "width",
    tolerance: float = TOLERANCE,
) -> xr.DataArray:
    """The phase that a ladder of widths shows at every point, from intervals of exponents.

    A quantity falls where its interval lies below −tolerance, and grows where it lies above the
    tolerance. The first of these that holds:

    - `cannot tell`, if more than half of the networks diverge at the smallest width already: then
      the learning rate is too large, whatever the width does;
    - `unstable`, if more than half diverge at the largest width, or the rate grows;
    - `frozen`, if the rate or the progress falls;
    - `cannot tell`, if the interval of the rate covers both falling and growing;
    - `kernel`, if the change of the kernel falls, and so does its forecast;
    - `feature`, if neither falls: their intervals lie above −tolerance;
    - `cannot tell`: an interval covers both, or change and forecast contradict each other.

    Args:
        change: `fit_exponent` of the relative change of the kernel.
        richness: fit of the forecast ρ of that change.
        rate: fit of how fast the output moves at first, in units of the distance to the fit: 1/τ,
            or the progress in a few steps.
        progress: fit of how far the output has moved at the end, in the same units. It ends near 1
            wherever something was learned, so that only its fall has a meaning.
        diverged: share of the networks that diverge, over `dim`.
        dim: the dimension that is scaled.
        tolerance: exponents nearer to zero than this count as zero.

    Returns:
        The words of `Phase`, or `"cannot tell"`.

    Example:
        >>> low, high = ("x", [-1.2, -0.04, -0.3]), ("x", [-0.8, 0.1, 0.2])
        >>> fit = xr.Dataset({"exponent_low": low, "exponent_high": high})
        >>> fitted_phase(fit).values.tolist()
        ['kernel', 'feature', 'cannot tell']

    References:
        The phases: Xu & Ziyin, arXiv:2401.07085.
    """
    falls, lasts = change.exponent_high < -tolerance, change.exponent_low > -tolerance
    if richness is not None:
        falls, lasts = (
            falls & (richness.exponent_high < -tolerance),
            lasts & (richness.exponent_low > -tolerance),
        )
    phase = xr.where(falls, Phase.KERNEL, xr.where(lasts, Phase.FEATURE, CANNOT_TELL))
    if rate is not None:
        phase = xr.where(covers_both(rate, tolerance), CANNOT_TELL, phase)
    for speed in (rate, progress):
        if speed is not None:
            phase = xr.where(speed.exponent_high < -tolerance, Phase.FROZEN, phase)
    if rate is not None:
        phase = xr.where(rate.exponent_low > tolerance, Phase.UNSTABLE, phase)
    if diverged is not None:
        many = (diverged > 0.5).sortby(dim).drop_vars(dim)
        phase = xr.where(many.isel({dim: -1}), Phase.UNSTABLE, phase)
        phase = xr.where(many.isel({dim: 0}), CANNOT_TELL, phase)
    judged: xr.DataArray = phase.drop_attrs().rename("phase")
    return judged.assign_attrs(long_name="phase that the widths show")
