"""What a quantity, a parameter, a phase and a regime are called; what they mean."""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
