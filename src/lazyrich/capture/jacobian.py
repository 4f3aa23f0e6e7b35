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
from lazyrich.capture.capture import capture as look_at
from lazyrich.capture.first_look import few_samples
from lazyrich.capture.kernel import DenseFactor, Factor, OuterFactor
from lazyrich.capture.norms import norm
from lazyrich.capture.per_sample import per_sample_gradients

_TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3}  # of the check


@dataclass(frozen=True, kw_only=True)
class _Use:
    """A parameter's use by a captured layer: which tensor of which module it is."""

    layer: Layer
    role: str


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
            if layers.is_norm(layer.module):
                of_norms.setdefault(layer.name, []).append(_of_norm(layer, of_calls))
            elif len(directions) == 1:
                gradients[layer.name] = [g[:, None] for g in of_calls]
            else:
                rooms = gradients.setdefault(layer.name, [])
                if i == 0:  # room for all: parts and their stack would take twice as much
                    shapes = [(len(g), len(directions), *g.shape[1:]) for g in of_calls]
                    rooms += [g.new_empty(s) for g, s in zip(of_calls, shapes, strict=True)]
                for room, g in zip(rooms, of_calls, strict=True):
                    room[:, i] = g
    joined = {
        name: {role: torch.cat([one[role] for one in parts], 1) for role in parts[0]}
        for name, parts in of_norms.items()
    }
    return BackwardPasses(directions=directions, gradients=gradients, of_norms=joined)


def _of_norm(layer: Layer, gradients: list[Tensor]) -> dict[str, Float[Tensor, "n 1 p"]]:
    """Gradients of a norm's own parameters along one direction, summed over its calls."""
    parts = [
        layers.norm_jacobian(layer.module, call.inputs, g[:, None])
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
    known = {name: uses[name] for name in trainable if name in trusted and name in uses}
    yield from _outer_factors(known, along, rates)
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
    canonical = {id(p): name for name, p in capture.model.named_parameters()}
    uses: dict[str, list[_Use]] = defaultdict(list)
    for layer in (*capture.layers, *capture.small):
        for role, parameter in layer.module.named_parameters(recurse=False):
            if role in ("weight", "bias") and parameter.requires_grad:
                uses[canonical[id(parameter)]].append(_Use(layer=layer, role=role))
    return uses


def trusted_parameters(capture: Capture) -> list[str]:
    """Parameters whose factors reproduce autograd on half of the samples and touch no other.

    One backward pass from the first half of the samples: gradients at other samples' rows must be
    zero, and the factors must sum up to the parameter's own gradient. Few samples show that, where
    it is known which inputs carry them.
    """
    if (few := few_samples(capture.batch)) is not None:
        try:
            return _trusted(look_at(capture.model, few, capture.conditions))
        except Exception:  # whatever a model raises that cannot do with so few samples
            pass
    return _trusted(capture)


def _trusted(capture: Capture) -> list[str]:
    f, uses = capture.outputs, _uses(capture)
    half = (len(f) + 1) // 2
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(f.shape, generator=generator).to(f)  # signs might cancel
    direction[half:] = 0
    at_layers, truth = capture.backward(direction, list(uses))
    gradients = dict(
        zip((layer.name for layer in (*capture.layers, *capture.small)), at_layers, strict=True)
    )
    mixing = {name for name, g in gradients.items() if any(t[half:].any() for t in g)}
    trusted = []
    for name, shared in uses.items():
        if any(use.layer.name in mixing for use in shared) or not _same_kind(shared):
            continue
        total = sum(_summed(use, gradients[use.layer.name]) for use in shared)
        exact = _wide(truth[name]).flatten()
        tolerance = _TOLERANCE[truth[name].dtype]
        if norm(total - exact) <= tolerance * norm(exact):
            trusted.append(name)
    return trusted


def _same_kind(shared: Sequence[_Use]) -> bool:
    """Tied linear layers share rows; a linear layer tied to an embedding has other ones."""
    modules = [use.layer.module for use in shared]
    if len(shared) == 1:
        return True
    return all(layers.is_linear(m) for m in modules) and len({_groups(m) for m in modules}) == 1


def _groups(module: nn.Module) -> int:
    return getattr(module, "groups", 1)


def _summed(use: _Use, gradients: list[Tensor]) -> Tensor:
    """The parameter's gradient as its factors give it, summed over samples."""
    module, calls = use.layer.module, use.layer.calls
    if layers.is_linear(module):
        g = use.layer.rows(gradients)
        if use.role == "bias":
            return _wide(g.sum((0, 1)).flatten())
        h = use.layer.inputs
        step = g.flatten(0, 1).permute(1, 2, 0) @ h.flatten(0, 1).permute(1, 0, 2)
        return _wide(step.flatten())
    if isinstance(module, nn.Embedding):
        total = _wide(torch.zeros_like(module.weight))
        for call, g in zip(calls, gradients, strict=True):
            kept = call.inputs.flatten() != (
                -1 if module.padding_idx is None else module.padding_idx
            )
            tokens, rows = call.inputs.flatten()[kept], g.flatten(0, -2)[kept]
            total.index_add_(0, tokens, _wide(rows))
        return total.flatten()
    return _wide(_of_norm(use.layer, gradients)[use.role].sum((0, 1)))


def _outer_factors(
    uses: dict[str, list[_Use]], along: BackwardPasses, rates: dict[str, float]
) -> Iterator[tuple[str, Factor]]:
    with_bias, gradients = _folded(uses), along.gradients
    for name, shared in uses.items():
        layer = shared[0].layer
        if isinstance(layer.module, nn.Embedding):
            yield layer.name, _embedding(layer, gradients[layer.name], rates[name])
        elif not layers.is_linear(layer.module):
            jacobian = along.of_norms[layer.name][shared[0].role]
            yield name, DenseFactor(jacobian=_wide(jacobian) * rates[name] ** 0.5)
        elif name not in with_bias.values():
            bias = with_bias.get(name)
            bias_rate = rates[bias] if bias else None
            pieces = [
                _linear(use, gradients[use.layer.name], rates[name], bias_rate) for use in shared
            ]
            key = layer.name if shared[0].role == "weight" else name
            h, g = _joined([h for h, _ in pieces], 1), _joined([g for _, g in pieces], 2)
            yield key, OuterFactor(inputs=_wide(h), gradients=_wide(g))


def _joined(pieces: list[Tensor], dim: int) -> Tensor:
    return torch.cat(pieces, dim) if len(pieces) > 1 else pieces[0]


def _folded(uses: dict[str, list[_Use]]) -> dict[str, str]:
    """Weight → bias, where both belong to one layer alone: the bias becomes one more input."""
    alone = {(use[0].layer.name, use[0].role): n for n, use in uses.items() if len(use) == 1}
    return {
        name: alone[layer, "bias"]
        for (layer, role), name in alone.items()
        if role == "weight"
        and (layer, "bias") in alone
        and layers.is_linear(uses[name][0].layer.module)
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


def _embedding(layer: Layer, gradients: list[Tensor], rate: float) -> OuterFactor:
    assert isinstance(layer.module, nn.Embedding)
    tokens = torch.cat([call.inputs.flatten(1) for call in layer.calls], 1)
    h = layers.one_hot_rows(layer.module, tokens)
    g = torch.cat([g.reshape(*g.shape[:2], -1, 1, g.shape[-1]) for g in gradients], 2)
    return OuterFactor(inputs=_wide(h) * rate**0.5, gradients=_wide(g))


def _wide(tensor: Tensor) -> Tensor:
    """Half precision is enough for a forward pass, not for sums of products."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
