"""The one reader of a model's parameters and buffers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lazyrich._errors import InputError, NotFiniteError
from lazyrich.capture.isolation import HALF, Leaves, is_finite, widen


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Copies of all that a model holds, so that no pass on them can change the model.

    None of them requires a gradient. Half precision is widened to float32: gradients and their
    differences need more digits than it has.

    Attributes:
        trainable: parameters that require a gradient in the model, by name.
        fixed: the other parameters, then the buffers, by name.
        widened: whether some parameter was in half precision.
    """

    trainable: Leaves
    fixed: Leaves
    widened: bool

    def leaves(self, trains: Mapping[str, bool] | None = None) -> Leaves:
        """All tensors, the trainable ones as fresh leaves of a graph.

        Args:
            trains: whether a tensor is one that trains, by name; others are as the model says.
        """
        known = trains or {}
        return {
            name: tensor.detach().requires_grad_(known.get(name, name in self.trainable))
            for name, tensor in {**self.trainable, **self.fixed}.items()
        }


def read_weights(model: nn.Module, *, to_train: bool = False) -> Weights:
    """Copy the parameters and buffers of a model.

    Args:
        model: the plain module; it is only read.
        to_train: whether some parameter must be trainable.

    Returns:
        The copies, tensors on which autograd works also where inference mode is on.

    Raises:
        InputError: the model has no parameters, a complex one, or none that is trainable where
            one must be, or a sparse one there.
        NotFiniteError: a parameter is NaN or infinite.

    Example:
        >>> weights = read_weights(nn.BatchNorm1d(3, dtype=torch.bfloat16))
        >>> list(weights.trainable), list(weights.fixed), weights.trainable["weight"].dtype
        (['weight', 'bias'], ['running_mean', 'running_var', 'num_batches_tracked'], torch.float32)
    """
    parameters = dict(model.named_parameters())
    if not parameters:
        raise InputError(
            f"the model must have parameters, got {type(model).__name__} without any. Is it the "
            "module that you train?"
        )
    if to_train and not any(p.requires_grad for p in parameters.values()):
        raise InputError(
            f"the model must have trainable parameters, got {len(parameters)} parameters and none "
            "that requires a gradient. Set requires_grad on what will be trained."
        )
    for name, p in parameters.items():
        if to_train and p.requires_grad and p.layout is not torch.strided:
            raise InputError(
                f"what trains here must be dense, got a parameter `{name}` of layout "
                f"{str(p.layout).removeprefix('torch.')}. Keep its entries as a dense parameter, "
                "and make the sparse tensor of them in forward."
            )
        if p.is_complex():
            raise InputError(
                f"the model's parameters must be real, got {str(p.dtype).removeprefix('torch.')} "
                f"for `{name}`. Keep its real and its imaginary part as two parameters, which "
                "forward joins by `torch.complex`: training is the same, and so is the kernel."
            )
        if not is_finite(p):
            raise NotFiniteError(
                f"the model's parameter `{name}` must be finite, got NaN or infinity. "
                "The run has diverged: measure an earlier checkpoint, or initialise again."
            )
    with torch.inference_mode(False):
        trainable = {name: _copy(p) for name, p in parameters.items() if p.requires_grad}
        frozen = {name: _copy(p) for name, p in parameters.items() if not p.requires_grad}
        buffers = {name: _copy(buffer) for name, buffer in model.named_buffers()}
    widened = any(p.dtype in HALF for p in parameters.values())
    return Weights(trainable=trainable, fixed={**frozen, **buffers}, widened=widened)


@torch.no_grad()
def fingerprint(model: nn.Module) -> tuple[float, ...]:
    """Numbers that differ if a parameter does, but for a rare coincidence.

    Args:
        model: the model, which is only read.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> before = fingerprint(net)
        >>> net.weight.data *= 1.01
        >>> fingerprint(net) == before
        False
    """
    weights = [p.detach() for p in model.parameters() if p.is_floating_point()]
    sums = (p.sum(dtype=torch.float64) for p in weights)
    norms = (torch.linalg.vector_norm(p, dtype=torch.float64) for p in weights)
    return tuple(float(x) for x in (*sums, *norms))


def _copy(tensor: Tensor) -> Tensor:
    return widen(tensor.detach().clone())
