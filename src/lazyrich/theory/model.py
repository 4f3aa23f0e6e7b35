"""What a solvable model is: parameters in, a labelled Dataset of the shared quantities out.

A model is one file of this room, or one folder, with a `MODEL` in it. What it assumes it says in
sentences and checks on what the user gives: data that break an assumption are an error that says
by how much, never a silent approximation. The contract tests find every model by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import xarray as xr

from lazyrich.vocabulary.quantity import Quantity


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """Something that the solution rests on.

    Attributes:
        sentence: what is assumed.
        broken: gives the model something that breaks it, which must raise an `InputError`.
    """

    sentence: str
    broken: Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A solvable model, as its own file describes it.

    Attributes:
        name: name of its module in `lazyrich.theory`.
        equation: what is solved.
        assumptions: all that the solution rests on.
        quantities: what its Datasets may hold, by their names.
        example: a small problem, solved, whose Dataset has the names, dims and attributes of all.
        references: papers with their arXiv numbers, and what is derived here.
        commands: what `lazyrich solve` and `lazyrich phase` call, by the name of the command; its
            arguments are numbers, lists and matrices, and go by name.
    """

    name: str
    equation: str
    assumptions: tuple[Assumption, ...]
    quantities: Mapping[str, Quantity]
    example: Callable[[], xr.Dataset]
    references: tuple[str, ...]
    commands: Mapping[str, Callable[..., xr.Dataset]] = field(default_factory=dict)
