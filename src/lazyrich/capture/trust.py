"""Which parameters have factors: found out at a first look, and checked at every later one.

A branch of a forward pass may depend on the weights, and later mix samples, or use a weight in
another way; factors that are known from a first look would then be wrong without a word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture import modules
from lazyrich.capture.arrangement import is_plain
from lazyrich.capture.backward_passes import BackwardPasses, divided_passes, of_norm
from lazyrich.capture.capture import Capture, Layer
from lazyrich.capture.directions import probing_direction
from lazyrich.capture.isolation import widen
from lazyrich.capture.mixing import mixing_layers
from lazyrich.capture.norms import norm
from lazyrich.capture.pieces import put_together
from lazyrich.capture.uses import TABLES, Use, same_kind, uses_of
from lazyrich.capture.watch import Orders

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3}  # of a parameter's gradient
_APART = {torch.float64: 1e-9, torch.float32: 3e-5}  # of a sample's gradient at a layer
_VECTORS = 8  # along which a weight's gradient is compared with that of its factors

OfLayers = Mapping[str, Sequence[Tensor]]
"""Layer → a gradient at each of its calls."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """How a network is made, as a first look finds it.

    Attributes:
        trusted: parameters that have factors; None if nobody asked.
        acting: layers that learn, with the shape of what each of their calls gave.
        parts: names of the kernel's parts.
        orders: orders of rows that are those of samples, one after the other.
    """

    trusted: tuple[str, ...] | None
    acting: Mapping[str, tuple[torch.Size, ...]]
    parts: tuple[str, ...]
    orders: Orders

    def still_acting(self, layers: Iterable[Layer]) -> list[Layer]:
        """Those layers that act as they did."""
        return [layer for layer in layers if self.acting.get(layer.name) == _shapes(layer)]


def structure(
    seen: Capture,
    layers: Iterable[Layer],
    *,
    trusted: tuple[str, ...] | None,
    parts: Iterable[str],
) -> Structure:
    """What is found at a first look; see `Structure`."""
    return Structure(
        trusted=trusted,
        acting={layer.name: _shapes(layer) for layer in layers},
        parts=tuple(parts),
        orders={
            (layer.name, call.turn): call.order
            for layer in (*seen.layers, *seen.small)
            for call in layer.calls
            if call.order is not None and is_plain(call.order, call.order.numel())
        },
    )


def _shapes(layer: Layer) -> tuple[torch.Size, ...]:
    return tuple(call.outputs.shape for call in layer.calls)


def trusted_now(
    capture: Capture, first: Structure | None, along: BackwardPasses
) -> tuple[str, ...]:
    """Parameters that have factors at this look.

    Args:
        capture: this look.
        first: the first look, where these had them, too; None if this is it.
        along: the backward passes that factors are made of.
    """
    known = None if first is None else first.trusted
    if known is not None and _still_trusted(capture, known, along):
        return known
    found = trusted_parameters(capture)
    return tuple(name for name in found if known is None or name in known)


def trusted_parameters(capture: Capture) -> list[str]:
    """Parameters whose factors reproduce autograd and whose layers have each sample's rows apart.

    All samples are looked at, since some may take other branches than the first ones, and may meet
    at any distance: gradients of samples times powers of two are those times the same powers, but
    for rows that matter to others, too; and factors must sum up to the parameter's own gradient.
    """
    return trusted_with_passes(capture)[0]


def trusted_with_passes(capture: Capture) -> tuple[list[str], BackwardPasses | None]:
    """The same, and the backward passes along all outputs if the check has made them.

    Of one output, gradients along a random number of every sample are those numbers times its own
    where rows are of one sample; elsewhere there is no factor.

    Args:
        capture: one forward pass.
    """
    uses = uses_of(capture)
    v = capture.of_counted(probing_direction(capture.outputs))
    gradients, truth = _backward(capture, v, uses)
    mixing = mixing_layers(capture, v, gradients)
    trusted = [
        name
        for name, shared in uses.items()
        if not any(use.layer.name in mixing for use in shared)
        and _explained(shared, gradients, truth[name])
    ]
    one = v.shape[1] == 1 and bool(v.all())
    return trusted, divided_passes(capture, gradients, v) if one else None


def _still_trusted(capture: Capture, names: Collection[str], along: BackwardPasses) -> bool:
    """Whether parameters that had factors at an earlier look have them at this one.

    By one backward pass. Along `Σ_a c_ia v_ia`, with random numbers c of every sample, a row that
    matters to one sample alone has the gradient `Σ_a c_ia g_ia`, of which g is known; and factors
    must sum up to the parameter's own gradient.

    Args:
        capture: this look.
        names: names of those parameters.
        along: the backward passes that factors are made of.
    """
    uses = {name: shared for name, shared in uses_of(capture).items() if name in names}
    s, n, _ = along.directions.shape
    c = torch.randn(s, n, generator=torch.Generator().manual_seed(0)).to(along.directions)
    v = torch.einsum("an,ank->nk", c, along.directions)
    gradients, truth = _backward(capture, v, uses)
    acting = {use.layer.name: use.layer for shared in uses.values() for use in shared}
    for name, layer in acting.items():
        if name in along.gradients:
            pairs = list(zip(along.gradients[name], gradients[name], strict=True))
        else:
            found = of_norm(layer, gradients[name])
            pairs = [(along.of_norms[name][role], g[:, 0]) for role, g in found.items()]
        if not all(_is_sum(c, parts, total) for parts, total in pairs):
            return False
    return all(_explained(shared, gradients, truth[name]) for name, shared in uses.items())


def _backward(
    capture: Capture, v: Float[Tensor, "n k"], names: Collection[str]
) -> tuple[OfLayers, Mapping[str, Tensor]]:
    at_layers, truth = capture.backward(v, list(names))
    every = (*capture.layers, *capture.small)
    return {layer.name: g for layer, g in zip(every, at_layers, strict=True)}, truth


def _is_sum(
    c: Float[Tensor, "s n"], parts: Float[Tensor, "n s *shape"], total: Float[Tensor, "n *shape"]
) -> bool:
    """Whether the total of every sample is `Σ_a c_a g_a`, up to rounding."""
    c, parts = c.to(parts), parts.flatten(2)
    apart = torch.linalg.vector_norm(total.flatten(1) - torch.einsum("an,nap->np", c, parts), dim=1)
    size = torch.linalg.vector_norm(c.T * torch.linalg.vector_norm(parts, dim=2), dim=1)
    return not (apart > _APART.get(parts.dtype, _APART[torch.float32]) * size).any()


def _explained(shared: Sequence[Use], gradients: OfLayers, truth: Tensor) -> bool:
    """Whether the factors of all uses sum up to a parameter's own gradient."""
    if not same_kind(shared):
        return False
    if all(use.role == "weight" and use.layer.is_linear for use in shared) and (
        sum(use.piece.numel for use in shared) == truth.numel()
    ):
        pairs = [_along_vectors(use, gradients[use.layer.name], truth) for use in shared]
        found = torch.cat([x.flatten() for x, _ in pairs])
        exact = torch.cat([x.flatten() for _, x in pairs])
        return norm(found - exact) <= _TOLERANCE[truth.dtype] * norm(exact)
    parts = [(use.piece, _summed(use, gradients[use.layer.name])) for use in shared]
    exact = widen(truth).flatten()
    apart = norm(put_together(parts, truth) - exact)
    return apart <= _TOLERANCE[truth.dtype] * norm(exact)


def _along_vectors(
    use: Use, gradients: Sequence[Tensor], truth: Tensor
) -> tuple[Float[Tensor, "groups b m"], Float[Tensor, "groups b m"]]:
    """`Σ_it (Bh_it) g_itᵀ` for a few random rows B, and what the gradient itself gives.

    Matrices that differ differ along random vectors, which take a fraction of the products.
    """
    layer = use.layer
    g, h = layer.rows(gradients).transpose(1, 2), layer.inputs.permute(0, 2, 3, 1)
    exact = modules.weight_rows(layer.module, use.piece.of(truth))
    generator = torch.Generator().manual_seed(0)
    b = torch.randn(_VECTORS, h.shape[2], generator=generator).to(h)
    return (b @ h @ g).sum(0), b.to(exact) @ exact.transpose(1, 2)


def _summed(use: Use, gradients: Sequence[Tensor]) -> Tensor:
    """The parameter's gradient as its factors give it, summed over samples."""
    module, calls = use.layer.module, use.layer.calls
    if use.layer.is_linear:
        g = use.layer.rows(gradients)
        if use.role == "bias":
            return widen(g.sum((0, 1)).flatten())
        products = g.flatten(0, 1).permute(1, 2, 0) @ use.layer.inputs.flatten(0, 1).transpose(0, 1)
        return widen(modules.as_weight(module, products))
    if isinstance(module, TABLES):
        assert use.layer.weight is not None  # a table is one
        total = widen(torch.zeros_like(use.layer.weight))
        for call, g in zip(calls, gradients, strict=True):
            kept = call.inputs.flatten() != (
                -1 if module.padding_idx is None else module.padding_idx
            )
            tokens, rows = call.inputs.flatten()[kept], g.flatten(0, -2)[kept]
            total.index_add_(0, tokens, widen(rows))
        return total.flatten()
    return widen(of_norm(use.layer, gradients)[use.role].sum((0, 1)))
