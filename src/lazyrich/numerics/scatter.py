"""Values over a plane, on a grid or at scattered points, in one form."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array


@dataclass(frozen=True)
class Scatter:
    """Values at points of a plane.

    Attributes:
        x: the horizontal coordinate.
        y: the vertical one.
        values: at every point.
    """

    x: xr.DataArray
    y: xr.DataArray
    values: Array


def scattered(values: xr.DataArray, x: str | None = None, y: str | None = None) -> Scatter:
    """Every point of a grid, or points that are no grid.

    Args:
        values: values over (y, x), or over one dimension along which the coordinates lie.
        x: name of the horizontal coordinate; may be left out for a grid.
        y: name of the vertical one.

    Raises:
        InputError: other dimensions, or coordinates that there are not.

    Example:
        >>> table = xr.DataArray([[1, 2], [3, 4]], {"b": [0, 1], "a": [8, 9]}, ("b", "a"))
        >>> at = scattered(table)
        >>> at.x.name, at.x.values, at.y.values, at.values
        ('a', array([8, 9, 8, 9]), array([0, 0, 1, 1]), array([1, 2, 3, 4]))
    """
    if values.ndim == 2:
        y, x = y or str(values.dims[0]), x or str(values.dims[1])
        if {x, y} == set(map(str, values.dims)):
            flat = values.transpose(y, x).stack(_place=(y, x))
            return Scatter(flat[x], flat[y], flat.values)
    elif values.ndim == 1 and x in values.coords and y in values.coords:
        return Scatter(values[x], values[y], values.values)
    raise InputError(
        f"values over a plane must have two dimensions, or one and the names of its coordinates, "
        f"got the dimensions {tuple(values.dims)} and the names x = {x!r}, y = {y!r}. Choose one "
        "value of the others with .sel or .isel, or name `x` and `y`."
    )
