"""One forward pass seen from inside: inputs, pre-activations, weights and gradients of all layers.

Hooks live only during that forward pass. The graph is kept, so that every observable draws its
backward passes from the same capture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture import modules as layers
from lazyrich.capture.conditions import Conditions, Settled
from lazyrich.capture.directions import probing_direction
from lazyrich.capture.first_look import conditions_of, found_out
from lazyrich.capture.isolation import (
    Batch,
    Leaves,
    batch_size,
    dense_gradient,
    rows,
    undisturbed,
    unwrap,
)
from lazyrich.capture.padding import counted_outputs, counted_positions, without_padding
from lazyrich.capture.pieces import Pieces
from lazyrich.capture.watch import Call, Orders, Sight, Sights, by_samples
from lazyrich.capture.weights import read_weights
from lazyrich.capture.witness import Witness

Positions = Bool[Tensor, "samples length"] | None
"""Of sequences, those that are not padded; None if all count."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A weight and its uses in one forward pass; several calls are more positions.

    Attributes:
        name: the path in `named_modules()`, or that of the parameter, see `watch`.
        module: the module, for its geometry, its tensors are not touched; what takes its place, see
            `Form`.
        weight: the weight that acted, after parametrizations, detached; None for a norm without.
        tensors: parameters, or parts of them, that act as `weight` and `bias`.
        calls: at least one.
    """

    name: str
    module: layers.Form
    weight: Tensor | None
    tensors: Pieces
    calls: tuple[Call, ...]

    @property
    def is_linear(self) -> bool:
        """Whether it has a weight matrix, so that `z = W h + b`."""
        return layers.has_matrix(self.module)

    @property
    def inputs(self) -> layers.Rows:
        """`h`, one vector a sample, position and group (patches for a convolution)."""
        return self.inputs_with(None)

    @property
    def preactivations(self) -> layers.Rows:
        """`z = W h + b`, in the layout of `inputs`."""
        return self.counted_preactivations(None)

    def inputs_with(self, constant: float | None) -> layers.Rows:
        """The same with one more input, last, which is constant; without one if that is None."""
        of_calls = (layers.input_rows(self.module, call.inputs, constant) for call in self.calls)
        return _joined(of_calls, None)

    def counted_inputs(self, positions: Positions) -> layers.Rows:
        """`inputs` with zeros at padded positions of every call; None if none is padded."""
        return _joined(
            (layers.input_rows(self.module, call.inputs) for call in self.calls), positions
        )

    def counted_preactivations(self, positions: Positions) -> layers.Rows:
        """The same with zeros at padded positions of every call; None if none is padded."""
        return self.rows([call.outputs for call in self.calls], positions)

    @property
    def matrix(self) -> Float[Tensor, "m d"]:
        """W; block diagonal over the groups of a grouped convolution."""
        assert self.weight is not None  # linear layers have one
        return self.matrix_of(self.weight)

    def matrix_of(self, weight: Tensor) -> Float[Tensor, "m d"]:
        """The same of another tensor shaped like the layer's weight."""
        blocks = layers.weight_rows(self.module, weight)
        return blocks[0] if len(blocks) == 1 else torch.block_diag(*blocks)  # type: ignore[no-untyped-call]

    def trains(self, leaves: Leaves) -> bool:
        """Whether some of its parameters requires a gradient."""
        names = {piece.parameter for piece in self.tensors.values()}
        if isinstance(self.module, nn.Module):  # a parametrized weight has no name of its own
            within = f"{self.name}." if self.name else ""
            names |= {name for name in leaves if name.startswith(within)}
        return any(leaves[name].requires_grad for name in names)

    def rows(self, outputs: Sequence[Tensor], positions: Positions = None) -> layers.Rows:
        """Tensors shaped like the calls' outputs, such as gradients, as rows."""
        return _joined((layers.output_rows(self.module, output) for output in outputs), positions)


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
        shape: shape of the outputs as the model gave them.
        layers: all that multiplies by a weight matrix, in forward order: linear layers,
            convolutions, and other products with parameters, see `products`.
        small: norms and embeddings, which have parameters but no weight matrix to study.
        skipped: every other module with parameters, or parameter of a module that has others among
            the layers, and why it is not.
        readout: name of the last linear layer whose pre-activation is the output itself up to a
            constant factor and shift, if any.
        positions: positions of sequences that are not padded; None if all count.
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
    positions: Positions
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
        edges = [call.edge for layer in every for call in layer.calls]
        wanted = [*edges, *(self.leaves[name] for name in names)]
        if not wanted:
            return [], {}
        with torch.inference_mode(False):
            gradients = torch.autograd.grad(
                self.outputs, wanted, direction.clone(), retain_graph=True, allow_unused=True
            )
        at = iter(gradients)
        at_layers = [
            [call.gradient(next(at), layer.name) for call in layer.calls] for layer in every
        ]
        return at_layers, {
            name: dense_gradient(g, self.leaves[name], name)
            for name, g in zip(names, at, strict=True)
        }

    def exact_directions(self) -> Iterator[Float[Tensor, "n k"]]:
        """One direction for each output: all of the Jacobian, but for what is padded."""
        for c in range(self.outputs.shape[1]):
            direction = torch.zeros_like(self.outputs)
            direction[:, c] = 1
            yield self.of_counted(direction)


def capture(
    model: nn.Module,
    x: Batch,
    conditions: Conditions | None = None,
    leaves: Leaves | None = None,
    orders: Orders | None = None,
) -> Capture:
    """Run the model and keep what its layers saw.

    Measured in evaluation mode, so that dropout is off, but normalised as in training: by the
    statistics of this batch, constants of every derivative. The model, its weights, gradients,
    buffers, attributes, hooks and all random generators stay as they are, also after an error; the
    user's own hooks fire. Half precision is widened to float32, in copies.

    Args:
        model: any module; compiled and data-parallel wrappers are looked through.
        x: a batch as the model takes it: a tensor, a sequence of arguments or a mapping of keyword
            arguments; the first dimension counts samples.
        conditions: conditions of an earlier look at the same model; None to find out.
        leaves: parameters and buffers to run on, such as earlier ones; None for the model's own.
        orders: orders of an earlier look, see `by_samples`; None to find out.

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
    batch_size(x)  # refuses bad batches
    run = _first_run(model, x) if conditions is None and leaves is None else None
    if run is None:
        leaves = read_weights(model).leaves() if leaves is None else leaves
        if conditions is None:
            conditions = conditions_of(model, leaves, x)
        run = _run(model, leaves, x, conditions)
    leaves, watch, settled, outputs = run.leaves, run.watch, run.settled, run.outputs
    if not outputs.requires_grad:
        raise InputError(
            "the model's output must have a gradient, got one that is cut off from all layers. "
            "Does its forward run under `torch.no_grad()` or detach the result?"
        )
    positions = counted_positions(x)
    counted = counted_outputs(run.shape, positions)
    length = 0 if positions is None else positions.shape[1]
    captured = [
        _with_x_hat(_layer(name, sight), settled, leaves)
        for name, sight in by_samples(watch, outputs, counted, length, orders).items()
    ]
    linear = tuple(layer for layer in captured if layer.is_linear)
    return Capture(
        model=model,
        batch=x,
        leaves=leaves,
        conditions=run.conditions,
        settled=settled,
        outputs=outputs,
        shape=run.shape,
        layers=linear,
        small=tuple(layer for layer in captured if not layer.is_linear),
        skipped=_skipped(model, captured, watch.reasons),
        readout=_readout(outputs, linear),
        positions=positions,
        counted=counted,
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A pass of a look: on what, under which conditions, what was seen, and the outputs."""

    leaves: Leaves
    conditions: Conditions
    watch: Sights
    settled: Settled
    outputs: Float[Tensor, "n k"]
    shape: tuple[int, ...]


def _run(model: nn.Module, leaves: Leaves, x: Batch, conditions: Conditions) -> _Run:
    watch = Sights(model, leaves, batch_size(x))
    with undisturbed(model):
        settled = conditions.settle(model, leaves, x)
        with watch.on():
            result = conditions.call(model, leaves, x, settled)
        return _ended(result, leaves, conditions, watch, settled)


def _first_run(model: nn.Module, x: Batch) -> _Run | None:
    """The first pass of all looks, which is also the last of those that find out its conditions.

    None if it is not what they promised; then more passes are needed.
    """
    leaves = read_weights(model).leaves()
    found = found_out(model, leaves, x, hasty=True)
    watch, witness = Sights(model, leaves, batch_size(x)), Witness(model, leaves, found)
    with undisturbed(model):
        settled, first = found.conditions.settling(model, leaves, x)
        with watch.on(), witness.on():
            result = found.conditions.call(model, leaves, x, settled)
        if not witness.agrees(result, first):
            return None
        return _ended(result, leaves, found.completed(noisy=False), watch, settled)


def _ended(
    result: object, leaves: Leaves, conditions: Conditions, watch: Sights, settled: Settled
) -> _Run:
    """What a pass gave; call this inside of its `undisturbed`."""
    as_given = rows(result, watch.samples)
    return _Run(
        leaves=leaves,
        conditions=conditions,
        watch=watch,
        settled=settled,
        outputs=as_given.reshape(watch.samples, -1),
        shape=tuple(as_given.shape),
    )


def _joined(of_calls: Iterable[layers.Rows], positions: Positions) -> layers.Rows:
    """Rows of all calls; those of one call are not copied."""
    rows = [without_padding(x, positions) for x in of_calls]
    return torch.cat(rows, 1) if len(rows) > 1 else rows[0]


def _layer(name: str, of: Sight) -> Layer:
    calls = tuple(of.calls)
    return Layer(name=name, module=of.module, weight=of.weight, tensors=of.tensors, calls=calls)


def _skipped(
    model: nn.Module, captured: Sequence[Layer], reasons: dict[str, str]
) -> dict[str, str]:
    """Why parameters are in no layer, by the module if that holds for all of its own."""
    names = {layer.name for layer in captured}
    covered = {piece.parameter for layer in captured for piece in layer.tensors.values()}
    canonical = {id(p): name for name, p in model.named_parameters()}
    skipped = {name: reason for name, reason in reasons.items() if name not in names}
    for name, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        left = [
            path
            for role, p in own.items()
            if canonical[id(p)] not in covered
            and (path := f"{name}.{role}".removeprefix(".")) not in reasons
        ]
        if left and name not in skipped:
            one_by_one = name in names or len(left) < len(own)
            skipped |= dict.fromkeys(left if one_by_one else [name], _reason(name, module))
    for layer in captured:
        if not layer.is_linear:
            skipped[layer.name] = layers.no_matrix(layer.module)
    return skipped


def _with_x_hat(layer: Layer, settled: Settled, leaves: dict[str, Tensor]) -> Layer:
    """A norm with its inputs normalised; any other layer as it is."""
    if not isinstance(layer.module, nn.Module) or not layers.is_norm(layer.module):
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
    v = probing_direction(outputs)
    edges = [layer.calls[0].edge for layer in candidates]
    with torch.inference_mode(False):
        found = torch.autograd.grad(outputs, edges, v.clone(), retain_graph=True, allow_unused=True)
    tolerance = 16 * torch.finfo(outputs.dtype).eps
    for layer, g in zip(reversed(candidates), reversed(found), strict=True):
        if g is None or not g.any():
            continue
        take = layer.calls[0].take
        ratio = (take(g) if take else g).reshape(v.shape) / v
        if (ratio - ratio[0, 0]).abs().max() <= tolerance * ratio[0, 0].abs():
            return layer.name
    return None


def _reason(name: str, module: nn.Module) -> str:
    if ".parametrizations." in f".{name}":
        return "a weight is computed from its parameters"
    if not any(p.numel() for p in module.parameters(recurse=False)):
        return "its parameters have no entries"
    if layers.is_captured(module):
        return "its forward was not called; its parameters, if used, are used by another module"
    return "its parameters are in no product with activations, `z = W h`, that was seen"
