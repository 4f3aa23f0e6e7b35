"""The observables of a probe: which quantities each gives, and how it reads them off a moment."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf, nan

import torch
from torch import Tensor

from lazyrich._errors import InputError
from lazyrich.observables.ansatz import correlation_with_error, haar_null
from lazyrich.observables.ansatz_rows import Ansatz, ansatz_from_rows
from lazyrich.observables.features import cka, condensation, stable_rank, weight_movement
from lazyrich.observables.kernel_change import effective_rank
from lazyrich.observables.laziness import linearisation_error
from lazyrich.observables.mechanism import alignment, decompose
from lazyrich.observables.sampled_kernel import (
    block_squares,
    change_interval,
    resampled_sum,
    rotation_interval,
    sampled_trace,
)
from lazyrich.observables.speed import feature_speed
from lazyrich.probe.capture import Layer
from lazyrich.probe.history import Row
from lazyrich.probe.isolation import undisturbed
from lazyrich.probe.moment import Moment, Reference
from lazyrich.probe.network import derivative, layer_outputs

_GROUPS = 10  # of samples, for the standard error where rows are many


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
    by_layer = [dict(zip(start.layers, x.tolist(), strict=True)) for x in (change[1:], *ends[1:].T)]
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
    }


def _target_alignment(moment: Moment, reference: Reference, size: float) -> float:
    """`yᵀΘy / (‖Θ‖‖y‖²)`, with `yᵀΘy = ‖J̃ᵀy‖²` by one more backward pass."""
    y = reference.asked
    trainable = [name for name, leaf in moment.capture.leaves.items() if leaf.requires_grad]
    gradients = moment.capture.backward(y, trainable)[1]
    rates = moment.rates
    along = sum(rates[name] * _norm(g) ** 2 for name, g in gradients.items())
    scale = size * _norm(y) ** 2
    return along / scale if scale and scale < inf else nan


def _norm(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64))


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
    names = ("nfa", "stderr", "null", "cnfa")
    row: dict[str, dict[str, float]] = {name: {} for name in names}
    for layer in moment.layers:
        if layer.name == moment.capture.readout:
            continue  # K = 1, its correlation is 1 by construction
        weight = layer.matrix
        plain = _correlation(moment, layer, weight)
        moved = weight - reference.weights[layer.name].to(weight)
        centred = _correlation(moment, layer, moved)
        for name, value in zip(
            names, (plain.value, plain.stderr, plain.null, centred.value), strict=True
        ):
            row[name][layer.name] = value
    return dict(row)


def _correlation(moment: Moment, layer: Layer, weight: Tensor) -> Ansatz:
    """By rows of gradients where these are fewer than neurons, else by their covariance."""
    first, second = moment.gradient_rows(layer)
    n, r, m = first.shape
    if n * r <= m:
        return ansatz_from_rows(weight, first, second)
    covariances = [_covariances(rows) for rows in (first, second)]
    if second is first:
        covariances[1] = covariances[0]
    value, error = correlation_with_error(weight, *covariances)
    null = haar_null(weight, *(k.mean(0) for k in covariances))
    return Ansatz(value=value, stderr=error, null=null)


def _covariances(rows: Tensor) -> Tensor:
    """K of groups of samples whose mean is K of all."""
    n = len(rows)
    groups = min(n, _GROUPS)
    parts = [part.flatten(0, 1) for part in rows.tensor_split(groups)]
    return torch.stack([part.T @ part for part in parts]) * (groups / n)


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
    """All layers' ż under the next step of all parameters, by one forward-mode pass."""
    network, velocity = moment.next_step()
    with undisturbed(network.module, twice=True):
        z, z_dot = derivative(lambda theta: layer_outputs(network, theta), network.theta, velocity)
    names = [layer.name for layer in moment.layers if layer.name in z]
    return {
        "feature_speed": {
            name: feature_speed(
                *(torch.cat([t.flatten() for t in tree[name]]) for tree in (z, z_dot))
            )
            for name in names
        }
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
    Observable(names=("nfa", "cnfa", "null", "stderr"), measure=_ansatz),
    Observable(names=("weight_movement",), measure=_movement),
    Observable(names=("cka",), measure=_similarity),
    Observable(names=("feature_speed",), measure=_speed, default=False),
    Observable(names=("stable_rank",), measure=_stable_rank, default=False),
    Observable(names=("condensation",), measure=_condensation, default=False),
)
