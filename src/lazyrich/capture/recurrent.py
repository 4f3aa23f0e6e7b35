"""Recurrent layers step by step, as products with their matrices.

PyTorch runs them as one operation. Each matrix acts once a time step:
`W_ih x_t + b_ih` on the input and `W_hh h_{t−1} + b_hh` on the state before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Linear = Callable[..., Tensor]
State = tuple[Tensor, ...]
"""h, and for an LSTM the cell's c, of one layer and direction."""
Cell = Callable[[Tensor, Tensor, State], State]
"""From `W_ih x + b_ih`, `W_hh h + b_hh` and the state before to the state."""


def lstm(x: Tensor, h: Tensor, state: State) -> State:
    """`c = σ(f) c + σ(i) tanh(g)` and `h = σ(o) tanh(c)`."""
    i, f, g, o = (x + h).chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru(x: Tensor, h: Tensor, state: State) -> State:
    """`n = tanh(x_n + σ(r) h_n)` and `h = (1 − σ(z)) n + σ(z) h`."""
    (x_r, x_z, x_n), (h_r, h_z, h_n) = x.chunk(3, -1), h.chunk(3, -1)
    z = torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
    return ((1 - z) * n + z * state[0],)


def simple(nonlinearity: Callable[[Tensor], Tensor], x: Tensor, h: Tensor, _: State) -> State:
    """`h = φ(x + h)`."""
    return (nonlinearity(x + h),)


def _one_step(
    cell: Cell,
    linear: Linear,
    input: Tensor,
    hx: Any,  # noqa: ANN401 - a tensor or several
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Any:  # noqa: ANN401
    """`torch.lstm_cell` and its like."""
    state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    new = cell(linear(input, w_ih, b_ih), linear(state[0], w_hh, b_hh), state)
    return new if len(new) > 1 else new[0]


def _layers(cell: Cell, linear: Linear, input: Tensor, second: Any, *rest: Any) -> Any:  # noqa: ANN401
    """`torch.lstm` and its like: of a batch, or of packed sequences with their sizes."""
    if isinstance(rest[0], list | tuple) and not isinstance(rest[1], list | tuple):
        hx, (params, has_biases, layers, dropout, train, both, batch_first) = second, rest
        x = input.transpose(0, 1) if batch_first else input
        sizes, join = None, torch.stack
    else:
        hx, params, has_biases, layers, dropout, train, both = rest
        x, sizes, join, batch_first = input, second.tolist(), torch.cat, False
    start = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    matrices = _of_each(list(params), has_biases, layers * (1 + both))
    ends: list[State] = []
    for layer in range(layers):
        if layer and dropout:
            x = functional.dropout(x, dropout, train)
        made = []
        for back in range(1 + both):
            own = tuple(part[len(ends)] for part in start)
            steps, end = _sequence(cell, linear, x, sizes, own, next(matrices), bool(back))
            made.append(join(steps))
            ends.append(end)
        x = torch.cat(made, -1)
    x = x.transpose(0, 1) if batch_first else x
    return x, *(torch.stack(parts) for parts in zip(*ends, strict=True))


def _of_each(params: list[Tensor], biases: bool, count: int) -> Iterator[list[Tensor | None]]:
    """Tensors of every layer and direction: two matrices, two biases, maybe a projection."""
    each = len(params) // count
    for i in range(0, len(params), each):
        own = params[i : i + each]
        yield [*own[:2], *([] if biases else [None, None]), *own[2:]]


def _sequence(
    cell: Cell,
    linear: Linear,
    x: Tensor,
    sizes: Sequence[int] | None,
    state: State,
    tensors: Sequence[Tensor | None],
    back: bool,
) -> tuple[list[Tensor], State]:
    """What one layer gives at every step in one direction, and its state at the end.

    Args:
        cell: the same as there.
        linear: makes the products.
        x: (steps, samples, inputs); the samples of all steps one after the other if packed.
        sizes: how many samples still run at each step, the first ones; None if all do.
        state: at the start.
        tensors: W_ih, W_hh, b_ih, b_hh and maybe a projection of h.
        back: whether it runs from the last step to the first.
    """
    w_ih, w_hh, b_ih, b_hh, *projection = tensors
    inputs = linear(x, w_ih, b_ih)
    steps = list(inputs.unbind(0) if sizes is None else torch.split(inputs, list(sizes)))
    given: list[Tensor] = []
    for step in reversed(steps) if back else steps:
        active = tuple(part[: len(step)] for part in state)
        new = cell(step, linear(active[0], w_hh, b_hh), active)
        if projection:
            new = (linear(new[0], projection[0]), *new[1:])
        given.append(new[0])
        state = tuple(
            torch.cat([part, old[len(step) :]]) if len(step) < len(old) else part
            for part, old in zip(new, state, strict=True)
        )
    return given[::-1] if back else given, state


_CELLS: dict[str, Cell] = {
    "lstm": lstm,
    "gru": gru,
    "rnn_tanh": partial(simple, torch.tanh),
    "rnn_relu": partial(simple, torch.relu),
}
APART: dict[str, Callable[..., Any]] = {
    **{name: partial(_layers, cell) for name, cell in _CELLS.items()},
    **{f"{name}_cell": partial(_one_step, cell) for name, cell in _CELLS.items()},
}
"""Names of recurrent operations of torch → the same, made of `linear`, their first argument."""
