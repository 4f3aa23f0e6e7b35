"""The options that say where networks are trained and how exactly, for all commands that train."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from typer import Option

NAMES = ("LAZYRICH_DEVICE", "LAZYRICH_PRECISION")  # of `lazyrich.study.compute`, which needs torch

DeviceOption: TypeAlias = Annotated[
    str | None,
    Option(
        help="Where to train and measure: auto, cpu, cuda, cuda:1, …; else LAZYRICH_DEVICE, cpu.",
        metavar="DEVICE",
    ),
]
PrecisionOption: TypeAlias = Annotated[
    Literal["full", "tf32", "bfloat16-mixed"] | None,
    Option(
        help="Of training steps, measuring is exact; else LAZYRICH_PRECISION, full.",
        case_sensitive=False,
    ),
]


def environment_of(device: str | None, precision: str | None, *, here: bool) -> dict[str, str]:
    """What the points of a study are told; empty if nothing is asked for.

    Args:
        device: device of the option.
        precision: precision of the option.
        here: whether it is a device of this machine, which can be checked.

    Raises:
        InputError: it is not here.
    """
    asked = dict(zip(NAMES, (device, precision), strict=True))
    told = {name: value for name in NAMES if (value := asked[name] or os.environ.get(name))}
    if told and here:
        from lazyrich.study.compute import Compute

        return Compute.chosen(device, precision).environment
    return told


def elsewhere(environment: Mapping[str, str]) -> bool:
    """Whether points run on another device than the processor, which all processes then share.

    Args:
        environment: the result of `environment_of`, for this machine.
    """
    if not environment:
        return False
    from lazyrich.study.compute import Compute

    return Compute(device=environment[NAMES[0]]).torch_device.type != "cpu"
