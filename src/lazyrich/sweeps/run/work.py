"""What a worker does: run points and return their results.

Whatever an experiment raises becomes a result of status "failed", but for a lack of memory, which
may be the fault of points before it. Results travel in the bytes in which they are stored, so that
what cannot be stored is found where it was made.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Lock
from time import perf_counter
from types import MappingProxyType
from typing import Any

import xarray as xr

from lazyrich.sweeps.describe.experiment import Experiment
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.store.codec import Packed, encode

LONGEST_SENTENCE = 300  # characters of an exception's message; all of it is in the traceback
NOTHING: Mapping[str, str] = MappingProxyType({})
NO_MEMORY = ("allocate memory", "out of memory")  # what libraries say that have errors of their own

_one_at_a_time = Lock()  # experiments own the process: PyTorch's generator, its number of threads


class EndedAtOnceError(KeyboardInterrupt):
    """The user's second Ctrl-C, which is not of the point that it interrupts."""


def pack(experiments: Sequence[Experiment], environment: Mapping[str, str] = NOTHING) -> bytes:
    """Experiments, and variables of their environment, as the argument of `run_packed`."""
    return pickle.dumps((tuple(experiments), dict(environment)))


def run_packed(experiments: bytes, call: int) -> list[Packed]:
    """Run packed experiments, so that a worker that cannot import them says so itself.

    Args:
        experiments: the experiments from `pack`.
        call: number of the call, for executors that remember what they called.
    """
    return run_points(*pickle.loads(experiments))


def run_points(
    experiments: Sequence[Experiment], environment: Mapping[str, str] = NOTHING
) -> list[Packed]:
    """Run experiments; several of one class by its `run_together`.

    If that raises, each is run alone, so that only those that fail by themselves are failures. A
    child process that an experiment has forked ends here, because its parent answers.

    Args:
        experiments: experiments of one class.
        environment: variables that they find besides those of the process.

    Returns:
        One packed result per experiment, in their order; `seconds` is the time that it took, of a
        group the equal share.

    Raises:
        MemoryError: if memory was lacking.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Root:
        ...     value: float
        ...     seed: int = 0
        ...
        ...     def run(self):
        ...         data = xr.Dataset({"root": self.value**-0.5})
        ...         return Result(status="finished", sentence="one root", data=data)
        >>> [packed.status for packed in run_points([Root(value=4.0)])]
        ['finished']
        >>> [packed.status for packed in run_points([Root(value=0.0)])]
        ['failed']
    """
    mine, start = os.getpid(), perf_counter()
    try:
        with _one_at_a_time, _surroundings_kept():
            os.environ.update(environment)
            results = _run(experiments)
    finally:
        if os.getpid() != mine:
            os._exit(0)
    seconds = (perf_counter() - start) / max(1, len(experiments))
    return [_packed(result, seconds) for result in results]


def failed(sentence: str, trace: str = "") -> Result:
    """The result of a point that has none.

    Example:
        >>> failed("no memory").status
        'failed'
    """
    return Result(status="failed", sentence=sentence, data=xr.Dataset(), traceback=trace)


@contextmanager
def _surroundings_kept() -> Iterator[None]:
    """The next point finds the working folder and the environment as this one did."""
    folder, environment = "", os.environ.copy()
    with suppress(OSError):  # it was removed
        folder = os.getcwd()
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(folder)
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)


def _run(experiments: Sequence[Experiment]) -> list[Result]:
    if len(experiments) > 1:
        together: Any = type(experiments[0])
        try:
            return _checked(list(together.run_together(experiments)), experiments)
        except BaseException as error:
            _failure(error)
    return [_alone(experiment) for experiment in experiments]


def _alone(experiment: Experiment) -> Result:
    try:
        return _checked([experiment.run()], [experiment])[0]
    except BaseException as error:
        return _failure(error)


def _failure(error: BaseException, told: str = "") -> Result:
    """What a point raised, as its result; what is not of this point is raised again."""
    if isinstance(error, EndedAtOnceError):
        raise error
    trace = "".join(traceback.format_exception(error))
    try:
        message = str(error)
    except BaseException:
        message = "(its message cannot be shown)"
    sentence = f"{told or type(error).__name__}: {message}".strip().splitlines()[0]
    sentence = sentence[:LONGEST_SENTENCE]
    if isinstance(error, MemoryError) or any(words in message.lower() for words in NO_MEMORY):
        lack = MemoryError(sentence)
        lack.add_note(trace)
        raise lack from None
    return failed(sentence, trace)


def _checked(results: list[Result], experiments: Sequence[Experiment]) -> list[Result]:
    kind = type(experiments[0]).__name__
    if len(results) != len(experiments):
        raise TypeError(
            f"{kind}.run_together must return a Result for each experiment, got {len(results)} for "
            f"{len(experiments)}"
        )
    for result in results:
        if not isinstance(result, Result):
            raise TypeError(f"{kind} must return a Result, got {type(result).__name__}")
    return results


def _packed(result: Result, seconds: float) -> Packed:
    try:
        return encode(replace(result, seconds=result.seconds or seconds))
    except BaseException as error:
        return encode(_failure(error, "its result cannot be stored"))


if multiprocessing.parent_process() is not None:  # a worker: points have a limit of time, and
    xr.Dataset({"x": 0.0})  # shall not pay for what xarray imports at its first Dataset
