"""Solve, measure, forecast and steer feature learning in neural networks.

The public names load on first use: `import lazyrich` alone costs nothing and needs no extra.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "PRESETS": "lazyrich.phases.presets",
    "CentredOutput": "lazyrich.probe.steer.centred",
    "ConvergenceError": "lazyrich._errors",
    "GramState": "lazyrich.theory.two_layer_linear.state",
    "InputError": "lazyrich._errors",
    "LazyRichError": "lazyrich._errors",
    "LineData": "lazyrich.theory.two_layer_linear.data",
    "LineState": "lazyrich.theory.two_layer_linear.state",
    "LinearNetwork": "lazyrich.theory.two_layer_linear.network",
    "MissingExtraError": "lazyrich._errors",
    "MomentData": "lazyrich.theory.two_layer_linear.data",
    "NotFiniteError": "lazyrich._errors",
    "Power": "lazyrich.phases.scaling",
    "Probe": "lazyrich.probe.probe",
    "ScalingLaw": "lazyrich.phases.scaling",
    "StoreError": "lazyrich._errors",
    "Study": "lazyrich.sweeps.describe.description",
    "Thresholds": "lazyrich.probe.verdict",
    "WorkerError": "lazyrich._errors",
    "at": "lazyrich.probe.schedule",
    "coordinate_check": "lazyrich.probe.steer.coordinate",
    "descent": "lazyrich.theory.two_layer_linear.descent",
    "dial": "lazyrich.probe.steer.dial",
    "every": "lazyrich.probe.schedule",
    "exponent_diagram": "lazyrich.phases.diagram",
    "fit_exponent": "lazyrich.numerics.ladder",
    "fitted_phase": "lazyrich.numerics.ladder",
    "flow": "lazyrich.theory.two_layer_linear.flow",
    "forecast": "lazyrich.probe.forecast.forecast",
    "initial_cnfa": "lazyrich.probe.initial",
    "learning_time": "lazyrich.theory.two_layer_linear.flow",
    "log_spaced": "lazyrich.probe.schedule",
    "mechanisms": "lazyrich.phases.mechanisms",
    "neurons": "lazyrich.theory.two_layer_linear.neurons",
    "nfa": "lazyrich.probe.oneshot",
    "ntk": "lazyrich.probe.oneshot",
    "optim": "lazyrich.optim",
    "order_parameters": "lazyrich.phases.order",
    "parameter_diagram": "lazyrich.phases.diagram",
    "plot": "lazyrich.plot",
    "quadratic_network_prediction": "lazyrich.theory.quadratic_start",
    "results": "lazyrich.sweeps.store.results",
    "richness": "lazyrich.probe.forecast.forecast",
    "study": "lazyrich.study",
    "sweep": "lazyrich.sweeps.run.sweep",
    "write_report": "lazyrich.report.write",
}

__all__ = [
    "PRESETS",
    "CentredOutput",
    "ConvergenceError",
    "GramState",
    "InputError",
    "LazyRichError",
    "LineData",
    "LineState",
    "LinearNetwork",
    "MissingExtraError",
    "MomentData",
    "NotFiniteError",
    "Power",
    "Probe",
    "ScalingLaw",
    "StoreError",
    "Study",
    "Thresholds",
    "WorkerError",
    "__version__",
    "at",
    "coordinate_check",
    "descent",
    "dial",
    "every",
    "exponent_diagram",
    "fit_exponent",
    "fitted_phase",
    "flow",
    "forecast",
    "initial_cnfa",
    "learning_time",
    "log_spaced",
    "mechanisms",
    "neurons",
    "nfa",
    "ntk",
    "optim",
    "order_parameters",
    "parameter_diagram",
    "plot",
    "quadratic_network_prediction",
    "results",
    "richness",
    "study",
    "sweep",
    "write_report",
]

if TYPE_CHECKING:
    from lazyrich import optim, plot, study
    from lazyrich._errors import (
        ConvergenceError,
        InputError,
        LazyRichError,
        MissingExtraError,
        NotFiniteError,
        StoreError,
        WorkerError,
    )
    from lazyrich.numerics.ladder import fit_exponent, fitted_phase
    from lazyrich.phases.diagram import exponent_diagram, parameter_diagram
    from lazyrich.phases.mechanisms import mechanisms
    from lazyrich.phases.order import order_parameters
    from lazyrich.phases.presets import PRESETS
    from lazyrich.phases.scaling import Power, ScalingLaw
    from lazyrich.probe.forecast.forecast import forecast, richness
    from lazyrich.probe.initial import initial_cnfa
    from lazyrich.probe.oneshot import nfa, ntk
    from lazyrich.probe.probe import Probe
    from lazyrich.probe.schedule import at, every, log_spaced
    from lazyrich.probe.steer.centred import CentredOutput
    from lazyrich.probe.steer.coordinate import coordinate_check
    from lazyrich.probe.steer.dial import dial
    from lazyrich.probe.verdict import Thresholds
    from lazyrich.report.write import write_report
    from lazyrich.sweeps.describe.description import Study
    from lazyrich.sweeps.run.sweep import sweep
    from lazyrich.sweeps.store.results import results
    from lazyrich.theory.quadratic_start import quadratic_network_prediction
    from lazyrich.theory.two_layer_linear.data import LineData, MomentData
    from lazyrich.theory.two_layer_linear.descent import descent
    from lazyrich.theory.two_layer_linear.flow import flow, learning_time
    from lazyrich.theory.two_layer_linear.network import LinearNetwork
    from lazyrich.theory.two_layer_linear.neurons import neurons
    from lazyrich.theory.two_layer_linear.state import GramState, LineState


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOME:
        raise AttributeError(f"module 'lazyrich' has no attribute {name!r}")
    try:
        home = import_module(_HOME[name])
        return home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from lazyrich._errors import MissingExtraError

        raise MissingExtraError("PyTorch", "torch") from error


def __dir__() -> list[str]:
    return __all__
