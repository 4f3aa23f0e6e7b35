"""Families of experiments: described as data, run anywhere, kept in a store.

Knows nothing of networks: an experiment is any frozen dataclass with a seed and a method `run`.
"""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
