"""What the scripts of related systems share: what is said of a probe, a command line, a record.

A script has a claim as the first paragraph of its docstring, `run(seed, size)`, which returns the
numbers, words and curves of one seed, and `draw(record, axes)`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes

import lazyrich as lr
from lazyrich import plot
from lazyrich.probe import judge

Size = Literal["smoke", "full"]
Value = float | str | list[float]
Run = dict[str, Value]
Draw = Callable[[Mapping[str, Any], Sequence[Axes]], object]
SEEDS = 5


def told(probe: lr.Probe, prefix: str = "") -> Run:
    """What the probe says of a run, the forecast beside it if there was one.

    Args:
        probe: that has watched.
        prefix: of the names, to tell variants apart.
    """
    verdict, foretold = probe.verdict(), probe.forecasted
    acted = {x.name or "network": [w.mechanism for w in x.mechanisms] for x in verdict.layers}
    found: Run = {
        "regime": str(verdict.regime),
        "ntk_change": verdict.evidence["ntk_change"],
        "centred_kernel_distance": verdict.evidence["centred_kernel_distance"],
        "linearisation_error": verdict.evidence["linearisation_error"],
        "mechanisms": "; ".join(f"{name}: {', '.join(m) or 'none'}" for name, m in acted.items()),
    }
    if foretold:
        found |= {
            "forecast_regime": str(foretold.regime),
            "forecast_steps": float(foretold.network.steps),
            "forecast_ntk_change": foretold.predicted_ntk_change,
            "certificate": str(foretold.certificate),
            "richness": foretold.richness,
        }
    return {prefix + name: value for name, value in found.items()}


def regimes(history: xr.Dataset) -> list[str]:
    """The verdict as it would have been at each measurement."""
    steps = range(1, history.sizes["step"] + 1)
    return [str(judge(history.isel(step=slice(0, n))).regime) for n in steps]


def first(steps: Sequence[float], reached: Sequence[bool]) -> float:
    """The first step at which something is so; NaN if it never is."""
    return next((float(x) for x, yes in zip(steps, reached, strict=True) if yes), nan)


def mark(axes: Sequence[Axes], found: Mapping[str, Any]) -> None:
    """A line at a median that is there."""
    for ax in axes if found["median"] is not None else ():
        ax.axvline(found["median"], color="0.7", linestyle=":", zorder=0)


def main(script: str, claim: str, run: Callable[[int, Size], Run], draw: Draw) -> None:
    """Run all seeds; write `records/related-NAME.json`, its table beside it, and the picture.

    Args:
        script: path of the script.
        claim: its docstring.
        run: of a seed.
        draw: of the record, on two axes.
    """
    name = Path(script).stem
    parser = argparse.ArgumentParser(description=claim.partition("\n\n")[0])
    parser.add_argument("--smoke", action="store_true", help="one seed of a tiny size")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    parser.add_argument("--out", type=Path, default=Path("related"), help="folder to write")
    options = parser.parse_args()
    size: Size = "smoke" if options.smoke else "full"
    runs, seconds, start = [], [], process_time()
    for seed in range(1 if options.smoke else options.seeds):
        begun = perf_counter()
        runs.append(run(seed, size))
        seconds.append(perf_counter() - begun)
        print(f"seed {seed}: {seconds[-1]:.0f} s")
    record = recorded(name, claim, size, runs)
    record |= {"seconds": seconds, "processor_seconds": process_time() - start}
    record = _plain(record)
    for folder in ("records", "img"):
        (options.out / folder).mkdir(parents=True, exist_ok=True)
    target = options.out / "records" / f"related-{name}"
    target.with_suffix(".json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    target.with_suffix(".md").write_text(table(record))
    print(picture(record, draw, options.out / "img" / f"related-{name.replace('_', '-')}.png"))


def picture(record: Mapping[str, Any], draw: Draw, target: Path) -> Path:
    """Two panels of a record."""
    with plot.style():
        made = plot.figure(1, 2, width=4.4, height=3.2)
        draw(record, made.axes)
        return plot.save(made, target)


def recorded(name: str, claim: str, size: Size, runs: Sequence[Run]) -> dict[str, Any]:
    """All runs, their summary, and what is needed to repeat them."""
    return {
        "claim": " ".join(claim.partition("\n\n")[0].split()),
        "command": f"python examples/related/{name}.py --out docs --seeds {len(runs)}",
        "size": size,
        "seeds": list(range(len(runs))),
        "processors": os.cpu_count(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
        "versions": {
            "lazyrich": lr.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "summary": {key: summary([run[key] for run in runs]) for key in runs[0]},
        "runs": list(runs),
    }


def summary(values: Sequence[Any]) -> Any:  # noqa: ANN401 - of any kind of value
    """Counts of words, the median curve, or median, least and largest of numbers that are there."""
    if isinstance(values[0], str):
        return dict(Counter(values))
    if isinstance(values[0], list):
        return np.median(values, axis=0).tolist()
    there = [float(value) for value in values if isfinite(value)]
    parts = {"median": statistics.median, "min": min, "max": max}
    return {"n": len(there), **{x: part(there) if there else nan for x, part in parts.items()}}


def table(record: Mapping[str, Any]) -> str:
    """The summary in Markdown, without curves: a column a variant, median (least – largest)."""
    cells: dict[str, dict[str, str]] = {}
    for key, found in record["summary"].items():
        variant, _, quantity = key.rpartition("/")
        if isinstance(found, dict):
            cells.setdefault(quantity, {})[variant] = _cell(found, len(record["runs"]))
    variants = dict.fromkeys(variant for row in cells.values() for variant in row)
    heads = [_words(variant) or "median (least – largest)" for variant in variants]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(variants) + 1) + "|"]
    for quantity, row in cells.items():
        shown = [row.get(variant, row.get("", "")) for variant in variants]
        lines.append(f"| {_words(quantity)} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def _words(name: str) -> str:
    return name.replace("_", " ").replace("/", ", ").replace("ntk", "NTK")


def _cell(found: Mapping[str, Any], runs: int) -> str:
    if "median" not in found:
        said = sorted(found.items(), key=lambda pair: -pair[1])
        return said[0][0] if len(said) == 1 else "; ".join(f"{x} ({n} of {runs})" for x, n in said)
    if found["n"] == 0:
        return "none"
    if found["min"] == found["max"] and found["n"] == runs:
        return _shown(found["median"])
    few = "" if found["n"] == runs else f", {found['n']} of {runs} have one"
    return "{} ({} – {}{})".format(*(_shown(found[x]) for x in ("median", "min", "max")), few)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}".replace("-", "−")


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Numbers of four digits, and None for what is none."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
