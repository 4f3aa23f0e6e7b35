"""Refinement: points are spent along the boundary, by bisecting the cells that it crosses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from contourpy import contour_generator
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

from lazyrich._errors import InputError
from lazyrich.numerics.boundary import Boundary
from lazyrich.numerics.scatter import scattered
from lazyrich.numerics.spacing import Spacing
from lazyrich.study.measured import measured_diagram
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.describe.experiment import experiment_name
from lazyrich.sweeps.run.sweep import sweep
from lazyrich.sweeps.store.folder import UnmadeError
from lazyrich.sweeps.store.grid import POINT
from lazyrich.sweeps.store.results import final, results_by_point
from lazyrich.sweeps.store.store import Store

Array = NDArray[np.float64]
Field = str | Callable[[xr.Dataset], xr.DataArray]
"""A quantity, or a function from the results of a study to values over the plane."""

DIGITS = 12  # of a value between two others, so that it is the same whoever computes it
FINE = 200  # places a side on which a level curve is looked for


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Two axes of a study and the level that is looked for on them.

    Attributes:
        x: the horizontal axis, with increasing numbers.
        y: the vertical one.
        level: level of the values; the boundary is where they cross it.
        depth: how often a cell may be bisected.
        at: one value of other axes, at which new points are made. New points are made at all values
            of axes that are not named, whose values a function must then reduce to one a place.
    """

    x: str
    y: str
    level: float
    depth: int = 2
    at: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.depth < 1 or self.x == self.y:
            raise InputError(
                f"a plane must have two axes and a depth ≥ 1, got {self.x!r}, {self.y!r} and "
                f"{self.depth}. Name two axes of the study."
            )


@dataclass(frozen=True, kw_only=True)
class Refined:
    """A refined study and its results.

    Attributes:
        study: the study with the new points as `extra`.
        data: its results, along `point`.
        places: points of the plane that were trained.
        uniform: points of the uniform grid with the same resolution.
    """

    study: Study
    data: xr.Dataset
    places: int
    uniform: int


def refine(study: Study, values: xr.DataArray, plane: Plane) -> Study:
    """Add the points that halve every cell which the boundary crosses, once.

    A cell is crossed if two points that are known on it, corners or finer ones, lie on different
    sides of the level. Halving it takes the middle of its four edges and its centre. On an axis
    with values in equal ratios the middle is the geometric one.

    Args:
        study: the study as it was swept.
        values: values over the axes of the plane, or over `point` with these as coordinates; NaN
            where nothing is known.
        plane: where to look, and how finely.

    Returns:
        The study with more `extra` points; the same study if all is as fine as `plane.depth` says.

    Raises:
        InputError: an axis that there is not or that holds no increasing numbers.

    Example:
        >>> study = Study(
        ...     name="plane",
        ...     experiment="lazyrich.sweeps:Decay",
        ...     axes={"rate": [1.0, 2.0, 3.0], "noise": [0.0, 1.0, 2.0]},
        ... )
        >>> axes = {name: xr.DataArray(list(v), {name: list(v)}) for name, v in study.axes.items()}
        >>> plane = Plane(x="rate", y="noise", level=1.5, depth=1)
        >>> finer = refine(study, axes["rate"] + axes["noise"], plane)
        >>> [(point["rate"], point["noise"]) for point in finer.extra]
        [(1.0, 0.5), (1.5, 0.0), (1.5, 0.5), (1.5, 1.0), (2.0, 0.5)]
    """
    mesh = _mesh(study, plane)
    known = _signs(values, mesh, plane)
    wanted: set[tuple[int, int]] = set()
    cells = [(i, j, mesh.stride) for i, j in product(*map(_starts, (mesh.x, mesh.y)))]
    for cell in _crossed(cells, known, mesh):
        wanted |= set(_middles(cell)) - mesh.tried
    places = [(float(mesh.x.fine[i]), float(mesh.y.fine[j])) for i, j in sorted(wanted)]
    if not places:
        return study
    at = plane.at or {}
    others = {
        name: [at[name]] if name in at else [_coordinate(value) for value in axis]
        for name, axis in study.axes.items()
        if name not in (plane.x, plane.y)
    }
    extra = [
        {plane.x: x, plane.y: y, **dict(zip(others, rest, strict=True))}
        for (x, y), rest in product(places, product(*others.values()))
    ]
    return replace(study, extra=[*study.extra, *extra])


def sweep_refined(
    study: Study,
    out: str | Path,
    plane: Plane,
    *,
    field: Field = "ntk_change",
    **options: Any,  # noqa: ANN401 - those of `sweep`
) -> Refined:
    """Sweep a study, then spend points along a boundary until it is as fine as the plane says.

    Resumable as `sweep` is: points that are in the store are not trained again.

    Args:
        study: the study with the coarse grid on its axes.
        out: folder of the store.
        plane: axes, level and depth.
        field: a quantity, of which the geometric mean over seeds is taken at `plane.at`, which must
            name all other axes; or a function of the results, which lie along `point`, that gives
            one value a place, as `measured_diagram` does.
        options: options of `sweep`: `workers`, `together`, …; `extend` takes a store of another
            study.

    Raises:
        InputError: as `refine`, `sweep` and `measured_diagram`.
    """
    folder = Path(out)
    _mesh(study, plane)  # refuses a plane that is none before anything is trained
    _check_place(study, plane, field)
    study = _stored(folder, study)
    extend = options.pop("extend", False)
    while True:
        sweep(study, folder, extend=extend, **options)
        data, extend = results_by_point(folder), True
        finer = refine(study, _values(data, plane, field), plane)
        if finer is study:
            break
        study = finer
    mesh = _mesh(study, plane)
    uniform = mesh.x.fine.size * mesh.y.fine.size
    return Refined(study=study, data=data, places=len(mesh.tried), uniform=uniform)


def level_curve(
    values: xr.DataArray,
    level: float,
    *,
    name: str = "",
    x: str | None = None,
    y: str | None = None,
) -> tuple[Boundary, ...]:
    """The curves on which measured values cross a level, between points of a grid or off it.

    The logarithm of the values is linear on the triangles between the points (Delaunay), with the
    logarithm of every axis whose values have equal ratios.

    Args:
        values: positive, over two axes (y, x), or over `point`; NaN where there is no point.
        level: > 0.
        name: name of the curves.
        x: the horizontal coordinate, where the values lie over `point`.
        y: the vertical one.

    Raises:
        InputError: values over something else.

    Example:
        >>> x = xr.DataArray(np.geomspace(0.1, 10, 5), dims="x")
        >>> x = x.assign_coords(x=x.values)
        >>> curve, = level_curve(1 / (x * x.rename(x="y")), 1.0)
        >>> bool(np.allclose(curve.x * curve.y, 1))
        True
    """
    at = scattered(values, x, y)
    scales = [Spacing.of(np.unique(part.values)) for part in (at.x, at.y)]
    with np.errstate(divide="ignore", invalid="ignore"):
        heights = np.log(at.values.astype(float)) - np.log(level)
    known = np.isfinite(heights)
    xs, ys = (
        scale.straight(part.values[known]) for scale, part in zip(scales, (at.x, at.y), strict=True)
    )
    if np.unique(xs).size < 2 or np.unique(ys).size < 2:
        return ()
    field = LinearNDInterpolator(np.column_stack([xs, ys]), heights[known], rescale=True)
    grid_x, grid_y = (np.linspace(part.min(), part.max(), FINE) for part in (xs, ys))
    surface = np.ma.masked_invalid(field(*np.meshgrid(grid_x, grid_y)))
    lines = contour_generator(grid_x, grid_y, surface).lines(0.0)
    back = scales[0].back, scales[1].back
    return tuple(
        Boundary(name, back[0](line[:, 0]), back[1](line[:, 1])) for line in map(np.asarray, lines)
    )


@dataclass(frozen=True)
class _Axis:
    """An axis with all the values that bisecting can lead to."""

    fine: Array
    stride: int


@dataclass(frozen=True)
class _Mesh:
    """The finest grid of a plane, and which of its points the study has."""

    x: _Axis
    y: _Axis
    tried: frozenset[tuple[int, int]]
    places: tuple[Mapping[float, int], Mapping[float, int]]

    @property
    def stride(self) -> int:
        return self.x.stride


Cell = tuple[int, int, int]  # corner (column, row) on the finest grid, and side


def _mesh(study: Study, plane: Plane) -> _Mesh:
    axes = [_axis(study, name, plane.depth) for name in (plane.x, plane.y)]
    places = [{float(value): i for i, value in enumerate(axis.fine)} for axis in axes]
    coarse = [range(0, axis.fine.size, axis.stride) for axis in axes]
    tried = set(product(coarse[0], coarse[1]))
    for entry in study.extra:
        i, j = (at.get(entry[name]) for at, name in zip(places, (plane.x, plane.y), strict=True))
        if i is not None and j is not None:
            tried.add((i, j))
    return _Mesh(axes[0], axes[1], frozenset(tried), (places[0], places[1]))


def _axis(study: Study, name: str, depth: int) -> _Axis:
    values = [_coordinate(value) for value in study.axes.get(name, ())]
    numbers = all(isinstance(value, int | float) for value in values)
    if not numbers or len(values) < 2 or not (np.diff(values) > 0).all():
        raise InputError(
            f"the axis {name!r} must hold at least two increasing numbers to be bisected, got "
            f"{values or 'no such axis'}. Sort it, or choose another one."
        )
    fine = np.array(values, dtype=float)
    scale = Spacing.of(fine)
    for _ in range(depth):
        middles = scale.back((scale.straight(fine[1:]) + scale.straight(fine[:-1])) / 2)
        rounded = [float(f"{middle:.{DIGITS}g}") for middle in middles]
        fine = np.insert(fine, range(1, fine.size), rounded)
    return _Axis(fine, 2**depth)


def _coordinate(value: Any) -> Any:  # noqa: ANN401 - a plain value
    return value["label"] if isinstance(value, Mapping) and "label" in value else value


def _signs(values: xr.DataArray, mesh: _Mesh, plane: Plane) -> NDArray[np.int8]:
    """On the finest grid, by column and row: the side of the level, 0 where nothing is known."""
    at = scattered(values, plane.x, plane.y)
    signs = np.zeros((mesh.x.fine.size, mesh.y.fine.size), dtype=np.int8)
    for x, y, value in zip(at.x.values, at.y.values, at.values, strict=True):
        column, row = mesh.places[0].get(float(x)), mesh.places[1].get(float(y))
        if column is not None and row is not None and not np.isnan(value):
            signs[column, row] = 1 if value >= plane.level else -1
    return signs


def _starts(axis: _Axis) -> Sequence[int]:
    return range(0, axis.fine.size - 1, axis.stride)


def _crossed(cells: Sequence[Cell], signs: NDArray[np.int8], mesh: _Mesh) -> Iterator[Cell]:
    """The crossed cells that are not halved yet, from coarse to fine."""
    for i, j, side in cells:
        inside = signs[i : i + side + 1, j : j + side + 1]
        if side == 1 or not ((inside > 0).any() and (inside < 0).any()):
            continue
        if not mesh.tried.issuperset(_middles((i, j, side))):
            yield i, j, side
            continue
        half = side // 2
        parts = [(i + a, j + b, half) for a, b in product((0, half), repeat=2)]
        yield from _crossed(parts, signs, mesh)


def _middles(cell: Cell) -> list[tuple[int, int]]:
    i, j, side = cell
    half = side // 2
    ends = ((half, 0), (0, half), (half, half), (side, half), (half, side))
    return [(i + a, j + b) for a, b in ends]


def _values(data: xr.Dataset, plane: Plane, field: Field) -> xr.DataArray:
    if callable(field):
        return field(data)
    data = final(data)
    for name, value in (plane.at or {}).items():
        label = str(value) if data[name].dtype.kind == "U" else value  # as `results` labels it
        data = data.isel({POINT: data[name].values == label})
    return measured_diagram(data, plane.x, plane.y, order=[field])[field]


def _check_place(study: Study, plane: Plane, field: Field) -> None:
    at = plane.at or {}
    for name, value in at.items():
        known = [_coordinate(each) for each in study.axes.get(name, ())]
        if name in (plane.x, plane.y) or value not in known:
            raise InputError(
                f"`at` must give other axes one of their values, got {name} = {value!r}. "
                f"Its values are {known or 'none'}."
            )
    left = [name for name in study.axes if name not in (plane.x, plane.y, *at)]
    if left and not callable(field):
        example = {**at, **{name: _coordinate(study.axes[name][0]) for name in left}}
        raise InputError(
            f"`at` must give every axis but {plane.x!r} and {plane.y!r} a value where `field` is a "
            f"name, got none for {', '.join(left)}. Write, for instance, Plane(…, at={example}), "
            "or give a function as `field`."
        )


def _stored(folder: Path, study: Study) -> Study:
    """The study as the folder has it, if that is the same one with more points."""
    try:
        with Store.read_only(folder) as store:
            recorded = store.description
    except (InputError, UnmadeError):  # no store yet, or one that a crash left unmade
        return study
    if recorded.parts["experiment"] != experiment_name(study.experiment):
        return study
    extra = recorded.parts["extra"]
    if replace(study, extra=extra).to_json() != recorded.study():
        return study
    own = [point for point in json.loads(study.to_json())["extra"] if point not in extra]
    return replace(study, extra=[*extra, *own])
