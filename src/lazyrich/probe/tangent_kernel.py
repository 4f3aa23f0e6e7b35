"""The neural tangent kernel from one call: of a batch, between two, or over a loader's batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.capture import capture
from lazyrich.capture.conditions import Conditions
from lazyrich.capture.cross_kernel import cross_kernel, factor_bytes
from lazyrich.capture.isolation import Batch, batch_size, brought_to, unwrap
from lazyrich.capture.jacobian import checked_memory, jacobian_factors
from lazyrich.capture.kernel import Factor, full_kernel
from lazyrich.capture.trust import trusted_parameters

Factors = Mapping[str, Factor]


@exact_arithmetic()
def ntk(
    model: nn.Module,
    x: Batch | Iterable[Any],
    x2: Batch | Iterable[Any] | None = None,
    *,
    trace: bool = False,
    lrs: Mapping[str, float] | None = None,
    memory: int = 2 * 2**30,
) -> Float[Tensor, "n *kmk"]:
    """Empirical neural tangent kernel of any model.

    `Θ_ic,jc' = Σ_p η_p ∂f_c(x_i)/∂θ_p ∂f_c'(x'_j)/∂θ_p` over all trainable parameters; with
    `trace`, `Σ_c Θ_ic,jc`.

    Args:
        model: the network, see `capture` for its mode; it is left as it is.
        x: n samples as the model takes them: a tensor, a sequence of arguments or a mapping. Or a
            `DataLoader`, or any other iterable of such batches, whose samples count together: of a
            batch that is a pair `(inputs, targets)` the inputs. Their Jacobians are taken batch by
            batch, and again where `memory` does not hold all of them.
        x2: m other samples, x' above, in the same forms; None for those of `x` themselves.
        trace: whether to sum over equal outputs, in n m numbers instead of n m k².
        lrs: learning rates η by parameter or module name, "" for all others; None for η = 1.
        memory: bytes that the kernel, Jacobians kept for later blocks, and temporary arrays may
            each take.

    Returns:
        Θ, (n, outputs, m, outputs), or (n, m) if traced, in the output's precision, at least
        float32. Each batch is normalised by its own statistics where the model has batch norms.
        Rows and columns of outputs at positions that its `attention_mask` leaves out are 0.

    Raises:
        InputError: see `capture` and `jacobian_factors`; no batch, or batches with different
            numbers of outputs; or the kernel does not fit into `memory`.

    Example:
        >>> import torch
        >>> net = nn.Linear(2, 1)
        >>> ntk(net, torch.tensor([[1.0, 2.0]])).item()  # ‖x‖² + 1 for the bias
        6.0
        >>> x, other = torch.ones(3, 2), torch.ones(4, 2)
        >>> ntk(net, x, other).shape, ntk(net, x, other, trace=True).shape
        (torch.Size([3, 1, 4, 1]), torch.Size([3, 4]))
        >>> loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=2)
        >>> torch.equal(ntk(net, loader), ntk(net, x))
        True

    References:
        Jacot, Gabriel & Hongler, arXiv:1806.07572.
    """
    checked_memory(memory)
    rows = _batches(model, x, "x")
    columns = rows if x2 is None else _batches(model, x2, "x2")
    if x2 is None and len(rows) == 1:
        seen = capture(model, rows[0])
        _refuse_too_large(seen.outputs, len(seen.outputs), len(seen.outputs), trace, memory)
        factors = jacobian_factors(seen, lrs=lrs, memory=memory)
        if trace:
            return cross_kernel(factors, factors, trace=True, memory=memory)
        return full_kernel(list(factors.values()), memory=memory)
    looks = _Looks(model, rows if x2 is None else [*rows, *columns], lrs, memory)
    n, m = (sum(map(batch_size, side)) for side in (rows, columns))
    _refuse_too_large(looks.outputs, n, m, trace, memory)
    ahead = 0 if x2 is None else len(rows)
    return _assembled(looks, len(rows), range(ahead, ahead + len(columns)), trace, memory)


def _batches(model: nn.Module, x: Batch | Iterable[Any], name: str) -> list[Batch]:
    """One batch as it is, or those of a loader on the model's device, without their targets."""
    if isinstance(x, Tensor | Sequence | Mapping) or not isinstance(x, Iterable):
        return [x]
    pairs = (tuple, list)
    batches = [b[0] if isinstance(b, pairs) and len(b) == 2 else b for b in x]
    if not batches:
        raise InputError(
            f"`{name}` must give at least one batch, got none. An iterator can be read only once."
        )
    return [brought_to(unwrap(model), b) for b in batches]


def _refuse_too_large(outputs: Tensor, n: int, m: int, trace: bool, memory: int) -> None:
    k = 1 if trace else outputs.shape[1]
    size = n * k * m * k * max(4, outputs.element_size())
    if size > memory:
        less = "" if trace else "pass `trace=True`, "
        raise InputError(
            f"`memory` must be at least {size:.2g} bytes for a kernel of {n * k} rows and {m * k} "
            f"columns, got {memory:.2g}. Take fewer samples, {less}or use `traced_kernel` or "
            "`kernel_matvec` on `jacobian_factors`."
        )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What is kept of a first look at a batch."""

    conditions: Conditions
    outputs: Tensor
    layers: tuple[str, ...]
    trusted: frozenset[str]


class _Looks:
    """Jacobians of several batches, whose factors are of the same layers and parameters."""

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        lrs: Mapping[str, float] | None,
        memory: int,
    ) -> None:
        self._model, self._batches, self._lrs, self._memory = model, batches, lrs, memory
        self._seen = [_first_look(model, batch) for batch in batches]
        self.outputs = self._seen[0].outputs
        numbers = {seen.outputs.shape[1] for seen in self._seen}
        if len(numbers) > 1:
            raise InputError(
                f"every batch must have the same number of outputs a sample, got {sorted(numbers)}."
                " Pad sequences to one length."
            )
        alike = len({seen.layers for seen in self._seen}) == 1
        of_each = [seen.trusted for seen in self._seen]
        self._trusted = frozenset.intersection(*of_each) if alike else frozenset()
        self._kept: dict[int, Factors] = {}

    def samples(self, number: int) -> int:
        """How many a batch has."""
        return len(self._seen[number].outputs)

    def factors(self, number: int, *, keep: bool) -> Factors:
        """Factors of a batch's Jacobian, kept for later if there is room."""
        if number in self._kept:
            return self._kept[number]
        seen = capture(self._model, self._batches[number], self._seen[number].conditions)
        found = jacobian_factors(seen, lrs=self._lrs, memory=self._memory, trusted=self._trusted)
        held = sum(map(factor_bytes, self._kept.values()))
        if keep and held + factor_bytes(found) <= self._memory:
            self._kept[number] = found
        return found


def _first_look(model: nn.Module, batch: Batch) -> _Seen:
    seen = capture(model, batch)
    return _Seen(
        conditions=seen.conditions,
        outputs=seen.outputs.detach(),
        layers=tuple(layer.name for layer in (*seen.layers, *seen.small)),
        trusted=frozenset(trusted_parameters(seen)),
    )


def _assembled(
    looks: _Looks, rows: int, columns: Sequence[int], trace: bool, memory: int
) -> Tensor:
    """All blocks of the kernel; of a symmetric one those above the diagonal are transposed."""
    symmetric = columns[0] == 0
    heights, widths = (_slices(looks, side) for side in (range(rows), columns))
    total: Tensor | None = None
    for i in range(rows):
        first = looks.factors(i, keep=symmetric)
        for j in columns[: i + 1] if symmetric else columns:
            second = first if j == i else looks.factors(j, keep=True)
            block = cross_kernel(first, second, trace=trace, memory=memory)
            if total is None:
                total = _room(block, heights[rows - 1].stop, widths[columns[-1]].stop)
            _put_at(total, heights[i], widths[j], block)
            if symmetric and i != j:
                mirrored = block.T if trace else block.permute(2, 3, 0, 1)
                _put_at(total, heights[j], widths[i], mirrored)
    assert total is not None  # there is a batch
    return total


def _slices(looks: _Looks, numbers: Iterable[int]) -> dict[int, slice]:
    found, start = {}, 0
    for number in numbers:
        found[number] = slice(start, start := start + looks.samples(number))
    return found


def _room(block: Tensor, n: int, m: int) -> Tensor:
    return block.new_empty((n, m) if block.ndim == 2 else (n, block.shape[1], m, block.shape[3]))


def _put_at(total: Tensor, rows: slice, columns: slice, block: Tensor) -> None:
    if block.ndim == 2:
        total[rows, columns] = block
    else:
        total[rows, :, columns] = block
