"""What the scripts of measured diagrams share: their command line, and their records."""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import lazyrich as lr
from lazyrich import Study


def from_command_line(script: str, describe: str) -> tuple[Study, Path, int | None]:
    """The study beside a script, the folder to write and the number of workers.

    Args:
        script: path of the script; its study has the same name.
        describe: its docstring.
    """
    path = Path(script)
    name = path.stem.replace("_", "-")
    parser = argparse.ArgumentParser(description=describe.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(name), help="folder to write")
    parser.add_argument("--workers", type=int, help="processes; one per processor")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    return Study.from_toml(path.with_suffix(".toml")), arguments.out, arguments.workers


def record(
    command: str, data: xr.Dataset, seconds: float, numbers: dict[str, Any]
) -> dict[str, Any]:
    """The numbers with what is needed to repeat them, and how long it took.

    `seconds` are by the clock, `worker_seconds` those of all workers, `processor_seconds` what they
    computed of that: on a machine that does nothing else the three tell the same story.

    Args:
        command: that makes the diagram.
        data: of the study.
        seconds: of the sweep, by the clock.
        numbers: what was found.
    """
    worked = os.times()
    loads = os.getloadavg() if hasattr(os, "getloadavg") else ()  # Windows has none
    names, counts = np.unique(data.status.values, return_counts=True)
    return {
        "command": command,
        "networks": int((data.status != "").sum()),
        "status": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "seeds": data.seed.values.tolist(),
        "seconds": round(seconds, 1),
        "worker_seconds": round(float(data.seconds.sum()), 1),
        "processor_seconds": round(worked.children_user + worked.children_system, 1),
        "processors": os.cpu_count(),
        "load_average": [round(load, 1) for load in loads],
        "versions": {
            "lazyrich": lr.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        **numbers,
    }


def write(record: dict[str, Any], target: Path) -> None:
    """As JSON, with numbers of four digits."""
    target.write_text(json.dumps(_rounded(record), indent=1) + "\n")


def _rounded(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value
