"""From axes and seeds to points with keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import product
from math import prod

from lazyrich._errors import InputError
from lazyrich.sweeps.describe.axes import AxisValue
from lazyrich.sweeps.describe.experiment import Experiment, experiment_name
from lazyrich.sweeps.describe.plain import Plain, canonical


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a study.

    Attributes:
        content: the canonical JSON of the experiment's name and all its fields.
        place: its coordinate on every axis, and its seed.
        experiment: what to run.
    """

    content: str
    place: Mapping[str, Plain]
    experiment: Experiment

    @cached_property
    def key(self) -> str:
        """The SHA-256 of the content, 64 hexadecimal digits."""
        return key_of(self.content)


def key_of(content: str) -> str:
    """The key of the point that has this content.

    Args:
        content: canonical JSON.

    Example:
        >>> key_of("{}")[:8]
        '44136fa3'
    """
    return sha256(content.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The product of settings and seeds, and points off it.

    The text of every value is made once, so that a point costs one join and one hash.

    Attributes:
        experiment: the class of the points.
        base: value of every field that no axis must set.
        axes: settings on every axis.
        seeds: number of seeds of every configuration.
        extra: configurations off the grid, with their seeds.
    """

    experiment: type[Experiment]
    base: Mapping[str, Plain]
    axes: Mapping[str, Sequence[AxisValue]]
    seeds: Sequence[int]
    extra: Sequence[tuple[Sequence[AxisValue], Sequence[int]]]

    def __len__(self) -> int:
        grid = prod(len(settings) for settings in self.axes.values()) * len(self.seeds)
        return grid + len(self._apart)

    def configurations(self) -> Iterator[tuple[AxisValue, ...]]:
        """The product of the axes, the last one fastest."""
        return product(*self.axes.values())

    def points(self) -> Iterator[Point]:
        """The grid with the seeds fastest, then the points off it.

        Raises:
            InputError: if the experiment refuses a point.
        """
        for chosen in self.configurations():
            for seed in self.seeds:
                yield self.point(chosen, seed)
        yield from (self.point(chosen, seed) for chosen, seed in self._apart)

    def point(self, chosen: Sequence[AxisValue], seed: int) -> Point:
        """The point of one setting on every axis and a seed.

        Raises:
            InputError: if the experiment refuses it.
        """
        values = {**self.base, "seed": seed}
        place = {axis: setting.label for axis, setting in zip(self.axes, chosen, strict=True)}
        place["seed"] = seed
        for setting in chosen:
            values.update(setting.fields)
        try:
            experiment = self.experiment(**values)
        except Exception as error:
            where = ", ".join(f"{axis}={value!r}" for axis, value in place.items())
            raise InputError(
                f"every point must suit {self.experiment.__qualname__}, got {where}: {error} "
                "Change the base or the axes."
            ) from error
        return Point(content=self.content(chosen, seed), place=place, experiment=experiment)

    def content(self, chosen: Sequence[AxisValue], seed: int) -> str:
        """The content of the point of one setting on every axis and a seed."""
        head, texts, slots = self._texts
        texts = texts.copy()
        texts[slots["seed"]] = f'"seed":{seed}'
        for setting in chosen:
            for name, text in setting.texts.items():
                texts[slots[name]] = text
        return head + ",".join(texts) + "}}"

    @cached_property
    def _texts(self) -> tuple[str, list[str], dict[str, int]]:
        """Start of the text of every point, text of every field, and where the fields stand."""
        names = set(self.base) | {"seed"}
        for settings in self.axes.values():
            names.update(*(setting.fields for setting in settings))
        head = f'{{"experiment":{json.dumps(experiment_name(self.experiment))},"fields":{{'
        texts = [f"{json.dumps(name)}:{canonical(self.base.get(name))}" for name in sorted(names)]
        return head, texts, {name: index for index, name in enumerate(sorted(names))}

    @cached_property
    def _apart(self) -> list[tuple[Sequence[AxisValue], int]]:
        """The points off the grid, each once."""
        known = [
            {tuple(sorted(s.texts.items())) for s in on_axis} for on_axis in self.axes.values()
        ]
        seen: set[str] = set()
        apart = []
        for chosen, seeds in self.extra:
            settings = [tuple(sorted(setting.texts.items())) for setting in chosen]
            on_grid = all(s in on_axis for s, on_axis in zip(settings, known, strict=True))
            for seed in seeds:
                content = self.content(chosen, seed)
                if content not in seen and not (on_grid and seed in self.seeds):
                    seen.add(content)
                    apart.append((chosen, seed))
        return apart
