"""Gradients at all layers along output directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich.capture import modules as layers
from lazyrich.capture.capture import Capture, Layer
from lazyrich.capture.uses import TABLES


@dataclass(frozen=True, kw_only=True)
class BackwardPasses:
    """Backward passes of one capture along output directions, shared by all who need gradients.

    Attributes:
        directions: v, (directions, samples, outputs).
        gradients: `∂(v·f)/∂z` for each layer and call, with an axis of directions after samples.
            Not of norms, whose outputs are as large and whose parameters are few.
        of_norms: `∂(v·f)/∂θ` for the own parameters of each norm, by their names in it.
    """

    directions: Float[Tensor, "s n k"]
    gradients: dict[str, list[Tensor]]
    of_norms: dict[str, dict[str, Float[Tensor, "n s p"]]]


def backward_passes(
    capture: Capture, directions: Float[Tensor, "s n k"] | None = None
) -> BackwardPasses:
    """One backward pass for each direction.

    Args:
        capture: one forward pass.
        directions: v; None for one unit vector an output, all of the Jacobian.
    """
    if directions is None:
        directions = torch.stack(list(capture.exact_directions())).detach()
    every = (*capture.layers, *capture.small)
    gradients: dict[str, list[Tensor]] = {}
    of_norms: dict[str, list[dict[str, Tensor]]] = {}
    as_given: dict[str, torch.Size] = {}  # layers whose gradients are the directions
    for i, direction in enumerate(directions):
        for layer, of_calls in zip(every, capture.gradients(direction), strict=True):
            if not layer.is_linear and not isinstance(layer.module, TABLES):
                of_norms.setdefault(layer.name, []).append(of_norm(layer, of_calls))
            elif len(directions) == 1:
                gradients[layer.name] = [g[:, None] for g in of_calls]
            elif i == 0 and _is_output(capture, layer, of_calls, directions):
                as_given[layer.name] = of_calls[0].shape[1:]
            elif layer.name not in as_given:
                if i == 0:  # room for all: parts and their stack would take twice as much
                    shapes = [(len(g), len(directions), *g.shape[1:]) for g in of_calls]
                    rooms = [g.new_empty(s) for g, s in zip(of_calls, shapes, strict=True)]
                    gradients[layer.name] = rooms
                for room, g in zip(gradients[layer.name], of_calls, strict=True):
                    room[:, i] = g
    for name, shape in as_given.items():
        by_sample = directions.transpose(0, 1)
        gradients[name] = [by_sample.view(*by_sample.shape[:2], *shape)]
    joined = {
        name: {role: torch.cat([one[role] for one in parts], 1) for role in parts[0]}
        for name, parts in of_norms.items()
    }
    return BackwardPasses(directions=directions, gradients=gradients, of_norms=joined)


def divided_passes(
    capture: Capture, gradients: Mapping[str, Sequence[Tensor]], v: Float[Tensor, "n 1"]
) -> BackwardPasses:
    """The backward passes along one output, from gradients along numbers of every sample.

    Args:
        capture: one forward pass.
        gradients: the gradients of `Σ_i v_i f_i` at all calls of all layers; each row is of one
            sample.
        v: no zero among them.
    """
    of_layers: dict[str, list[Tensor]] = {}
    of_norms: dict[str, dict[str, Tensor]] = {}
    for layer in (*capture.layers, *capture.small):
        of_calls = gradients[layer.name]
        if layer.is_linear or isinstance(layer.module, TABLES):
            of_layers[layer.name] = [_divided(g, v)[:, None] for g in of_calls]
        else:
            found = of_norm(layer, of_calls)
            of_norms[layer.name] = {role: _divided(g, v) for role, g in found.items()}
    ones = torch.ones_like(v)[None].detach()
    return BackwardPasses(directions=ones, gradients=of_layers, of_norms=of_norms)


def _divided(x: Float[Tensor, "n *shape"], v: Float[Tensor, "n 1"]) -> Float[Tensor, "n *shape"]:
    return x / v.to(x).view(-1, *(1 for _ in x.shape[1:]))


def _is_output(
    capture: Capture, layer: Layer, of_calls: list[Tensor], directions: Float[Tensor, "s n k"]
) -> bool:
    """Whether outputs are this layer's z itself, so that its gradients are the directions."""
    first = of_calls[0].flatten(1)
    alike = layer.name == capture.readout and first.dtype == directions.dtype
    return alike and torch.equal(first, directions[0])


def of_norm(layer: Layer, gradients: Sequence[Tensor]) -> dict[str, Float[Tensor, "n 1 p"]]:
    """Gradients of a norm's own parameters along one direction, summed over its calls."""
    module = layer.module
    assert isinstance(module, nn.Module | layers.Entrywise)  # what is not linear and no table
    parts = [
        layers.norm_jacobian(module, call.inputs, g[:, None])
        for call, g in zip(layer.calls, gradients, strict=True)
    ]
    return {role: torch.stack([part[role] for part in parts]).sum(0) for role in parts[0]}
