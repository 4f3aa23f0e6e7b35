"""A study as a store remembers it: plain data, read without the experiment's code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from lazyrich.sweeps.describe.axes import is_table
from lazyrich.sweeps.describe.plain import Plain, canonical, plain

Label: TypeAlias = int | float | str


@dataclass(frozen=True)
class Recorded:
    """The description of a study as it was recorded, with the defaults that its experiment had.

    Attributes:
        parts: name, experiment, base, axes, seeds, extra, and `default`.

    Example:
        >>> parts = {"name": "s", "experiment": "m:C", "base": {}, "axes": {"width": [8, 16]}}
        >>> study = Recorded({**parts, "seeds": [0], "extra": [], "default": {"lr": 0.1}})
        >>> fields = {"width": 16, "lr": 0.1, "seed": 0}
        >>> place = study.place({"experiment": "m:C", "fields": fields})
        >>> place.labels, place.order
        ({'width': 16, 'seed': 0}, (1, 0))
    """

    parts: Mapping[str, Any]

    @classmethod
    def of(cls, text: str) -> Recorded:
        """The description that stands in a text."""
        return cls(json.loads(text))

    @property
    def axes(self) -> dict[str, list[Label]]:
        """The labels on every axis, `seed` among them."""
        axes = {
            axis: [coordinate_of(v) for v in values] for axis, values in self.parts["axes"].items()
        }
        return {**axes, "seed": self.parts["seeds"]}

    @property
    def has_free_points(self) -> bool:
        """Whether there are points beside the grid."""
        return bool(self.parts["extra"])

    def study(self) -> str:
        """The description without what was recorded beside it, as `Study.from_json` reads it."""
        known = ("name", "experiment", "base", "axes", "seeds", "extra")
        return json.dumps({name: self.parts[name] for name in known}, ensure_ascii=False)

    def place(self, content: Mapping[str, Any]) -> Position | None:
        """Where a point lies in this study; None if it belongs to another one.

        Args:
            content: the experiment's name, and `fields` with every field of the point.
        """
        fields = content["fields"]
        if content["experiment"] != self.parts["experiment"]:
            return None
        if fields.keys() - {"seed"} != self._names:
            return None
        if any(canonical(fields[name]) != text for name, text in self._constant.items()):
            return None
        spots = [axis.spot(fields) for axis in self._axes.values()]
        if None in spots:
            return None
        chosen = [spot for spot in spots if spot is not None]
        labels = {axis: spot.label for axis, spot in zip(self._axes, chosen, strict=True)}
        labels["seed"] = seed = fields["seed"]
        if seed in self._seeds and all(spot.on_grid for spot in chosen):
            return Position(labels, (*(spot.number for spot in chosen), self._seeds[seed]))
        free = self._free.get((*labels.values(),))
        return None if free is None else Position(labels, (free,), on_grid=False)

    @property
    def _filled(self) -> dict[str, Plain]:
        return {**self.parts["default"], **self.parts["base"]}

    @cached_property
    def _axes(self) -> dict[str, _Axis]:
        extra = self.parts["extra"]
        return {
            axis: _Axis.of(axis, values, [point[axis] for point in extra], self._filled)
            for axis, values in self.parts["axes"].items()
        }

    @cached_property
    def _constant(self) -> dict[str, str]:
        """The text of every field that no axis sets."""
        moving = {"seed"}.union(*(axis.names for axis in self._axes.values()))
        return {k: canonical(v) for k, v in self._filled.items() if k not in moving}

    @cached_property
    def _names(self) -> set[str]:
        return set(self._constant).union(*(axis.names for axis in self._axes.values()))

    @cached_property
    def _seeds(self) -> dict[int, int]:
        return {seed: number for number, seed in enumerate(self.parts["seeds"])}

    @cached_property
    def _free(self) -> dict[tuple[Label, ...], int]:
        """The labels and seed of every point beside the grid, and its number among them."""
        free: dict[tuple[Label, ...], int] = {}
        for point in self.parts["extra"]:
            labels = [axis.label(point[name]) for name, axis in self._axes.items()]
            seeds = point.get("seed", self.parts["seeds"])
            for seed in [seeds] if isinstance(seeds, int) else seeds:
                free.setdefault((*labels, seed), len(free))
        return free


@dataclass(frozen=True)
class Position:
    """Where a point lies.

    Attributes:
        labels: the labels on every axis, and its seed.
        order: order by which the points of a study are sorted.
        on_grid: False for a point beside the grid.
    """

    labels: Mapping[str, Label]
    order: tuple[int, ...]
    on_grid: bool = True


@dataclass(frozen=True)
class _Spot:
    """A value of an axis: its label, its number, and whether it is on the grid."""

    label: Label
    number: int
    on_grid: bool


@dataclass(frozen=True)
class _Axis:
    """The values of an axis by what they set."""

    names: tuple[str, ...]
    spots: Mapping[str, _Spot]
    own: Mapping[str, Label]

    @classmethod
    def of(
        cls, axis: str, values: Sequence[Plain], free: Sequence[Plain], filled: Mapping[str, Plain]
    ) -> _Axis:
        by_label = {canonical(coordinate_of(value)): value for value in values}
        free = [by_label.get(canonical(value), value) for value in free]  # tables by their label
        tables = [dict(value) if is_table(value) else {axis: value} for value in (*values, *free)]
        names = tuple(sorted({name for table in tables for name in table} - {"label"}))
        spots: dict[str, _Spot] = {}
        own: dict[str, Label] = {}
        for number, (value, table) in enumerate(zip((*values, *free), tables, strict=True)):
            effect = canonical([table.get(name, filled.get(name)) for name in names])
            spot = _Spot(coordinate_of(value), number, number < len(values))
            own[canonical(value)] = spots.setdefault(effect, spot).label
        own |= {canonical(coordinate_of(value)): coordinate_of(value) for value in values}
        return cls(names, spots, own)

    def spot(self, fields: Mapping[str, Plain]) -> _Spot | None:
        return self.spots.get(canonical([fields.get(name) for name in self.names]))

    def label(self, value: Plain) -> Label:
        """Of a value as an extra point gives it: the value itself, a table, or a table's label."""
        return self.own[canonical(value)]


def coordinate_of(value: Plain) -> Label:
    """What stands on an axis: numbers and text as they are, the label of a table, else text.

    Args:
        value: value of an axis.

    Example:
        >>> [coordinate_of(value) for value in (0.5, {"label": "wide", "width": 512}, [1, 2])]
        [0.5, 'wide', '(1, 2)']
    """
    value = plain(value)
    if isinstance(value, Mapping) and "label" in value:
        return coordinate_of(value["label"])
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        return value
    return str(value)
