"""Which modules have a weight matrix, and how their tensors become rows of vectors.

A convolution is a linear layer on patches: `z = W h` at every position, group by group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Rows = Float[Tensor, "n t groups d"]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """A convolution that no known module makes, by what it is called with.

    A transposed one, which spreads its inputs, is a convolution of inputs with zeros between them.

    Attributes:
        kernel_size: kernel size of the window, along each axis.
        stride: steps of the window; of a transposed one, of the inputs that it spreads.
        padding: zeros on both sides, or `same` or `valid`; of a transposed one, what is cut off.
        dilation: steps within the window.
        groups: number of groups of channels.
        output_padding: what is added to the result of a transposed one; None for any other.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int
    output_padding: tuple[int, ...] | None = None
    padding_mode: str = "zeros"


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """Vectors of a table, looked up by an operation.

    Attributes:
        padding_idx: index of the vector that does not learn, if any.
    """

    padding_idx: int | None


@dataclass(frozen=True, kw_only=True)
class Entrywise:
    """A parameter that multiplies or is added entry by entry, as in a norm of somebody's own.

    Attributes:
        scales: whether it multiplies.
    """

    scales: bool


Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d | Windows
Form = nn.Module | Windows | Lookup | Entrywise | None
"""How a layer's tensors become rows; None where they are rows of vectors already."""

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


def _plain(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether the module is of these kinds with their own forward, which fixes what it computes."""
    return any(
        isinstance(module, kind) and type(module).forward is cast(Any, kind).forward
        for kind in kinds
    )


def is_linear(module: nn.Module) -> bool:
    """Whether the module computes `z = W h + b` row by row, so that it can be captured."""
    return _plain(module, _LINEAR)


def has_matrix(form: Form) -> bool:
    """Whether a layer of this form has a weight matrix, so that `z = W h + b`."""
    if isinstance(form, nn.Module):
        return is_linear(form)
    return not isinstance(form, Lookup | Entrywise)


def no_matrix(form: Form) -> str:
    """Why a layer of this form has no weight to study."""
    if isinstance(form, Entrywise):
        return "it acts entry by entry, without a weight matrix to study"
    return "a norm or an embedding has no weight matrix to study"


def is_norm(module: nn.Module) -> bool:
    """Whether the module is a norm, whose output is affine in its few parameters."""
    return _plain(module, _NORMS)


def is_embedding(module: nn.Module) -> bool:
    """Whether the module looks vectors up: a linear layer on one-hot inputs."""
    return _plain(module, (nn.Embedding,)) and not getattr(module, "scale_grad_by_freq", False)


def is_captured(module: nn.Module) -> bool:
    """Whether a capture watches the module: it has parameters and is of one of these kinds."""
    known = is_linear(module) or is_norm(module) or is_embedding(module)
    return known and any(p.numel() for p in module.parameters())


def reason_to_skip(module: nn.Module, inputs: Tensor, samples: int) -> str | None:
    """Why the module's call cannot be split into samples, or None if it can."""
    if inputs.is_nested:
        return "its input is a nested tensor, whose samples have no rows of one shape"
    dims = {nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}
    expected = next((n for kind, n in dims.items() if isinstance(module, kind)), None)
    if expected is not None and inputs.ndim != expected:
        return f"its input has {inputs.ndim} dimensions instead of {expected}"
    if inputs.ndim < (1 if is_embedding(module) else 2) or len(inputs) != samples:
        return another_layout(inputs, samples)
    return None


def another_layout(inputs: Tensor, samples: int) -> str:
    """The reason, where inputs do not begin with an axis of samples."""
    shape = tuple(inputs.shape)
    return f"its input of shape {shape} does not begin with the batch's {samples} samples"


def weight_rows(module: Form, weight: Tensor) -> Float[Tensor, "groups m d"]:
    """The weight as one matrix a group."""
    groups = module.groups if isinstance(module, Convolution) else 1
    if isinstance(module, Windows) and module.output_padding is not None:
        of_groups = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
        return of_groups.flip(*range(3, of_groups.ndim)).flatten(2)
    return weight.reshape(groups, len(weight) // groups, -1)


def as_weight(module: Form, rows: Float[Tensor, "groups m d"]) -> Float[Tensor, " p"]:
    """The inverse of `weight_rows`, flattened."""
    if isinstance(module, Windows) and module.output_padding is not None:
        of_groups = rows.reshape(*rows.shape[:2], -1, *module.kernel_size).transpose(1, 2)
        rows = of_groups.flip(*range(3, of_groups.ndim))
    return rows.flatten()


def input_rows(module: Form, inputs: Tensor, constant: float | None = None) -> Rows:
    """The inputs h as one vector a position and group; patches for a convolution.

    Args:
        module: the layer.
        inputs: the inputs of one call.
        constant: the value of one more input at every position, last, which stands for a bias;
            None for none.
    """
    if isinstance(module, Convolution):
        return _patches(module, inputs, constant)
    rows = inputs.reshape(len(inputs), -1, 1, inputs.shape[-1])
    if constant is None:
        return rows
    return torch.cat([rows, torch.full_like(rows[..., :1], constant)], -1)


def output_rows(module: Form, outputs: Tensor) -> Rows:
    """Pre-activations z, or gradients on them, in the layout of `input_rows`."""
    if isinstance(module, Convolution):
        n, m = outputs.shape[:2]
        rows = outputs.flatten(2).transpose(1, 2)
        return rows.reshape(n, -1, module.groups, m // module.groups)
    return outputs.reshape(len(outputs), -1, 1, outputs.shape[-1])


def _patches(module: Convolution, inputs: Tensor, constant: float | None) -> Rows:
    sizes, strides = module.kernel_size, module.stride
    if isinstance(module, Windows) and module.output_padding is not None:
        h, strides = _spread(module, inputs), (1,) * len(sizes)
    else:
        h = _padded(module, inputs)
    for axis, (size, dilation, stride) in enumerate(
        zip(sizes, module.dilation, strides, strict=True)
    ):
        # a new last axis holds the window along this spatial axis
        h = h.unfold(2 + axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    n, channels = h.shape[:2]
    spatial = len(sizes)
    # (n, channels, positions…, window…) → (n, channels, window…, positions…): rows of an image are
    # read and written in one go
    h = h.permute(0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial))
    d = channels // module.groups * torch.Size(sizes).numel()
    t = h.shape[2 + spatial :].numel()
    patches = h.new_empty(n, module.groups, d + (constant is not None), t)
    patches[:, :, :d].view(n, module.groups, -1, *h.shape[2:]).copy_(
        h.view(n, module.groups, -1, *h.shape[2:])
    )
    if constant is not None:
        patches[:, :, d] = constant
    return patches.permute(0, 3, 1, 2)


def _spread(module: Windows, inputs: Tensor) -> Tensor:
    """Inputs with zeros between and around: of these a transposed convolution is a plain one."""
    assert module.output_padding is not None
    assert not isinstance(module.padding, str)
    widths: list[int] = []  # last axis first, as torch wants it
    h = inputs
    for axis, stride in enumerate(module.stride):
        size = (h.shape[2 + axis] - 1) * stride + 1
        spread = h.new_zeros(*h.shape[: 2 + axis], size, *h.shape[3 + axis :])
        spread[(slice(None),) * (2 + axis) + (slice(None, None, stride),)] = h
        h = spread
        side = module.dilation[axis] * (module.kernel_size[axis] - 1) - module.padding[axis]
        widths = [side, side + module.output_padding[axis], *widths]
    return functional.pad(h, widths)


def _padded(module: Convolution, inputs: Tensor) -> Tensor:
    padding = module.padding
    if padding == "valid":
        return inputs
    widths: list[int] = []  # last axis first, as torch wants it
    axes = range(len(module.kernel_size))
    for axis in reversed(axes):
        if isinstance(padding, str):  # "same": the odd one goes to the right
            total = module.dilation[axis] * (module.kernel_size[axis] - 1)
            widths += [total // 2, total - total // 2]
        else:
            widths += [padding[axis]] * 2
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return functional.pad(inputs, widths, mode=mode)


def normalised(
    module: nn.Module, inputs: Tensor, mean: Tensor | None, var: Tensor | None
) -> Tensor:
    """`x̂` of a norm `z = a x̂ + b`.

    Args:
        module: the norm.
        inputs: inputs of one call.
        mean: mean by which the call normalised each channel; None if by means of its own inputs.
        var: the same of the variance.
    """
    eps = cast(Any, module).eps
    with torch.no_grad():
        match module:
            case nn.LayerNorm():
                return functional.layer_norm(inputs, module.normalized_shape, eps=eps)
            case nn.RMSNorm():
                return functional.rms_norm(inputs, list(module.normalized_shape), eps=eps)
            case nn.GroupNorm():
                return functional.group_norm(inputs, module.num_groups, eps=eps)
        if mean is None:
            return functional.instance_norm(inputs, eps=eps)
        return functional.batch_norm(inputs, mean, var, eps=eps)


def norm_jacobian(
    module: nn.Module | Entrywise, x_hat: Tensor, gradients: Float[Tensor, "n k *shape"]
) -> dict[str, Float[Tensor, "n k p"]]:
    """Per-sample gradients of the parameters of a norm, or of one that acts entry by entry.

    `∂f/∂a = Σ g x̂` and `∂f/∂b = Σ g` over the positions.
    """
    if isinstance(module, Entrywise):
        return {"weight": (gradients * x_hat[:, None]).sum(2)}
    own = dict(module.named_parameters(recurse=False))
    shape = next(iter(own.values())).shape
    trailing = isinstance(module, nn.LayerNorm | nn.RMSNorm)
    collapse = _over_trailing(len(shape)) if trailing else _over_channels
    terms = {"weight": gradients * x_hat[:, None], "bias": gradients}
    return {name: collapse(terms[name]) for name in own}


def _over_channels(terms: Tensor) -> Tensor:
    return terms.flatten(3).sum(3) if terms.ndim > 3 else terms


def _over_trailing(dims: int) -> Callable[[Tensor], Tensor]:
    def collapse(terms: Tensor) -> Tensor:
        n, k = terms.shape[:2]
        return terms.flatten(-dims).reshape(n, k, -1, terms.shape[-dims:].numel()).sum(2)

    return collapse
