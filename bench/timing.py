"""Rounds of measurements, and tables of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
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


def markdown(rows: list[Row]) -> str:
    """The table."""
    lines = ["| what | median | min – max | goal | note |", "|---|---|---|---|---|"]
    for entry in rows:
        spread = f"{human(entry['min'])} – {human(entry['max'])}"
        cells = (entry["what"], human(entry["median"]), spread, entry["goal"], entry["note"])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_record(target: Path, setting: Mapping[str, Any], rows: list[Row]) -> None:
    """Write the run beside its setting as JSON, and its table as Markdown."""
    target.parent.mkdir(parents=True, exist_ok=True)
    record = {**setting, "rows": rows}
    target.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    target.with_suffix(".md").write_text(markdown(rows))
