"""Which inputs carry samples, found out by leaving some of them out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor, nn

from lazyrich._errors import LazyRichError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.first_look import conditions_of
from lazyrich.capture.isolation import (
    Batch,
    batch_size,
    is_close,
    map_tensors,
    rows,
    tensors_in,
    undisturbed,
    unwrap,
)
from lazyrich.capture.weights import read_weights

_FEW = 4  # tensors, of which all subsets are tried


@exact_arithmetic()
def some_samples(model: nn.Module, x: Batch, count: int) -> tuple[Batch, Tensor]:
    """Some samples of a batch, evenly spread.

    A tensor as long as the batch may still be shared by all samples, such as a mask over as many
    positions as there are samples. So the outputs decide which tensors to cut: without half of the
    samples, the others' must stay. Where no cut does that, as in a graph whose nodes see each
    other, all samples are taken.

    Args:
        model: runs a few times on parts of the batch, and is left as it is.
        x: a batch as the model takes it.
        count: how many samples, ≥ 1.

    Returns:
        The inputs and the indices of their samples.

    Raises:
        InputError: no samples, or too few for a batch norm.
    """
    given = batch_size(x)
    every = torch.arange(given)
    if count >= given:
        return x, every
    index = (torch.arange(count) * given) // count
    for carriers in _candidates(x, given):
        part = _cut(x, carriers, index)
        if _is_consistent(model, part, _cut(x, carriers, index[::2]), count):
            return part, index
    if _is_consistent(model, x, x, given, every=1):
        return x, every
    return _cut(x, next(_candidates(x, given)), index), index  # a look will say what is wrong


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
        return tensor[index.to(tensor.device)] if next(positions) in carriers else tensor

    cut: Batch = map_tensors(pick, x)
    return cut


def _is_consistent(model: nn.Module, x: Batch, fewer: Batch, count: int, *, every: int = 2) -> bool:
    """Whether every second sample has the same output without the others.

    Statistics of batch norms are those of `x` for both. Noise, which is drawn for whole batches,
    leaves nothing to compare: that both run has to do.
    """
    model = unwrap(model)
    leaves = read_weights(model).leaves()
    try:
        conditions = conditions_of(model, leaves, x)
        with undisturbed(model), torch.no_grad():
            settled = conditions.settle(model, leaves, x)
    except LazyRichError:
        raise
    except Exception:  # whatever a model raises that was given the wrong part
        return False
    try:
        with undisturbed(model), torch.no_grad():
            together = rows(conditions.call(model, leaves, x, settled), count)[::every]
            apart = rows(conditions.call(model, leaves, fewer, settled), len(together))
    except Exception:  # the same, or outputs of another number
        return False
    return conditions.noisy or is_close(apart, together)
