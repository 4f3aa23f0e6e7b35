"""Comparing kernels from a few random output directions, with an interval over samples.

Every sample i has its own random signs v_i, so that for two samples `(v_iᵀ Θ_ij v_j)²` is an
unbiased estimate of `‖Θ_ij‖_F²`; of one sample with itself only two different directions are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Kernel = Float[Tensor, "n s n s"]
Pairs = Float[Tensor, "n n"]


@dataclass(frozen=True, kw_only=True)
class KernelPair:
    """Two kernels on the same samples, reduced to inner products of their blocks.

    Attributes:
        start: `‖Θ_0,ij‖²` for every pair of samples.
        now: `‖Θ_ij‖²`.
        change: `‖Θ_ij − Θ_0,ij‖²`.
    """

    start: Pairs
    now: Pairs
    change: Pairs


class Interval(NamedTuple):
    """An estimate and the quantiles between which it lies."""

    value: float
    low: float
    high: float


@torch.no_grad()
def kernel_pair(kernel: Kernel, reference: Kernel, *, random: bool) -> KernelPair:
    """Compare two kernels block by block.

    Args:
        kernel: `v_iaᵀ Θ_ij v_jb`, (samples, directions, samples, directions).
        reference: the same of Θ_0, with the same directions.
        random: whether the directions are random signs, independent for every sample, at least
            two; otherwise they are all outputs.
    """

    def squares(theta: Kernel) -> Pairs:
        """`‖Θ_ij‖²`, of random directions the unbiased estimate."""
        n, s = theta.shape[:2]
        square = theta.square()
        total = square.sum((1, 3), dtype=torch.float64)
        if not random:
            return total
        own = torch.arange(n)
        blocks = square[own, :, own].double()
        different = blocks.sum((1, 2)) - blocks.diagonal(dim1=1, dim2=2).sum(1)
        total /= s * s
        total[own, own] = different / (s * (s - 1))
        return total

    return KernelPair(
        start=squares(reference), now=squares(kernel), change=squares(kernel - reference)
    )


@torch.no_grad()
def change_with_interval(
    pair: KernelPair, *, confidence: float = 0.95, draws: int = 200, seed: int = 0
) -> tuple[Interval, Interval]:
    """Relative change and rotation of a kernel, with bootstrap intervals over the samples.

    `‖Θ − Θ_0‖/‖Θ_0‖` and `1 − ⟨Θ, Θ_0⟩/(‖Θ‖‖Θ_0‖)`. A resample draws n samples with replacement;
    a sample drawn twice does not meet itself, which would count the diagonal too often.

    Args:
        pair: from `kernel_pair`.
        confidence: level of the interval between percentiles.
        draws: number of resamples.
        seed: of a generator of its own.

    Returns:
        Change and rotation; NaN if a kernel is zero.

    Example:
        >>> theta = torch.rand(5, 1, 5, 1)
        >>> change, rotation = change_with_interval(kernel_pair(2 * theta, theta, random=False))
        >>> change.value, round(rotation.high, 9)
        (1.0, 0.0)
    """
    n = len(pair.start)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, n, (draws, n), generator=generator)
    counts = torch.zeros(draws, n, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(draws, n, dtype=torch.float64)
    )
    weights = torch.cat([torch.ones(1, n, dtype=torch.float64), counts])  # first: all samples
    parts = torch.stack([pair.start, pair.now, pair.change]).cpu()
    diagonal = parts.diagonal(dim1=1, dim2=2)
    apart = parts - torch.diag_embed(diagonal)
    total = ((weights @ apart) * weights).sum(-1) + diagonal @ weights.T
    start, now, change = total.clamp(min=0)
    relative = (change / start).sqrt()
    grown = (now.sqrt() - start.sqrt()).square()  # 1 − cos without a difference of large numbers
    rotation = ((change - grown) / (2 * (start * now).sqrt())).clamp(min=0)
    return _interval(relative, confidence), _interval(rotation, confidence)


def _interval(values: Float[Tensor, " draws"], confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = values[1:].nanquantile(torch.tensor([tail, 1 - tail]).to(values)).tolist()
    return Interval(float(values[0]), low, high)


@torch.no_grad()
def sampled_trace(kernel: Kernel, *, random: bool) -> float:
    """Trace of the kernel, unbiased.

    Args:
        kernel: as for `kernel_pair`.
        random: whether the directions are random signs.
    """
    n, s = kernel.shape[:2]
    trace = float(kernel.reshape(n * s, n * s).diagonal().sum(dtype=torch.float64))
    return trace / s if random else trace
