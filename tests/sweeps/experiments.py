"""Small experiments that worker processes can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from lazyrich.sweeps.result import Result


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A random walk with drift, whose numbers depend on every bit of what came before."""

    drift: float = 0.0
    steps: int = 200
    seconds: float = 0.0
    seed: int = 0

    def run(self) -> Result:
        rng = np.random.default_rng(self.seed)
        x = np.zeros(8)
        path = []
        for _ in range(self.steps):
            x = np.tanh(1.1 * x + self.drift + rng.standard_normal(8))
            path.append(float(x @ x))
        time.sleep(self.seconds)
        data = xr.Dataset({"x": ("step", np.array(path)), "end": ("unit", x.astype(np.float32))})
        return Result(status="finished", sentence=f"{self.steps} steps", data=data)


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Gradient descent of two-layer linear networks, together or alone."""

    rate: float = 0.1
    scale: float = 1.0
    steps: int = 30
    seconds: float = 0.0
    seed: int = 0

    def run(self) -> Result:
        return self.run_together([self])[0]

    @classmethod
    def run_together(cls, points: Sequence[Descent]) -> list[Result]:
        draws = [np.random.default_rng(point.seed).standard_normal((2, 32)) for point in points]
        weights = np.stack(draws) * np.array([point.scale for point in points])[:, None, None]
        weights = weights.astype(np.float32)
        rate = np.array([[[point.rate]] for point in points], dtype=np.float32)
        losses = []
        for _ in range(points[0].steps):
            error = (weights[:, :1] * weights[:, 1:]).sum(-1, keepdims=True) / 32 - 1
            losses.append(error[:, 0] ** 2)
            weights = weights - rate * error * weights[:, ::-1]
        time.sleep(points[0].seconds)
        loss = np.concatenate(losses, axis=1)
        # marked, so that a test can tell one by one from together
        return [
            Result(
                status="finished" if np.isfinite(row).all() else "diverged",
                sentence=f"{len(points)} together",
                data=xr.Dataset({"loss": ("step", row)}),
            )
            for row in loss
        ]


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Does what its field says."""

    what: str = "finish"
    mark: str = ""  # start of the name of a file that has a line for each try
    seed: int = 0

    def run(self) -> Result:
        path = Path(f"{self.mark}-{self.what}-{self.seed}")
        first = not path.exists()
        if self.mark:
            with path.open("a") as file:
                file.write("tried\n")
        if self.what == "raise":
            raise ValueError("the first line\nand the second")
        if self.what == "exit":
            sys.exit("enough")
        if self.what == "return":
            return "nonsense"  # type: ignore[return-value]
        if self.what == "unpicklable":
            return Result(status="finished", sentence="", data=xr.Dataset(attrs={"f": lambda: 0}))
        if self.what == "die" or (self.what == "die once" and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "diverge":
            return Result(status="diverged", sentence="diverged at step 3")
        return Result(status="finished", sentence="done", data=xr.Dataset({"seed": self.seed}))


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a worker process looks like."""

    seed: int = 0

    def run(self) -> Result:
        import torch

        data = {
            "threads": torch.get_num_threads(),
            "omp": int(os.environ.get("OMP_NUM_THREADS", "0")),
            "ignores": int(signal.getsignal(signal.SIGINT) == signal.SIG_IGN),
            "pid": os.getpid(),
        }
        return Result(status="finished", sentence="looked", data=xr.Dataset(data))


@dataclass(frozen=True, kw_only=True)
class Half:
    """Fails together, and alone for odd seeds."""

    seed: int = 0

    def run(self) -> Result:
        if self.seed % 2:
            raise ArithmeticError(f"{self.seed} is odd")
        return Result(status="finished", sentence="even")

    @classmethod
    def run_together(cls, points: Sequence[Half]) -> list[Result]:
        raise RuntimeError("not together")


@dataclass(frozen=True, kw_only=True)
class Deadly:
    """Seed 1 kills its process, alone and in a group."""

    seed: int = 0

    def run(self) -> Result:
        return self.run_together([self])[0]

    @classmethod
    def run_together(cls, points: Sequence[Deadly]) -> list[Result]:
        if any(point.seed == 1 for point in points):
            os.kill(os.getpid(), signal.SIGKILL)
        return [Result(status="finished", sentence="alive") for _ in points]
