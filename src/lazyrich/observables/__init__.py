"""Observables: pure functions of tensors that a probe has captured.

Nothing here knows a module or a hook. Kernels keep the precision of their input; correlations,
norms and differences are computed in float64, so that float32 networks lose nothing more.
"""

from lazyrich._public import extras_named

with extras_named():  # PyTorch first: it is what a plain install lacks
    import torch  # noqa: F401

    # isort: split
    import jaxtyping  # noqa: F401

from lazyrich.capture.kernel import (
    DenseFactor,
    OuterFactor,
    full_kernel,
    kernel,
    kernel_matvec,
    traced_kernel,
)
from lazyrich.capture.norms import LayerNorms, layer_norms
from lazyrich.capture.sampled_kernel import (
    Estimate,
    block_squares,
    change_interval,
    jackknife_error,
    pair_sums,
    rotation_interval,
    sampled_traces,
)
from lazyrich.capture.sketch import Sketch, sketch
from lazyrich.observables.ansatz import (
    agop,
    ansatz_correlation,
    centred_share,
    correlation_with_error,
    debiased_correlation,
    haar_null,
    nfm,
    ptk,
)
from lazyrich.observables.ansatz_sketch import Ansatz, ansatz_from_sketches
from lazyrich.observables.balance import alignment, imbalance
from lazyrich.observables.centred_kernel import centred_kernel_distance
from lazyrich.observables.cka import linear_cka
from lazyrich.observables.condensation import condensation
from lazyrich.observables.derivative_alignment import predicted_centred
from lazyrich.observables.fact import fact_correlation
from lazyrich.observables.kernel_change import (
    effective_rank,
    kernel_distance,
    relative_change,
    target_alignment,
    trace_ratio,
    velocity,
)
from lazyrich.observables.linearisation import linearisation_error
from lazyrich.observables.mechanism import (
    LogChanges,
    decompose,
    parameter_data_alignment,
)
from lazyrich.observables.observable import Observable
from lazyrich.observables.speed import backward_feature_cosine, feature_speed, speed_from_angle
from lazyrich.observables.stable_rank import stable_rank
from lazyrich.observables.weight_movement import weight_movement

__all__ = [
    "Ansatz",
    "DenseFactor",
    "Estimate",
    "LayerNorms",
    "LogChanges",
    "Observable",
    "OuterFactor",
    "Sketch",
    "agop",
    "alignment",
    "ansatz_correlation",
    "ansatz_from_sketches",
    "backward_feature_cosine",
    "block_squares",
    "centred_kernel_distance",
    "centred_share",
    "change_interval",
    "condensation",
    "correlation_with_error",
    "debiased_correlation",
    "decompose",
    "effective_rank",
    "fact_correlation",
    "feature_speed",
    "full_kernel",
    "haar_null",
    "imbalance",
    "jackknife_error",
    "kernel",
    "kernel_distance",
    "kernel_matvec",
    "layer_norms",
    "linear_cka",
    "linearisation_error",
    "nfm",
    "pair_sums",
    "parameter_data_alignment",
    "predicted_centred",
    "ptk",
    "relative_change",
    "rotation_interval",
    "sampled_traces",
    "sketch",
    "speed_from_angle",
    "stable_rank",
    "target_alignment",
    "trace_ratio",
    "traced_kernel",
    "velocity",
    "weight_movement",
]


def __dir__() -> list[str]:
    return __all__
