"""Linearised Barlow Twins: self-supervised learning in steps, of a linear model or of a kernel."""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
