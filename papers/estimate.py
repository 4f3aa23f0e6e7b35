"""How long a study will take, from a few steps of each of its networks that are made and timed.

An experiment can be estimated whose class says what is COUNTED, the fields that tell how often
something is done, and what is SIZED, the fields that tell how long it takes once. Its time is taken
to be that of its preparations, and so much for each step, each evaluation and each measurement. One
run with the smallest counts, and one for each of them raised, give these times.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

FEWEST = {"steps": 3}  # of a run with the smallest counts; others are 1
MORE = {"steps": 8}  # by how much a count is raised; others by 1


@dataclass(frozen=True)
class Estimate:
    """How long a study will take.

    Attributes:
        seconds: of all its runs, over the workers.
        runs: how many there are.
        longest: seconds of its longest run.
        spent: seconds that the estimate took.
    """

    seconds: float
    runs: int
    longest: float
    spent: float

    def __str__(self) -> str:
        runs = f"{self.runs} runs" if self.runs > 1 else "one run"
        return (
            f"about {words(self.seconds)} for {runs}, the longest {words(self.longest)}, "
            f"by steps that were timed for {words(self.spent)}. Ctrl-C keeps the runs that are "
            "finished; the same command goes on from there."
        )


def estimate(left: Sequence[Any], workers: int, environment: Mapping[str, str]) -> Estimate | None:
    """The time of experiments that are still to be run.

    Args:
        left: the experiments.
        workers: processes that share them.
        environment: that every run finds.

    Returns:
        None if there is none left, or they are of a class that cannot be estimated.
    """
    if not left or not hasattr(type(left[0]), "COUNTED"):
        return None
    started = time.perf_counter()
    sizes: dict[tuple[Any, ...], list[Any]] = {}
    for one in left:
        sizes.setdefault(tuple(getattr(one, name) for name in one.SIZED), []).append(one)
    seconds, longest = 0.0, 0.0
    with _environment(environment), _one_thread():
        _smallest(left[0]).run()  # reads the data, wakes the device
        for alike in sizes.values():
            taken = times(alike[0])
            each = [predicted(one, taken) for one in alike]
            seconds, longest = seconds + sum(each), max(longest, *each)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # for the processes that share the device
    spent = time.perf_counter() - started
    shared = max(seconds / min(workers, len(left)), longest)
    return Estimate(seconds=shared, runs=len(left), longest=longest, spent=spent)


def words(seconds: float) -> str:
    """A time in its two largest units, as people say it.

    Example:
        >>> words(8.4), words(125), words(7320), words(180_000)
        ('8 s', '2 min', '2 h 2 min', '2 d 2 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _smallest(one: Any) -> Any:  # noqa: ANN401 - an experiment
    """The same run with everything done as seldom as it can be."""
    return replace(one, **{n: min(FEWEST.get(n, 1), getattr(one, n)) for n in one.COUNTED})


def times(one: Any) -> dict[str, float]:  # noqa: ANN401 - an experiment
    """Seconds of the smallest run, under "", and of one more of each count.

    Args:
        one: an experiment that says what is COUNTED.
    """
    small = _smallest(one)
    taken = {"": _seconds(small)}
    for name in one.COUNTED:
        now, most = getattr(small, name), getattr(one, name)
        more = min(MORE.get(name, 1), most - now)
        longer = _seconds(replace(small, **{name: now + more})) if more > 0 else taken[""]
        taken[name] = max(0.0, longer - taken[""]) / max(1, more)
    return taken


def predicted(one: Any, taken: Mapping[str, float]) -> float:  # noqa: ANN401 - an experiment
    """Seconds of an experiment.

    Args:
        one: the experiment.
        taken: of `times`, of one of its size.
    """
    small = _smallest(one)
    more = {name: getattr(one, name) - getattr(small, name) for name in one.COUNTED}
    return taken[""] + sum(taken[name] * count for name, count in more.items())


def _seconds(one: Any) -> float:  # noqa: ANN401 - an experiment
    start = time.perf_counter()
    one.run()
    return time.perf_counter() - start


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in the processes of a sweep."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
