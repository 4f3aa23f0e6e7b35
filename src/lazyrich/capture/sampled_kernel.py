"""Comparing kernels from a few random output directions, with errors and intervals over samples.

Every sample i has its own random signs v_i, so that for two samples `(v_iᵀ Θ_ij v_j)²` is an
unbiased estimate of `‖Θ_ij‖_F²`; of one sample with itself only two different directions are used.
Samples and their directions are drawn together, so that leaving out one sample at a time (the
jackknife) tells the error of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from scipy.special import stdtrit
from torch import Tensor

Kernel = Float[Tensor, "n s n s"]
Pairs = Float[Tensor, "n n"]
Sums = Float[Tensor, "*stack 2 n1"]

_FEWEST = 3  # samples of which one can be left out so that there are different ones
_OF_DIRECTIONS = 0.5**0.5  # their part in the standard error: 0.6 to 0.9 of it, measured


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A quantity of the samples, and what it says of all samples that they might have been.

    Attributes:
        value: value of these samples.
        stderr: its standard error over samples and directions, by leaving out one sample at a
            time; NaN with one sample.
        low: lower end of the interval, see `change_interval`.
        high: upper end.
    """

    value: Float[Tensor, "*stack"]
    stderr: Float[Tensor, "*stack"]
    low: Float[Tensor, "*stack"]
    high: Float[Tensor, "*stack"]


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


@torch.no_grad()
def pair_sums(squares: Float[Tensor, "*stack n n"]) -> Float[Tensor, "*stack 2 n1"]:
    """Sums over pairs of samples, and the same with each sample left out.

    Args:
        squares: a number for every pair, alike for (i, j) and (j, i).

    Returns:
        Over all pairs, then over those of two different samples; along the last axis first the
        sum, then that without sample 0, 1, ….

    Example:
        >>> pair_sums(torch.ones(3, 3))
        tensor([[9., 4., 4., 4.],
                [6., 2., 2., 2.]])
    """
    every = squares.cpu()
    different = every - torch.diag_embed(every.diagonal(dim1=-2, dim2=-1))
    both = torch.stack([every, different], -3)
    rows, own = both.sum(-1), both.diagonal(dim1=-2, dim2=-1)
    total = rows.sum(-1, keepdim=True)
    return torch.cat([total, total - 2 * rows + own], -1)


@torch.no_grad()
def jackknife_error(left_out: Float[Tensor, "*stack n"]) -> Float[Tensor, "*stack"]:
    """Standard error of a quantity, `√((n−1)/n Σ_i (q_(i) − q̄)²)`.

    Args:
        left_out: q_(i), the quantity without sample i.

    Returns:
        A number ≥ 0; NaN with one sample.

    Example:
        >>> x = torch.tensor([1.0, 2.0, 6.0])  # of a mean it is the usual standard error
        >>> torch.isclose(jackknife_error((x.sum() - x) / 2), x.std() / 3**0.5)
        tensor(True)

    References:
        Efron & Stein, The jackknife estimate of variance, Annals of Statistics 9 (1981).
    """
    n = left_out.shape[-1]
    scatter = (left_out - left_out.mean(-1, keepdim=True)).square().sum(-1)
    return (scatter * (n - 1) / n).sqrt() if n > 1 else torch.full_like(scatter, torch.nan)


@torch.no_grad()
def change_interval(
    change: Sums, start: Sums, *, random: bool, confidence: float = 0.95
) -> Estimate:
    """Relative change `‖Θ − Θ_0‖/‖Θ_0‖` with its error, and an interval for that of many samples.

    Of many samples, nearly all pairs are of different ones. The interval comes from these, by the
    jackknife of the logarithm and Student's t. A value of few samples counts each with itself, too:
    the interval is widened to it and its standard error, or if it is an estimate, to the interval
    of what it estimates.

    Args:
        change: `‖Θ − Θ_0‖²` as `pair_sums`.
        start: `‖Θ_0‖²` of the same.
        random: the same as in `block_squares`.
        confidence: level of the interval.

    Returns:
        The estimate; NaN if Θ_0 = 0, without an interval if there is one sample.
    """

    def ratio(change: Tensor, start: Tensor) -> Tensor:
        return (change.clamp(min=0) / start.clamp(min=0)).sqrt()

    return _estimate(ratio, change, start, random=random, confidence=confidence)


@torch.no_grad()
def distance_of_squares(
    change: Float[Tensor, "*stack"], start: Float[Tensor, "*stack"], now: Float[Tensor, "*stack"]
) -> Float[Tensor, "*stack"]:
    """`1 − cos = (‖ΔΘ‖² − (‖Θ‖ − ‖Θ_0‖)²) / 2‖Θ‖‖Θ_0‖`: no difference of nearly equal cosines.

    Args:
        change: ‖ΔΘ‖².
        start: ‖Θ_0‖².
        now: ‖Θ‖².

    Returns:
        Numbers ≥ 0; NaN where a kernel is 0.

    Example:
        >>> distance_of_squares(*torch.tensor([2.0, 1.0, 1.0]))  # at right angles
        tensor(1.)
    """
    a, b = start.clamp(min=0).sqrt(), now.clamp(min=0).sqrt()
    return ((change - (b - a).square()) / (2 * a * b)).clamp(min=0)


@torch.no_grad()
def rotation_interval(
    change: Sums, start: Sums, now: Sums, *, random: bool, confidence: float = 0.95
) -> Estimate:
    """Kernel distance `1 − cos(Θ_0, Θ)` with its error, and an interval for that of many samples.

    Args:
        change: the same as for `change_interval`.
        start: `‖Θ_0‖²`.
        now: `‖Θ‖²`.
        random: the same as in `block_squares`.
        confidence: level of the interval.

    Returns:
        As for `change_interval`.
    """
    found = _estimate(distance_of_squares, change, start, now, random=random, confidence=confidence)
    return replace(found, high=found.high.clamp(max=2))


def _estimate(
    quantity: Callable[..., Tensor], *sums: Sums, random: bool, confidence: float
) -> Estimate:
    values = quantity(*sums)
    n = values.shape[-1] - 1
    value, centre = values[..., 0].unbind(-1)
    error, spread = jackknife_error(values[..., 1:]).unbind(-1)
    # where no pair of different samples is left, all pairs have to do
    apart = torch.isfinite(centre + spread) & torch.tensor(n >= _FEWEST)
    centre, spread = torch.where(apart, centre, value), torch.where(apart, spread, error)
    t = float(stdtrit(max(n - 1, 1), (1 + confidence) / 2))
    low, high = _around(centre, t * spread)
    with_itself = _around(value, t * _OF_DIRECTIONS * error if random else error)
    return Estimate(
        value=value,
        stderr=error,
        low=torch.minimum(low, with_itself[0]),
        high=torch.maximum(high, with_itself[1]),
    )


def _around(centre: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """`x e^(∓w/x)`: an interval of the logarithm; of width 0 about 0."""
    factor = torch.where(centre == 0, 1.0, (width / centre).exp())
    return centre / factor, centre * factor


@torch.no_grad()
def sampled_traces(kernel: Kernel, *, random: bool) -> Float[Tensor, " n"]:
    """Trace of the kernel's block of every sample with itself, unbiased, in float64.

    Args:
        kernel: the same as for `block_squares`.
        random: whether the directions are random signs.
    """
    n, s = kernel.shape[:2]
    traces = kernel.reshape(n * s, n * s).diagonal().double().view(n, s).sum(1)
    return traces / s if random else traces
