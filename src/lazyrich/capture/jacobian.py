"""The Jacobian of the outputs with respect to all trainable parameters, as cheap factors.

Factors of captured layers are checked against autograd before they are trusted: a weight that is
also used in another way, or a layer that mixes samples, falls back on per-sample gradients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._arguments import as_number, shown
from lazyrich._errors import InputError
from lazyrich.capture import modules as layers
from lazyrich.capture.capture import Capture, Layer
from lazyrich.capture.directions import probing_direction
from lazyrich.capture.kernel import (
    DenseFactor,
    Factor,
    OuterFactor,
    TiedFactor,
    table_factor,
)
from lazyrich.capture.mixing import mixing_layers
from lazyrich.capture.norms import norm
from lazyrich.capture.per_sample import per_sample_gradients
from lazyrich.capture.pieces import Piece, are_apart, put_together

_TABLES = nn.Embedding, layers.Lookup
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3}  # of the check


@dataclass(frozen=True, kw_only=True)
class _Use:
    """A use of a parameter, or of a part of it, by a captured layer: as which of its tensors."""

    layer: Layer
    role: str
    piece: Piece

    @property
    def name(self) -> str:
        """The layer's for a weight, else the parameter's."""
        of_parameter = f"{self.piece.parameter}{self.piece.suffix()}"
        return self.layer.name if self.role == "weight" else of_parameter


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
    for i, direction in enumerate(directions):
        for layer, of_calls in zip(every, capture.gradients(direction), strict=True):
            if not layer.is_linear and not isinstance(layer.module, _TABLES):
                of_norms.setdefault(layer.name, []).append(_of_norm(layer, of_calls))
            elif len(directions) == 1:
                gradients[layer.name] = [g[:, None] for g in of_calls]
            else:
                if i == 0:  # parts and their stack would take twice as much
                    gradients[layer.name] = _room(capture, layer, of_calls, directions)
                for room, g in zip(gradients[layer.name], of_calls, strict=True):
                    if not _is_of(room, directions):
                        room[:, i] = g
    joined = {
        name: {role: torch.cat([one[role] for one in parts], 1) for role in parts[0]}
        for name, parts in of_norms.items()
    }
    return BackwardPasses(directions=directions, gradients=gradients, of_norms=joined)


def _room(
    capture: Capture, layer: Layer, of_calls: list[Tensor], directions: Float[Tensor, "s n k"]
) -> list[Tensor]:
    """Room for gradients along all directions; where outputs are z itself, the directions."""
    if layer.name == capture.readout and torch.equal(of_calls[0].flatten(1), directions[0]):
        by_sample = directions.transpose(0, 1)
        return [by_sample.view(*by_sample.shape[:2], *of_calls[0].shape[1:])]
    return [g.new_empty(len(g), len(directions), *g.shape[1:]) for g in of_calls]


def _is_of(room: Tensor, directions: Tensor) -> bool:
    return room.untyped_storage().data_ptr() == directions.untyped_storage().data_ptr()


def _of_norm(layer: Layer, gradients: list[Tensor]) -> dict[str, Float[Tensor, "n 1 p"]]:
    """Gradients of a norm's own parameters along one direction, summed over its calls."""
    module = layer.module
    assert isinstance(module, nn.Module | layers.Entrywise)  # what is not linear and no table
    parts = [
        layers.norm_jacobian(module, call.inputs, g[:, None])
        for call, g in zip(layer.calls, gradients, strict=True)
    ]
    return {role: torch.stack([part[role] for part in parts]).sum(0) for role in parts[0]}


def jacobian_factors(
    capture: Capture,
    *,
    lrs: Mapping[str, float] | None = None,
    memory: int,
    along: BackwardPasses | None = None,
    trusted: Collection[str] | None = None,
) -> dict[str, Factor]:
    """Factors of `J·diag(√η)` for all trainable parameters, all at once; see `each_factor`."""
    found = each_factor(capture, lrs=lrs, memory=memory, along=along, trusted=trusted)
    order = {name: i for i, name in enumerate(dict(capture.model.named_modules()))}
    return dict(sorted(found, key=lambda item: order.get(item[0], len(order))))


def each_factor(
    capture: Capture,
    *,
    lrs: Mapping[str, float] | None = None,
    memory: int,
    along: BackwardPasses | None = None,
    trusted: Collection[str] | None = None,
) -> Iterator[tuple[str, Factor]]:
    """Factors of `J·diag(√η)` for all trainable parameters, in turn: patches take much memory.

    Args:
        capture: one forward pass.
        lrs: learning rates η by parameter or module name; the longest match counts and "" is
            every parameter; None for η = 1.
        memory: bytes that per-sample gradients of one parameter may take.
        along: output directions that take the place of the outputs; None for all outputs.
        trusted: what `trusted_parameters` said of an earlier capture of the same model, to save
            the check; None to check.

    Yields:
        For each layer (weight and bias together) or parameter its name and its factor.

    Raises:
        InputError: no trainable parameter, a learning rate missing, negative or of no parameter,
            samples that influence each other, or too little memory.
    """
    trainable = [name for name, leaf in capture.leaves.items() if leaf.requires_grad]
    if not trainable:
        raise InputError(
            "`model` must have a trainable parameter, got only frozen ones. "
            "Set `requires_grad` on those that will learn."
        )
    rates = learning_rates(trainable, lrs)
    uses = _uses(capture)
    if trusted is None:
        trusted = trusted_parameters(capture)
    if along is None:
        along = backward_passes(capture)
    known = [name for name in trainable if name in trusted and name in uses]
    yield from _outer_factors([use for name in known for use in uses[name]], along, rates)
    rest = [name for name in trainable if name not in known]
    jacobians = per_sample_gradients(capture, rest, directions=along.directions, memory=memory)
    for name, jacobian in jacobians.items():
        yield name, DenseFactor(jacobian=_wide(jacobian) * rates[name] ** 0.5)


def checked_memory(memory: object) -> None:
    """Refuse what is no number of bytes.

    Args:
        memory: what the user gave.

    Raises:
        InputError: no number > 0.
    """
    if not (as_number(memory) or 0) > 0:
        raise InputError(
            f"`memory` must be a number of bytes > 0, got {shown(memory)}. Pass 2**30 for 1 GiB."
        )


def learning_rates(names: Sequence[str], lrs: Mapping[str, float] | None) -> dict[str, float]:
    """The learning rate of every parameter, from those given by parameter or module name."""
    if lrs is None:
        return dict.fromkeys(names, 1.0)
    if not isinstance(lrs, Mapping):
        raise InputError(
            f"`lrs` must map names of parameters or modules to learning rates, got {shown(lrs)}. "
            f'Pass {{"": rate}} for one rate of all.'
        )
    rates, used = {}, set()
    for name in names:
        keys = [key for key in lrs if key in ("", name) or name.startswith(f"{key}.")]
        if not keys:
            raise InputError(
                f"`lrs` must cover every trainable parameter, got none for `{name}`. Add it, its "
                'module, or "" for all others.'
            )
        key = max(keys, key=len)
        used.add(key)
        rate = as_number(lrs[key])
        if rate is None or not 0 <= rate < float("inf"):
            raise InputError(f"`lrs` must be ≥ 0 and finite, got {shown(lrs[key])} for `{key}`.")
        rates[name] = rate
    if unknown := set(lrs) - used - {""}:
        raise InputError(
            "`lrs` must name trainable parameters or their modules, got "
            f"{sorted(unknown, key=str)}. "
            f"Parameters are {names[:5]}, …"
        )
    return rates


def _uses(capture: Capture) -> dict[str, list[_Use]]:
    """Trainable parameter → captured uses; a parametrized weight is no parameter and not listed."""
    uses: dict[str, list[_Use]] = defaultdict(list)
    for layer in (*capture.layers, *capture.small):
        for role, piece in layer.tensors.items():
            if capture.leaves[piece.parameter].requires_grad:
                uses[piece.parameter].append(_Use(layer=layer, role=role, piece=piece))
    return uses


def trusted_parameters(capture: Capture) -> list[str]:
    """Parameters whose factors reproduce autograd and whose layers have each sample's rows apart.

    All samples are looked at, since some may take other branches than the first ones, and may meet
    at any distance: gradients of samples times powers of two are those times the same powers, but
    for rows that matter to others, too; and factors must sum up to the parameter's own gradient.
    """
    uses = _uses(capture)
    v = capture.of_counted(probing_direction(capture.outputs))
    at_layers, truth = capture.backward(v, list(uses))
    every = (*capture.layers, *capture.small)
    gradients = {layer.name: g for layer, g in zip(every, at_layers, strict=True)}
    mixing = mixing_layers(capture, v, gradients)
    trusted = []
    for name, shared in uses.items():
        if any(use.layer.name in mixing for use in shared) or not _same_kind(shared):
            continue
        parts = [(use.piece, _summed(use, gradients[use.layer.name])) for use in shared]
        total = put_together(parts, truth[name])
        exact = _wide(truth[name]).flatten()
        tolerance = _TOLERANCE[truth[name].dtype]
        if norm(total - exact) <= tolerance * norm(exact):
            trusted.append(name)
    return trusted


def _same_kind(shared: Sequence[_Use]) -> bool:
    """Whether there is a factor of all uses: by matrices, or by one matrix and lookups of it."""
    if len(shared) == 1:
        return True
    forms = {isinstance(use.layer.module, _TABLES) for use in shared}
    if True in forms:
        return len({use.piece for use in shared}) == 1 and not _groups(shared) - {1}
    linear = all(use.layer.is_linear for use in shared)
    return linear and len(_groups(shared)) == 1 and are_apart(use.piece for use in shared)


def _groups(shared: Sequence[_Use]) -> set[int]:
    return {getattr(use.layer.module, "groups", 1) for use in shared}


def _summed(use: _Use, gradients: list[Tensor]) -> Tensor:
    """The parameter's gradient as its factors give it, summed over samples."""
    module, calls = use.layer.module, use.layer.calls
    if use.layer.is_linear:
        g = use.layer.rows(gradients)
        if use.role == "bias":
            return _wide(g.sum((0, 1)).flatten())
        h = use.layer.inputs
        step = g.flatten(0, 1).permute(1, 2, 0) @ h.flatten(0, 1).permute(1, 0, 2)
        return _wide(layers.as_weight(module, step))
    if isinstance(module, _TABLES):
        assert use.layer.weight is not None  # a table is one
        total = _wide(torch.zeros_like(use.layer.weight))
        for call, g in zip(calls, gradients, strict=True):
            kept = call.inputs.flatten() != (
                -1 if module.padding_idx is None else module.padding_idx
            )
            tokens, rows = call.inputs.flatten()[kept], g.flatten(0, -2)[kept]
            total.index_add_(0, tokens, _wide(rows))
        return total.flatten()
    return _wide(_of_norm(use.layer, gradients)[use.role].sum((0, 1)))


def _outer_factors(
    uses: Sequence[_Use], along: BackwardPasses, rates: dict[str, float]
) -> Iterator[tuple[str, Factor]]:
    """A factor for each part of a parameter, from all of its uses."""
    by_piece: dict[Piece, list[_Use]] = defaultdict(list)
    for use in uses:
        by_piece[use.piece].append(use)
    with_bias, gradients = _folded(by_piece), along.gradients
    folded = set(with_bias.values())
    for piece, shared in by_piece.items():
        use, rate = shared[0], rates[piece.parameter]
        tables = [x for x in shared if isinstance(x.layer.module, _TABLES)]
        matrices = [x for x in shared if x.layer.is_linear]
        if tables:
            name = piece.parameter if matrices else use.name
            yield name, _table(tables, matrices, gradients, rate)
        elif not use.layer.is_linear:
            jacobian = along.of_norms[use.layer.name][use.role]
            yield piece.parameter, DenseFactor(jacobian=_wide(jacobian) * rate**0.5)
        elif piece not in folded:
            bias = with_bias.get(piece)
            bias_rate = rates[bias.parameter] if bias else None
            pieces = [_linear(x, gradients[x.layer.name], rate, bias_rate) for x in shared]
            yield use.name, _joined(pieces)


def _folded(uses: Mapping[Piece, Sequence[_Use]]) -> dict[Piece, Piece]:
    """Weight → bias, where both belong to one layer alone: the bias becomes one more input."""
    alone = {(use[0].layer.name, use[0].role): p for p, use in uses.items() if len(use) == 1}
    return {
        piece: alone[layer, "bias"]
        for (layer, role), piece in alone.items()
        if role == "weight" and (layer, "bias") in alone and uses[piece][0].layer.is_linear
    }


def _linear(
    use: _Use, gradients: list[Tensor], rate: float, bias_rate: float | None
) -> tuple[Float[Tensor, "n t groups d"], Float[Tensor, "n k t groups m"]]:
    n, k = gradients[0].shape[:2]
    rows = use.layer.rows([g.flatten(0, 1) for g in gradients])
    g = rows.view(n, k, *rows.shape[1:])
    h = use.layer.inputs
    if use.role == "bias":
        return torch.full_like(h[..., :1], rate**0.5), g
    if bias_rate is None:
        return h if rate == 1 else h * rate**0.5, g
    one = torch.full_like(h[..., :1], bias_rate**0.5)
    return torch.cat([h if rate == 1 else h * rate**0.5, one], -1), g


def _table(
    tables: Sequence[_Use],
    matrices: Sequence[_Use],
    gradients: dict[str, list[Tensor]],
    rate: float,
) -> OuterFactor | TiedFactor:
    """An embedding, alone or tied to linear layers."""
    parts = [_lookups(use.layer, gradients[use.layer.name], rate) for use in tables]
    tokens = torch.cat([tokens for tokens, _ in parts], 1)
    lookups = torch.cat([g for _, g in parts], 2)
    if not matrices:
        return table_factor(tokens, lookups)
    pieces = [_linear(use, gradients[use.layer.name], rate, None) for use in matrices]
    return TiedFactor(tokens=tokens, lookups=lookups, product=_joined(pieces))


def _joined(pieces: Sequence[tuple[Tensor, Tensor]]) -> OuterFactor:
    if len(pieces) == 1:
        h, g = pieces[0]
    else:
        h, g = torch.cat([h for h, _ in pieces], 1), torch.cat([g for _, g in pieces], 2)
    return OuterFactor(inputs=_wide(h), gradients=_wide(g))


def _lookups(layer: Layer, gradients: list[Tensor], rate: float) -> tuple[Tensor, Tensor]:
    """Tokens, and gradients at their vectors."""
    assert isinstance(layer.module, nn.Embedding | layers.Lookup)
    tokens = torch.cat([call.inputs.flatten(1) for call in layer.calls], 1)
    g = torch.cat([g.reshape(*g.shape[:2], -1, g.shape[-1]) for g in gradients], 2)
    g = _wide(g) * rate**0.5
    if layer.module.padding_idx is not None:  # its vector does not learn
        g = g * (tokens != layer.module.padding_idx)[:, None, :, None]
    return tokens, g


def _wide(tensor: Tensor) -> Tensor:
    """Half precision is enough for a forward pass, not for sums of products."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
