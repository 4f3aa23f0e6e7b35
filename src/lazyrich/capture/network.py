"""Anybody's model as a pure function of its trainable parameters; the model itself stays as it is.

Importing this module needs the extra `lazyrich[torch]`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import grad, jvp, vjp
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from lazyrich._errors import NoDerivativeError
from lazyrich.capture.capture import Capture, Layer
from lazyrich.capture.conditions import Conditions, Settled
from lazyrich.capture.first_look import conditions_of
from lazyrich.capture.isolation import (
    HALF,
    Batch,
    Leaves,
    batch_size,
    single_output,
    undisturbed,
    unwrap,
)
from lazyrich.capture.products import Operation, Products
from lazyrich.capture.weights import read_weights

Parameters = dict[str, Tensor]
"""Tensors by the names of `named_parameters()`."""

DROPOUT = nn.modules.dropout._DropoutNd


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model on one batch of inputs: the map θ ↦ f(θ).

    Attributes:
        module: the model without the wrappers of `torch.compile` and `DataParallel`.
        theta: copies of the trainable parameters θ, detached, in float32 or better.
        constants: copies of frozen parameters and of buffers.
        inputs: the batch.
        conditions: what every look holds.
        settled: running statistics and the like, taken on this batch at `theta`.
        notes: what a reader of the result has to know, in sentences.
        counted: the outputs that count, in their shape; None if all do.
    """

    module: nn.Module
    theta: Parameters
    constants: Parameters
    inputs: Batch
    conditions: Conditions
    settled: Settled
    notes: tuple[str, ...]
    counted: Tensor | None = None

    def __call__(self, theta: Parameters) -> Float[Tensor, "n *k"]:
        """The outputs f(θ), with settled state as a constant; call this inside `undisturbed`."""
        tensors = {**self.constants, **theta}
        return single_output(self.conditions.call(self.module, tensors, self.inputs, self.settled))

    def of_counted(self, theta: Parameters) -> Float[Tensor, "n *k"]:
        """The outputs f(θ), 0 where none counts.

        Args:
            theta: θ; call this inside `undisturbed`.
        """
        return self.counting(self(theta))

    def counting(self, outputs: Float[Tensor, "n *k"]) -> Float[Tensor, "n *k"]:
        """Outputs, or their change, with 0 where none counts."""
        return outputs if self.counted is None else outputs * self.counted

    def trained(self, theta: Parameters) -> Float[Tensor, "n *k"]:
        """The outputs f(θ) as training computes them: derivatives see the batch's statistics, too.

        Args:
            theta: θ; call this inside `undisturbed`.
        """
        tensors = {**self.constants, **theta}
        return single_output(self.conditions.train(self.module, tensors, self.inputs))

    def at(self, theta: Parameters) -> Network:
        """The network at other parameters, with its state settled there.

        Args:
            theta: θ; call this inside `undisturbed`.
        """
        tensors = {**self.constants, **theta}
        settled = self.conditions.settle(self.module, tensors, self.inputs)
        return replace(self, theta=theta, settled=settled)


def layer_of(parameter: str) -> str:
    """The module path of the layer that owns a parameter, as in `named_modules()`.

    Example:
        >>> layer_of("encoder.0.weight"), layer_of("0.parametrizations.weight.original0")
        ('encoder.0', '0')
    """
    path, separator, _ = parameter.partition(".parametrizations.")
    return path if separator else parameter.rpartition(".")[0]


def as_network(model: nn.Module, inputs: Any) -> Network:  # noqa: ANN401 - tensor, tuple or dict
    """Look at a model as a function of its trainable parameters on given inputs.

    Args:
        model: any `torch.nn.Module`, in train or eval mode.
        inputs: a tensor, a tuple or list (positional arguments) or a mapping (keyword arguments).

    Returns:
        The network. Half precision is widened to float32, in copies.

    Raises:
        InputError: no trainable parameters, an empty batch, or a NaN in inputs or weights.
    """
    module = unwrap(model)
    weights = read_weights(module, to_train=True)
    batch_size(inputs)  # refuses bad batches
    tensors = {**weights.trainable, **weights.fixed}
    conditions = conditions_of(module, tensors, inputs)
    with undisturbed(module):
        settled = conditions.settle(module, tensors, inputs)
    return _network(module, tensors, set(weights.trainable), inputs, (conditions, settled))


def network_of(seen: Capture) -> Network:
    """The network that a capture looked at, as a function of its parameters."""
    tensors = {name: leaf.detach() for name, leaf in seen.leaves.items()}
    trainable = {name for name, leaf in seen.leaves.items() if leaf.requires_grad}
    return _network(seen.model, tensors, trainable, seen.batch, (seen.conditions, seen.settled))


def _network(
    module: nn.Module,
    tensors: Leaves,
    trainable: set[str],
    inputs: Batch,
    known: tuple[Conditions, Settled],
) -> Network:
    conditions, settled = known
    return Network(
        module=module,
        theta={name: t for name, t in tensors.items() if name in trainable},
        constants={name: t for name, t in tensors.items() if name not in trainable},
        inputs=inputs,
        conditions=conditions,
        settled=settled,
        notes=(*_notes(module), *conditions.notes),
    )


Turns = Mapping[int, Sequence[tuple[str, Callable[[Tensor], Tensor]]]]
"""Operation, by its turn → layers that it is a product of, and how z is read off its result."""


def turns_of(layers: Sequence[Layer]) -> Turns:
    """The operations of those layers that are no module."""
    turns: dict[int, list[tuple[str, Callable[[Tensor], Tensor]]]] = {}
    for layer in layers:
        for call in layer.calls:
            if call.take is not None:
                turns.setdefault(call.turn, []).append((layer.name, call.take))
    return turns


def layer_outputs(
    network: Network, theta: Parameters, turns: Turns | None = None
) -> dict[str, tuple[Tensor, ...]]:
    """What every layer that owns trainable parameters gives, at each of its calls in one pass.

    Layers that are never called as a module (another one reads their weights) are not in it, unless
    an operation is known to be theirs.

    Args:
        network: the network on its batch.
        theta: the parameters.
        turns: operations that are products of layers, see there.
    """
    seen: dict[str, tuple[Tensor, ...]] = {}

    def keep(layer: str, output: Any) -> Any:  # noqa: ANN401 - whatever a layer returns
        tensors = tuple(x for x in tree_leaves(output) if isinstance(x, Tensor))
        seen[layer] = seen.get(layer, ()) + tuple(x for x in tensors if x.is_floating_point())
        # what comes next may work in place, and must not change what is kept
        return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, output)

    of_operations = {layer for group in (turns or {}).values() for layer, _ in group}
    with ExitStack() as hooks:
        for layer in dict.fromkeys(layer_of(name) for name in theta):
            if layer not in of_operations:
                hooks.enter_context(
                    network.module.get_submodule(layer).register_forward_hook(
                        lambda _module, _args, output, layer=layer: keep(layer, output)
                    )
                )
        if turns:
            hooks.enter_context(_at_turns(turns, keep))
        network(theta)
    return {layer: tensors for layer, tensors in seen.items() if tensors}


def _at_turns(turns: Turns, keep: Callable[[str, Tensor], Tensor]) -> Products:
    count = itertools.count()

    def seen(operation: Operation) -> Tensor:
        for layer, take in turns.get(next(count), ()):
            keep(layer, take(operation.result))
        return operation.result.clone()

    return Products(seen)


def derivative(function: Callable[..., Any], at: Any, along: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """A function's value and its directional derivative; trees of tensors in, trees out.

    By forward mode. Where PyTorch has none for some operation, or `torch.func` refuses the model
    (hooks on gradients, own autograd functions, `autograd.grad` in a forward pass, …), by two
    backward passes of plain autograd: the pull-back u ↦ Jᵀu is linear, and its own takes v to Jv.

    Raises:
        NoDerivativeError: PyTorch has none.
    """
    return cast(
        tuple[Any, Any],
        _or_plainly(
            lambda: jvp(function, (at,), (along,)),
            lambda: _plain_derivative(function, at, along),
        ),
    )


def gradient(function: Callable[..., Tensor], at: Any) -> Any:  # noqa: ANN401 - a tree of tensors
    """The gradient of a scalar function, a tree like its argument; see `derivative`."""
    one = torch.ones(())
    return _or_plainly(
        lambda: grad(function)(at),
        lambda: _plain_pull_back(function, at, lambda value: one.to(value)),
    )


def pull_back(function: Callable[..., Any], at: Any, along: Any) -> Any:  # noqa: ANN401
    """Jᵀu for a tree u like the function's value, a tree like its argument; see `derivative`."""
    return _or_plainly(
        lambda: vjp(function, at)[1](along)[0],
        lambda: _plain_pull_back(function, at, lambda _: along),
    )


def _or_plainly(transformed: Callable[[], Any], plain: Callable[[], Any]) -> Any:  # noqa: ANN401
    """By `torch.func`; if that raises, by plain autograd, which says what is really wrong."""
    try:
        return transformed()
    except (RuntimeError, NoDerivativeError):  # the latter by a derivative inside of this one
        with torch.enable_grad():
            return plain()


def _plain_pull_back(
    function: Callable[..., Any],
    at: Any,  # noqa: ANN401
    along: Callable[[Any], Any],
) -> Any:  # noqa: ANN401
    leaves, tree = tree_flatten(at)
    inside = any(leaf.requires_grad for leaf in leaves)  # of another derivative
    theta = [leaf if leaf.requires_grad else leaf.detach().requires_grad_() for leaf in leaves]
    value = function(tree_unflatten(theta, tree))
    pairs = zip(tree_leaves(value), tree_leaves(along(value)), strict=True)
    moving = [(f, u) for f, u in pairs if f.requires_grad]
    if not moving:
        return tree_map(torch.zeros_like, at)
    f, u = zip(*moving, strict=True)
    if inside:  # else a function that is differentiable once is a constant of the other derivative
        u = tuple(x if x.requires_grad else x.detach().requires_grad_() for x in u)
    return tree_unflatten(_backward(f, theta, u, create_graph=inside), tree)


def _plain_derivative(function: Callable[..., Any], at: Any, along: Any) -> tuple[Any, Any]:  # noqa: ANN401
    leaves, tree = tree_flatten(at)
    theta = [leaf.detach().requires_grad_() for leaf in leaves]
    value = function(tree_unflatten(theta, tree))
    found, shape = tree_flatten(value)
    slopes = [torch.zeros_like(f) for f in found]
    moving = [i for i, f in enumerate(found) if f.requires_grad]
    if moving:
        u = [torch.zeros_like(found[i]).requires_grad_() for i in moving]
        back = _backward([found[i] for i in moving], theta, u, create_graph=True)
        linear = [(g, v) for g, v in zip(back, tree_leaves(along), strict=True) if g.requires_grad]
        g, v = zip(*linear, strict=True) if linear else (back, tree_leaves(along))
        for i, slope in zip(moving, _backward(g, u, v), strict=True):
            slopes[i] = slope
    return tree_map(torch.detach, value), tree_unflatten(slopes, shape)


def _backward(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    along: Sequence[Tensor],
    *,
    create_graph: bool = False,
) -> list[Tensor]:
    """Gradients by plain autograd, dense, zero where nothing flows.

    Raises:
        NoDerivativeError: PyTorch has none.
    """
    refuse_silent_ends(outputs)
    try:
        found = torch.autograd.grad(
            outputs, inputs, along, create_graph=create_graph, allow_unused=True
        )
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        why = str(error).splitlines()[0].rstrip(".")
        raise NoDerivativeError(_LACKING.format(why)) from error
    pairs = zip(found, inputs, strict=True)
    return [torch.zeros_like(x) if g is None else g.to_dense() for g, x in pairs]


_LACKING = (
    "the forward pass must be differentiable as often as this quantity asks for, got an operation "
    "that is not: {}. `ntk` and the default observables but `linearisation_error` need one "
    "derivative only; for the others take an operation that PyTorch differentiates twice."
)


def refuse_silent_ends(outputs: Sequence[Tensor]) -> None:
    """Refuse a graph that leads through a gradient which cannot be differentiated again.

    PyTorch puts an error where its graph ends, which a gradient of tensors behind never meets.

    Args:
        outputs: where the graph begins.

    Raises:
        NoDerivativeError: there is one.
    """
    known: set[Any] = set()
    nodes = [x.grad_fn for x in outputs]
    while nodes:
        node = nodes.pop()
        if node is None or node in known:
            continue
        if node.name() == "torch::autograd::Error":
            raise NoDerivativeError(
                _LACKING.format("an autograd function is marked as once differentiable")
            )
        known.add(node)
        nodes += [before for before, _ in node.next_functions]


def _notes(module: nn.Module) -> tuple[str, ...]:
    notes = []
    if any(isinstance(m, DROPOUT) and m.p > 0 and m.training for m in module.modules()):
        notes.append("Measured in eval mode: dropout is off.")
    if any(p.dtype in HALF for p in module.parameters()):
        notes.append("Half-precision weights were widened to float32 for the measurement.")
    return tuple(notes)
