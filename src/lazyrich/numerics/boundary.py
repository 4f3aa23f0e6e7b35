"""Boundaries of a phase diagram: level curves whose every point is a root, not a pixel edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from contourpy import contour_generator
from scipy.optimize import elementwise

from lazyrich.numerics.exact import Array

Field = Callable[[Array, Array], Array]
Branches = Callable[[Array, Array], tuple[Array, ...]]

ZERO = 1e-12  # of an exponent in floating point
ROUNDING = 1e-12  # relative to the largest value of the field
NO_ROOT = 1e-6  # of the field's size: a bracket that ends with more holds a jump
SHARE_TOLERANCE = 1e-18  # of a grid edge


@dataclass(frozen=True)
class Boundary:
    """One connected boundary curve.

    Attributes:
        name: what it separates.
        x: horizontal coordinates of its points.
        y: vertical coordinates of its points.
    """

    name: str
    x: Array
    y: Array


def boundaries(name: str, field: Field, x: Array, y: Array, values: Array) -> tuple[Boundary, ...]:
    """The curves where `field(x, y) = 0`.

    The grid gives the topology (marching squares); every vertex lies on a grid edge, along which
    the root of `field` is then found to machine precision (Chandrupatla's method). Where the field
    jumps from one sign to the other, the curve is where it jumps; where it is not defined between
    two grid points, the curve has a gap.

    Args:
        name: given to each curve.
        field: the function, vectorised over points.
        x: grid coordinates, increasing, shape (nx,).
        y: grid coordinates, increasing, shape (ny,).
        values: `field` on the grid, shape (ny, nx); not finite where it is undefined.

    Example:
        >>> grid = np.linspace(-2, 2, 6)
        >>> circle = lambda x, y: x**2 + y**2 - 1
        >>> curve, = boundaries("circle", circle, grid, grid, circle(grid, grid[:, None]))
        >>> bool(np.abs(circle(curve.x, curve.y)).max() < 1e-14)
        True
    """
    masked = np.ma.masked_invalid(values)
    columns, rows = np.arange(x.size), np.arange(y.size)
    lines = contour_generator(columns, rows, masked, corner_mask=False).lines(0.0)
    small = NO_ROOT * float(np.abs(masked).max()) if lines else 0.0
    curves = (Boundary(name, *_refined(field, x, y, np.asarray(line), small)) for line in lines)
    return tuple(curve for curve in curves if curve.x.size)


def piecewise_boundaries(
    name: str, branches: Branches, combine: np.ufunc, x: Array, y: Array
) -> tuple[Boundary, ...]:
    """The edges of the set where the largest (smallest) of several linear functions is zero.

    In general that is a curve across which the sign changes. If one function vanishes everywhere,
    it is the edge of an area; if the functions only touch zero, it is a line on one of them.

    Args:
        name: given to each curve.
        branches: the linear functions, vectorised over points.
        combine: `np.maximum` or `np.minimum`.
        x: grid coordinates, increasing, shape (nx,).
        y: grid coordinates, increasing, shape (ny,).

    Example:
        >>> grid = np.linspace(-1, 1, 6)
        >>> ridge = lambda x, y: (x - y, y - x)
        >>> line, = piecewise_boundaries("ridge", ridge, np.minimum, grid, grid)
        >>> bool(np.abs(line.x - line.y).max() < 1e-14)
        True
    """

    def parts(xs: Array, ys: Array) -> Array:
        return np.stack(np.broadcast_arrays(xs + ys, *branches(xs, ys))[1:])

    def curves(of: list[int]) -> tuple[Boundary, ...]:
        def field(xs: Array, ys: Array) -> Array:
            return combine.reduce(parts(xs, ys)[of])

        return boundaries(name, field, x, y, field(x, y[:, None]))

    values = parts(x, y[:, None])
    whole = combine.reduce(values)
    every = list(range(len(values)))
    moving = [i for i in every if np.abs(values[i]).max() > ZERO]
    if (whole > ZERO).any() and (whole < -ZERO).any():
        return curves(every)
    if 0 < len(moving) < len(every):
        return curves(moving)
    for branch in moving:
        lines = curves([branch])
        if lines and all(np.abs(combine.reduce(parts(c.x, c.y))).max() <= ZERO for c in lines):
            return lines
    return ()


def _refined(
    field: Field, x: Array, y: Array, vertices: Array, small: float
) -> tuple[Array, Array]:
    """Move vertices, given in grid indices, along their grid edges onto the roots."""
    whole = np.round(vertices)
    across = np.argmin(np.abs(vertices - whole), axis=1, keepdims=True)  # rounded: on a grid line
    vertices = np.where(np.arange(2) == across, whole, vertices)
    low = np.floor(vertices).astype(int)
    high = np.ceil(vertices).astype(int)
    x0, x1, y0, y1 = x[low[:, 0]], x[high[:, 0]], y[low[:, 1]], y[high[:, 1]]

    def along_edge(share: Array, x0: Array, x1: Array, y0: Array, y1: Array) -> Array:
        return field(x0 + share * (x1 - x0), y0 + share * (y1 - y0))

    edges = (x0, x1, y0, y1)
    root = elementwise.find_root(
        along_edge,
        (np.zeros(len(vertices)), np.ones(len(vertices))),
        args=edges,
        tolerances={"xatol": SHARE_TOLERANCE},
    )
    on_node = (low == high).all(axis=1)  # the grid point itself is the root
    inside = root.success & (np.abs(root.f_x) <= small)
    # up to rounding the root may be a grid point, so that the field has one sign on the whole edge
    ends = np.abs([along_edge(np.full(len(vertices), end), *edges) for end in (0.0, 1.0)])
    at_end = ~inside & (ends.min(0) <= ROUNDING * ends.max())
    known = on_node | at_end | root.success  # without a root, success is where the sign changes
    share = np.where(on_node, 0.0, np.where(at_end, ends.argmin(0), root.x))
    xs, ys = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
    return xs[known], ys[known]
