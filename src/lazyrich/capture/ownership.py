"""Which layer every entry of every trainable parameter is counted to.

Mostly that of the module which owns the parameter. Where an operation takes a parameter apart, as
an attention its matrix of queries, keys and values, or where a parameter belongs to no known
module, layers are those that a look finds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lazyrich._errors import LazyRichError
from lazyrich.capture import modules
from lazyrich.capture.capture import Layer, capture
from lazyrich.capture.network import Network, Parameters, layer_of
from lazyrich.capture.pieces import Piece


@dataclass(frozen=True, kw_only=True)
class Ownership:
    """The layers of a network's parameters.

    Attributes:
        parts: layer → parameter → which entries of it, as zeros and ones; None for all.
        layers: what a look found; none if nobody had to look.
    """

    parts: Mapping[str, Mapping[str, Tensor | None]]
    layers: tuple[Layer, ...] = ()

    def split(self, values: Parameters) -> dict[str, Parameters]:
        """Tensors shaped like the parameters, by layer; 0 where entries are another layer's."""
        return {
            layer: {
                name: values[name] if mask is None else values[name] * mask.to(values[name])
                for name, mask in own.items()
            }
            for layer, own in self.parts.items()
        }


def by_module(names: Sequence[str]) -> Ownership:
    """Each parameter with the module that owns it.

    Args:
        names: names of the parameters.

    Example:
        >>> by_module(["0.weight", "0.bias"]).parts
        {'0': {'0.weight': None, '0.bias': None}}
    """
    parts: dict[str, dict[str, Tensor | None]] = {}
    for name in names:
        parts.setdefault(layer_of(name), {})[name] = None
    return Ownership(parts=parts)


def ownership(network: Network) -> Ownership:
    """Each entry with the layer that a probe counts it to.

    A look is taken only where some module is not known to have the weights of one layer.

    Args:
        network: the network on its batch; call this outside of `undisturbed`.
    """
    plain = by_module(list(network.theta))
    if all(_is_one_layer(network.module.get_submodule(name)) for name in plain.parts):
        return plain
    try:
        seen = capture(network.module, network.inputs, network.conditions)
    except LazyRichError:  # what cannot be looked at layer by layer has a forecast nevertheless
        return plain
    uses: dict[str, list[tuple[Piece, str]]] = defaultdict(list)
    for layer in (*seen.layers, *seen.small):
        name = layer.name if layer.is_linear else ""
        for piece in layer.tensors.values():
            uses[piece.parameter].append((piece, name))
    parts: dict[str, dict[str, Tensor | None]] = {}
    for name, p in network.theta.items():
        for layer_name, mask in _owners(name, p, uses[name]):
            parts.setdefault(layer_name, {})[name] = mask
    return Ownership(parts=parts, layers=seen.layers)


def _is_one_layer(module: nn.Module) -> bool:
    own = any(True for _ in module.parameters(recurse=False))
    return modules.is_captured(module) or not own  # without: it is parametrized


def _owners(
    name: str, p: Tensor, uses: Sequence[tuple[Piece, str]]
) -> list[tuple[str, Tensor | None]]:
    """The layers of one parameter, with their entries; what no layer has is the module's."""
    pieces = [piece for piece, _ in uses]
    if len(set(pieces)) < len(pieces) or not all(layer for _, layer in uses):
        return [(layer_of(name), None)]  # used twice, or looked up, too
    if len(uses) == 1 and uses[0][0].whole:
        return [(uses[0][1], None)]
    left = torch.ones(p.numel(), dtype=p.dtype, device=p.device)
    found: list[tuple[str, Tensor | None]] = []
    for piece, layer in uses:
        mask = torch.zeros_like(left)
        mask[piece.index().to(p.device)] = 1
        found.append((layer, (mask * left).view(p.shape)))
        left = left * (1 - mask)
    if left.any():
        found.append((layer_of(name), left.view(p.shape)))
    return found
