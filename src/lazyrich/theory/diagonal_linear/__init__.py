"""Diagonal linear networks: where their flow ends, at any factors and from any start."""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
