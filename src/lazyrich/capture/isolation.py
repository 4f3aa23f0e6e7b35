"""Running somebody else's model without leaving a trace in it.

A forward pass works on copies of parameters and buffers, so that gradients, running statistics and
in-place tricks never reach the model; mode flags, attributes and random generators are put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence

from lazyrich._arguments import shown, takes
from lazyrich._errors import InputError, NotFiniteError
from lazyrich.capture.belongings import Belongings, every_module
from lazyrich.capture.generators import (
    Generator,
    cuda_devices,
    global_generators,
    set_state,
    state_of,
)
from lazyrich.capture.operations import without_autocast, without_checkpoints
from lazyrich.capture.refusals import refuse_foreign_weights

Batch = Tensor | Sequence[Any] | Mapping[str, Any]
Leaves = dict[str, Tensor]
ROUNDINGS = 64
HALF = (torch.float16, torch.bfloat16)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside `torch.compile`, `DataParallel` and `DistributedDataParallel`.

    Args:
        model: the model as it is trained.

    Returns:
        The plain module; layer names are paths of its `named_modules()`.

    Raises:
        InputError: it is no module, or see `refuse_foreign_weights`.

    Example:
        >>> unwrap(nn.DataParallel(nn.Linear(2, 1)))
        Linear(in_features=2, out_features=1, bias=True)
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"the model must be a torch.nn.Module, got {shown(model)}. Pass the network itself, an "
            "instance of its class."
        )
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            break
    refuse_foreign_weights(model)
    return model


def tensors_in(tree: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists, mappings and dataclasses, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from tensors_in(value)
    elif isinstance(tree, Sequence) and not isinstance(tree, str | bytes):
        for value in tree:
            yield from tensors_in(value)
    elif is_record(tree):
        yield from tensors_in(fields_of(tree))


def is_record(value: object) -> bool:
    """Whether it is an instance of a dataclass."""
    return is_dataclass(value) and not isinstance(value, type)


def fields_of(record: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """What an instance of a dataclass holds, by name."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def map_tensors(change: Callable[[Tensor], Tensor], tree: Any) -> Any:  # noqa: ANN401 - any nesting
    """The same nesting with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(change, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        values = [map_tensors(change, value) for value in tree]
        named = getattr(type(tree), "_make", None)  # a namedtuple
        return named(values) if named else type(tree)(values)
    if is_record(tree):
        changed = copy(tree)  # not by `replace`, which would run its `__post_init__`
        for name, value in fields_of(tree).items():
            object.__setattr__(changed, name, map_tensors(change, value))
        return changed
    return tree


def shapes(tree: object) -> str:
    """What a batch is made of, in words.

    Example:
        >>> shapes({"ids": torch.ones(2, 3), "labels": [torch.zeros(2)]})
        'ids (2, 3) float32, labels (2,) float32'
    """
    if isinstance(tree, Tensor):
        return f"{tuple(tree.shape)} {str(tree.dtype).removeprefix('torch.')}"
    if isinstance(tree, Mapping):
        return ", ".join(f"{name} {shapes(part)}" for name, part in tree.items())
    if isinstance(tree, list | tuple):
        return ", ".join(map(shapes, tree))
    return type(tree).__name__


def widen(tensor: Tensor) -> Tensor:
    """Half precision as float32; any other tensor as it is.

    Args:
        tensor: any.

    Example:
        >>> widen(torch.ones(1, dtype=torch.float16)).dtype
        torch.float32
    """
    return tensor.float() if tensor.dtype in HALF else tensor


def is_finite(tensor: Tensor) -> bool:
    """Whether no entry is NaN or infinite; reads the tensor once if so."""
    with torch.no_grad():
        return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())  # a sum may overflow


def batch_size(x: Batch) -> int:
    """Number of samples, the first dimension of the first tensor of the batch.

    Raises:
        InputError: no tensor, no sample, a NaN, or an infinity among the samples; other inputs, a
            mask for instance, may hold infinities.
    """
    tensors = list(tensors_in(x))
    _refuse_ragged(x, tensors)
    if not tensors or tensors[0].ndim == 0:
        raise InputError(
            "`x` must hold a tensor whose first dimension counts samples, "
            f"got {type(x).__name__}. Pass what you would pass to the model."
        )
    if len(tensors[0]) == 0:
        raise InputError("`x` must hold at least one sample, got a batch of size 0.")
    for number, tensor in enumerate(tensors):
        if not tensor.is_floating_point() or is_finite(tensor):
            continue
        if number == 0 or tensor.isnan().any():
            raise InputError(
                "`x` must be finite, got NaN or infinity. Clean the probe batch before measuring."
            )
    return len(tensors[0])


def _refuse_ragged(x: object, tensors: Sequence[Tensor]) -> None:
    """Refuse what has no row a sample: sequences of different lengths in one object."""
    parts = list(x.values()) if isinstance(x, Mapping) else x if isinstance(x, list | tuple) else []
    packed = any(isinstance(one, PackedSequence) for one in (x, *parts))
    if packed or any(tensor.is_nested for tensor in tensors):
        raise InputError(
            "`x` must hold tensors with a row for each sample, got "
            f"{'a PackedSequence' if packed else 'a nested tensor'}. Pass padded sequences and "
            "their lengths, and pack or nest them in forward."
        )


def rows_at(tensor: Tensor, index: Tensor) -> Tensor:
    """The rows of a tensor, dense or sparse, in its own layout."""
    index = index.to(tensor.device)
    if tensor.layout is torch.strided:
        return tensor[index]
    chosen = tensor.to_sparse(layout=torch.sparse_coo).index_select(0, index)
    return chosen if chosen.layout is tensor.layout else chosen.to_sparse(layout=tensor.layout)


def take(tree: Any, samples: int, index: Tensor) -> Any:  # noqa: ANN401 - any nesting
    """Some samples of a batch; tensors without a row a sample are shared by all."""

    def pick(tensor: Tensor) -> Tensor:
        own = tensor.ndim > 0 and len(tensor) == samples
        return rows_at(tensor, index) if own else tensor

    return map_tensors(pick, tree)


def brought_to(model: nn.Module, tree: Any) -> Any:  # noqa: ANN401 - any nesting
    """A batch on the device of a model; as it is if it is there, or the model is on several.

    For a model in float64 it is widened, as its trainer does; no digit is lost on the way.

    Args:
        model: any.
        tree: inputs or targets.
    """
    parameters = list(model.parameters())
    devices = {p.device for p in parameters}
    if len(devices) == 1 and not {tensor.device for tensor in tensors_in(tree)} <= devices:
        (device,) = devices
        tree = map_tensors(lambda tensor: tensor.to(device), tree)
    if {p.dtype for p in parameters if p.is_floating_point()} == {torch.float64}:
        tree = map_tensors(lambda t: t.double() if t.is_floating_point() else t, tree)
    return tree


def wait_for(model: nn.Module) -> None:
    """Wait until the devices of a model have done what is queued, which a clock would count.

    Args:
        model: any.
    """
    for device in {p.device for p in model.parameters() if p.device.type == "cuda"}:
        torch.cuda.synchronize(device)


@contextmanager
def undisturbed(model: nn.Module, *, twice: bool = False) -> Iterator[list[Generator]]:
    """Evaluation mode, gradients on, eager execution in full precision; all is put back.

    Flags are set one by one, without `model.eval()`, whose overrides may do more than that. What
    modules hold besides parameters and buffers is lent, see `Belongings`; parameters and buffers
    are those of the model, which a pass on copies leaves alone.

    Args:
        model: the plain module.
        twice: whether second derivatives are wanted, which fused kernels do not have: attention
            then takes its plain formula and recurrent layers their plain kernels.

    Yields:
        The generators of random numbers that a pass may draw from.
    """
    eager = getattr(torch.compiler, "set_stance", None)
    belongings, generators = Belongings(), list(global_generators(*sorted(cuda_devices(model))))
    states = [state_of(generator) for generator in generators]
    try:
        with torch.inference_mode(False):
            belongings.lend(model)
        states += [state_of(generator) for generator in belongings.generators]
        generators += belongings.generators
        for module in every_module(model).values():
            module.training = False
            if module._compiled_call_impl is not None:
                module._compiled_call_impl = None
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            eager("force_eager") if eager else nullcontext(),
            without_autocast(),
            without_checkpoints(),
            _plain_kernels(model) if twice else nullcontext(),
        ):
            yield generators
    finally:
        belongings.put_back()
        for generator, state in zip(generators, states, strict=False):
            set_state(generator, state)


@contextmanager
def _plain_kernels(model: nn.Module) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        fast = torch.backends.mha.get_fastpath_enabled()
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        if any(isinstance(m, nn.RNNBase) for m in model.modules()):
            # not by `flags`, which would also touch TF32, and refuse or warn
            stack.callback(torch._C._set_cudnn_enabled, torch._C._get_cudnn_enabled())
            torch._C._set_cudnn_enabled(False)
            stack.callback(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled())
            torch._C._set_mkldnn_enabled(False)
        yield


def arguments(model: nn.Module, x: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of the forward pass.

    Args:
        model: the model whose forward says whether it takes a mapping apart.
        x: a tensor, a sequence of arguments, or a mapping of keyword arguments. A mapping whose
            names forward does not know is its one argument.
    """
    if isinstance(x, Mapping):
        whole = not takes(model.forward, **x) and takes(model.forward, x)
        return ((x,), {}) if whole else ((), dict(x))
    if isinstance(x, Tensor):
        return (x,), {}
    return tuple(x), {}


def single_output(outputs: Any, *, first: bool = False) -> Tensor:  # noqa: ANN401
    """The one tensor in what a model returned (`logits`, if a mapping has them).

    Args:
        outputs: whatever a model returns.
        first: whether the first of several will do, as where no loss is computed from it.

    Raises:
        InputError: there is not exactly one floating-point tensor.
    """
    kind = type(outputs).__name__
    if is_record(outputs) and not isinstance(outputs, Mapping):
        outputs = fields_of(outputs)
    elif isinstance(outputs, tuple) and hasattr(outputs, "_asdict"):  # a namedtuple
        outputs = outputs._asdict()
    if isinstance(outputs, Mapping) and outputs.get("logits") is not None:
        outputs = outputs["logits"]
    tensors = [tensor for tensor in tensors_in(outputs) if tensor.is_floating_point()]
    if len(tensors) != 1 and not (first and tensors):
        raise InputError(
            f"the model must return one floating-point tensor, got {len(tensors)} in a {kind}. "
            "Wrap the model so that it returns the tensor that the loss is computed from."
        )
    return tensors[0]


def rows(result: Any, samples: int) -> Tensor:  # noqa: ANN401 - whatever a model returns
    """The outputs in what a model returned, one row a sample; in their own shape.

    Args:
        result: outputs of the forward pass.
        samples: n.

    Raises:
        InputError: the output has no row a sample.
        NotFiniteError: the output is NaN or infinite.
    """
    f = single_output(result, first=True)
    if f.ndim == 0 or len(f) != samples:
        raise InputError(
            f"the model's output must have one row for each of the {samples} samples, got shape "
            f"{tuple(f.shape)}. Batch-first models are measured; wrap others, and leave the loss "
            "out."
        )
    if not is_finite(f):
        raise NotFiniteError(
            "the model's output must be finite, got NaN or infinity on `x`. Scale the inputs or "
            "the weights down, or measure before the training diverges."
        )
    return f


def is_close(apart: Tensor, together: Tensor, terms: float = 1.0) -> bool:
    """Whether outputs are the same in another batch, up to the rounding of another order of sums.

    Args:
        apart: outputs of a pass of some samples.
        together: outputs of the same samples in a pass with others.
        terms: size of what the outputs are sums of, which may cancel, as in a centred output.
    """
    if apart.shape != together.shape:
        return False
    scale = together.detach().double().abs().max()
    tolerance = 1e-6 if apart.dtype == torch.float64 else 1e-3
    if apart.dtype.itemsize < 4:
        tolerance = 0.2
    rounding = ROUNDINGS * torch.finfo(apart.dtype).eps * terms
    difference = (apart - together).detach().double().abs().max()
    return bool(difference <= tolerance * scale + rounding)


def dense_gradient(gradient: Tensor | None, like: Tensor, name: str) -> Tensor:
    """A gradient as autograd gave it: zero if unused, dense if sparse, refused if not finite."""
    if gradient is None:
        return torch.zeros_like(like)
    gradient = gradient.to_dense()
    if not is_finite(gradient):
        raise NotFiniteError(
            f"gradients must be finite, got NaN or infinity at `{name}`. Is there a square root "
            "or a logarithm of zero in the forward pass?"
        )
    return gradient
