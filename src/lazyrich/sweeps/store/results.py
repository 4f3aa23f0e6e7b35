"""All results of a study in one labelled Dataset: axes × seed × layer × step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich.sweeps.result import OUTCOME, Result
from lazyrich.sweeps.store.codec import parts_and_variables
from lazyrich.sweeps.store.inner import RECORD, STEP, Inner, Variables, check_alike, recorded
from lazyrich.sweeps.store.store import Store
from lazyrich.vocabulary.parameters import axis_attrs

Label: TypeAlias = int | float | str
Place: TypeAlias = tuple[int, ...]

COURSE = (RECORD, STEP, "time")  # dims along which a run goes
LAST_DIMS = ("layer", *COURSE)  # come last, in this order


def results(folder: str | Path) -> xr.Dataset:
    """Open the results of a study, also while it is still running.

    Args:
        folder: the store that a sweep writes.

    Returns:
        Every variable over the axes of the study in their order, `seed`, and the dims of a single
        result, with `layer` and `step` at the end. Points that are not there yet, and places that
        a shorter or smaller network does not have, are NaN. `status` ("" where a point is
        missing), `sentence` and `seconds` tell what became of a point. Points off the grid, from a
        refinement, add their values to the axes. If points were measured at different steps, they
        have the dim `record`, the number of the measurement, and `step` is a coordinate over all
        points and `record`.

    Raises:
        InputError: there is no store in the folder, or two results do not fit together; see
            `assemble`.
    """
    with Store.read_only(folder) as store:
        study = store.study
        done = set(store.keys())
        points = [point for point in study.points() if point.key in done]
        outcomes = [_Stored.of_bytes(*store.read_bytes(point.key)) for point in points]
    axes = {**study.axes, "seed": study.seeds}
    data = _assembled([point.place for point in points], outcomes, axes)
    return data.assign_attrs(study=study.to_json(), name=study.name)


def assemble(
    pairs: Sequence[tuple[Mapping[str, Any], Result]], axes: Mapping[str, Sequence[Any]]
) -> xr.Dataset:
    """Lay results out on a grid.

    Args:
        pairs: the place of every point (axis → value), and its result.
        axes: the values of every axis. A value of a point that is not among them is added, and a
            numeric axis is then put in increasing order. A variable that has the name of an
            axis or of an outcome becomes `<name>_of_result`.

    Returns:
        As `results`, without the description.

    Raises:
        InputError: labels of a result are repeated or missing, or a variable has not in all
            results that hold it the same dims, the same kind of values (numbers, booleans, text,
            …) and labels or none.

    Example:
        >>> def result(loss, steps):
        ...     data = xr.Dataset({"loss": ("step", loss)}, {"step": steps})
        ...     return Result(status="finished", sentence="", data=data)
        >>> pairs = [
        ...     ({"width": 8}, result([1.0, 0.5], [0, 9])),
        ...     ({"width": 16}, result([1.0], [0])),
        ... ]
        >>> data = assemble(pairs, {"width": [8, 16, 32]})
        >>> data.loss.dims, data.step.values
        (('width', 'step'), array([0, 9]))
        >>> data.loss.values
        array([[1. , 0.5],
               [1. , nan],
               [nan, nan]])
        >>> pairs[1] = {"width": 16}, result([1.0, 0.7], [0, 3])
        >>> data = assemble(pairs, {"width": [8, 16]})
        >>> data.loss.dims, data.step.values
        (('width', 'record'), array([[0., 9.], [0., 3.]]))
    """
    outcomes = [_Stored.of_result(result) for _, result in pairs]
    return _assembled([place for place, _ in pairs], outcomes, axes)


@dataclass(frozen=True)
class _Stored:
    """What a point gave. It takes the place of a Result, whose Dataset costs a millisecond."""

    status: str
    sentence: str
    seconds: float
    variables: Variables

    @classmethod
    def of_result(cls, result: Result) -> _Stored:
        return cls(result.status, result.sentence, result.seconds, result.data.variables)

    @classmethod
    def of_bytes(cls, header: bytes, payload: bytes) -> _Stored:
        parts, variables = parts_and_variables(header, payload)
        return cls(parts["status"], parts["sentence"], parts["seconds"], variables)


def _assembled(
    where: Sequence[Mapping[str, Any]],
    outcomes: Sequence[_Stored],
    axes: Mapping[str, Sequence[Any]],
) -> xr.Dataset:
    grid, places = _grid(where, axes)
    inside: Sequence[Variables] = [one.variables for one in outcomes]
    check_alike(where, inside, {*grid, *OUTCOME})
    inside = recorded(inside, grid)
    inner = Inner(inside)
    outer = tuple(len(labels) for labels in grid.values())
    tables: dict[str, NDArray[Any]] = {}
    examples: dict[str, xr.Variable] = {}
    attrs: dict[str, dict[Any, Any]] = {}
    for place, one in zip(places, inside, strict=True):
        index = inner.index(one)
        for key, variable in one.items():
            if key in inner.sizes:
                continue
            name = f"{key}_of_result" if key in {*grid, *OUTCOME} else str(key)
            dims = tuple(map(str, variable.dims))
            if name not in tables:
                examples[name], attrs[name] = variable, variable.attrs
                tables[name] = _empty(variable, (*outer, *(inner.sizes[dim] for dim in dims)))
            if variable.attrs != attrs[name]:  # two losses, say: no word of one is true of both
                attrs[name] = {k: v for k, v in attrs[name].items() if variable.attrs.get(k) == v}
            whole: Any = (*place, ...)
            tables[name][whole][np.ix_(*(index[dim] for dim in dims)) if dims else ()] = (
                variable.values
            )
    variables = {
        name: ((*grid, *map(str, examples[name].dims)), _settled(table), attrs[name])
        for name, table in tables.items()
    }
    data = xr.Dataset(variables | _outcomes(places, outcomes, grid, outer), coords=inner.coords)
    data = data.assign_coords({name: np.array(labels) for name, labels in grid.items()})
    for name in grid:
        data[name].attrs = axis_attrs(name)
    if STEP in data and RECORD in data[STEP].dims:
        data = data.set_coords(STEP)
    # texts are coordinates, so that a difference of two Datasets is one of their numbers
    data = data.set_coords([name for name, one in data.items() if one.dtype.kind in "UO"])
    return data.transpose(*grid, ..., *(name for name in LAST_DIMS if name in data.dims))


def initial(data: xr.Dataset) -> xr.Dataset:
    """Every network at its first measurement.

    Args:
        data: of `results`, or any Dataset; one without `record`, `step` or `time` is returned.

    Example:
        >>> loss = xr.DataArray([[3.0, 2.0], [4.0, 1.0]], dims=("seed", "step"))
        >>> initial(xr.Dataset({"loss": loss})).loss.values
        array([3., 4.])
    """
    dim = next((name for name in COURSE if name in data.dims), None)
    return data if dim is None else data.isel({dim: 0})


def final(data: xr.Dataset) -> xr.Dataset:
    """Every network at its last measurement, after the steps that `step` says.

    That is the last moment at which anything but the step is known; of a network that diverged,
    the one before its numbers were lost.

    Args:
        data: of `results`, or any Dataset; one without `record`, `step` or `time` is returned.

    Example:
        >>> loss = xr.DataArray([[3.0, 2.0, 1.0], [3.0, 4.0, np.nan]], dims=("seed", "step"))
        >>> end = final(xr.Dataset({"loss": loss}, {"step": [0, 10, 20]}))
        >>> end.loss.values, end.step.values
        (array([1., 4.]), array([20., 10.]))
    """
    dim = next((name for name in COURSE if name in data.dims), None)
    if dim is None:
        return data
    order = xr.DataArray(np.arange(data.sizes[dim]), dims=dim)
    known = xr.zeros_like(order, dtype=bool)
    for values in data.data_vars.values():
        if dim in values.dims:
            there = values != "" if values.dtype.kind in "UO" else values.notnull()
            known = known | there.any([d for d in values.dims if d == "layer"])
    last = order.where(known, 0).max(dim).astype(int)
    end, there = data.isel({dim: last}), known.any(dim)
    at = {
        name: end[name].where(there)
        for name, one in data.coords.items()
        if dim in one.dims and one.dtype.kind not in "UO"
    }
    return end.assign_coords(at)


def _grid(
    points: Sequence[Mapping[str, Any]], axes: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, list[Label]], list[Place]]:
    """The labels on every axis, and where on it each point lies."""
    grid: dict[str, list[Label]] = {}
    columns: list[list[int]] = []
    for name, given in axes.items():
        base = [_label(value) for value in given]
        seen = [_label(place[name]) for place in points]
        if any(isinstance(label, str) for label in (*base, *seen)):
            base, seen = [str(label) for label in base], [str(label) for label in seen]
        labels = list(dict.fromkeys([*base, *seen]))
        if len(labels) > len(set(base)) and not isinstance(labels[0], str):
            labels.sort()
        where = {label: i for i, label in enumerate(labels)}
        grid[name] = labels
        columns.append([where[label] for label in seen])
    return grid, [tuple(column[i] for column in columns) for i in range(len(points))]


def _label(value: Any) -> Label:  # noqa: ANN401 - any plain value
    """What stands on an axis: numbers and texts as they are, the label of a table, else text."""
    if isinstance(value, Mapping) and "label" in value:
        return _label(value["label"])
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        return value
    return str(value)


def _empty(variable: xr.Variable, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.full(shape, np.nan) if variable.dtype.kind in "biuf" else np.full(shape, "", object)


def _settled(table: NDArray[Any]) -> NDArray[Any]:
    """Texts in the form that files hold."""
    return table.astype(str) if table.dtype == object else table


def _outcomes(
    places: Iterable[Place], outcomes: Iterable[_Stored], grid: Mapping[str, Any], outer: Place
) -> dict[str, tuple[tuple[str, ...], NDArray[Any], dict[str, str]]]:
    status, sentence = (np.full(outer, "", object) for _ in range(2))
    seconds = np.full(outer, np.nan)
    for place, result in zip(places, outcomes, strict=True):
        status[place], sentence[place] = result.status, result.sentence
        seconds[place] = result.seconds
    dims = tuple(grid)
    return {
        "status": (dims, status.astype(str), {"long_name": "what became of the point"}),
        "sentence": (dims, sentence.astype(str), {"long_name": "how the point ended"}),
        "seconds": (dims, seconds, {"long_name": "time that the point took", "units": "s"}),
    }
