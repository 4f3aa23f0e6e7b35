"""Optimisers that steer which layer learns features."""

from lazyrich._public import extras_named

with extras_named():  # PyTorch first: it is what a plain install lacks
    import torch  # noqa: F401

    # isort: split
    import jaxtyping  # noqa: F401

from lazyrich.optim.speed_limited import SpeedLimited

__all__ = ["SpeedLimited"]


def __dir__() -> list[str]:
    return __all__
