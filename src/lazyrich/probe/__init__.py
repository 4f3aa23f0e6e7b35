"""Probe: looking into somebody's PyTorch network without changing it.

A capture is one forward pass with hooks that are gone when it ends; observables share it and its
backward passes. `Probe` watches a training loop; `ntk` and `nfa` are the one-shot functions for
people who want one number.
"""

from lazyrich.capture.capture import Capture, Layer, capture
from lazyrich.capture.jacobian import jacobian_factors
from lazyrich.numerics.windows import Window
from lazyrich.probe.oneshot import nfa, ntk
from lazyrich.probe.probe import Probe
from lazyrich.probe.verdict import LayerVerdict, Thresholds, Verdict, judge

__all__ = [
    "Capture",
    "Layer",
    "LayerVerdict",
    "Probe",
    "Thresholds",
    "Verdict",
    "Window",
    "capture",
    "jacobian_factors",
    "judge",
    "nfa",
    "ntk",
]
