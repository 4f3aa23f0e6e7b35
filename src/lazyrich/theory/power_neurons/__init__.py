"""Neurons of power β on a line: at any width one scalar equation."""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
