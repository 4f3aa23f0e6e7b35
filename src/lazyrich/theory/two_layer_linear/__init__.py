"""The two-layer linear network `f(x) = γ U W x`, solved at any width (arXiv:2401.07085)."""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
