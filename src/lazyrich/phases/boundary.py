"""Boundaries of a phase diagram: level curves whose every point is a root, not a pixel edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from contourpy import contour_generator
from scipy.optimize import elementwise

from lazyrich._errors import ConvergenceError
from lazyrich.theory.exact import Array

Field = Callable[[Array, Array], Array]


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
    the root of `field` is then found to machine precision (Chandrupatla's method).

    Args:
        name: given to each curve.
        field: the function, vectorised over points.
        x: grid coordinates, increasing, shape (nx,).
        y: grid coordinates, increasing, shape (ny,).
        values: `field` on the grid, shape (ny, nx); not finite where it is undefined.

    Raises:
        ConvergenceError: if a bracketed root is not found, which means a discontinuous field.

    Example:
        >>> grid = np.linspace(-2, 2, 6)
        >>> circle = lambda x, y: x**2 + y**2 - 1
        >>> curve, = boundaries("circle", circle, grid, grid, circle(grid, grid[:, None]))
        >>> bool(np.abs(circle(curve.x, curve.y)).max() < 1e-14)
        True
    """
    masked = np.ma.masked_invalid(values)
    columns, rows = np.arange(x.size), np.arange(y.size)
    lines = contour_generator(columns, rows, masked).lines(0.0)
    return tuple(Boundary(name, *_refined(field, x, y, np.asarray(line))) for line in lines)


def _refined(field: Field, x: Array, y: Array, vertices: Array) -> tuple[Array, Array]:
    """Move vertices, given in grid indices, along their grid edges onto the roots."""
    low = np.floor(vertices).astype(int)
    high = np.ceil(vertices).astype(int)
    x0, x1, y0, y1 = x[low[:, 0]], x[high[:, 0]], y[low[:, 1]], y[high[:, 1]]

    def along_edge(share: Array, x0: Array, x1: Array, y0: Array, y1: Array) -> Array:
        return field(x0 + share * (x1 - x0), y0 + share * (y1 - y0))

    edges = (x0, x1, y0, y1)
    found = elementwise.find_root(
        along_edge, (np.zeros(len(vertices)), np.ones(len(vertices))), args=edges
    )
    on_node = (low == high).all(axis=1)  # the grid point itself is the root
    if not (found.success | on_node).all():
        raise ConvergenceError(f"the boundary field jumps at {int((~found.success).sum())} points")
    share = np.where(on_node, 0.0, found.x)
    return x0 + share * (x1 - x0), y0 + share * (y1 - y0)
