"""Whole layers, or their heads, and what backward passes say of each one's covariance K."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich._arguments import shown
from lazyrich._errors import InputError
from lazyrich.capture.capture import Capture, Layer
from lazyrich.capture.directions import random_count, random_signs
from lazyrich.capture.kernel import add_gram, mirrored
from lazyrich.capture.sketch import Sketch, sketch

Heads = Mapping[str, int]
"""Number of heads by layer name, or by a pattern such as `"*.query"`."""

_GROUPS = 10  # of samples, for standard errors


@dataclass(frozen=True, kw_only=True)
class Part:
    """A layer, or the rows of its weight that belong to one head.

    With `z = W h` and only this head's rows listening to the input, `∂f/∂h = W_headᵀ ∂f/∂z_head`:
    its AGOP is `W_headᵀ K_head W_head`, K_head a diagonal block of the layer's K.

    Attributes:
        name: the layer's, with the head's number in brackets.
        layer: the layer.
        rows: rows of the weight.
    """

    name: str
    layer: Layer
    rows: slice

    @property
    def weight(self) -> Float[Tensor, "m d"]:
        """W, or W_head."""
        return self.layer.matrix[self.rows]

    def of(self, weight: Tensor) -> Float[Tensor, "m d"]:
        """The same rows of another tensor shaped like the layer's weight."""
        return self.layer.matrix_of(weight)[self.rows]


def hidden_parts(seen: Capture, heads: Heads | None = None) -> list[Part]:
    """All linear layers but the readout, those with heads head by head.

    Args:
        seen: the capture.
        heads: how many heads a layer has, by name or pattern; head i has the i-th of as many equal
            blocks of the layer's outputs.

    Raises:
        InputError: no hidden layer; a pattern that fits none; heads that do not divide the outputs.
    """
    layers = [layer for layer in seen.layers if layer.name != seen.readout]
    if not layers:
        raise InputError(
            f"`model` must have a linear layer below its readout, got {type(seen.model).__name__} "
            f"with none. Skipped: {seen.skipped}"
        )
    if heads is not None and not isinstance(heads, Mapping):
        raise InputError(
            f"`heads` must map layers or patterns to numbers of heads, got {shown(heads)}. Pass "
            'such as {"*.query": 8}.'
        )
    heads = heads or {}
    names = [layer.name for layer in layers]
    for pattern in heads:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(f"`heads` must name hidden layers, got {pattern!r}. Layers: {names}.")
    return [part for layer in layers for part in _split(layer, heads)]


def _split(layer: Layer, heads: Heads) -> list[Part]:
    counts = (count for pattern, count in heads.items() if fnmatchcase(layer.name, pattern))
    count = next(counts, None)
    if count is None:
        return [Part(name=layer.name, layer=layer, rows=slice(None))]
    outputs = len(layer.matrix)
    if count < 1 or outputs % count:
        raise InputError(
            f"the heads of `{layer.name}` must divide its {outputs} outputs, got {count}. Where "
            "queries, keys and values are one layer, count the heads of all three."
        )
    width = outputs // count
    return [
        Part(name=f"{layer.name}[{i}]", layer=layer, rows=slice(i * width, (i + 1) * width))
        for i in range(count)
    ]


def part_sketches(
    seen: Capture, parts: list[Part], directions: int, seed: int
) -> list[tuple[Sketch, Sketch]]:
    """For each part two independent estimates of K, or twice the exact one.

    Args:
        seen: the capture.
        parts: layers or heads.
        directions: how many random ones, one backward pass each: half of them for either estimate,
            the last of an odd number for none. Where the outputs are not more, all of them.
        seed: seed of the random signs.
    """
    if random_count(directions, seen.outputs.shape[1]) is None:
        return [(k, k) for k in _sketches(seen, parts, seen.exact_directions())]
    half = directions // 2
    signs = random_signs(seen.outputs, 2 * half, seed=seed)
    scaled = (seen.of_counted(direction) / half**0.5 for direction in signs)
    first, second = (_sketches(seen, parts, islice(scaled, half)) for _ in range(2))
    return list(zip(first, second, strict=True))


def _sketches(seen: Capture, parts: list[Part], directions: Iterable[Tensor]) -> list[Sketch]:
    rows = [_rows(seen, parts, direction) for direction in directions]
    return [sketch(torch.cat(of_part, 1)) for of_part in zip(*rows, strict=True)]


def part_covariances(
    seen: Capture, parts: list[Part], *, centred: bool = False
) -> list[Float[Tensor, "groups m m"]]:
    """For each part K of every group of samples, from one backward pass an output.

    Args:
        seen: the capture.
        parts: layers or heads.
        centred: whether to take the gradients' mean over samples off, for each output and position.
    """
    n = len(seen.outputs)
    sizes = [len(part) for part in torch.arange(n).tensor_split(min(n, _GROUPS))]
    totals: list[Tensor] = []
    for direction in seen.exact_directions():
        rows = _rows(seen, parts, direction * (len(sizes) / n) ** 0.5)
        if centred:
            rows = [g - g.mean(0, keepdim=True) for g in rows]
        if not totals:
            totals = [_no_grams(g, len(sizes)) for g in rows]
        for total, g in zip(totals, rows, strict=True):
            for of_group, part in zip(total, torch.split(g.to(total), sizes), strict=True):
                add_gram(of_group, part.flatten(0, 1).T)
    for total in totals:
        for of_group in total:
            mirrored(of_group)
    return totals


def _no_grams(gradients: Float[Tensor, "n t m"], groups: int) -> Float[Tensor, "groups m m"]:
    m = gradients.shape[-1]
    wide = torch.promote_types(gradients.dtype, torch.float32)
    return torch.zeros(groups, m, m, dtype=wide, device=gradients.device)


def _rows(seen: Capture, parts: list[Part], direction: Tensor) -> list[Float[Tensor, "n t m"]]:
    names = {part.layer.name for part in parts}
    gradients = zip(seen.layers, seen.gradients(direction), strict=False)  # layers come first
    by_layer = {x.name: x.rows(g).flatten(2) for x, g in gradients if x.name in names}
    return [by_layer[part.layer.name][..., part.rows] for part in parts]
