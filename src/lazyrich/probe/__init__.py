"""Probe: looking into somebody's PyTorch network without changing it.

A capture is one forward pass with hooks that are gone when it ends; observables share it and its
backward passes. `ntk` and `nfa` are the one-shot functions for people who want one number.
"""

from lazyrich.probe.capture import Capture, Layer, capture
from lazyrich.probe.jacobian import jacobian_factors
from lazyrich.probe.oneshot import nfa, ntk

__all__ = ["Capture", "Layer", "capture", "jacobian_factors", "nfa", "ntk"]
