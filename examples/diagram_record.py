"""What a record of a measured diagram says beside its numbers."""

from __future__ import annotations

import json
import os
import platform
import resource
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import lazyrich as lr


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
    worked = resource.getrusage(resource.RUSAGE_CHILDREN)
    names, counts = np.unique(data.status.values, return_counts=True)
    return {
        "command": command,
        "networks": int((data.status != "").sum()),
        "status": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "seeds": data.seed.values.tolist(),
        "seconds": round(seconds, 1),
        "worker_seconds": round(float(data.seconds.sum()), 1),
        "processor_seconds": round(worked.ru_utime + worked.ru_stime, 1),
        "processors": os.cpu_count(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
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
