"""The neural tangent kernel between two batches, whole or traced over the outputs, in blocks.

As in `kernel`, positions are paired, or summed into per-sample gradients, whichever costs less; the
trace over outputs is taken before anything of the size of the whole kernel is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.kernel import (
    DenseFactor,
    Factor,
    OuterFactor,
    TiedFactor,
    lookups_with_product,
    table_factor,
)

_ENTRY = 128  # multiplications in the time in which one entry goes through memory


def factor_bytes(factors: Mapping[str, Factor]) -> int:
    """How much memory the factors of a Jacobian hold."""
    tensors = [tensor for factor in factors.values() for tensor in _tensors(factor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _tensors(factor: Factor) -> tuple[Tensor, ...]:
    """The first one has (samples, outputs) as its first axes."""
    if isinstance(factor, DenseFactor):
        return (factor.jacobian,)
    if isinstance(factor, TiedFactor):
        return factor.lookups, *_tensors(factor.product)
    return factor.gradients, factor.inputs


def cross_kernel(
    first: Mapping[str, Factor], second: Mapping[str, Factor], *, trace: bool, memory: int
) -> Float[Tensor, "n *kmk"]:
    """The kernel between two batches from the factors of their Jacobians, `Θ = J J′ᵀ`.

    Args:
        first: factors of J, by layer or parameter.
        second: factors of J′, of the same layers and parameters.
        trace: whether to sum over equal outputs, `Σ_c Θ_ic,jc`.
        memory: bytes that temporary arrays may take; the work is blocked to stay below.

    Returns:
        (n, k, m, k) for n and m samples and k outputs; traced (n, m).

    Example:
        >>> factors = {"w": DenseFactor(jacobian=torch.ones(2, 3, 5))}
        >>> cross_kernel(factors, factors, trace=True, memory=2**20)
        tensor([[15., 15.],
                [15., 15.]])
    """
    heads = [_tensors(next(iter(factors.values())))[0] for factors in (first, second)]
    (n, k), (m, q) = (head.shape[:2] for head in heads)
    total = heads[0].new_zeros((n, m) if trace else (n * k, m * q))
    for name, factor in first.items():
        _add(total, factor, second[name], trace, memory)
    return total if trace else total.view(n, k, m, q)


def _add(total: Tensor, a: Factor, b: Factor, trace: bool, memory: int) -> None:
    if isinstance(a, DenseFactor):
        assert isinstance(b, DenseFactor)  # of the same parameters
        total += _rows(a.jacobian, trace) @ _rows(b.jacobian, trace).T
        return
    if isinstance(a, TiedFactor):
        assert isinstance(b, TiedFactor)
        _add_tied(total, a, b, trace, memory)
        return
    assert isinstance(b, OuterFactor)
    a, b = _over_the_same_columns(a, b)
    (n, k, t, groups, width), (m, q, s) = a.gradients.shape, b.gradients.shape[:3]
    d = a.inputs.shape[-1]
    together = k * width if trace else width
    outputs = 1 if trace else k * q
    pairs = n * m * t * s * (d + outputs * (together + _ENTRY))
    sums = (n * k * t + m * q * s) * width * d + n * m * outputs * together * d
    if groups == 1 and pairs < sums:
        _add_pairs(total, a, b, trace, memory)
        return
    step = max(1, memory // (2 * (n * k + m * q) * groups * d * a.gradients.element_size()))
    for one, other in zip(_summed(a, step), _summed(b, step), strict=True):
        total += _rows(one, trace) @ _rows(other, trace).T


def _add_tied(total: Tensor, a: TiedFactor, b: TiedFactor, trace: bool, memory: int) -> None:
    first, second = (table_factor(factor.tokens, factor.lookups) for factor in (a, b))
    _add(total, first, second, trace, memory)
    _add(total, a.product, b.product, trace, memory)
    both = lookups_with_product(a, b.product)
    both += lookups_with_product(b, a.product).permute(2, 3, 0, 1)
    total += torch.einsum("icjc->ij", both) if trace else both.view_as(total)


def _over_the_same_columns(a: OuterFactor, b: OuterFactor) -> tuple[OuterFactor, OuterFactor]:
    """Both with a column for every input that one of them has."""
    if a.columns is None or b.columns is None or torch.equal(a.columns, b.columns):
        return a, b
    union = torch.unique(torch.cat([a.columns, b.columns]))

    def over(factor: OuterFactor) -> OuterFactor:
        assert factor.columns is not None
        inputs = factor.inputs.new_zeros(*factor.inputs.shape[:-1], len(union))
        inputs[..., torch.searchsorted(union, factor.columns)] = factor.inputs
        return replace(factor, inputs=inputs, columns=union)

    return over(a), over(b)


def _rows(jacobian: Float[Tensor, "n k p"], trace: bool) -> Tensor:
    """One row an output, or one a sample, whose products add up over outputs."""
    return jacobian.flatten(1) if trace else jacobian.flatten(0, 1)


def _summed(factor: OuterFactor, step: int) -> Iterator[Float[Tensor, "n k p"]]:
    """Per-sample gradients, summed over positions, of a block of neurons at a time."""
    h = factor.inputs.transpose(1, 2)  # (n, groups, t, d)
    g = factor.gradients.permute(0, 3, 1, 4, 2)  # (n, groups, k, m, t)
    n, groups, k, width, t = g.shape
    for j in range(0, width, step):
        block = g[:, :, :, j : j + step].reshape(n, groups, -1, t)
        yield (block @ h).view(n, groups, k, -1).transpose(1, 2).reshape(n, k, -1)


def _add_pairs(total: Tensor, a: OuterFactor, b: OuterFactor, trace: bool, memory: int) -> None:
    """`Σ_ts (h_it·h_js)(g_ict·g_jds)`, of a block of the first samples at a time."""
    h, h_b = a.inputs[:, :, 0], b.inputs[:, :, 0].flatten(0, 1)
    g, g_b = a.gradients[:, :, :, 0], b.gradients[:, :, :, 0]  # (n, k, t, m)
    if trace:  # outputs are summed with the neurons
        g, g_b = (x.transpose(1, 2).flatten(2)[:, None] for x in (g, g_b))
    (n, k, t, width), (m, q, s, _) = g.shape, g_b.shape
    columns = g_b.reshape(m * q * s, width).T
    step = max(1, memory // (2 * k * t * m * q * s * g.element_size()))
    for i in range(0, n, step):
        block = g[i : i + step]
        rows = len(block)
        gg = (block.reshape(rows * k * t, width) @ columns).view(rows, k, t, m, q, s)
        hh = (h[i : i + step].flatten(0, 1) @ h_b.T).view(rows, 1, t, m, 1, s)
        total[i * k : (i + rows) * k] += gg.mul_(hh).sum((2, 5)).view(rows * k, m * q)
