"""What a worker does: run points and return their results.

Whatever an experiment raises becomes a result of status "failed". Results travel in the bytes in
which they are stored, so that what cannot be stored is found where it was made.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from time import perf_counter
from typing import Any

import xarray as xr

from lazyrich.sweeps.describe.experiment import Experiment
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.store.codec import Packed, encode

LONGEST_SENTENCE = 300  # characters of an exception's message; all of it is in the traceback

_one_at_a_time = Lock()  # experiments own the process: PyTorch's generator, its number of threads


def pack(experiments: Sequence[Experiment]) -> bytes:
    """Experiments as the argument of `run_packed`."""
    return pickle.dumps(tuple(experiments))


def run_packed(experiments: bytes, attempt: int) -> list[Packed]:
    """Run packed experiments; more than one are trained together.

    Args:
        experiments: from `pack`.
        attempt: how often this call was made before; for executors that remember what they called.

    Returns:
        One packed result per experiment, in their order.
    """
    with _one_at_a_time:
        results = run(pickle.loads(experiments))
    return [_packed(result) for result in results]


def run(experiments: Sequence[Experiment]) -> list[Result]:
    """Run experiments, several of them by their class's `run_together`.

    If that raises, each is run alone, so that only those that fail by themselves are failures.

    Args:
        experiments: of one class.

    Returns:
        One result per experiment; `seconds` is the time that it took, of a group the equal share.

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
        >>> [result.sentence for result in run([Root(value=4.0)])]
        ['one root']
        >>> [result.sentence for result in run([Root(value=0.0)])]
        ['ZeroDivisionError: 0.0 cannot be raised to a negative power']
    """
    start = perf_counter()
    if len(experiments) > 1:
        together: Any = type(experiments[0])
        try:
            results = _checked(list(together.run_together(experiments)), experiments)
        except Exception:
            results = [_alone(experiment) for experiment in experiments]
    else:
        results = [_alone(experiment) for experiment in experiments]
    seconds = (perf_counter() - start) / max(1, len(experiments))
    return [replace(result, seconds=result.seconds or seconds) for result in results]


def failed(sentence: str, trace: str = "") -> Result:
    """The result of a point that has none.

    Example:
        >>> failed("no memory").status
        'failed'
    """
    return Result(status="failed", sentence=sentence, data=xr.Dataset(), traceback=trace)


def _alone(experiment: Experiment) -> Result:
    try:
        return _checked([experiment.run()], [experiment])[0]
    except (Exception, SystemExit) as error:
        sentence = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return failed(sentence[:LONGEST_SENTENCE], traceback.format_exc())


def _checked(results: list[Result], experiments: Sequence[Experiment]) -> list[Result]:
    kind = type(experiments[0]).__name__
    if len(results) != len(experiments):
        raise TypeError(f"{kind}.run_together returned {len(results)} of {len(experiments)}")
    for result in results:
        if not isinstance(result, Result):
            raise TypeError(f"{kind} must return a Result, got {type(result).__name__}")
    return results


def _packed(result: Result) -> Packed:
    try:
        return encode(result)
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        return encode(failed(f"its result cannot be stored: {error}", trace))
