"""The observables of a probe: which quantities each gives, and how it reads them off a moment."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise
from math import inf, nan

import torch
from torch import Tensor
from torch.func import grad

from lazyrich._errors import InputError
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.moment import Moment, Reference
from lazyrich.capture.network import derivative
from lazyrich.capture.norms import norm
from lazyrich.capture.sampled_kernel import (
    block_squares,
    change_interval,
    resampled_sum,
    rotation_interval,
    sampled_trace,
)
from lazyrich.observables.ansatz_sketch import ansatz_from_sketches
from lazyrich.observables.features import cka, condensation, stable_rank, weight_movement
from lazyrich.observables.kernel_change import effective_rank
from lazyrich.observables.laziness import linearisation_error
from lazyrich.observables.mechanism import (
    alignment,
    decompose,
    imbalance,
    inter_layer_alignment,
)
from lazyrich.observables.speed import backward_feature_cosine, feature_speed
from lazyrich.probe.history import Row


@dataclass(frozen=True, kw_only=True)
class Observable:
    """Quantities that are measured together.

    Attributes:
        names: of the quantities, as in the vocabulary.
        measure: reads them off a moment.
        default: whether they are measured unless others are asked for.
        kernel: whether the reference has to keep its kernel.
    """

    names: tuple[str, ...]
    measure: Callable[[Moment, Reference], Row]
    default: bool = True
    kernel: bool = False


def chosen(names: Collection[str] | None) -> tuple[Observable, ...]:
    """The observables that give the quantities asked for.

    Args:
        names: of quantities; None for the default ones.

    Raises:
        InputError: a name that no observable gives.
    """
    if names is None:
        return tuple(observable for observable in OBSERVABLES if observable.default)
    if isinstance(names, str):
        names = (names,)
    known = {name for observable in OBSERVABLES for name in observable.names}
    if unknown := sorted(set(names) - known):
        raise InputError(f"`observables` must be among {sorted(known)}, got {unknown}.")
    return tuple(o for o in OBSERVABLES if not set(names).isdisjoint(o.names))


def _output(moment: Moment, reference: Reference) -> Row:
    moved = float((moment.f.double() - reference.outputs.double()).norm())
    return {
        "loss": float(moment.loss_of(moment.f)),
        "output_change": moved / reference.way if reference.way else nan,
    }


def _kernel(moment: Moment, reference: Reference) -> Row:
    start, random = reference.kernel, moment.random
    assert start is not None  # kept for this observable
    parts = [(moment.kernel, start.whole)]
    parts += [(moment.kernels[name], theta_0) for name, theta_0 in start.layers.items()]
    squares = [block_squares(theta - theta_0, random=random) for theta, theta_0 in parts]
    squares.append(block_squares(moment.kernel, random=random))
    *changes, now = resampled_sum(torch.stack(squares), start.resamples)
    change, ends = change_interval(torch.stack(changes), start.squares)
    rotation, rotation_ends = rotation_interval(changes[0], start.squares[0], now)
    trace = sampled_trace(moment.kernel, random=random)
    sizes = start.squares[:, 0].clamp(min=0).sqrt()
    shares = (sizes[1:] / sizes[0]).clamp(max=1)
    by_layer = [
        dict(zip(start.layers, x.tolist(), strict=True)) for x in (change[1:], *ends[1:].T, shares)
    ]
    return {
        "ntk_change": float(change[0]),
        "ntk_change_low": float(ends[0, 0]),
        "ntk_change_high": float(ends[0, 1]),
        "kernel_distance": float(rotation),
        "kernel_distance_low": float(rotation_ends[0]),
        "kernel_distance_high": float(rotation_ends[1]),
        "ntk_trace_ratio": trace / start.trace if start.trace else nan,
        "target_alignment": _target_alignment(moment, reference, float(now[0].clamp(min=0)) ** 0.5),
        **({} if random else {"effective_rank": effective_rank(moment.kernel)}),
        "layer_ntk_change": by_layer[0],
        "layer_ntk_change_low": by_layer[1],
        "layer_ntk_change_high": by_layer[2],
        "layer_ntk_share": by_layer[3],
    }


def _target_alignment(moment: Moment, reference: Reference, size: float) -> float:
    """`yᵀΘy / (‖Θ‖‖y‖²)`, with `yᵀΘy = ‖J̃ᵀy‖²` by one more backward pass."""
    y = reference.asked
    trainable = [name for name, leaf in moment.capture.leaves.items() if leaf.requires_grad]
    gradients = moment.capture.backward(y, trainable)[1]
    rates = moment.rates
    along = sum(rates[name] * norm(g) ** 2 for name, g in gradients.items())
    scale = size * norm(y) ** 2
    return along / scale if scale and scale < inf else nan


def _linearisation(moment: Moment, reference: Reference) -> Row:
    network = reference.network
    moved = {
        name: moment.capture.leaves[name].detach().to(start.dtype) - start
        for name, start in network.theta.items()
    }
    with undisturbed(network.module, twice=True):
        start, tangent = derivative(network, network.theta, moved)
    f = moment.f.view(start.shape)
    return {"linearisation_error": linearisation_error(f, reference.outputs.view_as(f), tangent)}


def _mechanism(moment: Moment, reference: Reference) -> Row:
    names = [layer.name for layer in moment.layers]
    if not names:
        return {}
    if len(moment.norms) != len(reference.norms):
        raise InputError("the same layers must act in every measurement, got other ones.")
    sizes = float(reference.outputs.double().norm()), float(moment.f.double().norm())
    shares = decompose(reference.norms, moment.norms, output=sizes)

    def by_layer(values: Tensor) -> dict[str, float]:
        return dict(zip(names, values.tolist(), strict=True))

    return {
        "log_output": shares.total,
        "input_share": shares.input,
        "layer_alignment": dict(zip(names, map(alignment, moment.norms), strict=True)),
        "alignment_share": by_layer(shares.alignment),
        "rescaling_share": by_layer(shares.rescaling),
        "gain_share": by_layer(shares.gain),
    }


def _ansatz(moment: Moment, reference: Reference) -> Row:
    names = ("nfa", "stderr", "null", "cnfa", "cnfa_null", "centred_share")
    row: dict[str, dict[str, float]] = {name: {} for name in names}
    for layer in moment.layers:
        if layer.name == moment.capture.readout:
            continue  # K = 1, its correlation is 1 by construction
        weight, sketches = layer.matrix, moment.sketches(layer)
        moved = weight - reference.weights[layer.name].to(weight)
        plain, centred = (ansatz_from_sketches(w, *sketches) for w in (weight, moved))
        share = centred.inner / plain.inner if plain.inner else nan
        both = (plain.value, plain.stderr, plain.null, centred.value, centred.null, share)
        for name, value in zip(names, both, strict=True):
            row[name][layer.name] = value
    return dict(row)


def _movement(moment: Moment, reference: Reference) -> Row:
    weights = {layer.name: layer.matrix for layer in moment.layers}
    return {
        "weight_movement": {
            name: weight_movement(w, reference.weights[name]) for name, w in weights.items()
        }
    }


def _similarity(moment: Moment, reference: Reference) -> Row:
    pairs = {name: (h, reference.features[name]) for name, h in moment.features.items()}
    return {"cka": {name: cka(h, h_0) for name, (h, h_0) in pairs.items()}}


def _stable_rank(moment: Moment, _: Reference) -> Row:
    return {"stable_rank": {layer.name: stable_rank(layer.matrix) for layer in moment.layers}}


def _condensation(moment: Moment, _: Reference) -> Row:
    return {"condensation": {layer.name: condensation(layer.matrix) for layer in moment.layers}}


def _speed(moment: Moment, _: Reference) -> Row:
    return {"feature_speed": {name: feature_speed(*both) for name, both in moment.motion.items()}}


def _angle(moment: Moment, _: Reference) -> Row:
    """`b = ∂L/∂z` by one more backward pass."""
    with torch.enable_grad():
        slope = grad(moment.loss_of)(moment.f)
    at_layers = zip(moment.capture.layers, moment.capture.gradients(slope), strict=False)
    backward = {layer.name: torch.cat([b.flatten() for b in calls]) for layer, calls in at_layers}
    return {
        "backward_feature_cosine": {
            name: backward_feature_cosine(backward[name], z_dot)
            for name, (_z, z_dot) in moment.motion.items()
        }
    }


def _velocity(moment: Moment, _: Reference) -> Row:
    earlier, random = moment.earlier, moment.random
    if earlier is None:
        return {"ntk_velocity": nan}
    moved, size = (
        float(block_squares(theta, random=random).sum().clamp(min=0).sqrt())
        for theta in (moment.kernel - earlier.kernel, earlier.kernel)
    )
    return {"ntk_velocity": moved / (size * (moment.step - earlier.step)) if size else nan}


def _neighbours(moment: Moment, _: Reference) -> Row:
    """Of every layer with the next one, where their shapes allow."""
    pairs = [
        (lower, upper)
        for lower, upper in pairwise(moment.layers)
        if upper.matrix.shape[1] == lower.matrix.shape[0]
    ]
    rates = moment.rates
    return {
        "inter_layer_alignment": {
            lower.name: inter_layer_alignment(upper.matrix, lower.matrix) for lower, upper in pairs
        },
        "imbalance": {
            lower.name: imbalance(
                upper.matrix,
                lower.matrix,
                lr_upper=rates.get(f"{upper.name}.weight", 1.0),
                lr_lower=rates.get(f"{lower.name}.weight", 1.0),
            )
            for lower, upper in pairs
        },
    }


OBSERVABLES = (
    Observable(names=("loss", "output_change"), measure=_output),
    Observable(
        names=(
            "ntk_change",
            "kernel_distance",
            "ntk_trace_ratio",
            "target_alignment",
            "effective_rank",
            "layer_ntk_change",
            "layer_ntk_share",
        ),
        measure=_kernel,
        kernel=True,
    ),
    Observable(names=("linearisation_error",), measure=_linearisation),
    Observable(
        names=(
            "log_output",
            "input_share",
            "layer_alignment",
            "alignment_share",
            "rescaling_share",
            "gain_share",
        ),
        measure=_mechanism,
    ),
    Observable(
        names=("nfa", "cnfa", "null", "cnfa_null", "stderr", "centred_share"), measure=_ansatz
    ),
    Observable(names=("weight_movement",), measure=_movement),
    Observable(names=("cka",), measure=_similarity),
    Observable(names=("feature_speed",), measure=_speed, default=False),
    Observable(names=("backward_feature_cosine",), measure=_angle, default=False),
    Observable(names=("ntk_velocity",), measure=_velocity, default=False, kernel=True),
    Observable(names=("inter_layer_alignment", "imbalance"), measure=_neighbours, default=False),
    Observable(names=("stable_rank",), measure=_stable_rank, default=False),
    Observable(names=("condensation",), measure=_condensation, default=False),
)
