"""Figures from Datasets; needs the extra `lazyrich[plot]`.

Each function draws on Axes that it is given, or makes its own, and returns them.
"""

from lazyrich._public import extras_named

with extras_named():
    import matplotlib  # noqa: F401

from lazyrich.plot.diagram import phase_diagram
from lazyrich.plot.history import (
    feature_ansatz,
    forecast_and_outcome,
    kernel_motion,
    loss_curve,
    mechanism_shares,
    side_by_side,
)
from lazyrich.plot.ladder import feature_updates
from lazyrich.plot.legends import legend
from lazyrich.plot.measured import measured_map
from lazyrich.plot.mechanisms import mechanism_timeline
from lazyrich.plot.richness import richness_curve
from lazyrich.plot.style import figure, save, style
from lazyrich.plot.trajectory import trajectory

__all__ = [
    "feature_ansatz",
    "feature_updates",
    "figure",
    "forecast_and_outcome",
    "kernel_motion",
    "legend",
    "loss_curve",
    "measured_map",
    "mechanism_shares",
    "mechanism_timeline",
    "phase_diagram",
    "richness_curve",
    "save",
    "side_by_side",
    "style",
    "trajectory",
]


def __dir__() -> list[str]:
    return __all__
