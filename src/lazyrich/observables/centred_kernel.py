"""Whether the kernel turned in what it says of one sample and not of another."""

from __future__ import annotations

from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.centred_kernel import Columns, centred_columns
from lazyrich.capture.look import Look, Reference
from lazyrich.capture.norms import norm
from lazyrich.capture.sampled_kernel import distance_of_squares, jackknife_error
from lazyrich.observables.kernel_change import kernel_distance
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, FORT2020, Quantity

LEAST_ERROR = 0.15  # standard error in units of the value, over random vectors
ERROR_OF_ONE = 0.2  # the same of a single vector
ROUNDING = 16  # times the precision of the outputs: a centred kernel below is what rounding left


def centred_kernel_distance(
    kernel: Float[Tensor, "n k n k"], reference: Float[Tensor, "n k n k"]
) -> float:
    """Rotation without scale of the kernels without their means over samples.

    `1 − ⟨HΘH, HΘ_0H⟩/(‖HΘH‖‖HΘ_0H‖)`, with H taking the mean over samples off, of every output.

    Args:
        kernel: Θ.
        reference: Θ_0.

    Returns:
        A number in [0, 2]; NaN if either is the same for all samples.

    Example:
        >>> still = 100 * torch.ones(3, 1, 3, 1)  # alike for all samples
        >>> x = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
        >>> first, later = (still + torch.outer(v, v).view(3, 1, 3, 1) for v in x)
        >>> round(kernel_distance(first, later), 2), round(centred_kernel_distance(first, later), 2)
        (0.0, 0.75)

    References:
        After Fort et al., arXiv:2010.15110, who compare kernels with their means.
    """
    return kernel_distance(centred_columns(kernel), centred_columns(reference))


def _turning(look: Look, reference: Reference) -> Row:
    """The distance, exact where all outputs are directions.

    Else along two random vectors over all outputs of all samples, which is nearly unbiased: on
    networks with ten outputs, of two families, its standard error was 11 to 16 % of its value. What
    leaving out either vector says of the error is rough, so that at least `LEAST_ERROR` is given.
    Of sequences of tokens with many outputs there is one vector, since it erred by 3 to 9 %, and
    by 16 % in a network of 1,000 weights: the error given is `ERROR_OF_ONE`. A look costs a quarter
    more with it all: for each vector a backward pass, and one in forward mode.
    """
    start, before, now = reference.kernel, reference.centred, look.centred_kernel
    assert start is not None  # both are kept for this observable
    assert before is not None
    wholes = (start.whole, look.kernel)  # whose norms are those of Θ₀ and Θ, or a few times these
    least = ROUNDING * torch.finfo(look.f.dtype).eps
    sums = torch.stack([_squares(c) for c in (now - before, before, now)])  # of every column
    sizes = (sums.sum(1) / (len(now) if look.random else 1)).sqrt()  # of ΔΘ, Θ₀, Θ, all centred
    if any(a <= least * norm(theta) for a, theta in zip(sizes[1:], wholes, strict=True)):
        return {"centred_kernel_distance": nan, "centred_kernel_distance_stderr": nan}
    distance, error = float(distance_of_squares(*sums.sum(1))), 0.0
    if look.random:
        without = distance_of_squares(*(sums.sum(1, keepdim=True) - sums))
        error = ERROR_OF_ONE * distance
        if len(now) > 1:
            error = max(float(jackknife_error(without)), LEAST_ERROR * distance)
    return {"centred_kernel_distance": distance, "centred_kernel_distance_stderr": error}


def _squares(columns: Columns) -> Float[Tensor, " s"]:
    return torch.linalg.vector_norm(columns.flatten(1), dim=1, dtype=torch.float64).square()


CENTRED_KERNEL = Observable(
    quantities=(
        Quantity(
            name="centred_kernel_distance",
            symbol="1 − cos(HΘ₀H, HΘH)",
            meaning="rotation of the tangent kernel without its mean over samples since the start",
            low=0.0,
            high=2.0,
            source=FORT2020,
        ),
        Quantity(
            name="centred_kernel_distance_stderr",
            symbol="σ(1 − cos(HΘ₀H, HΘH))",
            meaning="standard error of centred_kernel_distance over random vectors; 0 if exact",
            low=0.0,
            source=DERIVED,
        ),
    ),
    measure=_turning,
    kernel=True,
    centred=True,
)
