"""All results of a study in one labelled Dataset: axes × seed × layer × step, or point by point."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lazyrich._errors import StoreWarning
from lazyrich.sweeps.describe.recorded import Label, Position, Recorded, coordinate_of
from lazyrich.sweeps.describe.source import changed_code, mixed_devices
from lazyrich.sweeps.result import OUTCOME, Result
from lazyrich.sweeps.store.codec import Packed, parts_and_variables
from lazyrich.sweeps.store.grid import AXES, COURSE, POINT, laid_out, ordered
from lazyrich.sweeps.store.inner import RECORD, STEP, Inner, Variables, check_alike, recorded
from lazyrich.sweeps.store.layout import Part, gathered
from lazyrich.sweeps.store.store import UNKNOWN, Damage, Store, packed_of
from lazyrich.vocabulary.parameters import axis_attrs


@dataclass(frozen=True)
class _Stored:
    """What a point gave. It takes the place of a Result, whose Dataset costs a millisecond."""

    status: str
    sentence: str
    seconds: float
    computed_on: str
    variables: Variables

    @classmethod
    def of_result(cls, result: Result) -> _Stored:
        words = result.status, result.sentence, result.seconds, result.computed_on
        return cls(*words, result.data.variables)

    @classmethod
    def of_bytes(cls, packed: Packed) -> _Stored:
        parts, variables = parts_and_variables(packed)
        where = parts.get("computed_on", "")  # which earlier versions did not know
        return cls(packed.status, parts["sentence"], parts["seconds"], where, variables)


_Pair = tuple[Mapping[str, Label], _Stored]


def results(folder: str | Path) -> xr.Dataset:
    """Open the results of a study, also while it is still running.

    Nothing is imported that the store names, and nothing recomputed: a store opens when its
    experiment is gone or has changed.

    Args:
        folder: the store that a sweep writes.

    Returns:
        Every variable over the axes of the study in their order, `seed`, and the dims of a single
        result, with `layer` and `step` at the end. If the study has points off the grid, as after
        a refinement, all points lie along one dimension `point` instead, with their values on the
        axes as coordinates; `grid` lays them out.

        Points that are not there yet, and places that a shorter or smaller network does not have,
        are missing: NaN, or "" of text. `status` ("" where a point is missing), `sentence` and
        `seconds` tell what became of a point, and `computed_on` where the experiment has a choice:
        on which device, in which precision. If points were measured at different steps, they
        have the dim `record`, the number of the measurement, and `step` is a coordinate over all
        points and `record`. Numbers keep their type, except that floats are at least double;
        booleans, and whole numbers above 2⁵³, are objects where others are missing.

    Raises:
        InputError: there is no store in the folder, or two results do not fit together; see
            `assemble`.
        StoreError: the store is of another version, or nothing in it can be read.

    Warns:
        StoreWarning: if points are damaged, which are left out, or were computed by different code
            or on different devices.
    """
    study, pairs, attributes = _read(Path(folder))
    lay_out = _points if study.has_free_points else _on_grid
    return lay_out(pairs, study.axes).assign_attrs(attributes)


def results_by_point(folder: str | Path) -> xr.Dataset:
    """As `results` of a study with points off the grid, whether or not it has some.

    Args:
        folder: the store that a sweep writes.
    """
    study, pairs, attributes = _read(Path(folder))
    return _points(pairs, study.axes).assign_attrs(attributes)


def _read(folder: Path) -> tuple[Recorded, list[_Pair], dict[str, Any]]:
    """The study in a store, its points in order, and what is to be said of them."""
    damages: list[Damage] = []
    found: list[tuple[Position, _Stored]] = []
    numbers: set[int] = set()
    others = 0
    with Store.read_only(folder) as store:
        study = store.description
        for row in store.rows():
            if isinstance(row, Damage):
                damages.append(row)
                continue
            place = study.place(json.loads(row.fields))
            if place is None:
                others += 1
                continue
            numbers.add(row.description)
            found.append((place, _Stored.of_bytes(packed_of(row))))
        codes = store.codes()  # after the points: somebody may be extending the study
    _warn(damages, [codes[n] for n in sorted(numbers) if codes.get(n, UNKNOWN) != UNKNOWN])
    _warn_of_devices(outcome.computed_on for _, outcome in found)
    found.sort(key=lambda pair: (not pair[0].on_grid, pair[0].order))
    attributes = {"study": study.study(), "name": study.parts["name"]}
    if others:
        attributes["points_of_earlier_descriptions"] = others
    return study, [(place.labels, outcome) for place, outcome in found], attributes


def _warn(damages: Sequence[Damage], codes: Sequence[Mapping[str, str]]) -> None:
    if damages:
        more = f" {len(damages) - 1} more are." if len(damages) > 1 else ""
        warnings.warn(f"left out: {damages[0].sentence}{more}", StoreWarning, stacklevel=4)
    was = next((code for code in codes if code != codes[-1]), None)
    if was is not None:
        warnings.warn(
            f"{changed_code(was, codes[-1])} while these points were computed: old and new results "
            "stand side by side. Run the study into another folder to compute all of them anew.",
            StoreWarning,
            stacklevel=4,
        )


def _warn_of_devices(computed_on: Iterable[str]) -> None:
    places = list(dict.fromkeys(filter(None, computed_on)))
    if len(places) > 1:
        warnings.warn(mixed_devices(places), StoreWarning, stacklevel=4)


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
        (('width', 'record'), array([[0, 9],
               [0, 3]]))
    """
    labels = {axis: [coordinate_of(value) for value in values] for axis, values in axes.items()}
    outcomes = [
        ({axis: coordinate_of(place[axis]) for axis in axes}, _Stored.of_result(result))
        for place, result in pairs
    ]
    return _on_grid(outcomes, labels)


def is_known(values: xr.DataArray) -> xr.DataArray:
    """Where there is a value: no NaN, NaT or empty text.

    Args:
        values: any.

    Example:
        >>> is_known(xr.DataArray([np.nan, 1.0])).values
        array([False,  True])
    """
    known = values.notnull()
    return known & (values != "") if values.dtype.kind in "UO" else known


def _on_grid(pairs: Sequence[_Pair], axes: Mapping[str, Sequence[Label]]) -> xr.Dataset:
    """Results over their axes, which also have the values that no point has."""
    data = _points(pairs, axes)
    labels: dict[str, list[Label]] = {}
    for name, base in axes.items():
        seen: list[Label] = data[name].values.tolist()
        own = [str(label) for label in base] if data[name].dtype.kind == "U" else list(base)
        labels[name] = list(dict.fromkeys([*own, *seen]))
        if len(labels[name]) > len(set(own)) and not isinstance(seen[0], str):
            labels[name].sort()
    return laid_out(data, labels, [])


def _points(pairs: Sequence[_Pair], axes: Mapping[str, Sequence[Label]]) -> xr.Dataset:
    """Results along `point`, with their labels on the axes as coordinates."""
    where = [place for place, _ in pairs]
    inside: Sequence[Variables] = [outcome.variables for _, outcome in pairs]
    check_alike(where, inside, {*axes, *OUTCOME, POINT})
    inside = recorded(inside, axes)
    inner = Inner(inside)
    parts: dict[str, list[Part]] = {}
    examples: dict[str, xr.Variable] = {}
    attrs: dict[str, dict[Any, Any]] = {}
    for number, one in enumerate(inside):
        index = inner.index(one)
        for key, variable in one.items():
            if key in inner.sizes:
                continue
            name = f"{key}_of_result" if key in {*axes, *OUTCOME} else str(key)
            at = np.ix_(*(index[str(dim)] for dim in variable.dims)) if variable.dims else ()
            values = variable.values.astype(str) if variable.dtype.kind in "OT" else variable.values
            parts.setdefault(name, []).append(((number, *at), values))
            examples.setdefault(name, variable)
            common = attrs.setdefault(name, variable.attrs)
            if variable.attrs != common:  # two losses, say: no word of one is true of both
                attrs[name] = {k: v for k, v in common.items() if variable.attrs.get(k) == v}
    variables: dict[str, Any] = {}
    for name, example in examples.items():
        dims = tuple(map(str, example.dims))
        shape = (len(pairs), *(inner.sizes[dim] for dim in dims))
        variables[name] = ((POINT, *dims), gathered(shape, parts[name]), attrs[name])
    data = xr.Dataset(variables | _outcomes([outcome for _, outcome in pairs]), inner.coords)
    labels = {}
    for name, base in axes.items():
        column = [place[name] for place in where]
        if any(isinstance(label, str) for label in (*base, *column)):
            column = [str(label) for label in column]
        labels[name] = (POINT, np.array(column), axis_attrs(name))
    data = data.assign_coords(labels).assign_attrs({AXES: list(axes)})
    if STEP in data and RECORD in data[STEP].dims:
        data = data.set_coords(STEP)
    # texts are coordinates, so that a difference of two Datasets is one of their numbers
    data = data.set_coords([name for name, one in data.items() if one.dtype.kind in "U"])
    return ordered(data, {POINT: len(pairs)})


def _outcomes(outcomes: Sequence[_Stored]) -> dict[str, Any]:
    columns = {name: [getattr(outcome, name) for outcome in outcomes] for name in OUTCOME}
    if not any(columns["computed_on"]):  # of an experiment that has no choice
        del columns["computed_on"]
    words = {
        "status": {"long_name": "what became of the point"},
        "sentence": {"long_name": "how the point ended"},
        "seconds": {"long_name": "time that the point took", "units": "s"},
        "computed_on": {"long_name": "device and precision of the point"},
    }
    kinds = {"status": str, "sentence": str, "seconds": float, "computed_on": str}
    return {
        name: (POINT, np.array(columns[name], dtype=kinds[name]), words[name]) for name in columns
    }


def initial(data: xr.Dataset) -> xr.Dataset:
    """Every network at its first measurement.

    Args:
        data: the Dataset of `results`, or any Dataset; one without `record`, `step` or `time` is
            returned.

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
        data: the Dataset of `results`, or any Dataset; one without `record`, `step` or `time` is
            returned.

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
            known = known | is_known(values).any([d for d in values.dims if d == "layer"])
    last = order.where(known, 0).max(dim).astype(int)
    end, there = data.isel({dim: last}), known.any(dim)
    at = {
        name: end[name].where(there)
        for name, one in data.coords.items()
        if dim in one.dims and one.dtype.kind not in "UO"
    }
    return end.assign_coords(at)
