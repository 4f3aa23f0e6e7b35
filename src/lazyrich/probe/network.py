"""Anybody's model as a pure function of its trainable parameters; the model itself stays as it is.

Importing this module needs the extra `lazyrich[torch]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map

from lazyrich._errors import InputError

Parameters = dict[str, Tensor]
"""Tensors by the names of `named_parameters()`."""

_HALF = (torch.float16, torch.bfloat16)
DROPOUT = nn.modules.dropout._DropoutNd
BATCH_NORM = nn.modules.batchnorm._NormBase  # BatchNorm, SyncBatchNorm, InstanceNorm


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model on one batch of inputs: the map θ ↦ f(θ).

    Attributes:
        module: the model without the wrappers of `torch.compile` and `DataParallel`.
        theta: the trainable parameters θ, detached, in float32 or better.
        constants: frozen parameters, and copies of the buffers.
        args: positional arguments of the forward pass.
        kwargs: keyword arguments of the forward pass.
        notes: what a reader of the result has to know, in sentences.
    """

    module: nn.Module
    theta: Parameters
    constants: Parameters
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    notes: tuple[str, ...]

    def __call__(self, theta: Parameters) -> Float[Tensor, "n *k"]:
        """The outputs f(θ)."""
        tensors = {**self.constants, **theta}
        return single_output(functional_call(self.module, tensors, self.args, self.kwargs))


def layer_of(parameter: str) -> str:
    """The module path of the layer that owns a parameter, as in `named_modules()`.

    Example:
        >>> layer_of("encoder.0.weight"), layer_of("0.parametrizations.weight.original0")
        ('encoder.0', '0')
    """
    path, found, _ = parameter.partition(".parametrizations.")
    return path if found else parameter.rpartition(".")[0]


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside the wrappers of `torch.compile`, `DataParallel` and its distributed kin."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def single_output(outputs: Any) -> Tensor:  # noqa: ANN401 - whatever a model returns
    """The one tensor in what a model returned (`logits`, if a mapping has them).

    Raises:
        InputError: there is not exactly one floating-point tensor.
    """
    if isinstance(outputs, Mapping) and "logits" in outputs:
        outputs = outputs["logits"]
    tensors = [
        leaf
        for leaf in tree_leaves(dict(outputs) if isinstance(outputs, Mapping) else outputs)
        if isinstance(leaf, Tensor) and leaf.is_floating_point()
    ]
    if len(tensors) != 1:
        raise InputError(
            f"the model must return one floating-point tensor, got {len(tensors)} in a "
            f"{type(outputs).__name__}. Wrap the model so that it returns the tensor that the "
            "loss is computed from."
        )
    output: Tensor = tensors[0]
    return output


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
    parameters = dict(module.named_parameters())
    if not any(p.requires_grad for p in parameters.values()):
        raise InputError(
            f"the model must have trainable parameters, got {len(parameters)} parameters and none "
            "that requires a gradient. Set requires_grad on what will be trained."
        )
    _refuse_bad_inputs(inputs)
    _refuse_bad_weights(parameters)
    args, kwargs = _arguments(tree_map(_widen, inputs))
    fixed = {name: p.detach() for name, p in parameters.items() if not p.requires_grad}
    buffers = {name: b.detach().clone() for name, b in module.named_buffers()}
    return Network(
        module=module,
        theta={name: _widen(p.detach()) for name, p in parameters.items() if p.requires_grad},
        constants={name: _widen(tensor) for name, tensor in {**fixed, **buffers}.items()},
        args=args,
        kwargs=kwargs,
        notes=_notes(module, parameters),
    )


def layer_outputs(network: Network, theta: Parameters) -> dict[str, tuple[Tensor, ...]]:
    """What every layer that owns trainable parameters gives, at each of its calls in one pass.

    Layers that are never called as a module (another one reads their weights) are not in it.
    """
    seen: dict[str, tuple[Tensor, ...]] = {}

    def keep(layer: str, output: Any) -> None:  # noqa: ANN401 - whatever a layer returns
        tensors = tuple(x for x in tree_leaves(output) if isinstance(x, Tensor))
        seen[layer] = seen.get(layer, ()) + tuple(x for x in tensors if x.is_floating_point())

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


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Measure in eval mode, by operations that have derivatives of second order; then restore.

    Restores train/eval flags and the random state, also after an exception. Attention takes its
    plain formula and recurrent layers their plain kernels, since the fused ones cannot be
    differentiated twice.
    """
    modes = {m: m.training for m in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(m, nn.RNNBase) for m in modes):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            stack.callback(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled())
            torch._C._set_mkldnn_enabled(False)  # `mkldnn.flags` would also touch TF32, and warn
        calls = {m: m._compiled_call_impl for m in modes if m._compiled_call_impl is not None}
        try:
            module.eval()
            torch.backends.mha.set_fastpath_enabled(False)
            for m in calls:
                m._compiled_call_impl = None
            yield
        finally:
            for m, call in calls.items():
                m._compiled_call_impl = call
            torch.backends.mha.set_fastpath_enabled(fast)
            for m, mode in modes.items():
                m.training = mode


def _widen(leaf: Any) -> Any:  # noqa: ANN401 - a leaf of the inputs
    half = isinstance(leaf, Tensor) and leaf.dtype in _HALF
    return leaf.float() if half else leaf


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:  # noqa: ANN401
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    if isinstance(inputs, tuple | list):
        return tuple(inputs), {}
    return (inputs,), {}


def _refuse_bad_inputs(inputs: Any) -> None:  # noqa: ANN401
    leaves = tree_leaves(dict(inputs) if isinstance(inputs, Mapping) else inputs)
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    if not tensors or any(t.numel() == 0 for t in tensors):
        shapes = [tuple(t.shape) for t in tensors]
        raise InputError(
            f"the batch must hold at least one sample, got inputs of shapes {shapes}. "
            "Pass (inputs, targets) with a tensor, or a tuple or dict of tensors, as inputs."
        )
    if not all(t.isfinite().all() for t in tensors):
        raise InputError("the inputs must be finite, got NaN or infinity. Clean the batch.")


def _refuse_bad_weights(parameters: Mapping[str, Tensor]) -> None:
    for name, p in parameters.items():
        if not p.detach().isfinite().all():
            raise InputError(
                f"the weights must be finite, got NaN or infinity in {name!r}. "
                "Measure before the run diverges, or initialise again."
            )


def _notes(module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> tuple[str, ...]:
    notes = []
    active = [m for m in module.modules() if m.training]
    if any(isinstance(m, DROPOUT) and m.p > 0 for m in active):
        notes.append("Measured in eval mode: dropout is off.")
    if any(isinstance(m, BATCH_NORM) and m.track_running_stats for m in active):
        notes.append("Measured in eval mode: normalisation uses its running statistics.")
    if any(p.dtype in _HALF for p in parameters.values()):
        notes.append("Half-precision weights were widened to float32 for the measurement.")
    return tuple(notes)
