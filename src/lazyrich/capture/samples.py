"""Which inputs carry samples, found out by leaving some of them out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from lazyrich._arguments import shown
from lazyrich._errors import InputError, LazyRichError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.first_look import conditions_of
from lazyrich.capture.isolation import (
    Batch,
    batch_size,
    is_close,
    map_tensors,
    rows,
    rows_at,
    tensors_in,
    undisturbed,
    unwrap,
)
from lazyrich.capture.weights import read_weights

_FEW = 4  # tensors, of which all subsets are tried
_DEFAULT = 32  # samples
_FEWEST = 8  # sequences of tokens
_TOKENS = 1024
_DIRECTIONS = 4  # at most
_ALONG = 2048  # tokens times directions: those of a look


Shared = Collection[str | int]
"""Names, or positions, of the inputs that all samples share."""


def default_count(x: Batch) -> int:
    """How many samples to look at: 32, and of long sequences of tokens as few as have 1,024.

    Every token is one more use of all weights, in what a look costs and in what it says. At least 8
    sequences are taken, since intervals are over samples.

    Args:
        x: a batch as the model takes it.

    Example:
        >>> sequences = [torch.zeros(64, tokens, dtype=torch.long) for tokens in (10, 64, 2048)]
        >>> [default_count(x) for x in sequences]
        [32, 16, 8]
        >>> default_count(torch.zeros(64, 3, 32, 32))
        32
    """
    return max(_FEWEST, min(_DEFAULT, _TOKENS // tokens_of_each(x)))


def default_directions(x: Batch, samples: int) -> int:
    """How many random output directions to take: 4, and 2 of long sequences of tokens.

    Args:
        x: a batch as the model takes it.
        samples: how many of its samples are looked at.

    Example:
        >>> sequences = [torch.zeros(64, tokens, dtype=torch.long) for tokens in (10, 20, 64, 2048)]
        >>> [default_directions(x, default_count(x)) for x in sequences]
        [4, 3, 2, 2]
    """
    if (tokens := tokens_of_each(x)) == 1:
        return _DIRECTIONS
    return max(2, min(_DIRECTIONS, _ALONG // (tokens * samples)))


def tokens_of_each(x: Batch) -> int:
    """Tokens of a sample; 1 where samples are no sequences of tokens.

    Args:
        x: a batch as the model takes it.
    """
    first = next(tensors_in(x))
    if first.is_floating_point() or first.is_complex() or first.ndim < 2:
        return 1
    return max(first[0].numel(), 1)


@exact_arithmetic()
def some_samples(
    model: nn.Module, x: Batch, count: int, *, shared: Shared | None = None
) -> tuple[Batch, Tensor]:
    """Some samples of a batch, evenly spread.

    A tensor as long as the batch may still be shared by all samples, such as a mask over as many
    positions as there are samples. So the outputs decide which tensors to cut: without half of the
    samples, the others' must stay. Where no cut does that, as in a graph whose nodes see each
    other, all samples are taken.

    Args:
        model: runs a few times on parts of the batch, and is left as it is.
        x: a batch as the model takes it.
        count: how many samples, ≥ 1.
        shared: inputs that are never cut, while all others as long as the batch are; None to find
            out.

    Returns:
        The inputs and the indices of their samples.

    Raises:
        InputError: no samples, or too few for a batch norm; `shared` names what is not there.
    """
    given = batch_size(x)
    carriers = None if shared is None else _not_shared(x, given, shared)
    every = torch.arange(given)
    if count >= given:
        return x, every
    index = (torch.arange(count) * given) // count
    if carriers is not None:
        return _cut(x, carriers, index), index
    for carriers in _candidates(x, given):
        part = _cut(x, carriers, index)
        if _is_consistent(model, part, _cut(x, carriers, index[::2]), count):
            return part, index
    if _is_consistent(model, x, x, given, every=1):
        return x, every
    return _cut(x, next(_candidates(x, given)), index), index  # a look will say what is wrong


def _not_shared(x: Batch, given: int, shared: Shared) -> frozenset[int]:
    """Positions of the tensors that carry samples where it is said which inputs do not."""
    named = isinstance(x, Mapping)
    listed = x.items() if isinstance(x, Mapping) else enumerate([x] if isinstance(x, Tensor) else x)
    parts: dict[str | int, Any] = dict(listed)
    names = [shared] if isinstance(shared, str) else shared
    unknown = [name for name in names if name not in parts] if isinstance(names, Iterable) else None
    if unknown is None or unknown:
        raise InputError(
            f"`shared` must be among the inputs' {'names' if named else 'positions'} "
            f"{list(parts)}, got {shown(shared)}. Name those that all samples share."
        )
    of = [name for name, part in parts.items() for _ in tensors_in(part)]
    carriers = frozenset(
        i
        for i, tensor in enumerate(tensors_in(x))
        if of[i] not in names and tensor.ndim and len(tensor) == given
    )
    if not carriers:
        raise InputError(
            f"`shared` must leave an input with a row for each of the {given} samples, got "
            f"{shown(shared)}. Name only those that all samples share."
        )
    return carriers


def _candidates(x: Batch, given: int) -> Iterator[frozenset[int]]:
    """Positions of tensors that may carry samples, the most first; always the first tensor."""
    long = [i for i, t in enumerate(tensors_in(x)) if t.ndim and len(t) == given]
    others = long[1:]
    sizes = range(len(others), -1, -1) if len(long) <= _FEW else (len(others), 0)
    for size in sizes:
        for chosen in combinations(others, size):
            yield frozenset((long[0], *chosen))


def _cut(x: Batch, carriers: frozenset[int], index: Tensor) -> Batch:
    positions = iter(range(len(list(tensors_in(x)))))

    def pick(tensor: Tensor) -> Tensor:
        return rows_at(tensor, index) if next(positions) in carriers else tensor

    cut: Batch = map_tensors(pick, x)
    return cut


def _is_consistent(model: nn.Module, x: Batch, fewer: Batch, count: int, *, every: int = 2) -> bool:
    """Whether every second sample has the same output without the others.

    Statistics of batch norms are those of `x` for both. Noise, which is drawn for whole batches,
    leaves nothing to compare: that both run has to do.
    """
    model = unwrap(model)
    weights = read_weights(model)
    leaves = {**weights.trainable, **weights.fixed}  # without a graph
    try:
        conditions = conditions_of(model, leaves, x)
        with undisturbed(model):
            settled = conditions.settle(model, leaves, x)
    except LazyRichError:
        raise
    except Exception:  # whatever a model raises that was given the wrong part
        return False
    try:
        with undisturbed(model):
            together = rows(conditions.call(model, leaves, x, settled), count)[::every]
            apart = rows(conditions.call(model, leaves, fewer, settled), len(together))
    except Exception:  # the same, or outputs of another number
        return False
    return conditions.noisy or is_close(apart, together)
