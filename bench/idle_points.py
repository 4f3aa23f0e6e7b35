"""Points that cost nothing or a given time, in a module that worker processes can import."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter, sleep

import numpy as np
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


@dataclass(frozen=True, kw_only=True)
class Marked:
    """Takes some seconds and returns what it is, and numbers that depend on all of it."""

    seconds: float = 0.02
    row: int = 0
    seed: int = 0

    def run(self) -> Result:
        """Sleep and draw."""
        sleep(self.seconds)
        draws = np.random.default_rng([self.row, self.seed]).standard_normal(64)
        data = xr.Dataset({"which": ("part", [self.row, self.seed]), "draws": ("draw", draws)})
        return Result(status="finished", sentence="marked", data=data)
