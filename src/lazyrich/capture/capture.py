"""One forward pass seen from inside: inputs, pre-activations, weights and gradients of all layers.

Hooks live only during that forward pass. The graph is kept, so that every observable draws its
backward passes from the same capture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture import modules as layers
from lazyrich.capture.conditions import Conditions, Settled
from lazyrich.capture.first_look import conditions_of
from lazyrich.capture.isolation import (
    Batch,
    batch_size,
    dense_gradient,
    rows,
    undisturbed,
    unwrap,
)
from lazyrich.capture.padding import counted_outputs, counted_positions
from lazyrich.capture.weights import read_weights


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a module.

    Attributes:
        inputs: what it was given, detached; for a norm, already normalised.
        outputs: what it returned, detached.
        edge: where gradients on its output are read from the graph.
    """

    inputs: Tensor
    outputs: Tensor
    edge: Any


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A module and its calls in one forward pass; several calls are more positions.

    Attributes:
        name: the path in `named_modules()`.
        module: the module, for its geometry; its tensors are not touched.
        weight: the weight that acted, after parametrizations, detached; None for a norm without.
        calls: at least one.
    """

    name: str
    module: nn.Module
    weight: Tensor | None
    calls: tuple[Call, ...]

    @property
    def inputs(self) -> layers.Rows:
        """`h`, one vector a sample, position and group (patches for a convolution)."""
        rows = [layers.input_rows(self.module, call.inputs) for call in self.calls]
        return torch.cat(rows, 1) if len(rows) > 1 else rows[0]

    @property
    def preactivations(self) -> layers.Rows:
        """`z = W h + b`, in the layout of `inputs`."""
        return self.rows([call.outputs for call in self.calls])

    @property
    def matrix(self) -> Float[Tensor, "m d"]:
        """W; block diagonal over the groups of a grouped convolution."""
        assert self.weight is not None  # linear layers have one
        blocks = layers.weight_rows(self.module, self.weight)
        return blocks[0] if len(blocks) == 1 else torch.block_diag(*blocks)  # type: ignore[no-untyped-call]

    def rows(self, outputs: Sequence[Tensor]) -> layers.Rows:
        """Tensors shaped like the calls' outputs, such as gradients, as rows."""
        rows = [layers.output_rows(self.module, output) for output in outputs]
        return torch.cat(rows, 1) if len(rows) > 1 else rows[0]


@dataclass(frozen=True, kw_only=True)
class Capture:
    """What one forward pass left behind; holds the graph as long as it lives.

    Attributes:
        model: the plain module that ran.
        batch: its input.
        leaves: the copies of parameters and buffers that it ran on.
        conditions: what was held, see there; of later looks too.
        settled: running statistics and the like, taken on this batch.
        outputs: f, (samples, outputs), with its graph.
        shape: of the outputs as the model gave them.
        layers: linear layers and convolutions in forward order.
        small: norms and embeddings, which have parameters but no weight matrix to study.
        skipped: every other module with parameters, and why it is not among the layers.
        readout: name of the last linear layer whose pre-activation is the output itself up to a
            constant factor and shift, if any.
        positions: of sequences, those that are not padded; None if all count.
        counted: the outputs that count; None if all do.
    """

    model: nn.Module
    batch: Batch
    leaves: dict[str, Tensor]
    conditions: Conditions
    settled: Settled
    outputs: Float[Tensor, "n k"]
    shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    small: tuple[Layer, ...]
    skipped: dict[str, str]
    readout: str | None
    positions: Bool[Tensor, "n t"] | None
    counted: Bool[Tensor, "n k"] | None

    def of_counted(self, outputs: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Outputs, or directions among them, with zeros where none counts."""
        return outputs if self.counted is None else outputs * self.counted

    def gradients(self, direction: Float[Tensor, "n k"]) -> list[list[Tensor]]:
        """Gradients of `Σ_c v_ic f_ic` at all outputs of all layers, by one backward pass.

        Args:
            direction: v, (samples, outputs).

        Returns:
            For each of `layers`, then `small`, one tensor a call, shaped like its output.
        """
        return self.backward(direction, ())[0]

    def backward(
        self, direction: Float[Tensor, "n k"], names: Sequence[str]
    ) -> tuple[list[list[Tensor]], dict[str, Tensor]]:
        """The same, with gradients of the named parameters, summed over samples."""
        every = (*self.layers, *self.small)
        calls = [(layer.name, call) for layer in every for call in layer.calls]
        wanted = [call.edge for _, call in calls] + [self.leaves[name] for name in names]
        if not wanted:
            return [], {}
        with torch.inference_mode(False):
            gradients = torch.autograd.grad(
                self.outputs, wanted, direction.clone(), retain_graph=True, allow_unused=True
            )
        like = [call.outputs for _, call in calls] + [self.leaves[name] for name in names]
        labels = [name for name, _ in calls] + list(names)
        at = map(dense_gradient, gradients, like, labels)
        at_layers = [[next(at) for _ in layer.calls] for layer in every]
        return at_layers, dict(zip(names, at, strict=True))

    def exact_directions(self) -> Iterator[Float[Tensor, "n k"]]:
        """One direction for each output: all of the Jacobian, but for what is padded."""
        for c in range(self.outputs.shape[1]):
            direction = torch.zeros_like(self.outputs)
            direction[:, c] = 1
            yield self.of_counted(direction)


def capture(model: nn.Module, x: Batch, conditions: Conditions | None = None) -> Capture:
    """Run the model and keep what its layers saw.

    Measured in evaluation mode, so that dropout is off, but normalised as in training: by the
    statistics of this batch, constants of every derivative. The model, its weights, gradients,
    buffers, attributes, hooks and all random generators stay as they are, also after an error; the
    user's own hooks fire. Half precision is widened to float32, in copies.

    Args:
        model: any module; compiled and data-parallel wrappers are looked through.
        x: a batch as the model takes it: a tensor, a sequence of arguments or a mapping of keyword
            arguments; the first dimension counts samples.
        conditions: of an earlier look at the same model; None to find out.

    Returns:
        The capture. Nothing is dropped silently: see `Capture.skipped`.

    Raises:
        InputError: no parameters, an empty batch, NaN in data or weights, an output without a row
            a sample or without a gradient, one value a channel where a batch norm needs two.

    Example:
        >>> seen = capture(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), torch.ones(2, 3))
        >>> [(layer.name, tuple(layer.inputs.shape)) for layer in seen.layers]
        [('0', (2, 1, 1, 3))]
    """
    model = unwrap(model)
    samples = batch_size(x)
    calls: dict[str, list[Call]] = {}
    weights: dict[str, Tensor | None] = {}
    leaves = read_weights(model).leaves()
    if conditions is None:
        conditions = conditions_of(model, leaves, x)
    with undisturbed(model):
        settled = conditions.settle(model, leaves, x)
        with _hooks(model, calls, weights):
            as_given = rows(conditions.call(model, leaves, x, settled), samples)
        outputs = as_given.reshape(samples, -1)
    captured, skipped = _sort(model, calls, weights, samples)
    captured = [_with_x_hat(layer, settled, leaves) for layer in captured]
    if not outputs.requires_grad:
        raise InputError(
            "the model's output must have a gradient, got one that is cut off from all layers. "
            "Does its forward run under `torch.no_grad()` or detach the result?"
        )
    positions = counted_positions(x)
    linear = tuple(layer for layer in captured if layers.is_linear(layer.module))
    return Capture(
        model=model,
        batch=x,
        leaves=leaves,
        conditions=conditions,
        settled=settled,
        outputs=outputs,
        shape=tuple(as_given.shape),
        layers=linear,
        small=tuple(layer for layer in captured if not layers.is_linear(layer.module)),
        skipped=skipped,
        readout=_readout(outputs, linear),
        positions=positions,
        counted=counted_outputs(tuple(as_given.shape), positions),
    )


@contextmanager
def _hooks(
    model: nn.Module,
    calls: dict[str, list[Call]],
    weights: dict[str, Tensor | None],
) -> Iterator[None]:
    def watch(name: str, module: nn.Module) -> Any:  # noqa: ANN401 - torch's hook type
        def hook(_: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:  # noqa: ANN401
            # below frozen layers nothing has a graph: begin one here
            z = output if output.requires_grad else output.detach().requires_grad_()
            weight = getattr(module, "weight", None)
            h = (args[0] if args else next(iter(kwargs.values()))).detach()
            if weight is None or not weight.requires_grad:
                h = h.clone()  # autograd does not guard it against later in-place changes
            edge = torch.autograd.graph.get_gradient_edge(z)
            calls.setdefault(name, []).append(Call(inputs=h, outputs=z.detach(), edge=edge))
            weights[name] = None if weight is None else weight.detach()
            return z.clone()  # an in-place activation must not change z

        return module.register_forward_hook(hook, with_kwargs=True)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if layers.is_captured(module):
                stack.callback(watch(name, module).remove)
        yield


def _sort(
    model: nn.Module,
    calls: dict[str, list[Call]],
    weights: dict[str, Tensor | None],
    samples: int,
) -> tuple[list[Layer], dict[str, str]]:
    """Layers in forward order, and the reason for every module that is not among them."""
    modules = dict(model.named_modules())
    captured, skipped = [], {}
    for name, seen in calls.items():
        module = modules[name]
        reasons = (layers.reason_to_skip(module, call.inputs, samples) for call in seen)
        reason = next((r for r in reasons if r), None)
        if reason:
            skipped[name] = reason
            continue
        captured.append(Layer(name=name, module=module, weight=weights[name], calls=tuple(seen)))
    for name, module in modules.items():
        if name not in calls and next(module.parameters(recurse=False), None) is not None:
            skipped[name] = _reason(module)
    for layer in captured:
        if not layers.is_linear(layer.module):
            skipped[layer.name] = "a norm or an embedding has no weight matrix to study"
    return captured, skipped


def _with_x_hat(layer: Layer, settled: Settled, leaves: dict[str, Tensor]) -> Layer:
    """A norm with its inputs normalised; any other layer as it is."""
    if not layers.is_norm(layer.module):
        return layer
    names = ("running_mean", "running_var")
    own = {name: leaves.get(f"{layer.name}.{name}".removeprefix(".")) for name in names}
    calls = []
    for i, call in enumerate(layer.calls):
        by = settled[layer.name][i] if layer.name in settled else own
        x_hat = layers.normalised(layer.module, call.inputs, *(by[name] for name in names))
        calls.append(replace(call, inputs=x_hat))
    return replace(layer, calls=tuple(calls))


def _readout(outputs: Float[Tensor, "n k"], linear: Sequence[Layer]) -> str | None:
    """The last layer with `∂f/∂z = c·1`: gradients along any direction are that direction."""
    size = outputs.numel()
    candidates = [x for x in linear if len(x.calls) == 1 and x.calls[0].outputs.numel() == size]
    if not candidates:
        return None
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(outputs.shape, generator=generator).to(outputs)
    edges = [layer.calls[0].edge for layer in candidates]
    with torch.inference_mode(False):
        gradients = torch.autograd.grad(
            outputs, edges, v.clone(), retain_graph=True, allow_unused=True
        )
    tolerance = 16 * torch.finfo(outputs.dtype).eps
    for layer, gradient in zip(reversed(candidates), reversed(gradients), strict=True):
        if gradient is None or not gradient.any():
            continue
        ratio = gradient.reshape(v.shape) / v
        if (ratio - ratio[0, 0]).abs().max() <= tolerance * ratio[0, 0].abs():
            return layer.name
    return None


def _reason(module: nn.Module) -> str:
    kind = type(module).__name__
    if isinstance(module, nn.MultiheadAttention):
        return "MultiheadAttention applies its weights without calling a module"
    if layers.is_captured(module):
        return "its forward was not called; its parameters, if used, are used by another module"
    return f"{kind} is not a plain Linear or Conv1d/2d/3d"
