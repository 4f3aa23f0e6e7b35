"""The exact part: a two-layer linear network solved at any width, from its Gram matrix."""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
