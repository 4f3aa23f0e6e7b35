"""Anybody's model as a pure function of its trainable parameters; the model itself stays as it is.

Importing this module needs the extra `lazyrich[torch]`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import jvp, vjp
from torch.utils._pytree import tree_leaves, tree_map

from lazyrich.capture.capture import Capture
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
    """

    module: nn.Module
    theta: Parameters
    constants: Parameters
    inputs: Batch
    conditions: Conditions
    settled: Settled
    notes: tuple[str, ...]

    def __call__(self, theta: Parameters) -> Float[Tensor, "n *k"]:
        """The outputs f(θ), with settled state as a constant; call this inside `undisturbed`."""
        tensors = {**self.constants, **theta}
        return single_output(self.conditions.call(self.module, tensors, self.inputs, self.settled))

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


def layer_outputs(network: Network, theta: Parameters) -> dict[str, tuple[Tensor, ...]]:
    """What every layer that owns trainable parameters gives, at each of its calls in one pass.

    Layers that are never called as a module (another one reads their weights) are not in it.
    """
    seen: dict[str, tuple[Tensor, ...]] = {}

    def keep(layer: str, output: Any) -> Any:  # noqa: ANN401 - whatever a layer returns
        tensors = tuple(x for x in tree_leaves(output) if isinstance(x, Tensor))
        seen[layer] = seen.get(layer, ()) + tuple(x for x in tensors if x.is_floating_point())
        # what comes next may work in place, and must not change what is kept
        return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, output)

    with ExitStack() as hooks:
        for layer in dict.fromkeys(layer_of(name) for name in theta):
            hooks.enter_context(
                network.module.get_submodule(layer).register_forward_hook(
                    lambda _module, _args, output, layer=layer: keep(layer, output)
                )
            )
        network(theta)
    return {layer: tensors for layer, tensors in seen.items() if tensors}


def derivative(function: Callable[..., Any], at: Any, along: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """A function's value and its directional derivative; trees of tensors in, trees out.

    By forward mode; where PyTorch has none for some operation, by two backward passes: the
    pull-back u ↦ Jᵀu is linear, and its own pull-back takes v to Jv.
    """
    try:
        value, slope = cast(tuple[Any, Any], jvp(function, (at,), (along,)))
    except NotImplementedError:
        value, pull_back = cast(tuple[Any, Any], vjp(function, at))
        zero = tree_map(torch.zeros_like, value)
        slope = vjp(lambda u: pull_back(u)[0], zero)[1](along)[0]
    return value, slope


def _notes(module: nn.Module) -> tuple[str, ...]:
    notes = []
    if any(isinstance(m, DROPOUT) and m.p > 0 and m.training for m in module.modules()):
        notes.append("Measured in eval mode: dropout is off.")
    if any(p.dtype in HALF for p in module.parameters()):
        notes.append("Half-precision weights were widened to float32 for the measurement.")
    return tuple(notes)
