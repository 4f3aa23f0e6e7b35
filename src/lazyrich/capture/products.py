"""The products of parameters with activations in a forward pass, whatever module makes them.

An operation is known by what it does: `z = W h + b` at every position, W a parameter or a part of
one. Fused operations, recurrent layers and attention, are taken apart into such products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lazyrich.capture import recurrent
from lazyrich.capture.pieces import Find
from lazyrich.capture.readers import READERS, Product, linear_product

_PRODUCT = functional.linear  # as it is outside of `_projections`


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A call of a function that may be a product with parameters.

    Attributes:
        name: name of the function.
        operands: its positional arguments.
        result: what it returned.
        products: what products there are in it.
    """

    name: str
    operands: tuple[Any, ...]
    result: Tensor
    products: Callable[[Find], Iterator[Product]]


Seen = Callable[[Operation], Tensor]
"""Told every such operation, in the order of their calls; returns its result."""


class Products(TorchFunctionMode):
    """Shows all operations that may be products with parameters, in the order of their calls.

    Args:
        seen: the same as there.
    """

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401 - any function of torch
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        name, given = getattr(func, "__name__", ""), kwargs or {}
        if name in recurrent.APART:
            return recurrent.APART[name](self._linear, *args, **given)
        if name == "multi_head_attention_forward":
            with _projections(self._linear):
                return func(*args, **given)
        z = func(*args, **given)
        if name not in READERS or "out" in given:
            return z
        return self._seen(
            Operation(
                name=name,
                operands=args,
                result=z,
                products=lambda find: READERS[name](find, z, *args, **given),
            )
        )

    def _linear(
        self, h: Tensor, weight: Tensor, bias: Tensor | None = None, label: str | None = None
    ) -> Tensor:
        z = _PRODUCT(h, weight, bias)
        return self._seen(
            Operation(
                name="linear",
                operands=(h, weight, bias),
                result=z,
                products=lambda find: linear_product(find, z, h, weight, bias, label),
            )
        )


@contextmanager
def _projections(linear: Callable[..., Tensor]) -> Iterator[None]:
    """Let an attention's own products be made by `linear`, one for q, k and v each."""

    def packed(
        q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        return separate(q, k, v, *w.chunk(3), *(b.chunk(3) if b is not None else ()))

    def separate(q: Tensor, k: Tensor, v: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        weights, biases = tensors[:3], tensors[3:] or (None,) * 3
        every = zip((q, k, v), weights, biases, "qkv", strict=True)
        return tuple(linear(*projection).contiguous() for projection in every)

    parts = {"_in_projection_packed": packed, "_in_projection": separate, "linear": linear}
    with ExitStack() as stack:
        for name, part in parts.items():
            if hasattr(functional, name):
                stack.callback(setattr, functional, name, getattr(functional, name))
                setattr(functional, name, part)
        yield
