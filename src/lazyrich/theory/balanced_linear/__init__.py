"""λ-balanced two-layer linear networks on whitened data, solved in closed form."""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
