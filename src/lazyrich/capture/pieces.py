"""Parts of a parameter that an operation takes: all of it, its transpose, some rows, one expert."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lazyrich.capture.isolation import Leaves

Find = Callable[[object], "Piece | None"]
"""Which part of which parameter something is, if it is one."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Which entries of a parameter something is.

    Attributes:
        parameter: its name.
        shape: shape of the parameter.
        size: size of the part.
        stride: stride of the part, in a contiguous parameter.
        offset: offset of its first entry there.
    """

    parameter: str
    shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def whole(self) -> bool:
        """Whether it is all of the parameter, in its own order."""
        return self.numel == _product(self.shape) and self.stride == _strides(self.size)

    @property
    def numel(self) -> int:
        """How many entries it has."""
        return _product(self.size)

    def of(self, parameter: Tensor) -> Tensor:
        """The same part of any tensor of the parameter's shape."""
        return parameter.contiguous().as_strided(self.size, self.stride, self.offset)

    def index(self) -> Int[Tensor, " p"]:
        """Where its entries, in order, are in the flattened parameter."""
        return self.of(torch.arange(_product(self.shape)).view(self.shape)).flatten()

    def suffix(self) -> str:
        """What tells it from other parts of the parameter, such as `[2]` or `[4:8]`.

        Example:
            >>> def part(size, offset):
            ...     strides = (2, 1) if len(size) == 2 else (1,)
            ...     return Piece(
            ...         parameter="w", shape=(6, 2), size=size, stride=strides, offset=offset
            ...     )
            >>> part((6, 2), 0).suffix(), part((3, 2), 6).suffix()
            ('', '[3:6]')
        """
        if self.numel == _product(self.shape):
            return ""
        row = _product(self.shape[1:])
        if self.numel % row or self.offset % row:
            return f"[from {self.offset}]"
        first, count = self.offset // row, self.numel // row
        one = count == 1 and len(self.shape) > len(self.size)
        return f"[{first}]" if one else f"[{first}:{first + count}]"


def all_of(name: str, parameter: Tensor) -> Piece:
    """All of a parameter."""
    shape = tuple(parameter.shape)
    return Piece(parameter=name, shape=shape, size=shape, stride=_strides(shape), offset=0)


def finder(leaves: Leaves, names: Iterable[str]) -> Find:
    """Tell parts of parameters by where they are stored.

    Args:
        leaves: copies, each with a storage of its own.
        names: names of the parameters among them.
    """
    known: dict[int, str] = {}
    for name in names:
        if leaves[name].is_contiguous() and leaves[name].numel():
            known[_storage(leaves[name])] = name

    def find(tensor: object) -> Piece | None:
        if not isinstance(tensor, Tensor) or is_wrapped(tensor):
            return None
        try:
            name = known.get(_storage(tensor))
        except RuntimeError:  # a tensor without a storage
            return None
        if name is None or tensor.dtype != leaves[name].dtype:
            return None
        leaf, pairs = leaves[name], zip(tensor.shape, tensor.stride(), strict=True)
        if leaf.requires_grad != tensor.requires_grad or any(n > 1 and not s for n, s in pairs):
            return None  # cut off from the graph, or an entry more than once
        return Piece(
            parameter=name,
            shape=tuple(leaf.shape),
            size=tuple(tensor.shape),
            stride=tensor.stride(),
            offset=int(tensor.storage_offset() - leaf.storage_offset()),
        )

    return find


def put_together(
    parts: Sequence[tuple[Piece, Float[Tensor, "..."]]], like: Tensor
) -> Float[Tensor, " p"]:
    """A flattened parameter's sum of what its parts get."""
    total = torch.zeros(like.numel(), dtype=parts[0][1].dtype, device=like.device)
    for piece, values in parts:
        if piece.whole:
            total += values.flatten()
        else:
            total.index_add_(0, piece.index().to(like.device), values.flatten())
    return total


def are_apart(pieces: Iterable[Piece]) -> bool:
    """Whether different pieces of one parameter have no entry in common."""
    different = set(pieces)
    if len(different) < 2:
        return True
    index = torch.cat([piece.index() for piece in different])
    return len(torch.unique(index)) == len(index)


def _storage(tensor: Tensor) -> int:
    """Which storage it is: no address of memory, which subclasses of tensors may not have."""
    return int(tensor.untyped_storage()._cdata)


def is_wrapped(tensor: Tensor) -> bool:
    """Whether a transformation of `torch.func` holds the tensor, which then has no storage."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))


def _product(numbers: Iterable[int]) -> int:
    return torch.Size(numbers).numel()


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(_product(shape[i + 1 :]) for i in range(len(shape)))


Pieces = Mapping[str, Piece]
"""Role, `weight` or `bias`, → part of a parameter."""
