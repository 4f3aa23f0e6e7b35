"""The Jacobian of the outputs with respect to all trainable parameters, as cheap factors.

Factors of captured layers are checked against autograd before they are trusted: a weight that is
also used in another way, or a layer that mixes samples, falls back on per-sample gradients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._arguments import as_number, shown
from lazyrich._errors import InputError
from lazyrich.capture import modules as layers
from lazyrich.capture.backward_passes import BackwardPasses, backward_passes
from lazyrich.capture.capture import Capture, Layer
from lazyrich.capture.isolation import widen
from lazyrich.capture.kernel import (
    DenseFactor,
    Factor,
    OuterFactor,
    TiedFactor,
    table_factor,
)
from lazyrich.capture.per_sample import per_sample_gradients
from lazyrich.capture.pieces import Piece
from lazyrich.capture.trust import trusted_with_passes
from lazyrich.capture.uses import TABLES, Use, uses_of


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
    uses = uses_of(capture)
    if trusted is None:
        trusted, made = trusted_with_passes(capture)
        along = made if along is None else along
    if along is None:
        along = backward_passes(capture)
    known = [name for name in trainable if name in trusted and name in uses]
    yield from _outer_factors([use for name in known for use in uses[name]], along, rates)
    rest = [name for name in trainable if name not in known]
    jacobians = per_sample_gradients(capture, rest, directions=along.directions, memory=memory)
    for name, jacobian in jacobians.items():
        yield name, DenseFactor(jacobian=widen(jacobian) * rates[name] ** 0.5)


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


def _outer_factors(
    uses: Sequence[Use], along: BackwardPasses, rates: dict[str, float]
) -> Iterator[tuple[str, Factor]]:
    """A factor for each part of a parameter, from all of its uses."""
    by_piece: dict[Piece, list[Use]] = defaultdict(list)
    for use in uses:
        by_piece[use.piece].append(use)
    with_bias, gradients = _folded(by_piece), along.gradients
    folded = set(with_bias.values())
    for piece, shared in by_piece.items():
        use, rate = shared[0], rates[piece.parameter]
        tables = [x for x in shared if isinstance(x.layer.module, TABLES)]
        matrices = [x for x in shared if x.layer.is_linear]
        if tables:
            name = piece.parameter if matrices else use.name
            yield name, _table(tables, matrices, gradients, rate)
        elif not use.layer.is_linear:
            jacobian = along.of_norms[use.layer.name][use.role]
            yield piece.parameter, DenseFactor(jacobian=widen(jacobian) * rate**0.5)
        elif piece not in folded:
            bias = with_bias.get(piece)
            bias_rate = rates[bias.parameter] if bias else None
            pieces = [_linear(x, gradients[x.layer.name], rate, bias_rate) for x in shared]
            yield use.name, _joined(pieces)


def _folded(uses: Mapping[Piece, Sequence[Use]]) -> dict[Piece, Piece]:
    """Weight → bias, where both belong to one layer alone: the bias becomes one more input."""
    alone = {(use[0].layer.name, use[0].role): p for p, use in uses.items() if len(use) == 1}
    return {
        piece: alone[layer, "bias"]
        for (layer, role), piece in alone.items()
        if role == "weight" and (layer, "bias") in alone and uses[piece][0].layer.is_linear
    }


def _linear(
    use: Use, gradients: list[Tensor], rate: float, bias_rate: float | None
) -> tuple[Float[Tensor, "n t groups d"], Float[Tensor, "n k t groups m"]]:
    n, k = gradients[0].shape[:2]
    rows = use.layer.rows([g.flatten(0, 1) for g in gradients])
    g = rows.view(n, k, *rows.shape[1:])
    if use.role == "bias":
        return torch.full_like(g[:, 0, ..., :1], rate**0.5), g
    h = use.layer.inputs_with(None if bias_rate is None else bias_rate**0.5)
    if rate == 1:
        return h, g
    scale = torch.full_like(h[0, 0, 0], rate**0.5)
    if bias_rate is not None:
        scale[-1] = 1
    return h * scale, g


def _table(
    tables: Sequence[Use],
    matrices: Sequence[Use],
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
    return OuterFactor(inputs=widen(h), gradients=widen(g))


def _lookups(layer: Layer, gradients: list[Tensor], rate: float) -> tuple[Tensor, Tensor]:
    """Tokens, and gradients at their vectors."""
    assert isinstance(layer.module, nn.Embedding | layers.Lookup)
    tokens = torch.cat([call.inputs.reshape(len(call.inputs), -1) for call in layer.calls], 1)
    g = torch.cat([g.reshape(*g.shape[:2], -1, g.shape[-1]) for g in gradients], 2)
    g = widen(g) * rate**0.5
    if layer.module.padding_idx is not None:  # its vector does not learn
        g = g * (tokens != layer.module.padding_idx)[:, None, :, None]
    return tokens, g
