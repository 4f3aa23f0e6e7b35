"""Numerics that know neither theory nor PyTorch: exact sums, spacings, boundaries, windows."""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
