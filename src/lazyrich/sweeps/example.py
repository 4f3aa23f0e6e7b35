"""An experiment that is over at once, to try studies with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from lazyrich._errors import InputError
from lazyrich.sweeps.result import Result


@dataclass(frozen=True, kw_only=True)
class Decay:
    """Gradient descent of x²/2 from x = 1: x_t = (1 − rate)^t, with noise at the start.

    Attributes:
        rate: the learning rate, > 0.
        steps: how many.
        noise: standard deviation of what is added to the start.
        seed: seed of the noise.

    Raises:
        InputError: if the rate is not positive.

    Example:
        >>> result = Decay(rate=0.5, steps=2).run()
        >>> result.status, result.data.x.values
        ('finished', array([1.  , 0.5 , 0.25]))
        >>> Decay(rate=3.0).run().sentence
        'diverged: |1 − rate| = 2 > 1'
    """

    rate: float = 0.1
    steps: int = 10
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise InputError(f"`rate` must be > 0, got {self.rate}. Give a learning rate.")

    def run(self) -> Result:
        """Descend."""
        start = 1 + self.noise * np.random.default_rng(self.seed).standard_normal()
        steps = np.arange(self.steps + 1)
        data = xr.Dataset({"x": ("step", start * (1 - self.rate) ** steps)}, {"step": steps})
        growth = abs(1 - self.rate)
        if growth > 1:
            sentence = f"diverged: |1 − rate| = {growth:.6g} > 1"
            return Result(status="diverged", sentence=sentence, data=data)
        return Result(status="finished", sentence=f"{self.steps} steps", data=data)


Decay.__module__ = "lazyrich.sweeps"  # from where users import it: part of the points' keys
