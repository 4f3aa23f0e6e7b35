"""How the products inside of an operation are read off its arguments: W, h and where z is.

An operation is known by the name of its function in torch. Each reader takes what finds parameters,
the result, and the arguments as the function has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.modules import Entrywise, Lookup, Windows
from lazyrich.capture.pieces import Find

Rows = Callable[[Tensor], Tensor]
Size = int | Sequence[int]
Number = int | float | complex


@dataclass(frozen=True, kw_only=True)
class Product:
    """`z = W h + b` inside of an operation.

    Attributes:
        weight: W, a view of a parameter.
        bias: b, a view of one, if it has any.
        inputs: h, one vector a row; tokens, one a row, of a lookup.
        rows: takes the operation's result, or a gradient on it, to z, in the same rows.
        label: what W is, where the parameter's name does not tell.
        form: how tensors become rows, where inputs and result are none yet.
    """

    weight: Float[Tensor, "*w"]
    bias: Float[Tensor, " b"] | None
    inputs: Tensor
    rows: Rows
    label: str | None = None
    form: Windows | Lookup | Entrywise | None = None


def _as_it_is(z: Tensor) -> Tensor:
    return z


def _transposed(z: Tensor) -> Tensor:
    return z.mT


def _as_column(z: Tensor) -> Tensor:
    return z[..., None]


def linear_product(
    find: Find,
    _: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    label: str | None = None,
) -> Iterator[Product]:
    """`functional.linear`, with a name for W where its parameter's does not tell."""
    if find(weight) and weight.ndim == 2:
        own = bias if find(bias) else None
        yield Product(weight=weight, bias=own, inputs=input, rows=_as_it_is, label=label)


def _addmm(
    find: Find,
    _: Tensor,
    input: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    *,
    beta: Number = 1,
    alpha: Number = 1,
) -> Iterator[Product]:
    if find(mat2) and beta == alpha == 1:
        own = input if find(input) and input.shape == mat2.shape[1:] else None
        yield Product(weight=mat2.T, bias=own, inputs=mat1, rows=_as_it_is)


def _matmul(find: Find, z: Tensor, input: Tensor, other: Tensor) -> Iterator[Product]:
    if find(other):
        yield from _by_columns(z, input, other, _as_it_is)
    elif find(input) and other.ndim == 1:
        yield from _by_columns(z, other, input.mT, _as_it_is)
    elif find(input) and input.ndim == 1:
        yield Product(weight=input[None], bias=None, inputs=other.mT, rows=_as_column)
    elif find(input):
        yield from _by_columns(z.mT, other.mT, input.mT, _transposed)


def _by_columns(z: Tensor, h: Tensor, weight: Tensor, turn: Rows) -> Iterator[Product]:
    """`z = h Wᵀ`, the weight given as Wᵀ, alone or in a stack."""
    if weight.ndim == 1:
        yield Product(weight=weight[None], bias=None, inputs=h, rows=_as_column)
    elif weight.ndim == 2:
        yield Product(weight=weight.T, bias=None, inputs=h, rows=turn)
    elif weight.ndim == 3 and z.ndim >= 3 and z.shape[-3] == len(weight):
        every = h.expand(*z.shape[:-2], *h.shape[-2:])
        for i, one in enumerate(weight):
            rows = partial(_of_stack, turn, i)
            yield Product(weight=one.T, bias=None, inputs=every[..., i, :, :], rows=rows)


def _of_stack(turn: Rows, index: int, z: Tensor) -> Tensor:
    return turn(z)[..., index, :, :]


def _grouped(
    find: Find,
    _: Tensor,
    input: Tensor,
    weight: Tensor,
    offs: Tensor | None = None,
    **__: object,
) -> Iterator[Product]:
    """Experts one after the other: those rows between two offsets by one matrix of a stack."""
    if not find(weight) or offs is None or weight.ndim != 3 or input.ndim != 2:
        return
    ends = offs.tolist()
    for one, start, end in zip(weight, [0, *ends], ends, strict=False):
        if end > start:
            rows = partial(_between, start, end)
            yield Product(weight=one.T, bias=None, inputs=input[start:end], rows=rows)


def _between(start: int, end: int, z: Tensor) -> Tensor:
    return z[start:end]


def _bilinear(
    find: Find,
    _: Tensor,
    input1: Tensor,
    input2: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
) -> Iterator[Product]:
    """Linear in the products of its two inputs' entries."""
    if find(weight):
        h = (input1[..., :, None] * input2[..., None, :]).flatten(-2)
        own = bias if find(bias) else None
        yield Product(weight=weight.flatten(1), bias=own, inputs=h, rows=_as_it_is)


def _einsum(find: Find, _: Tensor, equation: str, *operands: Any) -> Iterator[Product]:  # noqa: ANN401
    terms, arrow, result = equation.replace(" ", "").partition("->")
    names = terms.split(",")
    both = operands[0] if len(operands) == 1 else operands
    letters = [*names, result]
    plain = all(term.isalpha() and len(set(term)) == len(term) for term in letters)
    if len(names) != 2 or not arrow or not plain or isinstance(both, Tensor):
        return
    for own, other in ((1, 0), (0, 1)):
        if find(both[own]):
            yield from _contraction(both[own], names[own], both[other], names[other], result)
            return


def _contraction(
    weight: Tensor, of_weight: str, h: Tensor, of_h: str, of_z: str
) -> Iterator[Product]:
    """A sum of products over letters that both have; a stack along what z shares with both."""
    inner = [x for x in of_weight if x in of_h and x not in of_z]
    stack = [x for x in of_weight if x in of_h and x in of_z]
    outer = [x for x in of_weight if x not in of_h and x in of_z]
    places = [x for x in of_h if x in of_z and x not in of_weight]
    if not stack:  # heads, say: each of them has a matrix of its own
        stack, outer = outer[:-1], outer[-1:]
    if len(inner) != 1 or len(outer) != 1 or len(stack) > 1:
        return
    shared = [x for x in stack if x in of_h]
    if {*inner, *stack, *outer} != set(of_weight) or {*inner, *shared, *places} != set(of_h):
        return  # a letter is summed over alone

    def in_order(x: Tensor, names: str, wanted: list[str]) -> Tensor:
        return x.permute([names.index(name) for name in wanted])

    matrices = in_order(weight, of_weight, [*stack, *outer, *inner])
    vectors = in_order(h, of_h, [*shared, *places, *inner])
    order = [*stack, *places, *outer]
    if not stack:
        rows = partial(in_order, names=of_z, wanted=order)
        yield Product(weight=matrices, bias=None, inputs=vectors, rows=rows)
        return
    for i, one in enumerate(matrices):

        def rows_of(z: Tensor, i: int = i) -> Tensor:
            return in_order(z, of_z, order)[i]

        yield Product(weight=one, bias=None, inputs=vectors[i] if shared else vectors, rows=rows_of)


def _convolution(
    find: Find,
    _: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    output_padding: Size | None = None,
) -> Iterator[Product]:
    """A convolution, or a transposed one if there is `output_padding`."""
    if find(weight) and input.ndim == weight.ndim:
        axes = weight.ndim - 2
        form = Windows(
            kernel_size=tuple(weight.shape[2:]),
            stride=_along(stride, axes),
            padding=padding if isinstance(padding, str) else _along(padding, axes),
            dilation=_along(dilation, axes),
            groups=groups,
            output_padding=None if output_padding is None else _along(output_padding, axes),
        )
        own = bias if find(bias) else None
        yield Product(weight=weight, bias=own, inputs=input, rows=_as_it_is, form=form)


def _transposed_convolution(
    find: Find,
    z: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Iterator[Product]:
    yield from _convolution(
        find, z, input, weight, bias, stride, padding, dilation, groups, output_padding
    )


def _along(size: Size, axes: int) -> tuple[int, ...]:
    sizes = (size,) if isinstance(size, int) else tuple(size)
    return sizes * axes if len(sizes) == 1 else sizes


def _embedding(
    find: Find,
    _: Tensor,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: Number | None = None,
    norm_type: Number = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Iterator[Product]:
    if find(weight) and not scale_grad_by_freq:
        form = Lookup(padding_idx=None if padding_idx is None else padding_idx % len(weight))
        yield Product(weight=weight, bias=None, inputs=input[..., None], rows=_as_it_is, form=form)


def _entrywise(
    find: Find,
    z: Tensor,
    input: Tensor | Number,
    other: Tensor | Number,
    *,
    alpha: Number = 1,
    scales: bool,
) -> Iterator[Product]:
    """`z = w x` or `z = x + w`, w spread over the positions that it has no axis for."""
    weight, x = (other, input) if find(other) else (input, other)
    if not (isinstance(weight, Tensor) and isinstance(x, Tensor)) or find(x) or alpha != 1:
        return
    piece = find(weight)
    whole = piece is not None and piece.whole and weight.requires_grad
    if not whole or x.shape != z.shape or weight.ndim > x.ndim:
        return
    sizes = (*(1 for _ in range(z.ndim - weight.ndim)), *weight.shape)
    own = [axis for axis, size in enumerate(sizes) if size > 1]
    places = [axis for axis, size in enumerate(sizes) if size == 1]

    def rows(tensor: Tensor) -> Tensor:
        return tensor.permute(*places, *own).reshape(*(z.shape[axis] for axis in places), -1)

    inputs = rows(x) if scales else z.new_ones(*(z.shape[axis] for axis in places), 1)
    yield Product(weight=weight, bias=None, inputs=inputs, rows=rows, form=Entrywise(scales=scales))


READERS: dict[str, Callable[..., Iterator[Product]]] = {
    "linear": linear_product,
    "addmm": _addmm,
    "matmul": _matmul,
    "mm": _matmul,
    "mv": _matmul,
    "bmm": _matmul,
    "einsum": _einsum,
    "bilinear": _bilinear,
    "mul": partial(_entrywise, scales=True),
    "add": partial(_entrywise, scales=False),
    "embedding": _embedding,
    **{f"conv{axes}d": _convolution for axes in (1, 2, 3)},
    **{f"conv_transpose{axes}d": _transposed_convolution for axes in (1, 2, 3)},
    "grouped_mm": _grouped,
    "_grouped_mm": _grouped,
    "grouped_mm_fallback": _grouped,
}
"""Names of functions and methods of torch, and what products there are in their calls."""
