"""A study as data: an experiment over a grid of configurations and seeds."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from lazyrich._errors import InputError
from lazyrich.sweeps.describe.axes import (
    AxisValue,
    Kinds,
    check_apart,
    check_distinct,
    conformed,
    is_table,
    settings,
    values_of,
)
from lazyrich.sweeps.describe.expansion import Grid, Point
from lazyrich.sweeps.describe.experiment import (
    Experiment,
    Required,
    experiment_name,
    nearest,
    resolve,
    settings_of,
)
from lazyrich.sweeps.describe.plain import MismatchError, Plain, conform, plain

__all__ = ["Experiment", "Point", "Study"]

STANDARD = "lazyrich.study:Training"
CHECKED = 10_000  # configurations that are tried when a study is made


@dataclass(frozen=True, kw_only=True)
class Study:
    """An experiment over the product of axes and seeds, and at extra points off the grid.

    The key of a point is the SHA-256 of a canonical text of the experiment's name and of all its
    fields, defaults filled in. It does not depend on the order of axes or fields, on 1 or 1.0, or
    on how the study was written.

    Attributes:
        name: name of the study.
        experiment: a frozen dataclass with `seed: int` and `run()`, or its name "module:Class".
        base: value of fields that are not on an axis; other fields have their defaults.
        axes: values by the name of the field. A value may be a table with a `label` that sets
            several fields; instead of a list there may be a range, {"log": [low, high, count]} or
            {"linear": [low, high, count]}.
        seeds: a count, or the seeds.
        extra: points off the grid: a value for every axis, and `seed` where it is not all seeds.
            Those that are on the grid, or come twice, are merged.

    Raises:
        InputError: naming the field, if a name or value does not fit, or the experiment refuses a
            point. Grids of more than 10,000 configurations are tried along their axes; elsewhere
            `points` raises the error when it comes to the point.

    Example:
        >>> study = Study.from_toml('''
        ... name = "decay"
        ... experiment = "lazyrich.sweeps:Decay"
        ... seeds = 2
        ... axes.rate = {log = [0.01, 1, 3]}
        ... ''')
        >>> len(study), study.axes
        (6, {'rate': (0.01, 0.1, 1.0)})
        >>> point = next(study.points())
        >>> point.place, point.experiment
        ({'rate': 0.01, 'seed': 0}, Decay(rate=0.01, steps=10, noise=0.0, seed=0))
    """

    name: str
    experiment: type[Experiment] = STANDARD  # type: ignore[assignment]  # resolved below
    base: Mapping[str, Plain] = field(default_factory=dict)
    axes: Mapping[str, Sequence[Plain]] = field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    extra: Sequence[Mapping[str, Plain]] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"`name` must be text, got {self.name!r}. Name the study.")
        experiment: Any = self.experiment
        self._set("experiment", resolve(experiment) if isinstance(experiment, str) else experiment)
        experiment_name(self.experiment)
        for part in ("base", "axes"):
            if not isinstance(getattr(self, part), Mapping):
                raise InputError(
                    f"`{part}` must be a table, got {getattr(self, part)!r}. Write name = value."
                )
        given = self.base.items()
        self._set("base", {k: conformed("base", k, v, self._kinds) for k, v in given})
        self._set("axes", {axis: values_of(axis, v, self._kinds) for axis, v in self.axes.items()})
        self._set("seeds", _seeds(self.seeds))
        if isinstance(self.extra, str | bytes) or not isinstance(self.extra, Sequence):
            raise InputError(
                f"`extra` must be a list of points, got {self.extra!r}. Write a table for every "
                "point, with a value for every axis."
            )
        self._set("extra", tuple(_table(entry, self._settings) for entry in self.extra))
        by_axis = self._settings.items()
        self._set("axes", {axis: tuple(s.value for s in values) for axis, values in by_axis})
        self._check()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @cached_property
    def _kinds(self) -> Kinds:
        return {name: kind for name, (kind, _) in settings_of(self.experiment).items()}

    @cached_property
    def defaults(self) -> dict[str, Plain]:
        """The defaults of the experiment, which belong to the content of every point."""
        fields = settings_of(self.experiment).items()
        return {name: value for name, (_, value) in fields if value is not Required}

    @property
    def _filled(self) -> dict[str, Plain]:
        return {**self.defaults, **self.base}

    @cached_property
    def _settings(self) -> dict[str, tuple[AxisValue, ...]]:
        return {axis: settings(axis, values, self._kinds) for axis, values in self.axes.items()}

    @cached_property
    def _grid(self) -> Grid:
        return Grid(
            experiment=self.experiment,
            base={name: value for name, value in self._filled.items() if name != "seed"},
            axes=self._settings,
            seeds=self.seeds,
            extra=tuple(_chosen(e, self._settings, self._kinds, self.seeds) for e in self.extra),
        )

    def _check(self) -> None:
        check_apart(self._settings)
        for axis, on_axis in self._settings.items():
            check_distinct(axis, on_axis, self._filled)
        always = {name for on_axis in self._settings.values() for name in _common(on_axis)}
        missing = sorted(self._kinds.keys() - self._filled.keys() - always - {"seed"})
        if missing:
            raise InputError(
                f"`base` must set {', '.join(missing)}, which have no default, got "
                f"{sorted(self.base)}. Add them to the base, or make them an axis."
            )
        grid, seed = self._grid, self.seeds[0]
        if prod(len(on_axis) for on_axis in self._settings.values()) <= CHECKED:
            chosen = iter(grid.configurations())
        else:
            first = {axis: on_axis[0] for axis, on_axis in self._settings.items()}
            chosen = (
                tuple({**first, axis: setting}.values())
                for axis, on_axis in self._settings.items()
                for setting in on_axis
            )
        for configuration in chosen:
            grid.point(configuration, seed)
        for settings_, seeds in grid.extra:
            grid.point(settings_, seeds[0])

    def __len__(self) -> int:
        return len(self._grid)

    def points(self) -> Iterator[Point]:
        """Every point once: the grid, last axis and then seeds fastest, then the extra points.

        Points are made one by one as they are asked for.

        Raises:
            InputError: if the experiment refuses a point.

        Example:
            >>> study = Study(
            ...     name="decay", experiment="lazyrich.sweeps:Decay", axes={"rate": [1, 2]}
            ... )
            >>> [point.place["rate"] for point in study.points()]
            [1.0, 2.0]
        """
        return self._grid.points()

    def to_json(self) -> str:
        """The description as JSON: `from_json` gives the same study.

        Example:
            >>> study = Study(name="decay", experiment="lazyrich.sweeps:Decay", seeds=2)
            >>> study.to_json()  # doctest: +NORMALIZE_WHITESPACE
            '{"name": "decay", "experiment": "lazyrich.sweeps:Decay", "base": {},
             "axes": {}, "seeds": [0, 1], "extra": []}'
            >>> Study.from_json(study.to_json()) == study
            True
        """
        parts = {
            "name": self.name,
            "experiment": experiment_name(self.experiment),
            "base": self.base,
            "axes": self.axes,
            "seeds": self.seeds,
            "extra": self.extra,
        }
        return json.dumps(parts, ensure_ascii=False)

    @classmethod
    def from_json(cls, source: str | Path) -> Study:
        """The study of a JSON text, or of a file.

        Args:
            source: the text, or a Path.

        Raises:
            InputError: if it is not JSON, or no study.

        Example:
            >>> text = '{"name": "decay", "experiment": "lazyrich.sweeps:Decay"}'
            >>> len(Study.from_json(text))
            1
        """
        try:
            return cls._from(json.loads(_text(source)))
        except json.JSONDecodeError as error:
            raise InputError(
                f"a study must be JSON here, got: {error}. Mend that place, or read TOML by "
                "from_toml."
            ) from error

    @classmethod
    def from_toml(cls, source: str | Path) -> Study:
        r"""The study of a TOML text, or of a file.

        Args:
            source: the text, or a Path.

        Raises:
            InputError: if it is not TOML, or no study.

        Example:
            >>> text = 'name = "decay"\nexperiment = "lazyrich.sweeps:Decay"\nseeds = 3'
            >>> len(Study.from_toml(text))
            3
        """
        try:
            return cls._from(tomllib.loads(_text(source)))
        except tomllib.TOMLDecodeError as error:
            raise InputError(
                f"a study must be TOML here, got: {error}. Mend that place; texts need quotes."
            ) from error

    @classmethod
    def _from(cls, parts: Any) -> Study:  # noqa: ANN401 - what a parser gives
        known = ["name", "experiment", "base", "axes", "seeds", "extra"]
        for part in parts if isinstance(parts, dict) else ["…"]:
            if part not in known:
                raise InputError(
                    f"a study must have only {', '.join(known)}, got {part!r}. "
                    + nearest(part, known)
                )
        if "name" not in parts:
            raise InputError('a study must have a name, got none. Add: name = "…".')
        return cls(**parts)


def _text(source: str | Path) -> str:
    if isinstance(source, str):
        return source
    try:
        return source.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the study must be a file that can be read, got {source} ({error.strerror}). "
            "Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"the study must be text in UTF-8, got {source}. Save it with that encoding."
        ) from error


def _seeds(given: object) -> tuple[int, ...]:
    if isinstance(given, int) and not isinstance(given, bool):
        given = range(given)
    try:
        seeds: tuple[int, ...] = conform(given, tuple[int, ...])
    except MismatchError:
        seeds = ()
    if not seeds or len(set(seeds)) < len(seeds) or max(map(abs, seeds)) >= 2**63:
        raise InputError(
            f"`seeds` must be a count ≥ 1 or a list of different whole numbers below 2^63, got "
            f"{given!r}. "
            "An example: seeds = 3."
        )
    return seeds


def _common(on_axis: Sequence[AxisValue]) -> set[str]:
    """The fields that every setting sets."""
    return set.intersection(*(set(setting.fields) for setting in on_axis))


def _table(entry: object, axes: Mapping[str, Sequence[AxisValue]]) -> dict[str, Plain]:
    """An extra point as plain values, once it names every axis and nothing else."""
    try:
        values = plain(entry)
    except MismatchError as error:
        raise InputError(f"`extra` must hold plain values ({error}), got {entry!r}.") from error
    if not isinstance(values, dict) or not axes.keys() <= values.keys() <= axes.keys() | {"seed"}:
        raise InputError(
            f"`extra` must give every axis ({', '.join(axes)}) a value, and no other field but "
            f"`seed`, got {entry!r}. Fields that are the same everywhere belong to the base."
        )
    return values


def _chosen(
    entry: Mapping[str, Plain],
    axes: Mapping[str, Sequence[AxisValue]],
    kinds: Kinds,
    seeds: Sequence[int],
) -> tuple[tuple[AxisValue, ...], tuple[int, ...]]:
    """The settings and seeds of an extra point."""
    chosen = []
    for axis, on_axis in axes.items():
        value = entry[axis]
        named = [setting for setting in on_axis if not setting.plain and setting.label == value]
        if on_axis[0].plain == is_table(value) and not named:
            labels = ", ".join(repr(setting.label) for setting in on_axis)
            raise InputError(
                f"`extra.{axis}` must be a value as on its axis, got {value!r}. It has {labels}."
            )
        setting = named[0] if named else settings(axis, [value], kinds)[0]
        if not setting.plain and not named:
            check_distinct(axis, [*on_axis, setting], {})
        chosen.append(setting)
    own = entry.get("seed", seeds)
    return tuple(chosen), _seeds([own] if isinstance(own, int) else own)
