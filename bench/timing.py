"""Rounds of measurements, and tables of them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

ROUNDS = 5
Row = dict[str, Any]


def timed(work: Callable[[], Any], *, repeat: int = 1) -> list[float]:
    """Seconds per call in each of some rounds, after one to warm up."""
    work()
    rounds = []
    for _ in range(ROUNDS):
        start = perf_counter()
        for _ in range(repeat):
            work()
        rounds.append((perf_counter() - start) / repeat)
    return rounds


def interleaved(
    routes: Mapping[str, Callable[[], Any]], count: int = ROUNDS
) -> dict[str, list[float]]:
    """The same for routes that take turns, so that their ratio outlives a change of the load."""
    for work in routes.values():
        work()
    rounds: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(count):
        for name, work in routes.items():
            start = perf_counter()
            work()
            rounds[name].append(perf_counter() - start)
    return rounds


def row(what: str, seconds: list[float], *, goal: str = "", note: str = "") -> Row:
    """One line of the table: median, fastest and slowest round; None for what did not run."""
    return {
        "what": what,
        "median": statistics.median(seconds) if seconds else None,
        "min": min(seconds, default=None),
        "max": max(seconds, default=None),
        "goal": goal,
        "note": note,
    }


def human(seconds: float | None) -> str:
    """Seconds in a readable unit."""
    if seconds is None:
        return "–"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def peak_bytes() -> int:
    """Peak resident size of this process, from where POSIX keeps it."""
    try:
        import resource
    except ImportError:
        sys.exit(
            "The peak of memory is read by `resource`, which only POSIX has. Run this on Linux."
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def need_linux(what: str) -> None:
    """End with a sentence where there is no `/proc`.

    Args:
        what: is read there.
    """
    if not Path("/proc/self/status").exists():
        sys.exit(f"{what} is read from /proc, which only Linux has. Run this on Linux.")


def markdown(rows: list[Row]) -> str:
    """The table."""
    lines = ["| what | median | min – max | goal | note |", "|---|---|---|---|---|"]
    for entry in rows:
        spread = f"{human(entry['min'])} – {human(entry['max'])}"
        cells = (entry["what"], human(entry["median"]), spread, entry["goal"], entry["note"])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def machine(*packages: str) -> dict[str, Any]:
    """What a record says of where it was made.

    Args:
        packages: whose versions count beside lazyrich's and Python's.
    """
    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("lazyrich", *packages)},
        },
    }


def write_record(target: Path, setting: Mapping[str, Any], rows: list[Row]) -> None:
    """Write the run beside its setting as JSON, and its table as Markdown."""
    target.parent.mkdir(parents=True, exist_ok=True)
    record = {**setting, "rows": rows}
    target.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    target.with_suffix(".md").write_text(markdown(rows))


def measure_parts(
    name: str,
    what: str,
    parts: Sequence[Callable[[], list[Row]]],
    packages: Sequence[str],
    setting: Mapping[str, Any] | None = None,
) -> None:
    """The command of a benchmark in parts: run all, print the table, record it if asked.

    Args:
        name: of the benchmark.
        what: it measures.
        parts: whose rows make the table.
        packages: see `machine`.
        setting: what else a record says.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--record", type=Path, help="file stem for .json and .md")
    target: Path | None = parser.parse_args().record
    rows: list[Row] = []
    for part in parts:
        print(f"{part.__name__} …", file=sys.stderr, flush=True)
        rows += part()
    print(markdown(rows))
    if target is not None:
        said = {"command": f"scripts/bench {name} --record {target}", "rounds": ROUNDS}
        write_record(target, said | dict(setting or {}) | machine(*packages), rows)
