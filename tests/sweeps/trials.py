"""Experiments to describe studies with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lazyrich.sweeps.result import Result


@dataclass(frozen=True, kw_only=True)
class Trial:
    width: int = 64
    rate: float = 0.1
    stop: float | None = None
    lr: float | Literal["largest-stable"] = 1.0
    bias: bool = False
    loss: Literal["mse", "cross_entropy"] = "mse"
    scales: tuple[float, ...] = (1,)
    pair: tuple[int, str] = (1, "a")
    names: Sequence[str] = ()
    levels: list[int] = field(default_factory=list)
    options: Mapping[str, object] = field(default_factory=dict)
    other: Any = None
    seed: int

    def __post_init__(self) -> None:
        if self.rate * self.width > 1000:
            raise ValueError("rate times width is above 1000.")

    def run(self) -> Result:
        return Result(status="finished", sentence=repr(self))


@dataclass(frozen=True, kw_only=True)
class Needy:
    depth: int
    seed: int

    def run(self) -> Result:
        return Result(status="finished", sentence="")


@dataclass
class Thawed:
    seed: int = 0

    def run(self) -> Result:
        return Result(status="finished", sentence="")


@dataclass(frozen=True)
class Still:
    seed: int = 0


@dataclass(frozen=True)
class Seedless:
    def run(self) -> Result:
        return Result(status="finished", sentence="")


@dataclass(frozen=True)
class Ghostly:
    where: Nowhere  # a name that is nowhere
    seed: int = 0

    def run(self) -> Result:
        return Result(status="finished", sentence="")


@dataclass(frozen=True)
class Odd:
    where: complex = 0
    seed: int = 0

    def run(self) -> Result:
        return Result(status="finished", sentence="")


class Outer:
    @dataclass(frozen=True)
    class Inner:
        seed: int = 0

        def run(self) -> Result:
            return Result(status="finished", sentence="")
