"""What one look at a network costs, in steps of its training, and what watching takes.

Goals: a look of the default observables ≤ 3 steps, at a peak of memory ≤ 1.3 × that of training;
watching every 50 steps ≤ 5 % of the time, and with nothing given ≤ 2 %. One thread. Steps and looks
are in processor time, and take turns; peaks are those of a process that returns what it frees. Of
networks whose steps take seconds, the share of looks every 50 steps follows from both times.

    python bench/looks.py                  # print the table
    python bench/looks.py --record FILE    # also write it (FILE.json, FILE.md)
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import torch
from timing import Row, machine, markdown, need_linux, row, write_record
from trained import CASES, Case

import lazyrich

ROUNDS = 3
TRIMMED = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
WATCHED: dict[str, dict[str, Any]] = {"every 50": {"when": 50}, "nothing given": {}}


def looked_at(case: Case) -> tuple[list[float], list[float]]:
    """Seconds of steps, and of the looks between them, after the first one."""
    model, batch, optimizer = case.build()
    probe = lazyrich.Probe(model, batch, case.loss)
    steps: list[float] = []
    looks: list[float] = []
    for i in range(ROUNDS + 2):
        start = process_time()
        case.step(model, batch, optimizer)
        steps.append(process_time() - start)
        start = process_time()
        probe.measure(i + 1, optimizer=optimizer)
        looks.append(process_time() - start)
    return steps[2:], looks[2:]


def shares(case: Case, options: dict[str, Any]) -> list[float]:
    """Share of the time that the probe says it took, in each of some runs."""
    found = []
    for _ in range(2):
        model, batch, optimizer = case.build()
        probe = lazyrich.Probe(model, batch, case.loss)
        with probe.watch(optimizer, **options):
            for _ in range(case.steps):
                case.step(model, batch, optimizer)
        found.append(probe.overhead)
    return found


def peaks(name: str) -> tuple[float, float]:
    """Bytes of a process that trains, and of one that trains and looks."""
    command = [sys.executable, __file__, "--peak", name]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **TRIMMED}
    )
    training, looking = map(float, done.stdout.split())
    return training, looking


def print_peaks(case: Case) -> None:
    """Of steps alone, then of a second look, which knows what the first one found."""
    model, batch, optimizer = case.build()
    case.step(model, batch, optimizer)
    training = _peak_of(lambda: case.step(model, batch, optimizer))
    probe = lazyrich.Probe(model, batch, case.loss)
    probe.measure(0, optimizer=optimizer)
    case.step(model, batch, optimizer)
    print(training, _peak_of(lambda: probe.measure(1, optimizer=optimizer)))


def _peak_of(work: Callable[[], object]) -> int:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    work()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) * 1024


def rows_of(name: str, case: Case) -> list[Row]:
    """The table's lines of one network."""
    steps, looks = looked_at(case)
    ratio = statistics.median(looks) / statistics.median(steps)
    training, looking = peaks(name)
    note = f"{ratio:.1f} steps; peak {looking / training:.2f} × that of training"
    found = [
        row(f"{name}: a training step", steps),
        row(f"{name}: a look", looks, goal="≤ 3 steps, ≤ 1.3 × peak", note=note)
        | {"steps": ratio, "peak": {"training": training, "looking": looking}},
    ]
    if not case.steps:
        note = f"{ratio / (50 + ratio):.1%} of the time, from both"
        return [*found, row(f"{name}: watched, every 50", [], goal="≤ 5 %", note=note)]
    for what, options in WATCHED.items():
        part = shares(case, options)
        goal = "≤ 5 %" if options else "≤ 2 %"
        note = f"{statistics.median(part):.1%} of the time, {case.steps} steps"
        found.append(row(f"{name}: watched, {what}", [], goal=goal, note=note) | {"shares": part})
    return found


def main() -> None:
    """Run everything, print the table, record it if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", type=Path, help="file stem for .json and .md")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    need_linux("The peak of memory of a look")
    torch.set_num_threads(1)
    if options.peak:
        print_peaks(CASES[options.peak])
        return
    load = os.getloadavg()
    rows: list[Row] = []
    for name, case in CASES.items():
        if options.only in name:
            print(f"{name} …", file=sys.stderr, flush=True)
            rows += rows_of(name, case)
    print(markdown(rows))
    if options.record:
        setting = {
            "command": "python bench/looks.py " + " ".join(sys.argv[1:]),
            "rounds": ROUNDS,
            "load": {"before": load, "after": os.getloadavg()},
            "threads": 1,
            **machine("torch"),
        }
        write_record(options.record, setting, rows)


if __name__ == "__main__":
    main()
