"""Goal: the store takes 500 durable points a second and more.

A typical result: 10 variables of 20 times and 3 layers (float64), two coordinates, attributes. Each
point is on the disk when `write` returns. Written one at a time, in groups of 32 as a sweep does
when workers are fast, and beside it what the disk itself can do: one append and fsync after the
other. Routes take turns. The store is made in the current folder, so that its disk is measured.

    python bench/store.py                  # print the table
    python bench/store.py --record FILE    # also write it (FILE.json, FILE.md)
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import xarray as xr
from timing import Row, markdown, row, write_record

import lazyrich
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.store.codec import decode, encode
from lazyrich.sweeps.store.store import Store

ROUNDS = 5
GROUP = 32
STUDY = Study(name="bench", experiment="lazyrich.sweeps:Decay", seeds=100_000)


def result() -> Result:
    """A typical one."""
    rng = np.random.default_rng(0)
    attributes = {"long_name": "a quantity", "units": "1", "references": "arXiv:2402.05271"}
    data = {
        f"quantity_{number}": (("step", "layer"), rng.normal(size=(20, 3)), attributes)
        for number in range(10)
    }
    labels = {"step": np.arange(20), "layer": ["first", "second", "third"]}
    return Result(status="finished", sentence="100 steps", data=xr.Dataset(data, labels))


@contextmanager
def writer(group: int) -> Iterator[Callable[[int], None]]:
    """Writes points in groups to a store."""
    one, points = result(), STUDY.points()
    with TemporaryDirectory(dir=".") as folder, Store.open(folder, STUDY) as store:

        def write(count: int) -> None:
            for _ in range(count // group):
                store.write((point, one) for point in islice(points, group))

        yield write


@contextmanager
def appender() -> Iterator[Callable[[int], None]]:
    """Appends as many bytes as a point has, and waits for the disk."""
    packed = encode(result())
    block = packed.header + packed.payload
    with TemporaryDirectory(dir=".") as folder, (Path(folder) / "file").open("ab", 0) as file:

        def append(points: int) -> None:
            for _ in range(points):
                file.write(block)
                os.fsync(file.fileno())

        yield append


def seconds(work: Callable[[int], None], points: int) -> float:
    """Per point."""
    start = perf_counter()
    work(points)
    return (perf_counter() - start) / points


def measure() -> list[Row]:
    """All rows."""
    point = result()
    packed = encode(point)
    size = len(packed.header) + len(packed.payload)
    plans = {"one": 64, "group": 32 * GROUP, "disk": 64, "encode": 256, "decode": 128}
    found: dict[str, list[float]] = {name: [] for name in plans}
    with writer(1) as one, writer(GROUP) as group, appender() as disk:
        routes: dict[str, Callable[[int], None]] = {
            "one": one,
            "group": group,
            "disk": disk,
            "encode": lambda points: [encode(point) for _ in range(points)] and None,
            "decode": lambda points: [decode(packed) for _ in range(points)] and None,
        }
        for turn in range(ROUNDS + 1):
            for name, points in plans.items():
                spent = seconds(routes[name], points)
                if turn:  # the first one warms up
                    found[name].append(spent)
    return [
        row(
            f"groups of {GROUP}, a point", found["group"], goal="< 2 ms", note=rate(found["group"])
        ),
        row("one at a time, a point", found["one"], note=rate(found["one"])),
        row("append and fsync, no store", found["disk"], note=rate(found["disk"])),
        row("result to bytes", found["encode"], note=f"{size} bytes"),
        row("bytes to result", found["decode"]),
    ]


def rate(spent: list[float]) -> str:
    """Points a second, in the median round."""
    return f"{1 / float(np.median(spent)):.0f} a second"


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", type=Path)
    record = parser.parse_args().record
    before = os.getloadavg()
    rows = measure()
    print(markdown(rows))
    setting = {
        "goal": __doc__.splitlines()[0].removeprefix("Goal: "),
        "command": " ".join(["python", *sys.argv]),
        "rounds": ROUNDS,
        "load": {"before": before, "after": os.getloadavg()},
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "versions": {
            "lazyrich": lazyrich.__version__,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "xarray": xr.__version__,
        },
        "rows_are": "seconds a point",
    }
    if record is not None:
        write_record(record, setting, rows)


if __name__ == "__main__":
    main()
