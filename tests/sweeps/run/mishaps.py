"""An experiment that does to its process what experiments should not do."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import xarray as xr

from lazyrich.sweeps.result import Result

LEAKED: list[int] = []  # stands for memory that a point has taken and not given back
KEPT: list[bytearray] = []


class NeedsTwoError(Exception):
    """Cannot be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


class HoldsThreadError(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("with a lock")
        self.lock = threading.Lock()


class SilentError(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


RAISED = {
    "cancelled": asyncio.CancelledError("of the point"),
    "interrupt": KeyboardInterrupt("of the point"),
    "generator": GeneratorExit("of the point"),
    "base": BaseException("of the point"),
    "exit": SystemExit(0),
    "not unpicklable": NeedsTwoError("one", "two"),
    "not picklable": HoldsThreadError(),
    "not shown": SilentError(),
}


@dataclass(frozen=True, kw_only=True)
class Mishap:
    """Does what its field says, and returns what it found."""

    what: str = "finish"
    mark: str = ""  # start of the names of files
    seconds: float = 0.0
    seed: int = 0

    def run(self) -> Result:
        found = {
            "seed_seen": self.seed,
            "pid": os.getpid(),
            "folder": str(Path().absolute()),
            "omp": os.environ.get("OMP_NUM_THREADS", ""),
        }
        if LEAKED:
            raise MemoryError("nothing left")
        time.sleep(self.seconds)
        if self.what in RAISED:
            raise RAISED[self.what]
        if self.what != "finish":
            getattr(self, self.what.replace(" ", "_"))()
        return Result(status="finished", sentence=self.what, data=xr.Dataset(found))

    @classmethod
    def run_together(cls, points: Sequence[Mishap]) -> list[Result]:
        return [point.run() for point in points]

    def fork(self) -> None:
        """Its child returns before it."""
        child = os.fork()
        if child == 0:
            object.__setattr__(self, "what", "child")
        else:
            os.waitpid(child, 0)

    def fork_and_raise(self) -> None:
        child = os.fork()
        if child == 0:
            raise ValueError("in the child")
        os.waitpid(child, 0)

    def fork_and_go_on(self) -> None:
        """Its child returns after it."""
        if os.fork() == 0:
            time.sleep(0.05)
            object.__setattr__(self, "what", "child")

    def hold(self) -> NoReturn:
        """It dies while its child lives, which C code has forked."""
        child = ctypes.CDLL(None).fork() if "C" in self.mark else os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def leak(self) -> NoReturn:
        LEAKED.append(1)
        raise MemoryError("too much")

    def leak_quietly(self) -> None:
        LEAKED.append(1)

    def hog(self) -> NoReturn:
        """Takes all that a limit allows, to the last kilobyte, and keeps it."""
        import resource

        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 100_000_000, resource.RLIM_INFINITY))
        while True:
            KEPT.append(bytearray(1_000_000 if len(KEPT) < 90 else 1000))

    def too_large(self) -> NoReturn:
        Path(f"{self.mark}-{os.getpid()}-{time.time()}").touch()
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 EB")

    def leave(self) -> NoReturn:
        os._exit(0)

    def rare_signal(self) -> None:
        signal.raise_signal(signal.SIGRTMIN + 1)

    def close(self) -> None:
        os.closerange(3, 256)

    def wander(self) -> None:
        os.chdir("/")
        os.environ["OMP_NUM_THREADS"] = "7"

    def chatter(self) -> None:
        for _ in range(20_000):
            print("x" * 100)
            print("y" * 100, file=sys.stderr)

    def handle(self) -> None:
        """Its process shall not end by Ctrl-C, SIGTERM or by its own thread."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        threading.Thread(target=time.sleep, args=(1000,)).start()

    def two_ctrl_c(self) -> None:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
