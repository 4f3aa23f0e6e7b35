"""Operations of PyTorch that save time or memory in training, and their plain forms during a look.

A look needs gradients of gradients, in float32 and of copies of the weights. Autocast has fewer
digits, bags of embeddings have no second derivative, gradients of sparse embeddings do not mix with
dense ones, and a checkpoint runs the model's own weights again when it is too late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint


class Plainly(TorchFunctionMode):
    """Lets all operations inside run in their plain forms.

    Attributes:
        used: whether some operation had another one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.used = False

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401 - any function of torch
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        given = kwargs or {}
        plain = _plain_form(func, given)
        if plain is None and not _autocast():
            return func(*args, **given)
        self.used = True
        with without_autocast():
            return (plain or func)(*args, **given)


def _plain_form(function: object, given: dict[str, Any]) -> Callable[..., Any] | None:
    if function is functional.embedding_bag:
        return embedding_bag
    if function is functional.embedding and given.get("sparse"):
        return lambda *args, **kwargs: functional.embedding(*args, **{**kwargs, "sparse": False})
    return None


@contextmanager
def without_autocast() -> Iterator[None]:
    """Full precision, although a training loop around may use autocast."""
    with ExitStack() as stack:
        for kind in _autocast():
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def without_checkpoints() -> Iterator[None]:
    """Activations are kept, not computed again: that would use what the weights are by then.

    Both forms of `torch.utils.checkpoint` are reached where it looks for its parts, since somebody
    may hold the function itself.
    """

    def once(*_: object, **__: object) -> Iterator[None]:
        yield  # nothing is to be done before the forward pass, nor after it

    parts = {
        "CheckpointFunction": _Called,
        "_checkpoint_without_reentrant_generator": once,
    }
    before = {name: getattr(checkpoint, name) for name in parts if hasattr(checkpoint, name)}
    try:
        for name in before:
            setattr(checkpoint, name, parts[name])
        yield
    finally:
        for name, part in before.items():
            setattr(checkpoint, name, part)


class _Called:
    """In the place of an autograd function that runs a function without a graph."""

    @staticmethod
    def apply(function: Callable[..., Any], _: bool, *args: Any) -> Any:  # noqa: ANN401
        return function(*args)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: Literal["sum", "mean", "max"] = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """`torch.nn.functional.embedding_bag`, by operations that have derivatives of every order.

    Example:
        >>> tokens, table = torch.tensor([[0, 2], [1, 1]]), torch.eye(3)
        >>> embedding_bag(tokens, table, mode="sum")
        tensor([[1., 0., 1.],
                [0., 2., 0.]])
    """
    tokens, bag, count = _bags(input, offsets, include_last_offset)
    rows = functional.embedding(
        tokens,
        weight,
        max_norm=max_norm,
        norm_type=norm_type,
        scale_grad_by_freq=scale_grad_by_freq,
    )
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    if padding_idx is not None:
        kept = tokens != padding_idx % len(weight)
        rows, bag = rows[kept], bag[kept]
    if mode == "max":
        empty = rows.new_zeros(rows.shape[1])
        parts = (rows[bag == i] for i in range(count))
        return torch.stack([part.max(0).values if len(part) else empty for part in parts])
    total = rows.new_zeros(count, rows.shape[1]).index_add(0, bag, rows)
    if mode == "sum":
        return total
    return total / torch.bincount(bag, minlength=count).clamp(min=1)[:, None]


def _bags(
    tokens: Tensor, offsets: Tensor | None, include_last_offset: bool
) -> tuple[Tensor, Tensor, int]:
    """Tokens in a row, the bag of each, and the number of bags."""
    if offsets is None:
        each = partial(torch.arange, device=tokens.device)
        return tokens.flatten(), each(len(tokens)).repeat_interleave(tokens.shape[1]), len(tokens)
    starts = offsets[:-1] if include_last_offset else offsets
    place = torch.arange(len(tokens), device=tokens.device)
    return tokens, torch.bucketize(place, starts, right=True) - 1, len(starts)


def _autocast() -> set[str]:
    return {kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)}
