"""Optimisers that steer which layer learns features."""

from lazyrich.optim.speed_limited import SpeedLimited

__all__ = ["SpeedLimited"]
