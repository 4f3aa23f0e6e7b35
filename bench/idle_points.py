"""Points that cost nothing or a given time, in a module that worker processes can import."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import xarray as xr

from lazyrich.sweeps.result import Result


@dataclass(frozen=True, kw_only=True)
class Idle:
    """Computes for some seconds and returns four numbers; `row` makes it one of many."""

    seconds: float = 0.0
    row: int = 0
    seed: int = 0

    def run(self) -> Result:
        """Turn the wheel."""
        end = perf_counter() + self.seconds
        while perf_counter() < end:
            pass
        data = xr.Dataset({"x": ("layer", [0.0, 1.0, 2.0, 3.0])})
        return Result(status="finished", sentence="nothing to do", data=data)
