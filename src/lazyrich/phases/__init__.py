"""Phases, order parameters, mechanisms and phase diagrams of the exact theory.

What users call is in `lazyrich`; here is what it is made from and what it returns.
"""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
