"""Norms of the tangent features J̃ = J·diag(√η), of their motion and of their kernel.

Everything goes by output directions e: J̃ᵀe is one backward pass, its derivative along v one
forward-mode pass over that. Unit vectors give exact norms, Rademacher vectors unbiased squares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.directions import random_signs
from lazyrich.capture.network import Network, Parameters, derivative, pull_back
from lazyrich.capture.ownership import Ownership


def output_directions(
    outputs: Float[Tensor, "n *k"], count: int | None, seed: int
) -> Iterator[Tensor]:
    """Output directions e: all unit vectors if `count` is None, else random signs.

    Args:
        outputs: a tensor of the outputs' shape, type and device.
        count: how many random directions.
        seed: seed of a generator of their own; the global random state is not touched.
    """
    if count is not None:
        yield from random_signs(outputs, count, seed=seed)
        return
    for i in range(outputs.numel()):
        e = torch.zeros_like(outputs).reshape(-1)
        e[i] = 1
        yield e.reshape(outputs.shape)


def velocity_of_outputs(network: Network, v: Parameters) -> tuple[Tensor, Tensor]:
    """The outputs f and their velocity ḟ = J v."""
    outputs, motion = derivative(network, network.theta, v)
    return outputs, motion


def motion_by_layer(
    network: Network, v: Parameters, rates: Parameters, es: Iterator[Tensor], owners: Ownership
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """‖J̃ᵀe‖² and ‖(dJ̃/dt)ᵀe‖² of every layer, one number for each direction e."""
    still: dict[str, list[float]] = {}
    moving: dict[str, list[float]] = {}
    for e in es:
        Jt_e, dJt_e = derivative(lambda theta, e=e: _pull_back(network, theta, e), network.theta, v)
        for squares, features in ((still, Jt_e), (moving, dJt_e)):
            for layer, own in owners.split(features).items():
                total = sum(
                    (rates[name].double() * feature.double().square()).sum().item()
                    for name, feature in own.items()
                )
                squares.setdefault(layer, []).append(total)
    return still, moving


def kernel_change(
    network: Network,
    start: Parameters,
    end: Parameters,
    rates: Parameters,
    es: Iterator[Tensor],
) -> tuple[list[float], list[float]]:
    """‖(Θ(end) − Θ(start))e‖² and ‖Θ(start)e‖² for each direction e; no kernel is ever formed.

    Statistics of batch norms are those of `network` at the start, and taken anew at the end.
    """
    changes, sizes = [], []
    later = network.at(end)
    for e in es:
        before = _kernel_times(network, start, rates, e).double()
        after = _kernel_times(later, end, rates, e).double()
        changes.append((after - before).square().sum().item())
        sizes.append(before.square().sum().item())
    return changes, sizes


def root_of_ratio(
    over: Sequence[float], under: Sequence[float], exact: bool
) -> tuple[float, float]:
    """√(Σa/Σb) of paired samples, with its standard error by the delta method (0 if exact)."""
    s, total = len(over), sum(under)
    ratio = sum(over) / total
    if exact or ratio == 0:
        return sqrt(ratio), 0.0
    off = [a - ratio * b for a, b in zip(over, under, strict=True)]
    scatter = sum(x * x for x in off) / (s - 1)  # a power would raise where it overflows
    return sqrt(ratio), sqrt(scatter / s) / (total / s) / (2 * sqrt(ratio))


def _pull_back(network: Network, theta: Parameters, e: Tensor) -> Parameters:
    """Jᵀe."""
    Jt_e: Parameters = pull_back(network.of_counted, theta, e)
    return Jt_e


def _kernel_times(network: Network, theta: Parameters, rates: Parameters, e: Tensor) -> Tensor:
    """Θe = J diag(η) Jᵀe."""
    along = {name: rates[name] * g for name, g in _pull_back(network, theta, e).items()}
    product: Tensor = derivative(network.of_counted, theta, along)[1]
    return product
