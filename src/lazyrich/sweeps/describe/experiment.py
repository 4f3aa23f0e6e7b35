"""Experiments: frozen dataclasses of plain values that can be run, known by their name."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Protocol, get_type_hints, runtime_checkable

from lazyrich._errors import InputError
from lazyrich.sweeps.describe.plain import MismatchError, Plain, conform
from lazyrich.sweeps.result import Result

Required = MISSING  # stands for the value of a field that has no default


@runtime_checkable
class Experiment(Protocol):
    """A frozen dataclass of plain values with a field `seed: int` and a method `run`.

    It may also have a classmethod `run_together(points) -> list[Result]`, for points that are
    cheaper together.
    """

    @property
    def seed(self) -> int:
        """What makes the run reproducible."""

    def run(self) -> Result:
        """Do it."""


def experiment_name(experiment: type[Experiment]) -> str:
    """The name "module:Class" by which a worker finds an experiment, part of its points' keys.

    The module is what the class says in `__module__`. Those of this package name the package that
    offers them, so that a file that moves changes no key.

    Args:
        experiment: a class that other processes can import.

    Raises:
        InputError: if they cannot.

    Example:
        >>> experiment_name(Experiment)
        'lazyrich.sweeps.describe.experiment:Experiment'
    """
    if not isinstance(experiment, type):
        raise InputError(
            f"`experiment` must be a class or 'module:Class', got {experiment!r}. "
            "Give the class itself, not a point of it."
        )
    name = f"{experiment.__module__}:{experiment.__qualname__}"
    if experiment.__module__ == "__main__" or "<locals>" in name:
        raise InputError(
            f"`experiment` must be a class that other processes can import, got {name}. "
            "Move it to the top level of a module file and import it from there."
        )
    return name


def resolve(name: str) -> type[Experiment]:
    """The class of a name "module:Class".

    Args:
        name: the name as `experiment_name` gives it.

    Raises:
        InputError: if there is no such class.

    Example:
        >>> resolve("lazyrich.sweeps.describe.experiment:Experiment").__name__
        'Experiment'
    """
    module, colon, path = name.partition(":")
    if not (colon and module and path):
        raise InputError(
            f"`experiment` must be 'module:Class', got {name!r}. "
            "An example: 'lazyrich.study:Training'."
        )
    try:
        member: Any = import_module(module)
        for part in path.split("."):
            member = getattr(member, part)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"`experiment` must name a class that can be imported, got {name!r} ({error}). "
            "Check the spelling, and that the module is installed or in PYTHONPATH."
        ) from error
    experiment_name(member)
    return member


def settings_of(experiment: type[Experiment]) -> dict[str, tuple[Any, Plain]]:
    """The fields of an experiment: annotation and default (`Required` where there is none).

    Args:
        experiment: a frozen dataclass with an integer field `seed` and a method `run`.

    Raises:
        InputError: if it is anything else, or a default is not plain.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Toss:
        ...     bias: float = 1
        ...     seed: int = 0
        ...     def run(self): ...
        >>> settings_of(Toss)
        {'bias': (<class 'float'>, 1.0), 'seed': (<class 'int'>, 0)}
    """
    if not is_dataclass(experiment) or not experiment.__dataclass_params__.frozen:
        raise _unfit(experiment, "a frozen dataclass")
    if not callable(getattr(experiment, "run", None)):
        raise _unfit(experiment, "a class with a method `run`")
    try:
        kinds = get_type_hints(experiment)
    except NameError as error:
        raise _unfit(experiment, f"annotated by names of its module ({error})") from error
    if kinds.get("seed") is not int:
        raise _unfit(experiment, "a class with a field `seed: int`")
    return {
        entry.name: (kinds[entry.name], _default(experiment, entry, kinds[entry.name]))
        for entry in fields(experiment)
        if entry.init
    }


def _unfit(experiment: type[Any], expected: str) -> InputError:
    return InputError(
        f"`experiment` must be {expected}, got {experiment.__qualname__}. "
        "An experiment is a frozen dataclass of plain values with `seed: int` and `run(self)`."
    )


def _default(experiment: type[Any], entry: Field[Any], kind: Any) -> Plain:  # noqa: ANN401
    if entry.default_factory is not MISSING:
        value = entry.default_factory()
    elif entry.default is not MISSING:
        value = entry.default
    else:
        return Required
    try:
        return conform(value, kind)
    except MismatchError as error:
        raise InputError(
            f"the default of `{entry.name}` of {experiment.__qualname__} must be {error}, "
            f"got {value!r}. Change the field."
        ) from error


def nearest(name: str, known: list[str]) -> str:
    """A sentence that leads from a wrong name to the right one.

    Args:
        name: what was given.
        known: what there is.

    Example:
        >>> nearest("widht", ["width", "seed"])
        "Did you mean 'width'?"
        >>> nearest("x", ["width", "seed"])
        'There are width, seed.'
    """
    close = get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(known)}."
