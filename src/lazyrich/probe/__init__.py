"""Probe: looking into a PyTorch network without changing it.

A capture is one forward pass with hooks that are gone when it ends; observables share it and its
backward passes. What users call is in `lazyrich`; here is what it returns.
"""

from lazyrich._public import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
