"""Where, and how exactly, the steps of a study are made: how it runs, not what it is.

Device and precision are no fields of an experiment, so that a study that was begun on one machine
goes on on another. They stand in two variables of the environment, which the processes of a sweep
inherit; every result says what it was computed on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch

from lazyrich._errors import InputError
from lazyrich.capture.arithmetic import exact_arithmetic, tf32

DEVICE, PRECISION = "LAZYRICH_DEVICE", "LAZYRICH_PRECISION"
Precision: TypeAlias = Literal["full", "tf32", "bfloat16-mixed"]
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """A device and a precision.

    Attributes:
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, or `"auto"`: CUDA where there is some, else the CPU.
        precision: precision of training steps; whatever is measured is measured in the precision of
            the weights. `"full"` is that of the weights too; `"tf32"` rounds the factors of float32
            products to 10 bits, where a CUDA device does so; `"bfloat16-mixed"` makes forward
            passes in bfloat16 where PyTorch's autocast does, on float32 weights.

    Raises:
        InputError: another precision, or a device that is not here.

    Example:
        >>> Compute(device="cpu").environment
        {'LAZYRICH_DEVICE': 'cpu', 'LAZYRICH_PRECISION': 'full'}
        >>> Compute(device="gpu")
        Traceback (most recent call last):
        ...
        lazyrich.InputError: `device` must be auto, cpu, cuda or cuda:N, got 'gpu'. 'auto' takes a
        GPU where there is one.
    """

    device: str = "cpu"
    precision: Precision = "full"

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise InputError(
                f"`precision` must be one of {', '.join(get_args(Precision))}, got "
                f"{self.precision!r}. 'full' is right where speed does not matter."
            )
        _ = self.torch_device

    @property
    def torch_device(self) -> torch.device:
        """The device itself."""
        if self.device == "auto":
            return torch.device("cuda", 0) if torch.cuda.is_available() else CPU
        return _found(self.device)

    @property
    def environment(self) -> dict[str, str]:
        """The same as variables of the environment, as `sweep` takes them."""
        return {DEVICE: self.device, PRECISION: self.precision}

    @classmethod
    def chosen(cls, device: str | None = None, precision: str | None = None) -> Compute:
        """What is asked for, else what the environment names, else the CPU and full precision.

        Args:
            device: device, as the attribute; None to leave it to LAZYRICH_DEVICE.
            precision: precision, as the attribute; None to leave it to LAZYRICH_PRECISION.

        Raises:
            InputError: it is not here.
        """
        return cls(
            device=device or os.environ.get(DEVICE) or "cpu",
            precision=precision or os.environ.get(PRECISION) or "full",  # type: ignore[arg-type]
        )

    @contextmanager
    def applied(self) -> Iterator[Compute]:
        """Products of float32 have this precision meanwhile."""
        with tf32(True) if self.precision == "tf32" else exact_arithmetic():
            yield self

    @property
    def mixed(self) -> bool:
        """Whether forward passes are made in bfloat16."""
        return self.precision == "bfloat16-mixed"

    def __str__(self) -> str:
        device = self.torch_device
        card = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
        return f"{device.type}{card}, {self.precision}"


@contextmanager
def computing() -> Iterator[Compute]:
    """The device and the precision that the environment names, for the run of one point.

    Yields:
        Both. Products of float32 have that precision meanwhile.

    Raises:
        InputError: the environment names what is not here.

    Example:
        >>> with computing() as compute:
        ...     print(compute)
        cpu, full
    """
    with Compute.chosen().applied() as compute:
        yield compute


def autocast(device: torch.device, mixed: bool) -> AbstractContextManager[Any]:
    """Forward passes in bfloat16, or nothing.

    The casts of weights are not kept, since `torch.func` would mistake them for constants.

    Args:
        device: device of the model.
        mixed: whether they are.
    """
    if not mixed:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def _found(name: str) -> torch.device:
    """A device by its name, if it is here and can do what is asked of it."""
    try:
        device = torch.device(name)
        module: Any = None if device.type == "cpu" else torch.get_device_module(device)
    except RuntimeError:
        raise InputError(
            f"`device` must be auto, cpu, cuda or cuda:N, got {name!r}. 'auto' "
            "takes a GPU where there is one."
        ) from None
    if module is None:
        return CPU
    if device.type == "mps":
        raise InputError(
            "`device` must have numbers of double precision, in which measuring sums, got 'mps', "
            "which has none. Take cpu."
        )
    count = module.device_count() if module.is_available() else 0
    if not count:
        why = "this machine has none that PyTorch can use"
        if device.type == "cuda" and torch.version.cuda is None and torch.version.hip is None:
            why = "this PyTorch is built without CUDA"
        raise InputError(f"`device` must be a device that is here, got {name!r}: {why}. Take cpu.")
    if (device.index or 0) >= count:
        raise InputError(
            f"`device` must be one of {device.type}:0 to {device.type}:{count - 1}, got {name!r}. "
            f"{device.type} alone takes the first."
        )
    return torch.device(device.type, device.index or 0)
