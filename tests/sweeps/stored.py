"""Results to store, and a process that stores them until it is killed.

python -m tests.sweeps.stored FOLDER    # a line of stdin starts a writer, its end ends all
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from itertools import count

import numpy as np
import xarray as xr

from lazyrich.sweeps.describe.description import Point, Study
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.store.codec import encode
from lazyrich.sweeps.store.store import Store

STUDY = Study(name="stored", experiment="lazyrich.sweeps:Decay", seeds=10_000)
GROUPS = (1, 1, 3, 8)  # points that are written together, in turn


def point(number: int) -> Point:
    return STUDY._grid.point((), number)


def key(number: int) -> str:
    return point(number).key


def pairs(numbers: Iterable[int]) -> list[tuple[Point, Result]]:
    return [(point(number), result(number)) for number in numbers]


def result(number: int) -> Result:
    rng = np.random.default_rng(number)
    data = xr.Dataset(
        {
            "loss": (("step", "layer"), rng.normal(size=(20, 3)), {"units": "1"}),
            "raw": ("step", np.frombuffer(rng.bytes(160), "f8")),
        },
        {"layer": ["a", "b", "c"], "step": np.arange(20)},
    )
    status = ("finished", "diverged", "failed")[number % 3]
    return Result(status=status, sentence=f"point {number}", data=data, traceback="t", seconds=0.5)


def same(one: Result, two: Result) -> bool:
    """Whether two results are the same bit for bit."""
    texts = ("status", "sentence", "traceback", "seconds")
    return (
        all(getattr(one, name) == getattr(two, name) for name in texts)
        and repr(one.data.attrs) == repr(two.data.attrs)
        and list(one.data.coords) == list(two.data.coords)
        and list(one.data.variables) == list(two.data.variables)
        and all(_same(v, two.data.variables[k]) for k, v in one.data.variables.items())
    )


def _same(one: xr.Variable, two: xr.Variable) -> bool:
    a, b = one.values, two.values
    plain = a.tolist() == b.tolist() if a.dtype.hasobject else a.tobytes() == b.tobytes()
    return (
        one.dims == two.dims
        and (a.dtype, a.shape) == (b.dtype, b.shape)
        and repr(one.attrs) == repr(two.attrs)
        and plain
    )


def write_for_ever(folder: str) -> None:
    with Store.open(folder, STUDY) as store:
        done = len(store.keys())
        tell("open")
        for turn in count():
            group = range(done, done + GROUPS[turn % len(GROUPS)])
            store.write(pairs(group))
            done = group.stop
            tell(done)


def tell(what: object) -> None:
    """A line in one piece: no kill falls between it and its end, as it can within `print`."""
    os.write(sys.stdout.fileno(), f"{what}\n".encode())


def main() -> None:
    encode(result(0))  # what is slow the first time
    tell("ready")
    for _ in sys.stdin:
        gate, opener = os.pipe()
        child = os.fork()
        if not child:
            signal.alarm(60)  # whatever happens to the test
            os.read(gate, 1)
            write_for_ever(sys.argv[1])
        tell(f"process {child}")
        os.write(opener, b"x")
        os.waitpid(child, 0)
        tell("dead")


if __name__ == "__main__":
    main()
