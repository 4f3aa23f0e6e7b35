"""Families of experiments: described as data, run anywhere, kept in a store.

Knows nothing of networks: an experiment is any frozen dataclass with a seed and a method `run`.
"""

from lazyrich.sweeps.example import Decay

__all__ = ["Decay"]
