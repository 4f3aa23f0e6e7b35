"""The dims inside of results: refused where they do not fit together, united where they do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.sweeps.store.layout import check_times

Variables: TypeAlias = Mapping[Any, xr.Variable]

STEP = "step"  # the dimension whose labels are the steps after which a point was measured
RECORD = "record"  # what it becomes where the points were measured at different steps

KINDS = {
    **dict.fromkeys("iuf", "numbers"),
    **dict.fromkeys("UOT", "text"),
    "b": "booleans",
    "c": "complex numbers",
    "S": "bytes",
    "m": "durations",
    "M": "times",
}


def check_labels(dim: str, dims: Sequence[Any], values: NDArray[Any]) -> None:
    """Refuse labels that do not tell the places on a dimension apart.

    Args:
        dim: the dimension, and name of its labels.
        dims: dims over which the labels lie.
        values: the labels.

    Raises:
        InputError: if labels are repeated, missing, or lie over other dimensions.

    Example:
        >>> check_labels("step", ["step"], np.array([0, 0, 1]))
        Traceback (most recent call last):
        ...
        lazyrich.InputError: labels of `step` must differ from each other, got 0 twice. ...
    """
    if len(dims) > 1:
        raise InputError(
            f"`{dim}` is a dimension and must hold its labels, got an array over "
            f"{' × '.join(map(str, dims))}. Give the array another name than the dimension."
        )
    if pd.isna(values).any():
        raise InputError(
            f"labels of `{dim}` must be known, got {values}. Number the places, or leave the "
            "labels out."
        )
    labels = values.tolist()
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise InputError(
            f"labels of `{dim}` must differ from each other, got {twice!r} twice. Number the "
            "places, or leave the labels out."
        )


def check_alike(
    where: Sequence[Mapping[str, Any]], contents: Sequence[Variables], taken: Collection[str]
) -> None:
    """Refuse results that cannot stand in one array.

    Args:
        where: the place of every point.
        contents: its variables.
        taken: names that no dimension may have.

    Raises:
        InputError: if labels are refused by `check_labels`, a dimension has a name that is taken,
            or a variable has other dimensions, another kind of values or other labels than before.

    Example:
        >>> loss = xr.Variable("step", [2.0, 1.0])
        >>> check_alike([{"seed": 0}, {"seed": 1}], [{"loss": loss}, {"loss": loss[-1]}], ())
        Traceback (most recent call last):
        ...
        lazyrich.InputError: `loss` must be alike in every point, got numbers over step ...
    """
    seen: set[Any] = set()
    first: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for place, variables in zip(where, contents, strict=True):
        _check_labels_of(variables, place, seen)
        form = tuple((name, one.dims, one.dtype.kind) for name, one in variables.items())
        if form in seen:  # as nearly all are
            continue
        seen.add(form)
        for dim in sizes(variables):
            if dim in taken:
                raise InputError(
                    f"`{dim}` is an axis or an outcome of the study, and a dimension of the result "
                    f"{_at(place)}. Rename the dimension."
                )
        for name, words in _words(variables):
            before, there = first.setdefault(name, (words, place))
            if words != before:
                raise InputError(
                    f"`{name}` must be alike in every point, got {before} {_at(there)}, and "
                    f"{words} {_at(place)}. Let the experiment give it in one form, or under two "
                    "names. Store.read opens each result by itself."
                )


def recorded(contents: Sequence[Variables], taken: Collection[str]) -> Sequence[Variables]:
    """Lay measurements of one number side by side where their steps differ.

    The results stay as they are if their steps are the same, or begin the same where a point made
    fewer measurements. Otherwise the dimension `step` becomes `record`, the number of the
    measurement, and the steps become values along it.

    Args:
        contents: variables of every point, as `check_alike` lets them pass.
        taken: names that no dimension may have.

    Raises:
        InputError: if the steps differ and there is a `record` already.

    Example:
        >>> some, other = ({"step": xr.Variable("step", steps)} for steps in ([0, 1, 9], [0, 7]))
        >>> [one["step"].dims for one in recorded([some, other], ())]
        [('record',), ('record',)]
    """
    steps = {
        tuple(one[STEP].values.tolist())
        for one in contents
        if STEP in one and one[STEP].dims == (STEP,)
    }
    longest = max(steps, key=len, default=())
    if all(longest[: len(some)] == some for some in steps):
        return contents
    if RECORD in taken or any(RECORD in sizes(one) for one in contents):
        raise InputError(
            f"`{RECORD}` must be free where the points were measured at different steps, got an "
            "axis or a dimension of that name. Call it otherwise in the experiment."
        )
    return [{name: _renamed(one) for name, one in variables.items()} for variables in contents]


class Inner:
    """The dims that a single result has, united over all of them.

    Attributes:
        sizes: sizes of every dim.
        coords: its labels, where it has some.

    Example:
        >>> names = (["layer1", "readout"], ["layer1", "layer2", "readout"])
        >>> inner = Inner([{"layer": xr.Variable("layer", some)} for some in names])
        >>> inner.sizes, inner.index({"layer": xr.Variable("layer", names[0])})
        ({'layer': 3}, {'layer': array([0, 2])})
    """

    def __init__(self, contents: Sequence[Variables]) -> None:
        self.sizes: dict[str, int] = {}
        self.coords: dict[str, NDArray[Any]] = {}
        self._known: dict[tuple[str, int, bytes], NDArray[np.intp]] = {}
        self._labels: dict[str, dict[Any, int]] = {}
        own = [sizes(variables) for variables in contents]
        # deepest first, so that the layers of shallower ones keep their order
        for i in sorted(range(len(contents)), key=lambda i: -sum(own[i].values())):
            for dim, size in own[i].items():
                self.sizes[dim] = max(self.sizes.get(dim, 0), size)
                if dim in contents[i]:
                    self._unite(dim, contents[i][dim].values)

    def _unite(self, dim: str, labels: NDArray[Any]) -> None:
        """Add labels to those of a dimension."""
        known = self._labels.setdefault(dim, {})
        new = [label not in known for label in labels.tolist()]
        if dim not in self.coords:
            self.coords[dim] = labels
        elif any(new):
            both = [self.coords[dim], labels[new]]
            for part in both:
                check_times(part, np.result_type(*both))
            self.coords[dim] = np.concatenate(both)
        for label in labels[new].tolist():
            known[label] = len(known)
        self.sizes[dim] = len(known)

    def index(self, variables: Variables) -> dict[str, NDArray[np.intp]]:
        """Where the labels of one result lie."""
        rows = {}
        for dim, size in sizes(variables).items():
            values = variables[dim].values if dim in variables else np.empty(0)
            known = (dim, size, values.tobytes())
            if known not in self._known:
                names = self._labels.get(dim)
                places = [names[label] for label in values.tolist()] if names else range(size)
                self._known[known] = np.array(list(places), dtype=np.intp)
            rows[dim] = self._known[known]
        return rows


def sizes(variables: Variables) -> dict[str, int]:
    """The dims of one result.

    Example:
        >>> sizes({"loss": xr.Variable("step", [2.0, 1.0])})
        {'step': 2}
    """
    return {
        str(dim): size
        for one in variables.values()
        for dim, size in zip(one.dims, one.shape, strict=True)
    }


def _renamed(variable: xr.Variable) -> xr.Variable:
    """With `record` in the place of `step`."""
    dims = [RECORD if dim == STEP else dim for dim in variable.dims]
    return xr.Variable(dims, variable.values, variable.attrs)


def _check_labels_of(variables: Variables, place: Mapping[str, Any], seen: set[Any]) -> None:
    """Check the labels of one result, those only that were not seen before."""
    for dim, labels in variables.items():
        if dim not in labels.dims:
            continue
        values = labels.values
        known = (dim, labels.dims, *values.ravel().tolist())
        if known in seen:
            continue
        try:
            check_labels(dim, labels.dims, values)
        except InputError as error:
            raise InputError(f"the result {_at(place)} does not fit: {error}") from error
        seen.add(known)


def _words(variables: Variables) -> Iterator[tuple[str, str]]:
    """What every name of a result is, in words that must be the same in others."""
    dims = sizes(variables)
    for name, one in variables.items():
        kind = KINDS.get(one.dtype.kind, str(one.dtype))
        if name in dims:
            yield name, f"a dimension with {kind} as labels"
        elif one.dims:
            yield str(name), f"{kind} over {' × '.join(map(str, one.dims))}"
        else:
            yield str(name), f"{kind} without a dimension"
    for dim in dims.keys() - variables.keys():
        yield dim, "a dimension without labels"


def _at(place: Mapping[str, Any]) -> str:
    told = ", ".join(f"{axis}={value!r}" for axis, value in place.items())
    return f"at {told}" if told else "of the only point"
