"""Which positions of sequences count: what pads a batch to one length does not.

Hugging Face's `attention_mask` says which positions are padded, and its labels −100 at which ones
nothing is asked of the outputs. A forward pass gives values there, too, that mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool
from torch import Tensor

from lazyrich.capture.isolation import Batch

IGNORED = -100
"""PyTorch's and Hugging Face's label of what a loss leaves out."""


def counted_positions(x: Batch) -> Bool[Tensor, "n t"] | None:
    """Where the `attention_mask` of a batch is not 0; None where there is none, or nothing padded.

    Args:
        x: a batch as the model takes it.

    Example:
        >>> import torch
        >>> counted_positions({"attention_mask": torch.tensor([[1, 1, 0]])})
        tensor([[ True,  True, False]])
    """
    mask = x.get("attention_mask") if isinstance(x, Mapping) else None
    if not isinstance(mask, Tensor) or mask.ndim != 2 or mask.is_floating_point():
        return None
    counted = mask != 0
    return None if bool(counted.all()) else counted


def counted_outputs(
    shape: tuple[int, ...], positions: Bool[Tensor, "n t"] | None
) -> Bool[Tensor, "n k"] | None:
    """The outputs at positions that count; None if all do, or outputs have no positions.

    Args:
        shape: shape of the outputs as the model gives them, (n, t, …) if they have positions.
        positions: positions of the batch.
    """
    if positions is None or len(shape) < 3 or shape[:2] != positions.shape:
        return None
    return positions.view(*positions.shape, *(1 for _ in shape[2:])).expand(shape).flatten(1)


def asked_outputs(slope: Tensor, counted: Bool[Tensor, "n k"] | None) -> Bool[Tensor, "n k"] | None:
    """Of the outputs that count, those at positions that a loss with ignored labels looks at.

    Labels may be shifted against outputs, as in language models, so that the loss itself is asked:
    its derivative is 0 along all outputs of an ignored position.

    Args:
        slope: ∂L/∂f in the model's own shape, (n, …, classes).
        counted: the mask from `counted_outputs`.
    """
    if slope.ndim < 3:
        return counted
    asked = (slope != 0).any(-1, keepdim=True).expand(slope.shape).flatten(1)
    return asked if counted is None else asked & counted


def without_padding(tensor: Tensor, positions: Bool[Tensor, "n t"] | None) -> Tensor:
    """A tensor (n, t, …) with zeros at padded positions; another one as it is.

    Args:
        tensor: what a layer gave or was given.
        positions: positions of the batch.

    Example:
        >>> import torch
        >>> without_padding(torch.ones(1, 2, 2), torch.tensor([[True, False]]))
        tensor([[[1., 1.],
                 [0., 0.]]])
    """
    if positions is None or tensor.ndim < 3 or tensor.shape[:2] != positions.shape:
        return tensor
    return tensor * positions.view(*positions.shape, *(1 for _ in tensor.shape[2:]))


def only_counted(tensor: Tensor, positions: Bool[Tensor, "n t"] | None) -> Tensor:
    """The same with padded positions left out, the others in one row: for averages over entries.

    Args:
        tensor: what a layer gave or was given.
        positions: positions of the batch.
    """
    if positions is None or tensor.ndim < 3 or tensor.shape[:2] != positions.shape:
        return tensor
    return tensor[positions][None]
