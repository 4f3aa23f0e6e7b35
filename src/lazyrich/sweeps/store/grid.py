"""Points laid out over their axes, all of them or some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from lazyrich._errors import InputError
from lazyrich.sweeps.describe.recorded import Label
from lazyrich.sweeps.store.inner import RECORD, STEP
from lazyrich.sweeps.store.layout import gathered

POINT = "point"  # the dimension of points that are no grid
AXES = "axes"  # the attribute that names the axes of a study whose points are no grid
COURSE = (RECORD, STEP, "time")  # dims along which a run goes
LAST_DIMS = ("layer", *COURSE)  # come last, in this order


def grid(data: xr.Dataset, *names: str) -> xr.Dataset:
    """Lay points out over their axes.

    Args:
        data: Dataset over `point`, of `results`; a Dataset without that dimension is returned.
        names: the axes; by default all of them. Points that agree in the others share a `point`.

    Returns:
        Over the axes in this order, and `point` if some are left. Places without a point are
        missing, as in `results`.

    Raises:
        InputError: an axis that the points do not have, or two points at one place.

    Example:
        >>> data = xr.Dataset(
        ...     {"loss": ("point", [0.3, 0.2, 0.1])},
        ...     {"width": ("point", [8, 16, 16]), "seed": ("point", [0, 0, 1])},
        ...     {"axes": ["width", "seed"]},
        ... )
        >>> grid(data).loss.values
        array([[0.3, nan],
               [0.2, 0.1]])
        >>> grid(data, "seed").loss.dims
        ('point', 'seed')
    """
    if POINT not in data.dims:
        return data
    axes = [str(name) for name in np.atleast_1d(data.attrs.get(AXES, list(names)))]
    chosen = list(names) or axes
    if missing := [name for name in chosen if name not in axes]:
        raise InputError(
            f"`names` must be among the axes {', '.join(axes)}, got {', '.join(missing)}. "
            "Leave them out for all of them."
        )
    labels: dict[str, list[Label]] = {}
    for name in chosen:
        labels[name] = list(dict.fromkeys(data[name].values.tolist()))
        if data[name].dtype.kind != "U":
            labels[name].sort()
    return laid_out(data, labels, [name for name in axes if name not in chosen])


def laid_out(
    data: xr.Dataset, labels: Mapping[str, Sequence[Label]], rest: Sequence[str]
) -> xr.Dataset:
    """Points over axes with these labels; the other axes keep a `point` in common.

    Args:
        data: Dataset over `point`.
        labels: the labels on every axis that becomes a dimension.
        rest: the other axes.

    Raises:
        InputError: two points at one place.
    """
    data = data.transpose(POINT, ...)
    places = list(zip(*(data[name].values.tolist() for name in rest), strict=True))
    first: dict[Any, int] = {}  # the first point of every place
    for number, place in enumerate(places):
        first.setdefault(place, number)
    shared = {place: number for number, place in enumerate(first)}
    outer = {POINT: len(shared)} if rest else {}
    outer |= {name: len(axis) for name, axis in labels.items()}
    index = [[shared[place] for place in places]] if rest else []
    for dim, axis in labels.items():
        spots = {label: i for i, label in enumerate(axis)}
        index.append([spots[label] for label in data[dim].values.tolist()])
    where = tuple(np.array(one, dtype=np.intp) for one in index)
    taken = set(zip(*index, strict=True))
    if index and len(taken) < data.sizes[POINT]:
        raise InputError(
            f"`data` must have one point at every place, got {data.sizes[POINT]} points at "
            f"{len(taken)} places. Name more axes."
        )
    variables: dict[str, Any] = {}
    for name, values in data.variables.items():
        if POINT in values.dims and name not in {*labels, *rest}:
            inner = values.dims[1:]
            shape = (*outer.values(), *values.shape[1:])
            table = gathered(shape, [(where, values.values)])
            variables[str(name)] = ((*outer, *inner), table, values.attrs)
    kept = data.drop_dims(POINT).assign(variables)
    at = list(first.values())
    coordinates = {name: (POINT, data[name].values[at], data[name].attrs) for name in rest}
    coordinates |= {n: (n, np.array(axis), data[n].attrs) for n, axis in labels.items()}
    kept = kept.assign_coords(coordinates).set_coords([n for n in data.coords if n in variables])
    kept.attrs = {**data.attrs, AXES: list(rest)} if rest else dict(data.attrs)
    if not rest:
        kept.attrs.pop(AXES, None)
    return ordered(kept, outer)


def ordered(data: xr.Dataset, outer: Mapping[str, int]) -> xr.Dataset:
    """With the dims of the study first, and those along which a run goes last.

    Args:
        data: any.
        outer: the dims of the study, in their order.
    """
    return data.transpose(
        *outer, ..., *(name for name in LAST_DIMS if name in data.dims and name not in outer)
    )
