"""Comparing kernels from a few random output directions, with an interval over samples.

Every sample i has its own random signs v_i, so that for two samples `(v_iᵀ Θ_ij v_j)²` is an
unbiased estimate of `‖Θ_ij‖_F²`; of one sample with itself only two different directions are used.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Kernel = Float[Tensor, "n s n s"]
Pairs = Float[Tensor, "n n"]
Sums = Float[Tensor, "*stack draws"]


@torch.no_grad()
def block_squares(kernel: Kernel, *, random: bool) -> Pairs:
    """`‖Θ_ij‖_F²` for every pair of samples, in float64.

    Args:
        kernel: `v_iaᵀ Θ_ij v_jb`, (samples, directions, samples, directions).
        random: whether the directions are random signs, independent for every sample, at least
            two; otherwise they are all outputs.

    Returns:
        (samples, samples); unbiased if random.
    """
    n, s = kernel.shape[:2]
    total = torch.linalg.vector_norm(kernel, dim=(1, 3), dtype=torch.float64).square()
    if random:
        own = torch.arange(n)
        blocks = kernel[own, :, own].double().square()  # float32 does not hold fourth powers of f
        different = blocks.sum((1, 2)) - blocks.diagonal(dim1=1, dim2=2).sum(1)
        total /= s * s
        total[own, own] = different / (s * (s - 1))
    return total


def resamples(samples: int, *, draws: int = 200, seed: int = 0) -> Float[Tensor, "draws n"]:
    """How often each sample is drawn; the first row draws each once.

    Args:
        samples: n.
        draws: number of resamples with replacement.
        seed: of a generator of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, samples, (draws, samples), generator=generator)
    counts = torch.zeros(1 + draws, samples, dtype=torch.float64)
    counts[0] = 1
    counts[1:].scatter_add_(1, drawn, torch.ones(draws, samples, dtype=torch.float64))
    return counts


@torch.no_grad()
def resampled_sum(
    squares: Float[Tensor, "*stack n n"], counts: Float[Tensor, "draws n"]
) -> Float[Tensor, "*stack draws"]:
    """Sum over pairs of samples in every resample.

    A sample drawn twice does not meet itself, which would count the diagonal too often.

    Args:
        squares: a number for every pair.
        counts: from `resamples`.

    Example:
        >>> resampled_sum(torch.ones(3, 3), torch.tensor([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0]]))
        tensor([9., 3.])
    """
    squares, counts = squares.cpu(), counts.to(squares.dtype)
    return ((counts @ squares) * counts).sum(-1) - squares.diagonal(dim1=-2, dim2=-1) @ (
        counts * (counts - 1)
    ).T


@torch.no_grad()
def change_interval(
    change: Sums, start: Sums, *, confidence: float = 0.95
) -> tuple[Float[Tensor, "*stack"], Float[Tensor, "*stack 2"]]:
    """Relative change `‖Θ − Θ_0‖/‖Θ_0‖` and its bootstrap interval over samples.

    Args:
        change: `‖Θ − Θ_0‖²` of all samples, then of every resample.
        start: `‖Θ_0‖²` of the same.
        confidence: level of the interval between percentiles.

    Returns:
        The value, and the ends of its interval along a last axis; NaN if Θ_0 = 0.
    """
    return _interval((change.clamp(min=0) / start.clamp(min=0)).sqrt(), confidence)


@torch.no_grad()
def rotation_interval(
    change: Sums, start: Sums, now: Sums, *, confidence: float = 0.95
) -> tuple[Float[Tensor, "*stack"], Float[Tensor, "*stack 2"]]:
    """Kernel distance `1 − cos(Θ_0, Θ)` and its bootstrap interval over samples.

    Args:
        change: as for `change_interval`.
        start: `‖Θ_0‖²`.
        now: `‖Θ‖²`.
        confidence: level of the interval.

    Returns:
        As for `change_interval`.
    """
    a, b = start.clamp(min=0).sqrt(), now.clamp(min=0).sqrt()
    # = (‖ΔΘ‖² − (‖Θ‖ − ‖Θ_0‖)²) / 2‖Θ‖‖Θ_0‖: no difference of nearly equal cosines
    return _interval(((change - (b - a).square()) / (2 * a * b)).clamp(min=0), confidence)


def _interval(values: Sums, confidence: float) -> tuple[Tensor, Tensor]:
    tail = (1 - confidence) / 2
    ends = torch.tensor([tail, 1 - tail]).to(values)
    return values[..., 0], values[..., 1:].nanquantile(ends, -1).movedim(0, -1)


@torch.no_grad()
def sampled_trace(kernel: Kernel, *, random: bool) -> float:
    """Trace of the kernel, unbiased.

    Args:
        kernel: as for `block_squares`.
        random: whether the directions are random signs.
    """
    n, s = kernel.shape[:2]
    trace = float(kernel.reshape(n * s, n * s).diagonal().sum(dtype=torch.float64))
    return trace / s if random else trace
