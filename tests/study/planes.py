"""An experiment whose order parameter is a formula of two axes."""

from dataclasses import dataclass
from typing import Any

import xarray as xr

from lazyrich.sweeps.result import Result


@dataclass(frozen=True, kw_only=True)
class Product:
    """The kernel changes by `x y` exactly; it diverges where x is above a limit."""

    x: float = 1.0
    y: float = 1.0
    width: int = 64
    limit: float = 1e9
    other: Any = None
    seed: int = 0

    def run(self):
        data = xr.Dataset({"ntk_change": ("step", [0.0, self.x * self.y])})
        status = "diverged" if self.x > self.limit else "finished"
        return Result(status=status, sentence="", data=data)
